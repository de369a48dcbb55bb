import { generateKeyPairSync } from 'node:crypto';
import { Secret } from '@kontext/redaction';
import { type StandIn, standInProfiles, startStandIn } from '@kontext/testkit';
import { decodeProtectedHeader, jwtVerify } from 'jose';
import { afterEach, describe, expect, test } from 'vitest';
import { narrowByScopes, narrowToken } from '../narrow-token.ts';
import { createOAuth2Client, type OAuth2Client } from '../oauth2.ts';
import { quirksOf } from '../quirks-of.ts';
import { createSafeFetch } from '../safe-fetch.ts';
import { settingsSchemas } from '../settings.ts';
import { testToken } from '../try-token.ts';
import { catalogue, endpointsOf, findEntry, placesOf } from './catalogue.ts';

const deps = { fetch: createSafeFetch({ allowLoopback: true }), nowMs: Date.now };
const redirectUri = 'https://us.example/connect/callback/x';
const codeVerifier = 'v'.repeat(43);

let standIn: StandIn;
afterEach(() => standIn?.close());

/** A catalogue entry whose service is a stand-in. */
async function open(id: string, profile: keyof typeof standInProfiles, settings: object = {}) {
  standIn = await startStandIn(standInProfiles[profile]);
  const { url, clientId, clientSecret } = standIn;
  const entry = findEntry(id);
  if (entry === null) throw new Error(`no entry ${id}`);
  const row = { catalogueId: id, clientId, issuer: '', settings: JSON.stringify({ base: url, ...settings }) };
  const provider = {
    ...{ ...row, name: id, clientSecret, clientAuth: entry.clientAuth, quirks: quirksOf(row) },
    ...endpointsOf(entry, placesOf(entry, { base: url })),
  };
  return { entry, provider, client: createOAuth2Client(provider, deps) };
}

/** Walks the authorization request as a browser would. */
async function connect(client: OAuth2Client, scopes: readonly string[]) {
  const url = await client.authorizationUrl({ redirectUri, state: 's', codeVerifier, scopes });
  const answer = await fetch(url, { redirect: 'manual' });
  const back = new URL(answer.headers.get('location') ?? '');
  expect(back.searchParams.get('error')).toBeNull();
  return client.exchangeCode(back.searchParams.get('code') ?? '', codeVerifier, redirectUri);
}

describe('the catalogue', () => {
  test('every entry can be named in a placeholder, and its settings pass their own schema', () => {
    const ids = catalogue.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const entry of catalogue) {
      expect(entry.id).toMatch(/^[a-z0-9][a-z0-9-]{0,62}$/);
      expect(entry.placeholder.startsWith(`{{kontext:${entry.id}`)).toBe(true);
      expect(entry.label).not.toContain('live');
      for (const name of entry.variables) expect(name).toMatch(/^[A-Z][A-Z0-9_]*$/);
      expect(settingsSchemas[entry.kind].safeParse(entry.settings).error?.issues).toBeUndefined();
    }
  });

  test('every OAuth entry has https endpoints on its own, and none of the public ones once its base is set', () => {
    for (const entry of catalogue.filter(({ kind }) => kind === 'oauth2')) {
      const own = endpointsOf(entry, placesOf(entry, {}));
      expect(new URL(own.authorizationEndpoint).protocol).toBe('https:');
      expect(new URL(own.tokenEndpoint).protocol).toBe('https:');
      const base = 'https://git.example.com/sub/';
      const settings = JSON.stringify({ base });
      const moved = { catalogueId: entry.id, clientId: 'a b', issuer: '', settings };
      const quirks = quirksOf(moved);
      const addresses = [
        ...Object.values(endpointsOf(entry, placesOf(entry, { base }))),
        ...[quirks.revocationUrl, quirks.narrowUrl, quirks.whoAmI?.url ?? ''],
      ].filter((url) => url !== '');
      for (const url of addresses) {
        expect(url.startsWith('https://git.example.com/sub/')).toBe(true);
        expect(url).not.toMatch(/[{}]|sub\/\//);
      }
    }
  });

  test('every OAuth entry has a stand-in', () => {
    const ids = catalogue.filter(({ kind }) => kind === 'oauth2').map(({ id }) => id);
    expect(Object.keys(standInProfiles)).toEqual(expect.arrayContaining(ids));
  });
});

const hour = 3_600_000;

