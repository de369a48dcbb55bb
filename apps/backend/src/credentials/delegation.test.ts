import { createDpopProof, generateP256Jwk } from '@kontext/oauth';
import { eq } from 'drizzle-orm';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createAppendSignal } from '../audit/append-signal.ts';
import { createAgentService } from '../organisations/agents.ts';
import { endSessions } from '../sessions/end-sessions.ts';
import { endLeasesOf } from '../store/queries/leases.ts';
import { agents, leases, users } from '../store/schema.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { logIn } from '../test-login.ts';
import { type ExchangeWorld, openExchangeWorld } from './test-exchange.ts';

const actor = (actorToken: string) => ({
  actor_token: actorToken,
  actor_token_type: 'urn:ietf:params:oauth:token-type:access_token',
});

describe.each(testStores())('delegation tokens on $kind', ({ open }) => {
  let opened: TestStore;
  let world: ExchangeWorld;
  beforeAll(async () => {
    opened = await open();
    world = await openExchangeWorld(opened);
    const { room, owner } = world;
    await room.addUpstream(owner);
    await room.connect(owner);
    const key = { provider: 'stripe', name: '', shared: false, value: 'sk_1' };
    await room.connections.putSecret(owner, key);
  });
  afterAll(async () => {
    await world?.close();
    await opened?.close();
  });

  const now = () => new Date();
  const end = (sessionId: string) =>
    world.room.sessions.end(world.owner, sessionId, { exitCode: 0, reason: '' });
  const app = <T>(work: Parameters<typeof opened.store.transaction<T>>[1]) =>
    opened.store.transaction({ role: 'app', orgId: world.owner.orgId }, work);
  const inSession = async (sessionId?: string) => ({ session_id: sessionId ?? (await world.openSession()) });
  const whoAmI = (token: string, at: 'first' | 'other' = 'other') =>
    world.call('OrganisationService/GetCaller', {}, { token, at });
  /** Resolves one provider with a delegation token; gives the code of the refusal, or the value. */
  const resolve = async (token: string, provider: string, scopes: string[] = []) => {
    const message = { placeholders: [{ provider, scopes }] };
    const { body } = await world.call('CredentialService/ResolveCredentials', message, { token });
    const [result] = (body.results ?? [{ error: body }]) as { credential?: object; error?: object }[];
    return result?.credential ?? result?.error ?? body;
  };

  test('a delegation token is an RFC 9068 JWT that says who acts, in which session, for five minutes', async () => {
    const { body, headers } = await world.exchange({
      ...{ resource: world.app.apiUrl, session_id: world.sessionId, scope: 'credential:stripe' },
    });
    expect(body).toMatchObject({
      ...{ token_type: 'DPoP', expires_in: 300, scope: 'credential:stripe' },
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    });
    expect(headers.get('cache-control')).toBe('no-store');
    const token = String(body.access_token);
    expect(decodeProtectedHeader(token)).toMatchObject({ typ: 'at+jwt', alg: 'ES256' });
    const claims = decodeJwt(token);
    const agent = expect.stringMatching(/^agt_/);
    expect(claims).toMatchObject({
      ...{ iss: `${world.app.apiUrl}/oauth`, aud: world.app.apiUrl, sub: world.owner.userId },
      ...{ org: world.owner.orgId, sid: world.sessionId, scope: 'credential:stripe', act: { sub: agent } },
      ...{ may_act: { sub: agent }, txn: expect.any(String), client_id: 'kontext-cli' },
      cnf: decodeJwt(world.login.accessToken).cnf,
    });
    expect((claims.exp ?? 0) - (claims.iat ?? 0)).toBe(300);
    const [lease] = await app((tx) =>
      tx
        .select()
        .from(leases)
        .where(eq(leases.jti, claims.jti ?? '')),
    );
    expect(lease).toMatchObject({
      ...{ kind: 'token', state: 'active', depth: 1, parentLeaseId: null, sessionId: world.sessionId },
      ...{ scope: ['credential:stripe'], audience: world.app.apiUrl, delivery: 'exchange' },
    });
  });

  test('without scope it covers the providers of the agent', async () => {
    const claims = decodeJwt(await world.delegate());
    expect(String(claims.scope).split(' ').sort()).toEqual(['credential:acme', 'credential:stripe']);
  });

  test('it resolves what it is for, as a lease below its own, and nothing else', async () => {
    const token = await world.delegate(undefined, { scope: 'credential:stripe' });
    const credential = await resolve(token, 'stripe');
    expect(credential).toMatchObject({ value: 'sk_1', kind: 'CREDENTIAL_KIND_STATIC' });
    const { leaseId = '' } = credential as { leaseId?: string };
    const [lease] = await app((tx) => tx.select().from(leases).where(eq(leases.id, leaseId)));
    const { jti = '', act } = decodeJwt(token) as { jti?: string; act?: { sub: string } };
    const [parent] = await app((tx) => tx.select().from(leases).where(eq(leases.jti, jti)));
    expect(lease).toMatchObject({ parentLeaseId: parent?.id, depth: 2, actor: act?.sub });
    expect(await resolve(token, 'acme')).toMatchObject({
      ...{ code: 'KX_SCOPE_EXCEEDED', oauthError: 'invalid_scope', scope: 'credential:acme' },
    });
  });

  test('it exchanges at the token endpoint within its scopes, in its own session alone', async () => {
    const token = await world.delegate(undefined, { scope: 'credential:stripe' });
    const own = await world.exchange({ subject_token: token, audience: 'stripe' });
    expect(own.body).toMatchObject({ access_token: 'sk_1', token_type: 'N_A' });
    const other = await world.exchange({ subject_token: token, audience: 'acme' });
    expect(other).toMatchObject({ status: 400, body: { error: 'invalid_scope', scope: 'credential:acme' } });
    const foreign = { subject_token: token, audience: 'stripe', ...(await inSession()) };
    expect(await world.exchange(foreign)).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
  });

  test('one scope of a provider whose tokens cannot be narrowed gives none, not the wide one', async () => {
    const narrow = await world.delegate(undefined, { scope: 'credential:acme:read' });
    expect(await resolve(narrow, 'acme', ['read'])).toMatchObject({
      ...{ code: 'KX_SCOPE_EXCEEDED', scope: 'openid write' },
    });
    const all = ['openid', 'read', 'write'].map((scope) => `credential:acme:${scope}`).join(' ');
    expect(await resolve(await world.delegate(undefined, { scope: all }), 'acme')).toMatchObject({
      kind: 'CREDENTIAL_KIND_OAUTH',
    });
  });

  test.each([
    'SessionService/OpenSession',
    'SessionService/ListSessions',
    'CredentialService/RevokeLeases',
    'ConnectionService/ListConnections',
    'PolicyService/GetPolicySnapshot',
    'AgentService/ListAgents',
  ])('may not call %s', async (rpc) => {
    const token = await world.delegate();
    const { body } = await world.call(rpc, {}, { token });
    expect(body).toMatchObject({ code: 'permission_denied', message: expect.stringMatching(/delegation/) });
  });

  test('each exchange narrows: a wider scope is refused with the excess', async () => {
    const first = await world.delegate(undefined, { scope: 'credential:stripe credential:acme:read' });
    const second = await world.delegate(first, { scope: 'credential:acme:read' });
    const [above, below] = [decodeJwt(first), decodeJwt(second)];
    const { act } = above as { act: { sub: string } };
    expect(below).toMatchObject({ act: { sub: act.sub, act }, txn: above.txn, sid: above.sid });
    expect(below.exp).toBeLessThanOrEqual(above.exp ?? 0);
    const wide = {
      resource: world.app.apiUrl,
      subject_token: second,
      scope: 'credential:acme credential:stripe',
    };
    expect(await world.exchange(wide)).toMatchObject({
      status: 400,
      body: { error: 'invalid_scope', scope: 'credential:acme credential:stripe' },
    });
  });

  test('a chain has at most eight links', async () => {
    let token = await world.delegate();
    for (let depth = 2; depth <= 8; depth += 1) token = await world.delegate(token);
    const { body } = await world.exchange({ resource: world.app.apiUrl, subject_token: token });
    expect(body).toMatchObject({
      error: 'invalid_request',
      error_description: expect.stringMatching(/deeper/),
    });
    expect(await resolve(token, 'stripe')).toMatchObject({ value: 'sk_1' });
  });

  test('another resource than our API is no target, and a delegation needs a live session of the caller', async () => {
    const session = { session_id: world.sessionId };
    const elsewhere = await world.exchange({ ...session, resource: 'https://elsewhere.example' });
    expect(elsewhere.body).toMatchObject({
      ...{ error: 'invalid_target', failure_reason: 'unknown_provider_handle' },
    });
    const resource = world.app.apiUrl;
    expect((await world.exchange({ resource })).body).toMatchObject({ error: 'invalid_request' });
    const nobodys = { resource, session_id: 'ses_01900000-0000-7000-8000-000000000000' };
    expect((await world.exchange(nobodys)).body).toMatchObject({ error: 'invalid_request' });
  });

  test('an actor token must be ours, alive, of this key, this person and this session', async () => {
    const resource = world.app.apiUrl;
    const session = { session_id: world.sessionId };
    const valid = await world.delegate();
    const ask = async (token: string, change: Record<string, string> = {}) =>
      (await world.exchange({ resource, ...session, ...actor(token), ...change })).body;
    expect(await ask(valid)).toHaveProperty('access_token');
    expect(await ask('a.b.c')).toMatchObject({ error: 'invalid_request' });
    // A person's own token says nobody who could act.
    expect(await ask(world.login.accessToken)).toMatchObject({ error: 'invalid_request' });
    const elsewhere = await inSession();
    expect(await ask(valid, elsewhere)).toMatchObject({
      ...{ error: 'invalid_request', error_description: expect.stringMatching(/may not act/) },
    });
    const ended = await world.openSession();
    const dead = await world.delegate(undefined, { session_id: ended });
    await end(ended);
    expect(await ask(dead)).toMatchObject({
      ...{ error: 'invalid_request', failure_reason: 'subject_token_revoked' },
    });
  });

  test('a delegation token is worth nothing without its key', async () => {
    const token = await world.delegate();
    const stolen = await world.exchange(
      { resource: world.app.apiUrl, subject_token: token },
      { key: generateP256Jwk() },
    );
    expect(stolen.body).toMatchObject({ error: 'invalid_request' });
  });

  describe('a chain of three dies at every replica at once', () => {
    let sessionId: string;
    let chain: string[];
    beforeEach(async () => {
      sessionId = await world.openSession();
      const first = await world.delegate(undefined, { session_id: sessionId });
      const second = await world.delegate(first);
      chain = [first, second, await world.delegate(second)];
    });
    const statuses = async () => Promise.all(chain.map(async (token) => (await whoAmI(token)).status));
    const leaseOf = async (token: string) => {
      const { jti = '' } = decodeJwt(token);
      const [row] = await app((tx) => tx.select().from(leases).where(eq(leases.jti, jti)));
      if (row === undefined) throw new Error('a delegation token has no lease');
      return row;
    };

    test('with its session', async () => {
      expect(await statuses()).toEqual([200, 200, 200]);
      await end(sessionId);
      expect(await statuses()).toEqual([401, 401, 401]);
      const { body } = await world.exchange({ subject_token: chain[2] ?? '', audience: 'stripe' });
      expect(body).toMatchObject({ error: 'invalid_request', failure_reason: 'subject_token_revoked' });
    });

    test('from the lease that ends downwards, not upwards', async () => {
      const { id } = await leaseOf(chain[1] ?? '');
      await app((tx) => endLeasesOf(tx, { leaseId: id }, 'revoked', now()));
      expect(await statuses()).toEqual([200, 401, 401]);
      expect((await leaseOf(chain[2] ?? '')).state).toBe('ended');
    });

    test('also what was exchanged in the moment when its source ended', async () => {
      const { id } = await leaseOf(chain[0] ?? '');
      await app((tx) => tx.update(leases).set({ state: 'ended' }).where(eq(leases.id, id)));
      expect(await statuses()).toEqual([401, 401, 401]);
    });

    test('with its agent', async () => {
      const agent = { store: opened.store, appended: createAppendSignal(), nowMs: Date.now };
      const service = createAgentService(agent);
      try {
        const ended = await service.disable(world.owner, 'claude');
        expect(ended.sessions).toBeGreaterThan(0);
        expect(await statuses()).toEqual([401, 401, 401]);
        expect(await world.call('SessionService/OpenSession', { agent: 'claude' })).toMatchObject({
          ...{ status: 403, body: { code: 'permission_denied' } },
        });
      } finally {
        await service.enable(world.owner, 'claude');
      }
    });

    test('with its user, and what the login itself may do with it', async () => {
      const setDisabled = (disabledAt: Date | null) =>
        opened.store.transaction({ role: 'system', orgId: null }, (tx) =>
          tx.update(users).set({ disabledAt }).where(eq(users.id, world.owner.userId)),
        );
      await setDisabled(now());
      try {
        expect(await statuses()).toEqual([401, 401, 401]);
        expect((await whoAmI(world.login.accessToken)).status).toBe(401);
      } finally {
        await setDisabled(null);
      }
    });

    test('with the login that began it', async () => {
      const { accessToken, refreshToken, jwk } = await logIn(world.app);
      const params = { resource: world.app.apiUrl, subject_token: accessToken, session_id: sessionId };
      const { body } = await world.exchange(params, { key: jwk });
      const again = { resource: world.app.apiUrl, subject_token: String(body.access_token) };
      expect(await world.exchange(again, { key: jwk })).toMatchObject({ status: 200 });
      await fetch(`${world.app.apiUrl}/oauth/token/revocation`, {
        method: 'POST',
        body: new URLSearchParams({ client_id: 'kontext-cli', token: refreshToken }),
      });
      expect((await world.exchange(again, { key: jwk })).body).toMatchObject({
        ...{ error: 'invalid_request', failure_reason: 'subject_token_revoked' },
      });
      // Another login's chain in the same session goes on.
      expect(await statuses()).toEqual([200, 200, 200]);
    });

    test('of a connection, what was exchanged from it', async () => {
      const { leaseId = '' } = (await resolve(chain[2] ?? '', 'stripe')) as { leaseId?: string };
      const state = async () =>
        (await app((tx) => tx.select().from(leases).where(eq(leases.id, leaseId))))[0]?.state;
      expect(await state()).toBe('active');
      const connections = await world.room.connections.list(world.owner);
      const held = connections.find(({ provider }) => provider.name === 'stripe');
      await world.room.connections.revoke(world.owner, held?.connection.id ?? '');
      try {
        expect(await state()).toBe('ended');
        expect(await resolve(chain[2] ?? '', 'stripe')).toMatchObject({ code: 'KX_CONNECTION_MISSING' });
      } finally {
        const key = { provider: 'stripe', name: '', shared: false, value: 'sk_1' };
        await world.room.connections.putSecret(world.owner, key);
      }
    });

    test('by its own revocation (RFC 7009), and only from there on', async () => {
      const revoke = (token: string, client = 'kontext-cli') =>
        fetch(`${world.app.apiUrl}/oauth/token/revocation`, {
          method: 'POST',
          body: new URLSearchParams({ client_id: client, token }),
        });
      expect((await revoke('eyJhbGciOiJFUzI1NiJ9.e30.AAAA')).status).toBe(200);
      expect((await revoke(chain[1] ?? '')).status).toBe(200);
      expect(await statuses()).toEqual([200, 401, 401]);
      expect((await whoAmI(world.login.accessToken)).status).toBe(200);
    });

    test('with the sessions of a user that are ended from elsewhere', async () => {
      await app((tx) =>
        endSessions(tx, world.owner.orgId, { userId: world.owner.userId }, 'suspended', now()),
      );
      expect(await statuses()).toEqual([401, 401, 401]);
    });
  });

  test('a revoked access token of the login is refused everywhere at once, and its successor is not', async () => {
    const { accessToken, jwk } = await logIn(world.app);
    const htu = `${world.app.apiUrl}/kontext.v1.OrganisationService/GetCaller`;
    const ask = async () => {
      const dpop = await createDpopProof({ key: jwk, htm: 'POST', htu, accessToken, nowMs: Date.now() });
      const headers = { 'content-type': 'application/json', authorization: `DPoP ${accessToken}`, dpop };
      const response = await fetch(htu, { method: 'POST', headers, body: '{}' });
      await response.arrayBuffer();
      return response.status;
    };
    expect(await ask()).toBe(200);
    await fetch(`${world.app.apiUrl}/oauth/token/revocation`, {
      method: 'POST',
      body: new URLSearchParams({ client_id: 'kontext-cli', token: accessToken }),
    });
    expect(await ask()).toBe(401);
  });

  test('an agent that was disabled before can be acted through by nobody', async () => {
    const session = await world.openSession();
    await app((tx) => tx.update(agents).set({ disabledAt: now() }).where(eq(agents.name, 'claude')));
    try {
      const refused = await world.exchange({ resource: world.app.apiUrl, session_id: session });
      expect(refused.body).toMatchObject({ error: 'invalid_request' });
    } finally {
      await app((tx) => tx.update(agents).set({ disabledAt: null }).where(eq(agents.name, 'claude')));
    }
  });
});
