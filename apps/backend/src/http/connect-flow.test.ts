import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, Code, ConnectError, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { createDpopProof, generateP256Jwk } from '@kontext/oauth';
import {
  ClientAuth,
  ConnectionService,
  ConnectionState,
  CredentialKind,
  CredentialService,
  ErrorDetailSchema,
  ProviderKind,
  ProviderService,
  SessionService,
} from '@kontext/protocol';
import { createBrowser, startUpstream, type Upstream, walkPages } from '@kontext/testkit';
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';
import { confirming } from '../test-confirm.ts';
import { logIn, postToken, type TestLogin } from '../test-login.ts';
import { wire } from '../wiring.ts';

const exchange = {
  grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
  subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
};
const staticKey = 'sk_live_planted_4eC39HqLyjWDarjtT1';

describe.each(testStores())('connecting and exchanging over the wire on $kind', ({ open }) => {
  let opened: TestStore;
  let app: TestApp;
  let upstream: Upstream;
  let login: TestLogin;
  let providers: Client<typeof ProviderService>;
  let connections: Client<typeof ConnectionService>;
  let credentials: Client<typeof CredentialService>;
  let sessions: Client<typeof SessionService>;

  beforeAll(async () => {
    opened = await open();
    app = await startTestApp(opened.store, { wire });
    upstream = await startUpstream({ accessTokenTtlSeconds: 600 });
    login = await logIn(app);
    const transport = createConnectTransport({
      ...{ baseUrl: app.apiUrl, httpVersion: '1.1' },
      interceptors: [confirming(app.owner), proving(() => login)],
    });
    providers = createClient(ProviderService, transport);
    connections = createClient(ConnectionService, transport);
    credentials = createClient(CredentialService, transport);
    sessions = createClient(SessionService, transport);
    const { authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId, clientSecret } = upstream;
    const added = await providers.addProvider({
      provider: {
        ...{ name: 'acme', kind: ProviderKind.OAUTH2, clientAuth: ClientAuth.SECRET_BASIC, clientId },
        ...{ authorizationEndpoint, tokenEndpoint, revocationEndpoint, scopes: ['openid', 'read'] },
      },
      clientSecret,
    });
    await upstream.setRedirectUris([added.provider?.callbackUrl ?? '']);
    await connections.putSecret({ provider: 'stripe', value: staticKey });
  });
  afterEach(() => upstream.setFault('none'));
  afterAll(async () => {
    await app?.close();
    await upstream?.stop();
    await opened?.close();
  });

  const proving =
    (current: () => TestLogin): Interceptor =>
    (next) =>
    async (request) => {
      const { accessToken, jwk: key } = current();
      const htu = request.url;
      request.header.set('authorization', `DPoP ${accessToken}`);
      request.header.set(
        'dpop',
        await createDpopProof({ key, htm: 'POST', htu, accessToken, nowMs: Date.now() }),
      );
      return next(request);
    };
  const person = () => ({ fields: { account: app.owner.account, passcode: app.owner.passcode } });
  const connect = async () => {
    const link = await connections.beginConnection({ provider: 'acme' });
    return { link, page: await walkPages(link.connectUri, person()) };
  };
  const openSession = async () => {
    const request = { agent: 'claude', agentVersion: '2', hostname: 'laptop', cliVersion: '0.1.0' };
    return (await sessions.openSession(request)).session?.id ?? '';
  };
  const exchangeFor = (params: Record<string, string>, key: TestLogin['jwk'] | null = login.jwk) =>
    postToken(app, { ...exchange, subject_token: login.accessToken, ...params }, key);

  test('before anything is connected the exchange answers with a link, and the link connects', async () => {
    const answer = await exchangeFor({ audience: 'acme' });
    expect(answer).toMatchObject({
      status: 400,
      body: {
        ...{ error: 'invalid_target', failure_reason: 'disconnected_or_reauth_required' },
        ...{ provider_name: 'acme', connect_expires_in: 600 },
      },
    });
    const page = await walkPages(String(answer.body.connect_uri), person());
    expect(page.status).toBe(200);
    expect(page.html).toContain('Return to your terminal');
    const { connections: listed } = await connections.listConnections({});
    expect(listed.map(({ provider, state }) => [provider, state])).toEqual([
      ['acme', ConnectionState.CONNECTED],
      ['stripe', ConnectionState.CONNECTED],
    ]);
  });

  test('the page before the provider names it, its host and the scopes, and does nothing by itself', async () => {
    const { connectUri, connectionId } = await connections.beginConnection({
      provider: 'acme',
      name: 'second',
    });
    const seen: string[] = [];
    const before = await upstream.stats();
    await walkPages(connectUri, { ...person(), stopAt: upstream.url, onPage: ({ html }) => seen.push(html) });
    const shown = seen.find((html) => html.includes('Connect acme')) ?? '';
    expect(shown).toContain(new URL(upstream.url).host);
    expect(shown).toContain('openid read');
    expect((await upstream.stats()).tokenRequests).toBe(before.tokenRequests);
    const { connection } = await connections.getConnection({ connectionId });
    expect(connection?.state).toBe(ConnectionState.PENDING);
  });

  test('its policy lets the form lead to the provider, and the cookie is HttpOnly and same-site', async () => {
    const { connectUri } = await connections.beginConnection({ provider: 'acme', name: 'third' });
    const response = await fetch(connectUri, { redirect: 'manual' });
    expect(response.status).toBe(303);
    expect(response.headers.get('location')).toMatch(/^\/login\?return_to=/);
    expect(response.headers.get('set-cookie')).toMatch(/HttpOnly; SameSite=Lax/);
    const policies: string[] = [];
    await walkPages(connectUri, {
      ...{ ...person(), stopAt: upstream.url },
      onPage: ({ headers }) => policies.push(headers.get('content-security-policy') ?? ''),
    });
    expect(policies.at(-2)).toMatch(/form-action 'self' https: http:\/\/127\.0\.0\.1:\*/);
    expect(policies.at(-2)).toContain("frame-ancestors 'none'");
  });

  test('a link that is garbage, used or of nobody ends on a page that says so', async () => {
    const { link } = await connect();
    for (const uri of [
      link.connectUri,
      `${app.apiUrl}/connect/x`,
      `${app.apiUrl}/connect/${'A'.repeat(43)}`,
    ]) {
      const page = await walkPages(uri, person());
      expect(page.status).toBe(400);
      expect(page.html).toContain('KX_CONNECT_LINK_EXPIRED');
    }
  });

  test('the form is refused without its token', async () => {
    const { connectUri } = await connections.beginConnection({ provider: 'acme', name: 'fourth' });
    const browser = createBrowser();
    const asked = await browser.open(connectUri);
    const [form] = asked.forms;
    const page = await browser.submit(asked, form!, { ...person().fields, csrf: 'wrong' });
    expect(page.status).toBe(403);
  });

  test("the provider's refusal is shown with its name, escaped, and without what it describes", async () => {
    const { connectUri } = await connections.beginConnection({ provider: 'acme', name: 'fifth' });
    const browser = createBrowser({ stopAt: upstream.url });
    const loginPage = await browser.open(connectUri);
    const asked = await browser.submit(loginPage, loginPage.forms[0]!, person().fields);
    const left = await browser.submit(asked, asked.forms[0]!, {});
    const request = new URL(left.url).searchParams;
    const back = new URL(request.get('redirect_uri') ?? '');
    back.searchParams.set('state', request.get('state') ?? '');
    back.searchParams.set('error', '<img src=x>');
    back.searchParams.set('error_description', 'call 0800-phish');
    const page = await browser.open(back.href);
    expect(page.status).toBe(400);
    expect(page.html).toContain('&lt;img src=x&gt;');
    expect(page.html).not.toMatch(/<img|0800/);
  });

  test('a callback in a browser where nobody is logged in is refused and uses nothing up', async () => {
    const listed = await providers.listProviders({});
    const acme = listed.providers.find(({ name }) => name === 'acme');
    const response = await fetch(`${acme?.callbackUrl}?code=x&state=y`, { redirect: 'manual' });
    expect(response.status).toBe(400);
    expect(await response.text()).toContain('KX_CONNECT_LINK_EXPIRED');
  });

  test('resolving gives values over RPC, with the errors of the others beside them', async () => {
    const sessionId = await openSession();
    const { results, serverEventHash } = await credentials.resolveCredentials({
      ...{ sessionId, placeholders: [{ provider: 'stripe' }, { provider: 'acme' }, { provider: 'strip' }] },
    });
    const [key, token, unknown] = results.map(({ outcome }) => outcome);
    expect(key).toMatchObject({ value: { value: staticKey, kind: CredentialKind.STATIC } });
    expect(token).toMatchObject({ value: { kind: CredentialKind.OAUTH, scopes: ['openid', 'read'] } });
    expect(unknown).toMatchObject({ case: 'error', value: { code: 'KX_PROVIDER_UNKNOWN' } });
    expect(serverEventHash).toHaveLength(32);
    const { leases } = await credentials.listLeases({ sessionId });
    expect(leases.map(({ provider }) => provider).sort()).toEqual(['acme', 'stripe']);
  });

  test('an error of a service carries its code as a typed detail', async () => {
    const error = await providers
      .removeProvider({ name: 'nope' })
      .catch((e: unknown) => ConnectError.from(e));
    expect(error).toMatchObject({ code: Code.NotFound });
    expect((error as ConnectError).findDetails(ErrorDetailSchema)[0]?.code).toBe('KX_PROVIDER_UNKNOWN');
  });

  describe('the decision table of the token endpoint', () => {
    test('a provider token: Bearer, expires_in with 30 s to spare, nobody may cache it', async () => {
      const { status, body, headers } = await exchangeFor({
        audience: 'acme',
        session_id: await openSession(),
      });
      expect(status).toBe(200);
      expect(body).toMatchObject({
        token_type: 'Bearer',
        issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      });
      expect(body.expires_in).toBeLessThanOrEqual(570);
      expect(headers.get('cache-control')).toContain('no-store');
      const api = await fetch(upstream.apiUrl, { headers: { authorization: `Bearer ${body.access_token}` } });
      expect(api.status).toBe(200);
    });

    test('a static key: N_A without expires_in', async () => {
      const { body } = await exchangeFor({ audience: 'stripe' });
      expect(body).toMatchObject({ access_token: staticKey, token_type: 'N_A' });
      expect(body.expires_in).toBeUndefined();
    });

    const resource = 'https://api.example/';
    test.each<[string, Record<string, string>, number, string, string | undefined]>([
      ['no target', {}, 400, 'invalid_request', undefined],
      ['both targets', { audience: 'acme', resource }, 400, 'invalid_request', undefined],
      ['a foreign resource', { resource }, 400, 'invalid_target', 'unknown_provider_handle'],
      ['an actor', { audience: 'acme', actor_token: 'x' }, 400, 'invalid_request', undefined],
      [
        'a subject that is garbage',
        { audience: 'acme', subject_token: 'x' },
        400,
        'invalid_request',
        undefined,
      ],
      [
        '8 KiB of subject',
        { audience: 'acme', subject_token: 'x'.repeat(8193) },
        400,
        'invalid_request',
        undefined,
      ],
      [
        'another token type',
        { audience: 'acme', subject_token_type: 'x' },
        400,
        'invalid_request',
        undefined,
      ],
      ['an unknown session', { audience: 'acme', session_id: 'ses_x' }, 400, 'invalid_request', undefined],
      ['an unknown provider', { audience: 'nope' }, 400, 'invalid_target', 'unknown_provider_handle'],
      [
        'a missing connection',
        { audience: 'acme/x' },
        400,
        'invalid_target',
        'disconnected_or_reauth_required',
      ],
      ['a scope beyond', { audience: 'acme', scope: 'read admin' }, 400, 'invalid_scope', undefined],
    ])('%s', async (_what, params, status, error, reason) => {
      const { status: got, body } = await exchangeFor(params);
      expect([got, body.error, body.failure_reason]).toEqual([status, error, reason]);
      expect(JSON.stringify(body)).not.toContain(login.accessToken);
    });

    test('a subject token without proof, or with the proof of another key, is refused', async () => {
      for (const key of [null, generateP256Jwk()]) {
        const { status, body } = await exchangeFor({ audience: 'stripe' }, key);
        expect([status, body.error]).toEqual([400, 'invalid_request']);
        expect(body.access_token).toBeUndefined();
      }
    });

    test('a revoked subject token is told apart from a foreign one', async () => {
      const second = await logIn(app);
      await fetch(`${app.apiUrl}/oauth/token/revocation`, {
        method: 'POST',
        body: new URLSearchParams({ client_id: 'kontext-cli', token: second.refreshToken }),
      });
      const revoked = await exchangeFor(
        { audience: 'stripe', subject_token: second.accessToken },
        second.jwk,
      );
      expect(revoked.body).toMatchObject({
        error: 'invalid_request',
        failure_reason: 'subject_token_revoked',
      });
    });

    test('an upstream that is down is 503 with Retry-After', async () => {
      await upstream.setSettings({ accessTokenTtlSeconds: 1 });
      const { connectUri } = await connections.beginConnection({ provider: 'acme', name: 'brief' });
      await walkPages(connectUri, person());
      await upstream.setSettings({ accessTokenTtlSeconds: 600 });
      await sleep(1100);
      await upstream.setFault('500');
      const { status, body, headers } = await exchangeFor({ audience: 'acme/brief' });
      expect([status, body.error]).toEqual([503, 'temporarily_unavailable']);
      expect(body.failure_reason).toBe('transient_exchange_error');
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    });
  });

  test('no secret stands in the database: key, client secret, upstream tokens, our own tokens', async () => {
    const { accessTokens, refreshTokens } = await upstream.issuedTokens();
    expect(refreshTokens.length).toBeGreaterThan(0);
    const planted = [staticKey, upstream.clientSecret, ...accessTokens, ...refreshTokens];
    planted.push(login.accessToken, login.refreshToken, app.owner.passcode);
    const dump = await dumpTables(opened);
    expect(dump).toContain('acme');
    for (const secret of planted) {
      for (const form of [
        secret,
        Buffer.from(secret).toString('hex'),
        Buffer.from(secret).toString('base64'),
      ]) {
        expect(dump.includes(form)).toBe(false);
      }
    }
  });

  // Last, because it moves the clock: our proofs then need a nonce to be believed.
  test('an expired subject token is told apart from a revoked one', async () => {
    app.advance(310_000);
    const { headers, body: stale } = await exchangeFor({ audience: 'stripe' });
    expect(stale.error).toBe('use_dpop_nonce');
    const params = { ...exchange, subject_token: login.accessToken, audience: 'stripe' };
    const { status, body } = await postToken(app, params, login.jwk, headers.get('dpop-nonce') ?? '');
    expect(status).toBe(400);
    expect(body).toMatchObject({ error: 'invalid_request', failure_reason: 'subject_token_expired' });
  });
});

/** Every row of every table as text; bytes as hex. */
async function dumpTables({ store }: TestStore): Promise<string> {
  return store.transaction({ role: 'system', orgId: null }, async (tx) => {
    const { rows } = await tx.execute<{ name: string }>(sql`
      SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname = 'public'
        AND has_table_privilege(c.oid, 'SELECT')`);
    expect(rows.length).toBeGreaterThan(20);
    const parts: string[] = [];
    for (const { name } of rows) {
      const found = await tx.execute<{ text: string }>(
        sql`SELECT t::text AS text FROM ${sql.identifier(name)} t`,
      );
      parts.push(...found.rows.map(({ text }) => text));
    }
    return parts.join('\n');
  });
}