describe('each entry against its stand-in: connect, test, refresh, revoke', () => {
  test.each([
    ['github', 'github', null, 'octocat', ['repo', 'read:org']],
    ['github-app-user', 'github-app-user', 8 * hour, 'octocat', null],
    ['gitlab', 'gitlab', 2 * hour, '42', ['api']],
    ['linear', 'linear', 24 * hour, 'lin-octocat', ['read']],
    ['slack', 'slack', 12 * hour, 'T1/U9', ['chat:write', 'channels:read']],
    ['slack', 'slack-user', 12 * hour, 'T1/U9', ['chat:write', 'channels:read']],
    ['google', 'google', 3_599_000, '1234', ['openid', 'email']],
    ['notion', 'notion', null, 'b1', null],
    ['atlassian', 'atlassian', hour, 'a-octocat', ['offline_access', 'read:me', 'read:jira-work']],
  ] as const)('%s (%s)', async (id, profile, lifeMs, account, scopes) => {
    const { entry, client, provider } = await open(
      id,
      profile,
      profile === 'slack-user' ? { tokenOf: 'user' } : {},
    );
    const first = await connect(client, entry.scopes);
    const left = first.expiresAtMs === null ? null : first.expiresAtMs - first.receivedAtMs;
    expect(left).toBe(lifeMs);
    expect(standIn.isLive(first.accessToken)).toBe(true);
    if (scopes !== null && first.scopes !== null) expect(first.scopes).toEqual(scopes);
    const tested = await testToken(provider, deps, new Secret(first.accessToken));
    expect(tested).toMatchObject({ works: true, account });
    let last = first;
    if (first.refreshToken !== null) {
      last = await client.refresh(first.refreshToken);
      expect(standIn.isLive(last.accessToken)).toBe(true);
      expect(standIn.isLive(first.accessToken)).toBe(provider.quirks.refresh !== 'ends-old-token');
      expect(last.refreshToken === null).toBe(provider.quirks.refresh === 'stable');
    }
    expect(client.canRevoke).toBe(id !== 'atlassian');
    if (!client.canRevoke) return;
    await client.revokeGrant({ ...last, refreshToken: last.refreshToken ?? first.refreshToken });
    expect(standIn.isLive(last.accessToken)).toBe(false);
    expect(await testToken(provider, deps, new Secret(last.accessToken))).toMatchObject({ works: false });
    // Once more: what is gone already is no failure.
    await client.revokeGrant({ ...last, refreshToken: last.refreshToken ?? first.refreshToken });
  });
});

