/**
 * Every row of the error table of identity.md §3, at `/oauth/token` and at `ResolveCredentials`: status, `error` and extension
 * members, all of them and no other.
 */
import { accessTokenType, generateP256Jwk } from '@kontext/oauth';
import { confirmInBrowser } from '@kontext/testkit';
import { eq } from 'drizzle-orm';
import { decodeJwt, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadServerKeys } from '../login/server-keys.ts';
import { testKms } from '../organisations/test-organisation.ts';
import { agentProviders, connections, logins, providers } from '../store/schema.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp } from '../test-app.ts';
import { logIn, postToken, type TestLogin } from '../test-login.ts';
import { type ExchangeWorld, openExchangeWorld } from './test-exchange.ts';

const uuid = '[0-9a-f-]{36}';
const like = (pattern: string) => expect.stringMatching(new RegExp(`^${pattern}$`));
const text = expect.any(String);

describe.each(testStores())('the error table on $kind', ({ open }) => {
  let opened: TestStore;
  let world: ExchangeWorld;
  let revoked: TestLogin;
  let expired: string;
  beforeAll(async () => {
    opened = await open();
    world = await openExchangeWorld(opened);
    const { room, owner, app } = world;
    for (const name of ['acme', 'fresh', 'asking', 'away', 'again', 'bare', 'detached'])
      await room.addUpstream(owner, name);
    for (const provider of ['acme', 'fresh', 'asking', 'again', 'detached'])
      await room.connect(owner, { provider });
    // Connected so long ago that its token is over.
    room.advance(-700_000);
    await room.connect(owner, { provider: 'away' });
    room.advance(700_000);
    await prepare();
    revoked = await logIn(app);
    await fetch(`${app.apiUrl}/oauth/token/revocation`, {
      method: 'POST',
      body: new URLSearchParams({ client_id: 'kontext-cli', token: revoked.refreshToken }),
    });
    const [key] = (await loadServerKeys(opened.store, testKms, Date.now)).signing;
    if (key === undefined) throw new Error('there is no signing key');
    expired = await new SignJWT({ ...decodeJwt(world.login.accessToken), exp: Date.now() / 1000 - 1 })
      .setProtectedHeader({ typ: 'at+jwt', alg: 'ES256', kid: key.kid })
      .sign({ ...key });
  });
  afterAll(async () => {
    await world?.close();
    await opened?.close();
  });

  /** Each provider's name says which row it is for. */
  async function prepare(): Promise<void> {
    await opened.store.transaction({ role: 'app', orgId: world.owner.orgId }, async (tx) => {
      const rows = await tx.select().from(providers);
      const idOf = (name: string) => rows.find((row) => row.name === name)?.id ?? '';
      const change = (name: string, columns: Partial<typeof providers.$inferInsert>) =>
        tx
          .update(providers)
          .set(columns)
          .where(eq(providers.id, idOf(name)));
      await change('fresh', { maxLoginAgeSeconds: 60 });
      await change('asking', { approval: 'user' });
      await tx.update(logins).set({ authAt: new Date(Date.now() - 3_600_000) });
      await tx.delete(agentProviders).where(eq(agentProviders.providerId, idOf('detached')));
      const isOf = (name: string) => eq(connections.providerId, idOf(name));
      await tx.update(connections).set({ state: 'reauth_required' }).where(isOf('again'));
    });
  }

  interface Row {
    readonly what: string;
    readonly http: Readonly<Record<string, string>>;
    /** Placeholder of the same meaning; null where an RPC cannot mean it. */
    readonly rpc: Readonly<Record<string, unknown>> | null;
    readonly error: string;
    readonly members: Readonly<Record<string, unknown>>;
    readonly code: string;
    readonly status?: number;
  }
  const connect = {
    failure_reason: 'disconnected_or_reauth_required',
    connect_uri: like('http://127.0.0.1:\\d+/connect/[A-Za-z0-9_-]+'),
    connect_expires_in: 600,
  };
  const rows: Row[] = [
    {
      what: 'a malformed request',
      http: { audience: 'acme', subject_token_type: 'urn:x' },
      rpc: { provider: 'acme', scopes: ['not a scope'] },
      ...{ error: 'invalid_request', members: {}, code: 'KX_REQUEST_INVALID' },
    },
    {
      what: 'both targets',
      http: { audience: 'acme', resource: 'https://a.example' },
      ...{ rpc: null, error: 'invalid_request', members: {}, code: '' },
    },
    {
      what: 'a token over 8 KiB',
      http: { audience: 'acme', subject_token: 'x'.repeat(8193) },
      ...{ rpc: null, error: 'invalid_request', members: {}, code: '' },
    },
    {
      what: 'authorization details, of which no type is known',
      http: { audience: 'acme', authorization_details: '[{"type":"x"}]' },
      ...{ rpc: null, error: 'invalid_authorization_details', members: {}, code: '' },
    },
    {
      what: 'an unknown handle',
      http: { audience: 'nobody' },
      rpc: { provider: 'nobody' },
      ...{ error: 'invalid_target', code: 'KX_PROVIDER_UNKNOWN' },
      members: { failure_reason: 'unknown_provider_handle' },
    },
    {
      what: 'a provider that is not attached',
      http: { audience: 'detached' },
      rpc: { provider: 'detached' },
      ...{ error: 'invalid_target', code: 'KX_PROVIDER_NOT_ATTACHED' },
      members: { failure_reason: 'not_attached_to_application' },
    },
    {
      what: 'a provider that is not connected',
      http: { audience: 'bare' },
      rpc: { provider: 'bare' },
      ...{ error: 'invalid_target', code: 'KX_CONNECTION_MISSING' },
      members: { ...connect, provider_id: like(`prv_${uuid}`), provider_name: 'bare' },
    },
    {
      what: 'a provider that wants the user again',
      http: { audience: 'again' },
      rpc: { provider: 'again' },
      ...{ error: 'invalid_target', code: 'KX_CONNECTION_REAUTH_REQUIRED' },
      members: { ...connect, provider_id: like(`prv_${uuid}`), provider_name: 'again' },
    },
    {
      what: 'scope beyond the ceiling',
      http: { audience: 'acme', scope: 'read admin delete' },
      rpc: { provider: 'acme', scopes: ['read', 'admin', 'delete'] },
      ...{ error: 'invalid_scope', members: { scope: 'admin delete' }, code: 'KX_SCOPE_EXCEEDED' },
    },
    {
      what: 'a login that is not fresh enough',
      http: { audience: 'fresh' },
      rpc: { provider: 'fresh' },
      ...{ error: 'insufficient_user_authentication', code: 'KX_LOGIN_TOO_OLD' },
      members: { acr_values: 'urn:kontext:acr:browser urn:kontext:acr:device', max_age: 60 },
    },
    {
      what: 'a provider that a person has to approve',
      http: { audience: 'asking' },
      rpc: { provider: 'asking' },
      ...{ error: 'authorization_pending', code: 'KX_APPROVAL_PENDING' },
      members: {
        ...{ auth_req_id: like(`cnf_${uuid}`), interval: 2 },
        confirm_uri: like('http://127.0.0.1:\\d+/confirm/[A-Za-z0-9_-]{43}'),
      },
    },
    {
      what: 'an upstream that is down',
      http: { audience: 'away' },
      rpc: { provider: 'away' },
      ...{ error: 'temporarily_unavailable', code: 'KX_PROVIDER_UNREACHABLE', status: 503 },
      members: { failure_reason: 'transient_exchange_error' },
    },
  ];
  const names = rows.map((row) => [row.what, row] as const);

  test.each(names)('%s, at the token endpoint', async (_what, { http, error, members, status = 400 }) => {
    await world.room.fault('500');
    const answer = await world.exchange({ session_id: world.sessionId, ...http });
    await world.room.fault('none');
    expect(answer.body).toEqual({ error, error_description: text, ...members });
    expect(answer.status).toBe(status);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.headers.get('retry-after') !== null).toBe(status === 503);
    expect(answer.headers.get('dpop-nonce')).not.toBeNull();
  });

  test.each(names.filter(([, { rpc }]) => rpc !== null))(
    '%s, at ResolveCredentials',
    async (_what, { rpc, error, members, code, status: httpStatus }) => {
      await world.room.fault('500');
      const message = { sessionId: world.sessionId, placeholders: [rpc] };
      const { status, body } = await world.call('CredentialService/ResolveCredentials', message);
      await world.room.fault('none');
      expect(status).toBe(200);
      const [result] = body.results as { error: Record<string, unknown>; errorMessage: string }[];
      // Connect's JSON spells members in lower camel case.
      const spelled = Object.entries(members).map(([name, value]) => [
        name.replace(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase()),
        value,
      ]);
      expect(result?.error).toEqual({
        ...{ code, hint: text, oauthError: error },
        ...Object.fromEntries(spelled),
        // What `Retry-After` is there.
        ...(httpStatus === 503 ? { retryAfterSeconds: expect.any(Number) } : {}),
      });
      expect(result?.errorMessage).toEqual(text);
    },
  );

  describe('the token itself', () => {
    const own = () => ({ audience: 'acme', session_id: world.sessionId });
    const detailOf = async (token: string) => {
      const { status, body, headers } = await world.call(
        'CredentialService/ResolveCredentials',
        {},
        { token },
      );
      const [detail] = body.details as { debug?: Record<string, unknown> }[];
      return { status, challenge: headers.get('www-authenticate') ?? '', detail: detail?.debug };
    };

    test('expired', async () => {
      const { body } = await world.exchange({ ...own(), subject_token: expired });
      const failure_reason = 'subject_token_expired';
      expect(body).toEqual({ error: 'invalid_request', error_description: text, failure_reason });
      const { status, detail, challenge } = await detailOf(expired);
      expect(status).toBe(401);
      expect(detail).toMatchObject({ oauthError: 'invalid_token', failureReason: failure_reason });
      expect(challenge).toMatch(/error="invalid_token".*resource_metadata="http/);
    });

    test('revoked', async () => {
      const subject = { ...own(), subject_token: revoked.accessToken };
      const { body } = await world.exchange(subject, { key: revoked.jwk });
      const failure_reason = 'subject_token_revoked';
      expect(body).toEqual({ error: 'invalid_request', error_description: text, failure_reason });
      const ended = await world.openSession();
      const token = await world.delegate(undefined, { session_id: ended });
      await world.room.sessions.end(world.owner, ended, { exitCode: 0, reason: '' });
      expect(await detailOf(token)).toMatchObject({
        status: 401,
        detail: { oauthError: 'invalid_token', failureReason: failure_reason },
      });
    });

    test('foreign', async () => {
      const { body } = await world.exchange({ ...own(), subject_token: 'a.b.c' });
      expect(body).toEqual({ error: 'invalid_request', error_description: text });
      expect(await detailOf('a.b.c')).toMatchObject({ status: 401, detail: { oauthError: 'invalid_token' } });
    });

    test('of another key', async () => {
      const { body } = await world.exchange(own(), { key: generateP256Jwk() });
      expect(body).toEqual({ error: 'invalid_request', error_description: text });
      expect(await detailOf(revoked.accessToken)).toMatchObject({ status: 401 });
    });

    test('without proof', async () => {
      const { body } = await world.exchange(own(), { key: null });
      expect(body).toEqual({ error: 'invalid_request', error_description: text });
    });

    test("beyond 8 KiB, as a call's own", async () => {
      expect(await detailOf('x'.repeat(8193))).toMatchObject({
        status: 401,
        detail: { oauthError: 'invalid_token' },
      });
    });

    test('an actor token that has expired, or that is none', async () => {
      const actor = { actor_token_type: accessTokenType };
      expect((await world.exchange({ ...own(), ...actor, actor_token: expired })).body).toEqual({
        ...{ error: 'invalid_request', error_description: text, failure_reason: 'subject_token_expired' },
      });
      expect((await world.exchange({ ...own(), ...actor, actor_token: 'x' })).body).toEqual({
        ...{ error: 'invalid_request', error_description: text },
      });
    });

    test('a chain deeper than eight, in both ways', async () => {
      let token = await world.delegate();
      for (let depth = 2; depth <= 8; depth += 1) token = await world.delegate(token);
      const ninth = { subject_token: token, resource: world.app.apiUrl };
      expect((await world.exchange(ninth)).body).toEqual({
        error: 'invalid_request',
        error_description: text,
      });
      const { body: leases } = await world.call('CredentialService/ListLeases', {});
      const [newest] = (leases.leases as { id: string; kind: string }[]).filter(
        ({ kind }) => kind === 'CREDENTIAL_KIND_TOKEN',
      );
      const message = { leaseId: newest?.id, sessionId: world.sessionId };
      const { status, body } = await world.call('CredentialService/AttenuateCredential', message, { token });
      expect([status, body.code]).toEqual([400, 'invalid_argument']);
      const [detail] = body.details as { debug?: Record<string, unknown> }[];
      expect(detail?.debug).toMatchObject({ oauthError: 'invalid_request' });
    });
  });

  test('a client that may not exchange', async () => {
    const owner = world.app.owner;
    const app = await startTestApp(opened.store, { kms: testKms, owner });
    const grant_type = 'urn:ietf:params:oauth:grant-type:token-exchange';
    const { status, body } = await postToken(app, { grant_type, subject_token: 't' }, null);
    await app.close();
    // The library's own metadata say so as well: where nothing exchanges, the grant type does not exist.
    expect([status, body.error]).toEqual([400, 'unsupported_grant_type']);
  });

  test('what a person approves may be had in this session, what they refuse may not', async () => {
    const ask = async (sessionId: string) =>
      (await world.exchange({ audience: 'asking', session_id: sessionId })).body;
    const [approving, refusing] = [await world.openSession(), await world.openSession()];
    const first = await ask(approving);
    // Whoever asks again waits for the same answer.
    expect(await ask(approving)).toEqual(first);
    await confirmInBrowser({ url: String(first.confirm_uri), ...world.app.owner });
    expect(await ask(approving)).toHaveProperty('access_token');
    expect(await ask(approving)).toHaveProperty('access_token');
    const other = await ask(refusing);
    expect(other).toMatchObject({ error: 'authorization_pending' });
    await confirmInBrowser({ url: String(other.confirm_uri), ...world.app.owner, decision: 'deny' });
    expect(await ask(refusing)).toEqual({
      ...{ error: 'invalid_target', error_description: text, failure_reason: 'policy_denied' },
    });
  });

  test('a dry run asks nobody', async () => {
    const sessionId = await world.openSession();
    const message = { sessionId, dryRun: true, placeholders: [{ provider: 'asking' }] };
    const { body } = await world.call('CredentialService/ResolveCredentials', message);
    const [result] = body.results as { error: Record<string, unknown> }[];
    expect(result?.error).toEqual({
      ...{ code: 'KX_APPROVAL_PENDING', hint: text, oauthError: 'authorization_pending' },
    });
  });
});
