import { createHash, randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createBrowser } from '../browser/browser.ts';
import { startUpstream, type Upstream } from './start-upstream.ts';

const redirectUri = 'http://127.0.0.1:9/callback';

interface Tokens {
  readonly status: number;
  readonly error?: string;
  readonly access_token: string;
  readonly refresh_token: string;
  readonly expires_in?: number;
}

describe('startUpstream', () => {
  let upstream: Upstream;
  beforeEach(async () => {
    upstream = await startUpstream({ redirectUris: [redirectUri] });
  });
  afterEach(() => upstream.stop());

  async function askToken(form: Readonly<Record<string, string>>): Promise<Tokens> {
    const basic = Buffer.from(`${upstream.clientId}:${upstream.clientSecret}`).toString('base64');
    const response = await fetch(upstream.tokenEndpoint, {
      method: 'POST',
      headers: { authorization: `Basic ${basic}` },
      body: new URLSearchParams(form),
    });
    return { status: response.status, ...((await response.json()) as Omit<Tokens, 'status'>) };
  }

  const refresh = (tokens: Tokens) =>
    askToken({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token });

  async function connect(): Promise<Tokens> {
    const verifier = randomBytes(32).toString('base64url');
    const query = new URLSearchParams({
      client_id: upstream.clientId,
      redirect_uri: redirectUri,
      response_type: 'code',
      scope: 'read write',
      state: 'abc',
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
    });
    const browser = createBrowser({ stopAt: redirectUri });
    const landed = await browser.open(`${upstream.authorizationEndpoint}?${query}`);
    const code = new URL(landed.url).searchParams.get('code') ?? '';
    return askToken({
      grant_type: 'authorization_code',
      code,
      redirect_uri: redirectUri,
      code_verifier: verifier,
    });
  }

  const callApi = (tokens: Tokens) =>
    fetch(upstream.apiUrl, { headers: { authorization: `Bearer ${tokens.access_token}` } });

  it('approves by itself and gives tokens that its API accepts', async () => {
    const tokens = await connect();

    const answer = await callApi(tokens);

    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ sub: 'upstream-user', scope: 'read write' });
    expect(tokens.expires_in).toBe(300);
    expect((await upstream.issuedTokens()).refreshTokens).toEqual([tokens.refresh_token]);
  });

  it('ends the old access token when a refresh token is used', async () => {
    const first = await connect();

    const second = await refresh(first);

    expect((await callApi(first)).status).toBe(401);
    expect((await callApi(second)).status).toBe(200);
    expect(await upstream.stats()).toMatchObject({ codeExchanges: 1, refreshes: 1 });
  });

  it('accepts a refresh token once, also when it is used five times at the same moment', async () => {
    const tokens = await connect();

    const answers = await Promise.all([1, 2, 3, 4, 5].map(() => refresh(tokens)));

    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(1);
    expect(answers.filter((answer) => answer.error === 'invalid_grant')).toHaveLength(4);
  });

  it('ends tokens on revocation (RFC 7009) and when everything is revoked', async () => {
    const one = await connect();
    const two = await connect();

    const basic = Buffer.from(`${upstream.clientId}:${upstream.clientSecret}`).toString('base64');
    const revocation = await fetch(upstream.revocationEndpoint, {
      method: 'POST',
      headers: { authorization: `Basic ${basic}` },
      body: new URLSearchParams({ token: one.refresh_token }),
    });
    const oneAfter = await callApi(one);
    await upstream.revokeAll();

    expect(revocation.status).toBe(200);
    expect(oneAfter.status).toBe(401);
    expect((await callApi(two)).status).toBe(401);
    expect((await refresh(two)).error).toBe('invalid_grant');
  });

  it.each([
    ['500', 500],
    ['429', 429],
    ['invalid_grant', 400],
  ] as const)('answers %s once when told so, then serves again', async (mode, status) => {
    const tokens = await connect();
    await upstream.setFault(mode, { count: 1 });

    const faulty = await refresh(tokens);
    const normal = await refresh(tokens);

    expect(faulty.status).toBe(status);
    expect(normal.status).toBe(200);
  });

  it('can spend a refresh token and lose the answer', async () => {
    const tokens = await connect();
    await upstream.setFault('lost-answer', { count: 1 });

    await expect(refresh(tokens)).rejects.toThrow();

    expect((await refresh(tokens)).error).toBe('invalid_grant');
  });

  it('can leave expires_in out', async () => {
    const tokens = await connect();
    await upstream.setFault('no-expires', { count: 1 });

    const refreshed = await refresh(tokens);

    expect(refreshed.expires_in).toBeUndefined();
    expect((await callApi(refreshed)).status).toBe(200);
  });

  it.each(['hang', 'slow-body'] as const)('never completes an answer in the mode %s', async (mode) => {
    await upstream.setFault(mode, { on: 'api' });

    const answer = fetch(upstream.apiUrl, { signal: AbortSignal.timeout(700) }).then((response) =>
      response.text(),
    );

    await expect(answer).rejects.toThrow();
  });

  it('takes new redirect URIs, another account and another life of tokens while it runs', async () => {
    await upstream.setSettings({ account: 'somebody-else', accessTokenTtlSeconds: 60 });

    const tokens = await connect();
    await upstream.setRedirectUris(['http://127.0.0.1:9/other']);

    expect(tokens.expires_in).toBe(60);
    expect(await (await callApi(tokens)).json()).toMatchObject({ sub: 'somebody-else' });
    await expect(connect()).resolves.toMatchObject({ status: 400 });
  });
});
