import { hostname } from 'node:os';
import { partState } from '@kontext/testkit';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addUpstream } from '../demo/steps.ts';
import { runConfirmed } from '../run-confirmed.ts';
import { startCommand } from '../running-command.ts';
import { logIn, startWorld, type World } from '../world.ts';
import { launchChromium, openWatchedPage, type WatchedPage } from './chromium.ts';

const part = partState('chromium');
const screenshots = process.env.KONTEXT_SCREENSHOTS;

describe.skipIf(!part.available)(`the backend's pages in Chromium ${part.reason}`, () => {
  let world: World;
  let browser: Browser;
  let watched: WatchedPage;
  /** Where the terminal listened for the browser. */
  let terminalOrigin = '';

  beforeAll(async () => {
    world = await startWorld();
    browser = await launchChromium();
    watched = await openWatchedPage(browser);
  });
  afterAll(async () => {
    await browser?.close();
    await world?.close();
  });

  const shoot = async (page: Page, name: string) => {
    if (screenshots !== undefined)
      await page.screenshot({ path: `${screenshots}/${name}.png`, fullPage: true });
  };

  const signIn = async (page: Page) => {
    await page.fill('[name=account]', world.account);
    await page.fill('[name=passcode]', world.passcode);
    await shoot(page, 'login');
    await Promise.all([page.waitForURL(/activate/), page.press('[name=passcode]', 'Enter')]);
  };

  it('lets a person compare the code, see who asks from where, and approve', async () => {
    let text = '';
    const login = await logIn(world, ['--insecure-storage'], undefined, async ({ uri, code }) => {
      const { page } = watched;
      await page.goto(uri);
      await signIn(page);
      await page.click('button:has-text("Continue")');
      await page.waitForSelector('[value=approve]');
      text = await page.innerText('body');
      await shoot(page, 'approve');
      expect(text.replaceAll(/[^A-Z]/g, '')).toContain(code.replace('-', ''));
      await page.click('[value=approve]');
      await page.waitForSelector('text=/return to your terminal/i');
      await shoot(page, 'done');
    });

    expect(login.exitCode, login.stderr).toBe(0);
    expect(text).toContain(hostname());
    expect(text).toContain('127.0.0.1');
    expect(text).toMatch(/only continue if you started this/i);
  });

  it('leads the browser back to the terminal that began a loopback login, after a press of the button', async () => {
    const command = startCommand(world, ['login', '--loopback', '--no-browser', '--insecure-storage']);
    const [, link = ''] = await command.waitFor(/open (http:\/\/\S+\/oauth\/auth\?\S+)/);
    const { page } = watched;
    await page.goto(link);
    await page.waitForSelector('[value=approve]');
    const text = await page.innerText('body');
    await shoot(page, 'loopback');
    await page.click('[value=approve]');
    await page.waitForURL(/127\.0\.0\.1:\d+\/callback/);
    terminalOrigin = new URL(page.url()).origin;
    expect(await page.innerText('body')).toMatch(/return to your terminal/i);
    expect(text).toContain(hostname());
    expect(text).toMatch(/only continue if you started this/i);
    const { exitCode, stderr } = await command.ended;
    expect(exitCode, stderr).toBe(0);
  });

  it('connects an account through the provider and comes back', async () => {
    await addUpstream(world);
    const pending = await world.cli(['connect', 'demo']);
    const link = /https?:\/\/\S+\/connect\/\S+/.exec(pending.stdout + pending.stderr)?.[0] ?? '';
    const { page } = watched;

    await page.goto(link);
    await shoot(page, 'connect');
    await page.click('button');
    await page.waitForSelector('text=/return to your terminal/i');
    await shoot(page, 'connected');

    const { stdout } = await world.cli(['connections', 'ls', '--json']);
    expect(stdout).toContain('"connected"');
  });

  it('shows a wrong code as a sentence, not as a stack', async () => {
    const { page } = watched;
    await page.goto(`${world.apiUrl}/activate?user_code=BBBB-BBBB`);
    await page.click('button:has-text("Continue")');
    await page.waitForLoadState();
    await shoot(page, 'wrong-code');
    expect(await page.innerText('body')).toMatch(/code (is|was|cannot|has)|no such code/i);
    expect(await page.innerText('body')).not.toMatch(/at .*\.js:\d+/);
  });

  it('shows what is to be confirmed, as text, and waits for a press', async () => {
    const name = 'evil\u202e\u0007<b>x</b>';
    const hostile = await world.cli(['secrets', 'put', 'stripe', '--name', name], { stdin: 'value' });
    const linkIn = (text: string) => /https?:\/\/\S+\/confirm\/[\w-]{43}/.exec(text)?.[0] ?? '';
    const { page } = watched;

    await page.goto(linkIn(hostile.stderr));
    await shoot(page, 'confirm-hostile');
    expect(await page.innerText('.deed')).toContain('\\u202e');
    expect(await page.locator('.deed b').count()).toBe(0);

    let text = '';
    const put = await runConfirmed(world, ['secrets', 'put', 'stripe', '--name', 'prod'], {
      stdin: 'value',
      confirm: async (url) => {
        await page.goto(url);
        await shoot(page, 'confirm');
        text = await page.innerText('body');
        await page.click('[value=confirm]');
        await page.waitForSelector('text=/return to your terminal/i');
        await shoot(page, 'confirmed');
      },
    });

    expect(put.exitCode, put.stderr).toBe(0);
    expect(text).toContain('store a secret for "stripe/prod", for you alone');
    expect(text).toContain('127.0.0.1');
    expect(text).toMatch(/only confirm what you started yourself/i);
  });

  it('asks nothing of anybody else and breaks none of its own rules', () => {
    const allowed = new Set([world.apiUrl, new URL(world.upstream?.url ?? '').origin, terminalOrigin]);
    expect([...watched.origins].filter((origin) => !allowed.has(origin))).toEqual([]);
    const ownRules = watched.complaints.filter((text) => /Content Security Policy|Refused|Mixed/i.test(text));
    expect(ownRules).toEqual([]);
  });
});
