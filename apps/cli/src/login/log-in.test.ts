import { readdirSync, readFileSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { OrganisationService } from '@kontext/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestBackend, type TestBackend } from '../rpc/test-backend.ts';
import { createTestContext, type TestContext, type TestContextOptions } from '../test-context.ts';
import { loadLogin } from './load-login.ts';
import { logIn } from './log-in.ts';
import { encodeLogin } from './login-item.ts';
import { openSecretStore } from './open-secret-store.ts';

let backend: TestBackend;
let contexts: TestContext[] = [];
const makeContext = (options: TestContextOptions = {}) => {
  const context = createTestContext({ apiUrl: backend.url, ...options });
  contexts.push(context);
  return context;
};
const login = async (context: TestContext) => (await logIn(context, { browser: false })).close();

beforeEach(async () => {
  backend = await startTestBackend();
});
afterEach(async () => {
  for (const context of contexts) context.close();
  contexts = [];
  await backend.close();
});

describe('login', () => {
  it('shows URL and code, waits, and stores a login bound to its key and pinned to account and policy key', async () => {
    backend.oauth.deviceAnswers.push({ status: 400, body: { error: 'authorization_pending' } }, 'tokens');
    const context = makeContext();

    await login(context);

    expect(context.stderr()).toContain(`open ${backend.url}/activate and enter the code BCDF-GHJK`);
    expect(context.stderr()).toContain('logged in as usr_1@example.com');
    expect(context.stdout()).toBe('');
    const [file] = readdirSync(join(context.config.configDir, 'secrets'));
    const path = join(context.config.configDir, 'secrets', file!);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(context.config.configDir, 'secrets')).mode & 0o777).toBe(0o700);
    const item = JSON.parse(JSON.parse(readFileSync(path, 'utf8')).value);
    expect(Object.keys(item).sort()).toEqual([
      'iss',
      'jwk',
      'name',
      'org',
      'policyKey',
      'refreshToken',
      'sub',
      'v',
    ]);
    expect(item).toMatchObject({ v: 1, sub: 'usr_1', org: 'org_1', policyKey: 'thumbprint' });
  });

  it('tells the approval page the name of this machine', async () => {
    await login(makeContext());
    expect(backend.oauth.userAgents[0]).toMatch(/^kontext\/\S+ \(/);
    expect(backend.oauth.userAgents[0]).toContain(hostname());
  });

  it('announces a plain file every time it is used', async () => {
    const context = makeContext();
    await login(context);
    expect(context.stderr()).toContain('warning: the login is kept in a plain file');
  });

  it('waits longer when the backend says slow_down', async () => {
    backend.oauth.deviceAnswers.push({ status: 400, body: { error: 'slow_down' } });
    const startedAt = Date.now();
    await login(makeContext());
    // 5 s are added to the interval (RFC 8628 §3.5); a timer may be a little early
    expect(Date.now() - startedAt).toBeGreaterThan(4_900);
  });

  it('repeats the token request with the nonce the backend asks for', async () => {
    backend.oauth.requireNonce = true;
    await login(makeContext());
    expect(backend.calls).toContain('/kontext.v1.OrganisationService/GetCaller');
  });

  it('works on a machine whose clock is an hour behind the backend', async () => {
    backend.clockOffsetMs = 3_600_000;
    await login(makeContext());
    expect(backend.calls).toContain('/kontext.v1.OrganisationService/GetCaller');
  });

  it.each([
    ['access_denied', 'KX_LOGIN_DENIED'],
    ['expired_token', 'KX_DEVICE_CODE_EXPIRED'],
    ['invalid_client', 'KX_NOT_A_BACKEND'],
  ])('turns %s into %s and stores nothing', async (error, code) => {
    backend.oauth.deviceAnswers.push({ status: 400, body: { error } });
    const context = makeContext();
    await expect(login(context)).rejects.toMatchObject({ code });
    expect(readdirSync(join(context.config.configDir, 'secrets'))).toEqual([]);
  });

  it('counts down on a terminal while it waits, and nowhere else', async () => {
    backend.oauth.interval = 30;
    for (const tty of [true, false]) {
      const context = makeContext({ tty });
      const running = login(context).catch(() => undefined);
      await expect.poll(() => context.stderr()).toContain('enter the code');
      if (tty) await expect.poll(() => context.stderr()).toMatch(/waiting for approval, (10:00|9:59) left/);
      else expect(context.stderr()).not.toContain('waiting for approval');
      context.abort();
      await running;
    }
  });

  it('ends at once with 130 when interrupted while waiting', async () => {
    backend.oauth.interval = 30;
    const context = makeContext();
    const running = login(context);
    await expect.poll(() => context.stderr()).toContain('enter the code');
    context.abort();
    await expect(running).rejects.toMatchObject({ name: 'Interrupted', exitCode: 130 });
  });

  it('stops when another account logs in, names both, keeps the first and revokes the second', async () => {
    const first = makeContext();
    await login(first);
    backend.oauth.userId = 'usr_2';
    const second = makeContext({ home: first.home });

    await expect(login(second)).rejects.toMatchObject({
      code: 'KX_LOGIN_OTHER_ACCOUNT',
      message: expect.stringContaining('usr_2@example.com'),
      why: expect.stringContaining('usr_1@example.com'),
    });

    expect(backend.oauth.revoked).toHaveLength(1);
    const [file] = readdirSync(join(first.config.configDir, 'secrets'));
    expect(readFileSync(join(first.config.configDir, 'secrets', file!), 'utf8')).toContain('usr_1');
  });

  it('pins the key of the audit log, and stops when a later login is told another one', async () => {
    let auditLogKey = 'kontext.test/org_1+00000000+AQ==';
    await backend.close();
    backend = await startTestBackend((router) =>
      router.rpc(OrganisationService.method.getCaller, () => ({
        ...{ userId: 'usr_1', userName: 'usr_1', orgId: 'org_1', policyKeyThumbprint: 'thumbprint' },
        auditLogKey,
      })),
    );
    const first = makeContext();
    await login(first);
    const store = openSecretStore(first.config, first.terminal);
    expect((await loadLogin(first.config, store)).logKey).toBe(auditLogKey);

    auditLogKey = 'kontext.test/org_1+11111111+AQ==';
    await expect(login(makeContext({ home: first.home }))).rejects.toMatchObject({
      code: 'KX_SERVER_KEY_CHANGED',
      message: expect.stringContaining('audit log'),
      why: expect.stringContaining('00000000'),
    });
    expect((await loadLogin(first.config, store)).logKey).toContain('00000000');

    auditLogKey = `${'x'.repeat(300)}/org_1+00000000+AQ==`;
    const other = makeContext();
    await login(other);
    expect(await loadLogin(other.config, openSecretStore(other.config, other.terminal))).not.toHaveProperty(
      'logKey',
    );
  });

  it('stops when the backend signs policy with another key than at the last login, and keeps the pinned one', async () => {
    const first = makeContext();
    await login(first);
    const store = openSecretStore(first.config, first.terminal);
    const stored = await loadLogin(first.config, store);
    await store.set(backend.url, encodeLogin({ ...stored, policyKey: 'pinned-before' }));

    await expect(login(makeContext({ home: first.home }))).rejects.toMatchObject({
      code: 'KX_SERVER_KEY_CHANGED',
      why: expect.stringContaining('pinned-before'),
      hint: expect.stringContaining('kontext logout'),
      spec: { exitCode: 77 },
    });

    expect(backend.oauth.revoked).toHaveLength(1);
    expect((await loadLogin(first.config, store)).policyKey).toBe('pinned-before');
  });

  it('hints at the organisation on the login page', async () => {
    const context = makeContext();
    (await logIn(context, { browser: false, org: 'acme & sons' })).close();
    expect(context.stderr()).toContain('organisation=acme+%26+sons');
  });

  it('lets the same account log in again', async () => {
    const context = makeContext();
    await login(context);
    await login(makeContext({ home: context.home }));
    expect(backend.oauth.revoked).toEqual([]);
  });

  it('stops before the device flow when the keyring cannot be used', async () => {
    const context = makeContext({
      env: { KONTEXT_LOGIN_STORE: 'keyring', DBUS_SESSION_BUS_ADDRESS: 'unix:path=/nonexistent/bus' },
    });
    await expect(login(context)).rejects.toMatchObject({ code: 'KX_KEYRING_UNAVAILABLE' });
    expect(backend.oauth.userAgents).toEqual([]);
  });
});
