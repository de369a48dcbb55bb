/** `kontext login --loopback` with the built programs: a browser on this machine leads back to the terminal. */
import { createBrowser, type Page } from '@kontext/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startCommand } from '../running-command.ts';
import { startWorld, type World } from '../world.ts';

describe('a login by the browser of this machine', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld({ upstream: false });
  });
  afterAll(() => world?.close());

  /** Walks the pages as a person would, up to the press of a button; the browser then goes where it is sent. */
  async function walk(decision: 'approve' | 'deny') {
    const command = startCommand(world, ['login', '--loopback', '--no-browser', '--insecure-storage']);
    const [, link = ''] = await command.waitFor(/open (http:\/\/\S+\/oauth\/auth\?\S+)/);
    const browser = createBrowser();
    const submit = (page: Page, values: Record<string, string>): Promise<Page> => {
      const [form] = page.forms;
      if (form === undefined) throw new Error(`no form on ${page.url}: ${page.html}`);
      return browser.submit(page, form, values);
    };
    const { account, passcode } = world;
    const asked = await submit(await browser.open(link), { account, passcode });
    expect(asked.html).toContain('kontext login --loopback');
    const end = await submit(asked, { decision });
    return { end, result: await command.ended };
  }

  it('that was denied logs nobody in', async () => {
    const { end, result } = await walk('deny');
    expect(end.html).toContain('was not logged in');
    expect(result.exitCode).toBe(77);
    expect(result.stderr).toContain('KX_LOGIN_DENIED');
    expect((await world.cli(['whoami'])).exitCode).not.toBe(0);
  });

  it('that was approved logs in, and ends on a page of the terminal', async () => {
    const { end, result } = await walk('approve');
    expect(new URL(end.url).pathname).toBe('/callback');
    expect(end.html).toContain('Return to your terminal');
    expect(result).toMatchObject({ exitCode: 0, stdout: '' });
    expect(await world.cli(['whoami'])).toMatchObject({ exitCode: 0, stdout: 'owner (owner) of default\n' });
    const status = JSON.parse((await world.cli(['status', '--json'])).stdout);
    expect(status).toMatchObject({
      login: { acr: 'urn:kontext:acr:passcode', address: '127.0.0.1' },
      live: { sessions: 0, leases: 0 },
    });
  });

  it('is ended by Ctrl-C with 130', async () => {
    const command = startCommand(world, ['login', '--loopback', '--no-browser', '--insecure-storage']);
    await command.waitFor(/open http/);
    command.kill('SIGINT');
    expect((await command.ended).exitCode).toBe(130);
  });
});
