import { KontextError } from '@kontext/errors';
import { describe, expect, test } from 'vitest';
import { createOAuth2Client } from './oauth2.ts';
import type { OAuth2Provider } from './oauth2-configuration.ts';
import type { SafeAnswer, SafeRequest } from './safe-fetch.ts';

const provider: OAuth2Provider = {
  ...{ name: 'acme', authorizationEndpoint: 'https://idp.example/auth?tenant=1' },
  ...{ tokenEndpoint: 'https://idp.example/token', revocationEndpoint: 'https://idp.example/revoke' },
  ...{ clientId: 'client id', clientSecret: 's:e cret', clientAuth: 'client_secret_basic' },
};
const nowMs = 1_700_000_000_000;

/** A client whose provider answers what the test says; the wall we do not own. */
const clientOf = (status: number, body: unknown, change: Partial<OAuth2Provider> = {}, headers = {}) => {
  const sent: { url: string; request: SafeRequest }[] = [];
  const fetch = async (url: string, request: SafeRequest): Promise<SafeAnswer> => {
    sent.push({ url, request });
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    return { status, headers: { 'content-type': 'application/json', ...headers }, body: Buffer.from(text) };
  };
  return { client: createOAuth2Client({ ...provider, ...change }, { fetch, nowMs: () => nowMs }), sent };
};
const tokens = {
  access_token: 'at',
  token_type: 'bearer',
  expires_in: 3600,
  refresh_token: 'rt',
  scope: 'a b',
};

