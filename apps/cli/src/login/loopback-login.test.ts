import { request as httpRequest } from 'node:http';
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestBackend, type TestBackend } from '../rpc/test-backend.ts';
import { createTestContext, type TestContext } from '../test-context.ts';
import { loadLogin } from './load-login.ts';
import { logIn } from './log-in.ts';
import { listenForAnswer } from './loopback-listener.ts';
import { loopbackLogin } from './loopback-login.ts';
import { openSecretStore } from './open-secret-store.ts';

let backend: TestBackend;
let context: TestContext;
beforeEach(async () => {
  backend = await startTestBackend();
  context = createTestContext({ apiUrl: backend.url });
});
afterEach(async () => {
  context.close();
  await backend.close();
});

const options = { browser: false, loopback: true };
/** What was pushed, once it was. */
const pushed = async () => {
  await expect.poll(() => backend.oauth.pushed.length).toBe(1);
  return backend.oauth.pushed[0]!;
};
/** The browser comes back, with what the backend would add to the address. */
const comeBack = async (change: (params: URLSearchParams) => void = () => undefined) => {
  const { params } = await pushed();
  const back = new URL(params.redirect_uri ?? '');
  back.searchParams.set('code', '0');
  back.searchParams.set('state', params.state ?? '');
  back.searchParams.set('iss', `${backend.url}/oauth`);
  change(back.searchParams);
  return fetch(back);
};

describe('login --loopback', () => {
  it('pushes the request, shows the link, redeems the code with the same key and stores the login', async () => {
    const running = logIn(context, { ...options, org: 'acme' });
    const { params, jkt } = await pushed();
    const page = await comeBack();
    (await running).close();

    expect(context.stderr()).toContain(
      `open ${backend.url}/oauth/auth?request_uri=urn%3Atest%3A0&client_id=kontext-cli`,
    );
    expect(params).toMatchObject({
      response_type: 'code',
      code_challenge_method: 'S256',
      resource: backend.url,
      organisation: 'acme',
      redirect_uri: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/callback$/),
    });
    expect(jkt).not.toBeNull();
    expect(page.status).toBe(200);
    expect(await page.text()).toContain('Return to your terminal');
    expect(page.headers.get('cache-control')).toBe('no-store');
    const stored = await loadLogin(context.config, openSecretStore(context.config, context.terminal));
    expect(stored.sub).toBe('usr_1');
  });

  it('serves one request: the second finds nobody', async () => {
    const running = logIn(context, options);
    await comeBack();
    await expect(comeBack()).rejects.toThrow('fetch failed');
    (await running).close();
  });

  it('does not count other paths, methods, hosts and icons', async () => {
    const running = logIn(context, options);
    const { redirect_uri: uri = '' } = (await pushed()).params;
    const { origin, port } = new URL(uri);
    const others = [
      fetch(`${origin}/favicon.ico`),
      fetch(`${uri}/x?code=0`),
      fetch(uri, { method: 'POST', body: 'code=0' }),
    ];
    for (const answer of await Promise.all(others)) expect(answer.status).toBe(404);
    expect(await statusUnderHost(Number(port), 'evil.test')).toBe(404);
    await comeBack();
    (await running).close();
  });

  it.each<[string, (params: URLSearchParams) => void]>([
    ['another state', (params) => params.set('state', 'x')],
    ['no state', (params) => params.delete('state')],
    ['two states', (params) => params.append('state', 'x')],
    ['another issuer', (params) => params.set('iss', 'https://evil.test')],
    ['no issuer', (params) => params.delete('iss')],
    ['neither code nor error', (params) => params.delete('code')],
  ])(
    'refuses an answer with %s, tells the browser, and asks the backend for nothing',
    async (_what, change) => {
      const running = logIn(context, options).catch((error: unknown) => error);
      const page = await comeBack(change);
      expect(page.status).toBe(400);
      expect(await running).toMatchObject({ code: 'KX_LOGIN_ANSWER_INVALID' });
      expect(backend.calls).toEqual([]);
    },
  );

  it('says that the person denied', async () => {
    const running = logIn(context, options).catch((error: unknown) => error);
    const page = await comeBack((params) => {
      params.delete('code');
      params.set('error', 'access_denied');
    });
    expect(await page.text()).toContain('was not logged in');
    expect(await running).toMatchObject({ code: 'KX_LOGIN_DENIED' });
  });

  it('gives up when the browser was closed', async () => {
    const running = loopbackLogin(context, { browser: false, timeoutMs: 50 });
    await expect(running).rejects.toMatchObject({ code: 'KX_LOGIN_NOT_FINISHED', spec: { exitCode: 77 } });
    const { params } = await pushed();
    await expect(fetch(params.redirect_uri ?? '')).rejects.toThrow('fetch failed');
  });

  it('ends at once with 130 when interrupted, and listens no more', async () => {
    const running = logIn(context, options).catch((error: unknown) => error);
    const { params } = await pushed();
    context.abort();
    expect(await running).toMatchObject({ name: 'Interrupted', exitCode: 130 });
    await expect(fetch(params.redirect_uri ?? '')).rejects.toThrow('fetch failed');
  });

  it('says 69 when the backend is away, and never opens anything', async () => {
    const away = createTestContext({ apiUrl: 'http://127.0.0.1:1' });
    await expect(logIn(away, options)).rejects.toMatchObject({
      code: 'KX_BACKEND_UNREACHABLE',
      spec: { exitCode: 69 },
    });
    expect(away.stderr()).not.toContain('open ');
    away.close();
  });

  it('says so when nothing can listen, and shares no port with another program', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const { port } = taken.address() as { port: number };
    await expect(listenForAnswer(() => null, port)).rejects.toMatchObject({
      code: 'KX_LOOPBACK_FAILED',
      why: expect.stringContaining('EADDRINUSE'),
      hint: expect.stringContaining('without --loopback'),
    });
    taken.close();
  });
});

const statusUnderHost = (port: number, host: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const asked = httpRequest({ port, host: '127.0.0.1', path: '/callback?code=0', headers: { host } });
    asked.once('response', (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    });
    asked.once('error', reject);
    asked.end();
  });
