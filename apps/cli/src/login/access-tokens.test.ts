import { KontextError } from '@kontext/errors';
import { generateP256Jwk } from '@kontext/oauth';
import { Secret } from '@kontext/redaction';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openBackend } from '../rpc/open-backend.ts';
import { startTestBackend, type TestBackend } from '../rpc/test-backend.ts';
import { createTestContext, type TestContext } from '../test-context.ts';
import { createAccessTokens } from './access-tokens.ts';
import { loadLogin } from './load-login.ts';
import { logIn } from './log-in.ts';
import { encodeLogin, type Login, parseLogin } from './login-item.ts';
import { openSecretStore } from './open-secret-store.ts';
import type { SecretStore } from './secret-store.ts';

let backend: TestBackend;
let context: TestContext;

beforeEach(async () => {
  backend = await startTestBackend();
  context = createTestContext({ apiUrl: backend.url });
  (await logIn(context, { browser: false })).close();
});
afterEach(async () => {
  context.close();
  await backend.close();
});

const storedLogin = () => loadLogin(context.config, openSecretStore(context.config, context.terminal));
const makeTokens = async () =>
  createAccessTokens({
    config: context.config,
    login: await storedLogin(),
    store: openSecretStore(context.config, context.terminal),
  });

describe('access tokens', () => {
  it('are refreshed once for many callers, and kept while they live', async () => {
    const tokens = await makeTokens();
    const all = await Promise.all(Array.from({ length: 10 }, () => tokens.get()));
    await tokens.get();
    expect(new Set(all.map((t) => t.reveal())).size).toBe(1);
    expect(backend.oauth.refreshes).toHaveLength(1);
  });

  it('are refreshed again when less than 30 s are left', async () => {
    backend.oauth.expiresInSeconds = 20;
    const tokens = await makeTokens();
    await tokens.get();
    await tokens.get();
    expect(backend.oauth.refreshes).toHaveLength(2);
  });

  it('store a rotated refresh token before the new access token is used', async () => {
    backend.oauth.rotate = true;
    const before = await storedLogin();
    await (await makeTokens()).get();
    const after = await storedLogin();
    expect(after.refreshToken.reveal()).not.toBe(before.refreshToken.reveal());
    expect(after).toMatchObject({ sub: before.sub, policyKey: before.policyKey, jwk: before.jwk });
  });

  it('of twenty processes that refresh at once come from one refresh', async () => {
    let release: () => void = () => undefined;
    backend.oauth.hold = new Promise((resolve) => {
      release = resolve;
    });
    const all = await Promise.all(Array.from({ length: 20 }, makeTokens));
    const running = Promise.all(all.map((tokens) => tokens.get()));
    await expect.poll(() => backend.oauth.refreshes.length).toBe(1);
    // Everybody else has found the lock taken by then, and waits at the socket of whoever holds it.
    await new Promise((resolve) => setTimeout(resolve, 300));
    release();
    expect(new Set((await running).map((token) => token.reveal())).size).toBe(1);
    expect(backend.oauth.refreshes).toHaveLength(1);
  });

  it('are refreshed by each who waited when the one that refreshed failed', async () => {
    backend.oauth.refreshAnswers.push({ status: 503, body: '' });
    const [one, two] = [await makeTokens(), await makeTokens()];
    const answers = await Promise.allSettled([one.get(), two.get()]);
    expect(answers.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  it('survive two processes that refresh a rotating login at the same time', async () => {
    backend.oauth.rotate = true;
    const [one, two] = [await makeTokens(), await makeTokens()];
    const [a, b] = await Promise.all([one.get(), two.get()]);
    expect(a.reveal()).not.toBe('');
    expect(b.reveal()).not.toBe('');
  });

  it('take the newer stored login when another process has rotated it since', async () => {
    backend.oauth.rotate = true;
    const stale = await makeTokens();
    await (await makeTokens()).get();
    expect((await stale.get()).length).toBeGreaterThan(0);
  });

  it('answer with the nonce of the authorization server', async () => {
    backend.oauth.requireNonce = true;
    expect((await (await makeTokens()).get()).length).toBeGreaterThan(0);
  });

  it.each([
    [{ status: 400, body: { error: 'invalid_grant' } }, 'KX_LOGIN_EXPIRED'],
    [{ status: 401, body: { error: 'invalid_client' } }, 'KX_LOGIN_EXPIRED'],
    [{ status: 503, body: { error: 'temporarily_unavailable' } }, 'KX_TEMPORARY'],
    [{ status: 429, body: '' }, 'KX_RATE_LIMITED'],
    [{ status: 404, body: '<html>' }, 'KX_NOT_A_BACKEND'],
    [{ status: 200, body: '<html>' }, 'KX_NOT_A_BACKEND'],
  ])('turn %j into %s and keep the stored login', async (scripted, code) => {
    backend.oauth.refreshAnswers.push(scripted);
    await expect((await makeTokens()).get()).rejects.toMatchObject({ code });
    expect((await storedLogin()).sub).toBe('usr_1');
  });

  it.each([
    ['login_idle', 'KX_LOGIN_EXPIRED', '30 days', 'kontext login'],
    ['login_expired', 'KX_LOGIN_EXPIRED', '90 days', 'kontext login'],
    ['login_revoked', 'KX_LOGIN_REVOKED', 'logged it out from elsewhere', 'tell an administrator'],
    ['login_reused', 'KX_LOGIN_REVOKED', 'used again', 'tell an administrator'],
    ['account_suspended', 'KX_ACCOUNT_SUSPENDED', 'administrator', 'ask an administrator'],
    ['identity_provider_logout', 'KX_LOGIN_REVOKED', 'the identity provider ended', 'kontext login'],
    ['identity_provider_disabled', 'KX_ACCOUNT_NOT_VOUCHED', 'does not vouch', 'runs the identity provider'],
    ['identity_provider_removed', 'KX_LOGIN_REVOKED', 'through that identity provider', 'kontext login'],
    ['a_reason_of_a_newer_backend', 'KX_LOGIN_EXPIRED', '', 'kontext login'],
  ])('say what ended the login: %s is %s, exit code 77', async (reason, code, why, hint) => {
    const body = { error: 'invalid_grant', failure_reason: reason };
    backend.oauth.refreshAnswers.push({ status: 400, body });
    await expect((await makeTokens()).get()).rejects.toMatchObject({
      code,
      why: expect.stringContaining(why),
      hint: expect.stringContaining(hint),
      details: { failure_reason: reason },
      spec: { exitCode: 77 },
    });
    expect((await storedLogin()).sub).toBe('usr_1');
  });

  it('outlive a keyring that gets lost in mid-session, and store what it missed when it is back', async () => {
    backend.oauth.rotate = true;
    backend.oauth.expiresInSeconds = 20;
    const real = openSecretStore(context.config, context.terminal);
    let isLost = true;
    const fail = async (): Promise<never> => {
      throw new KontextError('KX_KEYRING_LOCKED', 'the OS keyring is locked');
    };
    const store: SecretStore = {
      ...real,
      get: (account) => (isLost ? fail() : real.get(account)),
      set: (account, value) => (isLost ? fail() : real.set(account, value)),
    };
    const before = await storedLogin();
    const tokens = createAccessTokens({ config: context.config, login: before, store });

    const [one, two] = [await tokens.get(), await tokens.get()];

    expect(one.reveal()).not.toBe(two.reveal());
    expect((await storedLogin()).refreshToken.reveal()).toBe(before.refreshToken.reveal());
    isLost = false;
    await tokens.get();
    expect((await storedLogin()).refreshToken.reveal()).toBe(tokens.login.refreshToken.reveal());
  });

  it('call a refused proof on a machine with a wrong clock what it is', async () => {
    backend.clockOffsetMs = 3_600_000;
    backend.oauth.refreshAnswers.push({ status: 400, body: { error: 'invalid_dpop_proof' } });
    await expect((await makeTokens()).get()).rejects.toMatchObject({ code: 'KX_CLOCK_SKEW' });
  });

  it('leave the login alone when the backend is gone: a network failure is no logout', async () => {
    const tokens = await makeTokens();
    await backend.close();
    await expect(tokens.get()).rejects.toMatchObject({ code: 'KX_BACKEND_UNREACHABLE' });
    expect((await storedLogin()).sub).toBe('usr_1');
    backend = await startTestBackend();
  });
});

describe('calls', () => {
  const call = async () => {
    const opened = await openBackend(context);
    try {
      return await (await opened.connect()).organisation.getCaller({});
    } finally {
      opened.close();
    }
  };

  it('are signed with the login', async () => {
    expect((await call()).userName).toBe('usr_1@example.com');
  });

  it('are repeated with the nonce of the backend when the clock of this machine is wrong', async () => {
    backend.clockOffsetMs = -7_200_000;
    backend.oauth.requireNonce = true;
    expect((await call()).userId).toBe('usr_1');
  });

  it('refresh the token once when the backend refuses it, then give up', async () => {
    backend.refuseWith = 'KX_UNAUTHENTICATED';
    await expect(call()).rejects.toMatchObject({ code: 'KX_UNAUTHENTICATED' });
    expect(backend.oauth.refreshes).toHaveLength(2);
  });

  it('name the clock when a backend with another time refuses the login', async () => {
    backend.clockOffsetMs = 3_600_000;
    backend.oauth.requireNonce = true;
    backend.refuseWith = 'KX_UNAUTHENTICATED';
    await expect(call()).rejects.toMatchObject({
      code: 'KX_CLOCK_SKEW',
      why: expect.stringContaining('behind'),
    });
  });

  it('without a login say so before anything is sent', async () => {
    const other = createTestContext({ apiUrl: backend.url });
    await expect(openBackend(other)).rejects.toMatchObject({ code: 'KX_NOT_LOGGED_IN' });
    other.close();
  });
});

describe('the stored login', () => {
  const login: Login = {
    refreshToken: new Secret('r'.repeat(43)),
    jwk: generateP256Jwk(),
    iss: 'https://kontext.example.com/oauth',
    sub: 'usr_0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b',
    name: 'a very long name '.repeat(40),
    org: 'org_0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b',
    policyKey: 'k'.repeat(43),
  };

  it('stays under 1,200 characters and comes back as it was', () => {
    const text = encodeLogin(login);
    expect(text.length).toBeLessThan(1_200);
    const back = parseLogin(text);
    expect(back.refreshToken.reveal()).toBe(login.refreshToken.reveal());
    expect(back.jwk).toEqual(login.jwk);
  });

  it('is refused when it would not fit into every keyring', () => {
    expect(() => encodeLogin({ ...login, refreshToken: new Secret('r'.repeat(1_200)) })).toThrow(
      expect.objectContaining({ code: 'KX_KEYRING_ITEM_INVALID' }),
    );
  });

  it.each(['', '{', '[]', 'null', '{"v":2}', '{"v":1,"refreshToken":"x","jwk":{}}'])(
    'is refused when it is %j, without showing it',
    (text) => {
      expect(() => parseLogin(text)).toThrow(expect.objectContaining({ code: 'KX_KEYRING_ITEM_INVALID' }));
    },
  );
});