describe('a generic OAuth 2.0 provider', () => {
  test('the authorization request keeps the query of the endpoint and carries PKCE and state', async () => {
    const { client } = clientOf(200, {});
    const request = { redirectUri: 'https://us.example/cb', state: 's', codeVerifier: 'v'.repeat(43) };
    const url = new URL(await client.authorizationUrl({ ...request, scopes: ['a', 'b'] }));
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      ...{ tenant: '1', client_id: 'client id', response_type: 'code', scope: 'a b', state: 's' },
      ...{ redirect_uri: 'https://us.example/cb', code_challenge_method: 'S256' },
    });
    const bare = new URL(await client.authorizationUrl({ ...request, scopes: [] }));
    expect(bare.searchParams.has('scope')).toBe(false);
  });

  test('expiry is counted from the moment the answer arrived', async () => {
    expect(await clientOf(200, tokens).client.refresh('old')).toEqual({
      ...{ accessToken: 'at', refreshToken: 'rt', receivedAtMs: nowMs, expiresAtMs: nowMs + 3_600_000 },
      ...{ scopes: ['a', 'b'], account: null },
    });
  });

  // Stored and recorded as they come, they made the database refuse the refresh whose token the provider had rotated.
  test('scopes, lives and accounts that cannot be stored do not cost the tokens beside them', async () => {
    const idToken = `x.${Buffer.from(JSON.stringify({ iss: 'i', sub: 'a\0b' })).toString('base64url')}.y`;
    const many = Array.from({ length: 5000 }, (_, i) => `s${i}`).join(' ');
    const scope = `a b\0 ${'x'.repeat(300)} ${many}`;
    const answer = { ...tokens, expires_in: 1e300, scope, id_token: idToken };
    const issued = await clientOf(200, answer).client.refresh('old');
    expect(issued.refreshToken).toBe('rt');
    expect(new Date(issued.expiresAtMs ?? 0).toISOString()).toMatch(/^20\d\d-/);
    expect(issued.scopes).toHaveLength(100);
    expect(issued.scopes?.slice(0, 2)).toEqual(['a', 's0']);
    expect(issued.account).toBeNull();
  });

  test.each(['a\0b', 'two\nlines', 'x'.repeat(70_000)])(
    'an access token no environment can hold is no answer',
    async (at) => {
      const { client } = clientOf(200, { ...tokens, access_token: at });
      await expect(client.refresh('old')).rejects.toMatchObject({
        ...{ code: 'KX_PROVIDER_UNREACHABLE', details: { reason: 'answer' } },
      });
    },
  );

  test.each(['refresh token rt-secret-value is unknown', 'rt-secret-value', 'unknown:rt-secret-value'])(
    'an error that repeats what was sent is not repeated: %s',
    async (error) => {
      const { client } = clientOf(400, { error, error_description: 'rt-secret-value' });
      const calls = [
        () => client.refresh('rt-secret-value'),
        () => client.revoke('rt-secret-value', 'refresh_token'),
      ];
      for (const call of calls) {
        const thrown = await call().catch((caught: unknown) => caught);
        if (!(thrown instanceof KontextError)) throw thrown;
        const { message, why, details } = thrown;
        expect(JSON.stringify({ message, why, details })).not.toContain('rt-secret-value');
        expect(why).toBe('it answered an error without a name');
      }
    },
  );

  test('what is missing is unknown', async () => {
    const { client } = clientOf(200, { access_token: 'at', token_type: 'Bearer' });
    const issued = await client.refresh('old');
    expect(issued).toMatchObject({ refreshToken: null, expiresAtMs: null, scopes: null });
  });

  test.each([
    ['client_secret_basic', `Basic ${Buffer.from('client+id:s%3Ae+cret').toString('base64')}`, null],
    ['client_secret_post', undefined, 's:e cret'],
    ['none', undefined, null],
  ] as const)('authenticates by %s', async (clientAuth, authorization, secret) => {
    const { client, sent } = clientOf(200, tokens, { clientAuth });
    await client.refresh('old');
    const [call] = sent;
    expect(call?.request.headers?.authorization).toBe(authorization);
    expect(new URLSearchParams(call?.request.body).get('client_secret')).toBe(secret);
  });

  test('an ID token of whatever issuer does not matter, its subject is kept', async () => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const idToken = `${part({ alg: 'none' })}.${part({ iss: 'https://other.example', sub: '42' })}.`;
    const { client } = clientOf(200, { ...tokens, id_token: idToken });
    const issued = await client.exchangeCode('code', 'v'.repeat(43), 'https://us.example/cb');
    expect(issued.account).toBe('https://other.example#42');
  });

  test.each([
    [400, { error: 'invalid_grant' }],
    [401, { error: 'invalid_grant' }],
    [200, { error: 'bad_refresh_token', error_description: 'x' }],
    [200, { ok: false, error: 'invalid_refresh_token' }],
  ])('a refresh answered %i %j wants the user again', async (status, body) => {
    const refreshed = clientOf(status, body).client.refresh('old');
    await expect(refreshed).rejects.toMatchObject({ code: 'KX_CONNECTION_REAUTH_REQUIRED' });
  });

  test.each([
    [500, 'oops', 'status'],
    [503, { error: 'invalid_grant' }, 'status'],
    [429, { error: 'slow_down' }, 'status'],
    [200, '<html>', 'answer'],
    [200, '[]', 'answer'],
    [200, {}, 'answer'],
    [200, { access_token: 7, token_type: 'bearer' }, 'answer'],
    [200, '', 'answer'],
    [404, 'not found', 'answer'],
  ])('an answer of %i %j is transient', async (status, body, reason) => {
    const refreshed = clientOf(status, body).client.refresh('old');
    await expect(refreshed).rejects.toMatchObject({ code: 'KX_PROVIDER_UNREACHABLE', details: { reason } });
  });

  test('Retry-After of a busy provider is passed on, nonsense is not', async () => {
    const seconds = async (value: string) => {
      const { client } = clientOf(429, {}, {}, { 'retry-after': value });
      const error = await client.refresh('old').catch((thrown: unknown) => thrown);
      return (error as { details: Record<string, unknown> }).details.retry_after_seconds;
    };
    expect(await seconds('7')).toBe(7);
    expect(await seconds('999999')).toBe(3600);
    expect(await seconds('Wed, 21 Oct 2026 07:28:00 GMT')).toBeUndefined();
  });

  test('a refusal of the client is told apart from one of the grant, and a code that is refused is final', async () => {
    const wrongSecret = clientOf(401, { error: 'invalid_client' }).client.refresh('old');
    await expect(wrongSecret).rejects.toMatchObject({ code: 'KX_CONNECT_FAILED' });
    const wrongCode = clientOf(400, { error: 'invalid_grant' }).client.exchangeCode(
      'c',
      'v'.repeat(43),
      'https://u/',
    );
    await expect(wrongCode).rejects.toMatchObject({ code: 'KX_CONNECT_FAILED' });
  });

  test('no error carries what the provider sent', async () => {
    const leaky = {
      error: 'invalid_grant',
      error_description: 'token rt-secret',
      access_token_hint: 'at-secret',
    };
    for (const body of [leaky, { access_token: 'at-secret', token_type: 7 }, 'at-secret']) {
      const error = (await clientOf(400, body)
        .client.refresh('rt-secret')
        .catch((thrown: unknown) => thrown)) as Error & { details: unknown; why: string };
      expect(error.cause).toBeUndefined();
      expect(`${error.message}${error.why}${JSON.stringify(error.details)}`).not.toMatch(/secret/);
    }
  });

  test('revocation names the token and its kind (RFC 7009 §2.1)', async () => {
    const { client, sent } = clientOf(200, '');
    await client.revoke('rt', 'refresh_token');
    expect(sent[0]?.url).toBe('https://idp.example/revoke');
    const params = new URLSearchParams(sent[0]?.request.body);
    expect([params.get('token'), params.get('token_type_hint')]).toEqual(['rt', 'refresh_token']);
    await expect(clientOf(503, '').client.revoke('rt', 'refresh_token')).rejects.toMatchObject({
      code: 'KX_PROVIDER_UNREACHABLE',
    });
  });
});