describe('what each of them does differently', () => {
  test('a refresh of a GitHub App user token or of GitLab ends the token before it', async () => {
    for (const id of ['github-app-user', 'gitlab'] as const) {
      const { client, provider } = await open(id, id);
      const first = await connect(client, ['api']);
      await client.refresh(first.refreshToken ?? '');
      expect(standIn.isLive(first.accessToken)).toBe(false);
      const again = client.refresh(first.refreshToken ?? '');
      await expect(again).rejects.toMatchObject({ code: 'KX_CONNECTION_REAUTH_REQUIRED' });
      await standIn.close();
      expect(provider.quirks.refreshBeforeSeconds).toBe(id === 'gitlab' ? null : 1800);
    }
  });

  test('a used refresh token of Slack, an error with status 200, means the user has to come again', async () => {
    const { client } = await open('slack', 'slack');
    const first = await connect(client, ['chat:write']);
    await client.refresh(first.refreshToken ?? '');
    const again = client.refresh(first.refreshToken ?? '');
    await expect(again).rejects.toMatchObject({ code: 'KX_CONNECTION_REAUTH_REQUIRED' });
  });

  test.each(['ratelimited', 'internal_error', 'fatal_error', 'service_unavailable'])(
    'an error %s of Slack with status 200 passes',
    async (error) => {
      const { client } = await open('slack', 'slack');
      const first = await connect(client, ['chat:write']);
      standIn.answerNext({ status: 200, body: { ok: false, error } });
      await expect(client.refresh(first.refreshToken ?? '')).rejects.toMatchObject({
        code: 'KX_PROVIDER_UNREACHABLE',
      });
      expect((await client.refresh(first.refreshToken ?? '')).accessToken).not.toBe('');
    },
  );

  test('a Slack user is asked for by their own scopes, and told apart by team and user', async () => {
    const { client } = await open('slack', 'slack-user', { tokenOf: 'user' });
    const first = await connect(client, ['search:read', 'users:read']);
    const [asked] = standIn.authorizations;
    expect(asked?.get('user_scope')).toBe('search:read,users:read');
    expect(asked?.has('scope')).toBe(false);
    expect(first).toMatchObject({ account: 'T1/U1', scopes: ['search:read', 'users:read'] });
  });

  test('scopes go to Linear with commas, and come back as a list', async () => {
    const { client } = await open('linear', 'linear');
    const first = await connect(client, ['read', 'issues:create']);
    expect(standIn.authorizations[0]?.get('scope')).toBe('read,issues:create');
    expect(first.scopes).toEqual(['read', 'issues:create']);
  });

  test('Google gives a refresh token because it is asked offline with consent; it stays the same', async () => {
    const { client } = await open('google', 'google');
    const first = await connect(client, ['openid']);
    expect(first.refreshToken).not.toBeNull();
    const query = standIn.authorizations[0];
    expect(query?.get('include_granted_scopes')).toBe('true');
    expect((await client.refresh(first.refreshToken ?? '')).refreshToken).toBeNull();
    expect((await client.refresh(first.refreshToken ?? '')).accessToken).not.toBe(first.accessToken);
  });

  test('Notion takes JSON, says no expiry and has a refresh token all the same; what is null is not there', async () => {
    const { client } = await open('notion', 'notion');
    const first = await connect(client, []);
    expect(first).toMatchObject({ expiresAtMs: null, account: 'w1/b1' });
    expect((await client.refresh(first.refreshToken ?? '')).expiresAtMs).toBeNull();
  });

  test('a refresh token of Atlassian that was used works within its leeway', async () => {
    const { client } = await open('atlassian', 'atlassian');
    const first = await connect(client, ['offline_access']);
    await client.refresh(first.refreshToken ?? '');
    expect((await client.refresh(first.refreshToken ?? '')).accessToken).not.toBe('');
    expect(standIn.authorizations[0]?.get('audience')).toBe('api.atlassian.com');
  });

  test('the secondary limit of GitHub (403 with Retry-After) is a pause, not a refusal', async () => {
    const { client } = await open('github-app-user', 'github-app-user');
    const first = await connect(client, []);
    const limited = {
      status: 403,
      headers: { 'retry-after': '7' },
      body: { message: 'secondary rate limit' },
    };
    standIn.answerNext(limited);
    await expect(client.refresh(first.refreshToken ?? '')).rejects.toMatchObject({
      ...{ code: 'KX_PROVIDER_UNREACHABLE', details: { retry_after_seconds: 7 } },
    });
    standIn.answerNext(limited);
    await expect(client.whoAmI(first.accessToken)).rejects.toMatchObject({ code: 'KX_PROVIDER_UNREACHABLE' });
  });

  test('a wrong secret is a refusal of the client, also where GitHub says so with status 200', async () => {
    const { provider } = await open('github', 'github');
    const client = createOAuth2Client({ ...provider, clientSecret: 'wrong' }, deps);
    await expect(connect(client, [])).rejects.toMatchObject({
      ...{ code: 'KX_CONNECT_FAILED', details: { provider_error: 'incorrect_client_credentials' } },
    });
  });
});

test('basic authentication leaves a client id readable for a provider that does not decode it', async () => {
  const { client } = await open('notion', 'notion');
  expect(standIn.clientId).toContain('-');
  expect((await connect(client, [])).accessToken).not.toBe('');
});

describe('narrowing a GitHub App user token', () => {
  const narrowing = { target: 'acme', repositories: ['app'], permissions: { contents: 'write' as const } };

  test('gives another token for these repositories and permissions alone', async () => {
    const { client, provider } = await open('github-app-user', 'github-app-user');
    const { accessToken } = await connect(client, []);
    const wanted = narrowByScopes(narrowing, ['contents:read']);
    const narrow = await narrowToken(deps, provider.quirks.narrowUrl, { ...provider, accessToken }, wanted);
    expect(narrow.accessToken).not.toBe(accessToken);
    expect(standIn.isLive(narrow.accessToken)).toBe(true);
    expect(narrow.expiresAtMs).toBeGreaterThan(Date.now());
    // Taken back by itself; the user's own token stays.
    await client.revokeGrant({ accessToken: narrow.accessToken, refreshToken: null });
    expect([standIn.isLive(narrow.accessToken), standIn.isLive(accessToken)]).toEqual([false, true]);
  });

  test.each([
    ['contents:admin'],
    ['issues:read'],
    ['contents'],
    ['contents:'],
    ['contents:sudo'],
    ['../x:read'],
  ])('refuses the scope %s, which the settings do not give', (scope) => {
    expect(() => narrowByScopes(narrowing, [scope])).toThrowError(
      expect.objectContaining({ code: 'KX_SCOPE_EXCEEDED' }),
    );
  });

  test('tells a refusal, a dead token and nonsense apart', async () => {
    const { client, provider } = await open('github-app-user', 'github-app-user');
    const { accessToken } = await connect(client, []);
    const narrow = (change: object, token = accessToken) =>
      narrowToken(
        deps,
        provider.quirks.narrowUrl,
        { ...provider, accessToken: token },
        { ...narrowing, ...change },
      );
    await expect(narrow({ target: 'other' })).rejects.toMatchObject({ code: 'KX_SCOPE_EXCEEDED' });
    await expect(narrow({}, 'dead')).rejects.toMatchObject({ code: 'KX_CONNECTION_REAUTH_REQUIRED' });
    standIn.answerNext({ status: 200, body: { token: 'two\nlines' } });
    await expect(narrow({})).rejects.toMatchObject({ code: 'KX_PROVIDER_UNREACHABLE' });
  });
});

