/**
 * A question about a tool call, from the wire to the page in a real browser and back: asked, listed, seen, decided, used.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { approveInBrowser, partState } from '@kontext/testkit';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRawClient, type RawClient } from '../confirm/raw-client.ts';
import { loginFiles } from '../login/login-files.ts';
import { launchChromium, openWatchedPage, type WatchedPage } from '../pages/chromium.ts';
import { runConfirmed } from '../run-confirmed.ts';
import { startCommand } from '../running-command.ts';
import { logIn, startWorld, type World } from '../world.ts';

const part = partState('chromium');
const screenshots = process.env.KONTEXT_SCREENSHOTS;

interface Asked {
  readonly id: string;
  readonly url: string;
  readonly state: string;
}

describe.skipIf(!part.available)(`a tool call that a person decides ${part.reason}`, () => {
  let world: World;
  let browser: Browser;
  let watched: WatchedPage;
  let client: RawClient;
  let token: string;
  let session: { readonly id: string; readonly policyVersion: string };

  beforeAll(async () => {
    world = await startWorld({ upstream: false });
    expect((await logIn(world, ['--insecure-storage'])).exitCode).toBe(0);
    const [file = ''] = loginFiles(world);
    client = createRawClient(world.apiUrl, JSON.parse(JSON.parse(readFileSync(file, 'utf8')).value));
    token = await client.refresh();
    const opening = { agent: 'claude', agentVersion: '2.0', hostname: 'alice-mbp', cliVersion: '0.1.0' };
    const { body } = await client.call(token, 'SessionService/OpenSession', opening);
    session = body.session as typeof session;
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
  const shape = randomBytes(32).toString('base64');
  /** Asks as a hook server does; the rule is one of the user's own directory, which the user decides. */
  async function ask(command: string, more: Record<string, unknown> = {}): Promise<Asked> {
    const call = {
      ...{ schema: 2, tool: 'Bash', input: { command }, command, cwd: '/home/alice/shop' },
      ...{ permissionMode: 'default', repository: { name: 'github.com/acme/shop', branch: 'main' } },
      credentials: ['stripe'],
    };
    const request = {
      ...{ sessionId: session.id, policyVersion: session.policyVersion, rule: 'local.ask-publish' },
      ...{ callHash: randomBytes(32).toString('base64'), shapeHash: shape, call: JSON.stringify(call) },
      part: `command ${command.slice(0, 200)}`,
      ...more,
    };
    // As its command would: a session that says nothing for long is lost.
    await client.call(token, 'SessionService/HeartbeatSession', { sessionId: session.id });
    const { body, code } = await client.call(token, 'ApprovalService/RequestApproval', request);
    expect(code, JSON.stringify(body)).toBe('let through');
    return body.approval as Asked;
  }
  const wait = async (approvalId: string, use: boolean): Promise<string> => {
    const request = { approvalId, use, waitSeconds: 25 };
    const { body } = await client.call(token, 'ApprovalService/WaitApproval', request);
    return (body.approval as Asked).state;
  };

  it('shows who wants what and why, waits for a press, and lets one call through', async () => {
    const { id, url } = await ask('npm publish --access public\nrm -rf dist');
    const { page } = watched;
    await page.goto(url);
    await page.fill('[name=account]', world.account);
    await page.fill('[name=passcode]', world.passcode);
    await Promise.all([page.waitForURL(/approvals/), page.press('[name=passcode]', 'Enter')]);
    await shoot(page, 'approval');
    const text = await page.innerText('body');
    const said = [
      'claude',
      'owner',
      'alice-mbp',
      'npm publish --access public\nrm -rf dist',
      'github.com/acme/shop',
    ];
    for (const words of [...said, 'local.ask-publish', 'stripe', '/home/alice/shop', session.id]) {
      expect(text).toContain(words);
    }
    const waiting = [wait(id, true), wait(id, true)];
    await page.click('[value=once]');
    await page.waitForSelector('text=/may run, one time/i');
    await shoot(page, 'approval-allowed');
    expect((await Promise.all(waiting)).sort()).toEqual(['APPROVAL_STATE_APPROVED', 'APPROVAL_STATE_USED']);
  });

  it('shows hostile text as text, says what is shortened, and what was decided before', async () => {
    const { url } = await ask(
      `echo "\u202e<b>x</b>\u200b"\u001b[2K </pre><script>alert(1)</script> ${'A'.repeat(300)}`,
      {
        callClipped: true,
      },
    );
    const { page } = watched;
    await page.setViewportSize({ width: 390, height: 844 });
    await page.goto(`${url}?choose=deny&reason=${encodeURIComponent('use the release job')}`);
    await shoot(page, 'approval-hostile');
    expect(await page.innerText('pre')).toContain('\\u202e<b>x</b>\\u200b"\\u001b[2K </pre><script>');
    expect(await page.locator('main b, main script').count()).toBe(0);
    const text = await page.innerText('body');
    expect(text).toContain('Shortened: not all of the call is shown');
    expect(text).toContain('Allowed (once) by owner');
    expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
    // Enter in the field of the reason presses the first button, which denies.
    await Promise.all([page.waitForURL(/approvals/), page.press('[name=reason]', 'Enter')]);
    await page.waitForSelector('text=/the agent is told so/i');
    await shoot(page, 'approval-denied');
    await page.setViewportSize({ width: 1280, height: 720 });
  });

  it('is listed and decided from the command line, in the browser all the same', async () => {
    const { id, url } = await ask('terraform apply');
    const { stdout } = await world.cli(['requests', 'ls', '--json']);
    expect(JSON.parse(stdout)).toMatchObject([{ id, url, state: 'pending', mineToDecide: true }]);
    const bare = await world.cli(['--no-input', 'approve', id]);
    expect(bare.exitCode, bare.stderr).toBe(77);
    expect(bare.stderr).toContain(`${url}?choose=once`);

    const command = startCommand(world, ['--wait-confirmation', 'approve', id, '--for', 'hour']);
    const [link] = await command.waitFor(/http\S+choose=hour/);
    const { account, passcode } = world;
    await approveInBrowser({ url: link, account, passcode, decision: 'hour' });
    const { exitCode, stderr } = await command.ended;
    expect(exitCode, stderr).toBe(0);
    expect(stderr).toContain('allowed (hour) by owner');
    expect([await wait(id, true), await wait(id, true)]).toEqual(Array(2).fill('APPROVAL_STATE_APPROVED'));
    const denied = await world.cli(['deny', id, '--reason', 'late']);
    expect(denied.stderr).toContain('KX_APPROVAL_OVER');
  });

  it('tells a webhook, which was added with a confirmation', async () => {
    const heard: { type: string; text: string }[] = [];
    const server: Server = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      request.on('end', () => {
        heard.push(JSON.parse(body));
        response.end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const target = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
    try {
      const added = await runConfirmed(world, ['webhooks', 'add', target, '--json']);
      expect(added.exitCode, added.stderr).toBe(0);
      const { id, secret } = JSON.parse(added.stdout);
      expect(secret).toMatch(/^whsec_/);
      expect((await world.cli(['webhooks', 'test', id])).stderr).toContain('it answered 200');
      const { url } = await ask('kubectl delete ns prod');
      await expect
        .poll(() => heard.map(({ type }) => type), { timeout: 20_000 })
        .toContain('approval.requested');
      expect(heard.at(-1)?.text).toContain(url);
      expect((await runConfirmed(world, ['webhooks', 'rm', id])).exitCode).toBe(0);
      expect(JSON.parse((await world.cli(['webhooks', 'ls', '--json'])).stdout)).toEqual([]);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it('asks nothing of anybody else and breaks none of its own rules', () => {
    expect([...watched.origins]).toEqual([world.apiUrl]);
    expect(watched.complaints.filter((text) => /Content Security Policy|Refused|Mixed/i.test(text))).toEqual(
      [],
    );
  });
});