describe('private_key_jwt', () => {
  test.each([
    ['rsa', 'RS256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
    ['ec', 'ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
    ['ed25519', 'Ed25519', generateKeyPairSync('ed25519')],
  ] as const)(
    'proves the client with a signed assertion of a key of the kind %s (RFC 7523 §3)',
    async (_, alg, pair) => {
      const bodies: URLSearchParams[] = [];
      const pem = String(pair.privateKey.export({ type: 'pkcs8', format: 'pem' }));
      const tokenEndpoint = 'https://id.example/token';
      const ask = async (issuer: string, settings: string) => {
        const row = { catalogueId: '', clientId: 'client', issuer, settings };
        const client = createOAuth2Client(
          {
            ...{ name: 'acme', authorizationEndpoint: 'https://id.example/a', tokenEndpoint },
            ...{ revocationEndpoint: '', clientSecret: pem, clientAuth: 'private_key_jwt' },
            ...{ ...row, quirks: quirksOf(row) },
          },
          {
            nowMs: Date.now,
            fetch: async (_url, { body }) => {
              bodies.push(new URLSearchParams(body));
              const answer = Buffer.from('{"access_token":"at","token_type":"bearer"}');
              return { status: 200, headers: { 'content-type': 'application/json' }, body: answer };
            },
          },
        );
        await client.refresh('rt');
        const assertion = bodies.at(-1)?.get('client_assertion') ?? '';
        const { payload } = await jwtVerify(assertion, pair.publicKey);
        return { payload, header: decodeProtectedHeader(assertion) };
      };
      const plain = await ask('', '{}');
      expect(plain.header.alg).toBe(alg);
      expect(plain.payload).toMatchObject({ iss: 'client', sub: 'client', aud: tokenEndpoint });
      expect(plain.payload.jti).not.toBe((await ask('', '{}')).payload.jti);
      const named = await ask('https://id.example', '{"keyId":"k1"}');
      expect(named.header.kid).toBe('k1');
      expect(named.payload.aud).toBe('https://id.example');
      expect(bodies[0]?.get('client_assertion_type')).toBe(
        'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      );
      expect(bodies[0]?.has('client_secret')).toBe(false);
    },
  );
});

describe('trying a credential', () => {
  const staticRow = (whoAmI: object) => ({
    ...{ name: 'acme', catalogueId: '', clientId: '', issuer: '', settings: JSON.stringify({ whoAmI }) },
  });

  test('says that there is no way to try it where there is none', async () => {
    const row = { name: 'npm', catalogueId: 'npm', clientId: '', issuer: '', settings: '{}' };
    expect(await testToken(row, deps, new Secret('x'))).toMatchObject({ works: true, account: null });
  });

  test('a key with a line end is not sent', async () => {
    standIn = await startStandIn(standInProfiles.gitlab);
    const row = staticRow({ url: `${standIn.url}/oauth/token/info` });
    const found = await testToken(row, deps, new Secret('a\r\nX-Evil: 1'));
    expect(found.works).toBe(false);
    expect(standIn.requests).toEqual([]);
  });

  test('an answer that is busy, or no answer, is said in words and quotes nothing of the credential', async () => {
    standIn = await startStandIn(standInProfiles.gitlab);
    const row = staticRow({ url: `${standIn.url}/oauth/token/info`, account: 'resource_owner_id' });
    for (const answer of [
      { status: 503, body: 'key-value' },
      { status: 403, body: { message: 'key-value' } },
      { status: 200, body: '<html>key-value' },
    ]) {
      standIn.answerNext(answer);
      const found = await testToken(row, deps, new Secret('key-value'));
      expect(found.works).toBe(false);
      expect(JSON.stringify(found)).not.toContain('key-value');
    }
  });
});
