import { createId } from '@kontext/audit';
import { and, eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createAuditService } from '../audit/audit-service.ts';
import type { Caller } from '../caller.ts';
import { openTestRoom, type TestRoom } from '../connections/test-room.ts';
import type { TestOrganisation } from '../organisations/test-organisation.ts';
import { agentProviders, agents, connections, leases } from '../store/schema.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import type { IssuedCredential, Outcome, RefusedCredential } from './outcome.ts';
import type { WantedCredential } from './wanted-credential.ts';

const want = (provider: string, change: Partial<WantedCredential> = {}): WantedCredential => ({
  ...{ provider, resource: '', scopes: [], delivery: 'inject', ...change },
});
const issued = (outcome: Outcome | undefined): IssuedCredential => {
  if (!outcome?.ok) throw new Error(`refused: ${outcome?.refusal.code} ${outcome?.refusal.message}`);
  return outcome;
};
const refused = (outcome: Outcome | undefined): RefusedCredential => {
  if (outcome === undefined || outcome.ok) throw new Error('not refused');
  return outcome;
};
const code = (outcome: Outcome | undefined) => refused(outcome).refusal.code;

describe.each(testStores())('credentials on $kind', ({ open }) => {
  let opened: TestStore;
  let room: TestRoom;
  let org: TestOrganisation;
  let owner: Caller;
  let sessionId: string;
  beforeAll(async () => {
    opened = await open();
    room = await openTestRoom(opened);
  });
  beforeEach(async () => {
    org = await room.organisation();
    owner = org.owner;
    sessionId = await room.openSession(owner);
  });
  afterEach(() => room.fault('none'));
  afterAll(async () => {
    await room?.close();
    await opened?.close();
  });

  const put = (
    value: string,
    change: { provider?: string; name?: string; shared?: boolean } = {},
    caller = owner,
  ) => room.connections.putSecret(caller, { provider: 'stripe', name: '', shared: false, ...change, value });
  const resolve = (wanted: readonly WantedCredential[], caller = owner, change: object = {}) =>
    room.credentials.resolve(caller, { sessionId, wanted, dryRun: false, ...change });
  const resolveOne = async (wanted: WantedCredential, caller = owner, change: object = {}) =>
    (await resolve([wanted], caller, change)).outcomes[0];
  const leaseRows = () =>
    room.store.transaction({ role: 'app', orgId: org.orgId }, (tx) => tx.select().from(leases));
  const events = async (kind: 'server' | 'admin') => {
    const audit = createAuditService({ store: room.store });
    const { streams } = await audit.listStreams(owner, { sessionId: null, pageSize: 50, cursor: '' });
    const stream = streams.find(
      (one) => one.kind === kind && (kind === 'admin' || one.sessionId === sessionId),
    );
    return (await audit.readStream(owner, { streamId: stream?.id ?? '', fromSeq: 0, pageSize: 0 })).events;
  };

  test('a static key comes with a lease that does not expire and an event on the server stream', async () => {
    const { connection } = await put('sk_static');
    const { outcomes, serverEventHash } = await resolve([want('stripe')]);
    const credential = issued(outcomes[0]);
    expect(credential.value.reveal()).toBe('sk_static');
    expect(credential).toMatchObject({ kind: 'static', expiresAt: null, connectionName: 'default' });
    const [lease] = await leaseRows();
    expect(lease).toMatchObject({
      ...{ id: credential.leaseId, state: 'active', sessionId, connectionId: connection.id, kind: 'static' },
      ...{
        provider: 'stripe',
        audience: 'stripe',
        subject: owner.userId,
        delivery: 'inject',
        expiresAt: null,
      },
    });
    const event = (await events('server')).at(-1);
    expect(event?.kind).toBe('credential.resolved');
    expect(JSON.parse(event?.header ?? '').lineage).toMatchObject({
      ...{ leases: [credential.leaseId], connection: connection.id },
    });
    expect(serverEventHash).toHaveLength(32);
  });

  test('an OAuth token works upstream and is leased for no longer than it lives', async () => {
    await room.addUpstream(owner);
    await room.connect(owner);
    const credential = issued(await resolveOne(want('acme', { scopes: ['read'] })));
    const headers = { authorization: `Bearer ${credential.value.reveal()}` };
    expect((await fetch(room.upstream.apiUrl, { headers })).status).toBe(200);
    expect(credential.expiresInSeconds).toBeGreaterThan(540);
    expect(credential.expiresInSeconds).toBeLessThanOrEqual(570);
    // The token cannot be narrowed, so its real scopes are named.
    expect(credential.scopes).toEqual(['openid', 'read', 'write']);
    const [lease] = await leaseRows();
    expect(lease?.upstreamExpiresAt?.getTime()).toBeGreaterThan(lease?.expiresAt?.getTime() ?? 0);
  });

  test('one that fails spoils no other, answers keep the order, and each is recorded', async () => {
    await put('sk');
    await room.addUpstream(owner);
    const { outcomes } = await resolve([want('nope'), want('stripe'), want('acme'), want('stripe')]);
    expect(outcomes.map((one) => (one.ok ? 'ok' : one.refusal.code))).toEqual([
      ...['KX_PROVIDER_UNKNOWN', 'ok', 'KX_CONNECTION_MISSING', 'ok'],
    ]);
    expect(issued(outcomes[1]).leaseId).toBe(issued(outcomes[3]).leaseId);
    expect((await events('server')).slice(1).map(({ kind }) => kind)).toEqual([
      ...['credential.refused', 'credential.resolved', 'credential.refused'],
    ]);
  });

  test('an unknown provider is refused with the name that was probably meant', async () => {
    await put('sk');
    expect(refused(await resolveOne(want('strpe')))).toMatchObject({
      refusal: { code: 'KX_PROVIDER_UNKNOWN', failureReason: 'unknown_provider_handle' },
      hint: expect.stringContaining('`stripe`'),
    });
    for (const name of ['', 'Stripe', 'a\0b', '\ud800', 'x'.repeat(10_000)]) {
      expect(code(await resolveOne(want(name)))).toBe('KX_PROVIDER_UNKNOWN');
    }
  });

  test('a missing OAuth connection comes with a link that connects it, a missing key with the command', async () => {
    await room.addUpstream(owner);
    const { refusal, hint } = refused(await resolveOne(want('acme')));
    expect(refusal).toMatchObject({
      ...{ oauthError: 'invalid_target', failureReason: 'disconnected_or_reauth_required' },
      members: { provider_name: 'acme', connect_expires_in: 600 },
    });
    expect(hint).toContain('kontext connect acme');
    const ticket = String(refusal.members.connect_uri).split('/').at(-1) ?? '';
    await expect(room.connections.flow.show({ ...owner, browserId: 'b' }, ticket)).resolves.toMatchObject({
      provider: 'acme',
    });

    await put('sk', { name: 'live' });
    const missing = refused(await resolveOne(want('stripe', { resource: 'test' })));
    expect(missing.refusal.members.connect_uri).toBeUndefined();
    expect(missing.hint).toContain('kontext secrets put stripe --name test');
  });

  describe('the mapping of a placeholder to a connection', () => {
    test('prefers the own connection to the shared one, and uses the shared one without', async () => {
      const member = await org.addUser('member');
      await put('sk_shared', { shared: true });
      await put('sk_owner');
      expect(issued(await resolveOne(want('stripe'))).value.reveal()).toBe('sk_owner');
      const theirs = await resolveOne(want('stripe'), member, { sessionId: await room.openSession(member) });
      expect(issued(theirs).value.reveal()).toBe('sk_shared');
    });

    test('refuses several with their names, and picks by resource', async () => {
      await put('sk_live', { name: 'live' });
      await put('sk_test', { name: 'test' });
      const ambiguous = refused(await resolveOne(want('stripe'))).refusal;
      expect(ambiguous).toMatchObject({ code: 'KX_CONNECTION_AMBIGUOUS' });
      expect(ambiguous.message).toContain('live, test');
      expect(issued(await resolveOne(want('stripe', { resource: 'test' }))).value.reveal()).toBe('sk_test');
    });

    test('never uses the connection of another user or organisation', async () => {
      await put('sk_owner');
      const member = await org.addUser('member');
      const theirs = await resolveOne(want('stripe'), member, { sessionId: await room.openSession(member) });
      expect(code(theirs)).toBe('KX_CONNECTION_MISSING');
      const { owner: stranger } = await room.organisation();
      const foreign = await resolveOne(want('stripe'), stranger, {
        sessionId: await room.openSession(stranger),
      });
      expect(code(foreign)).toBe('KX_PROVIDER_UNKNOWN');
    });

    test('a connection the provider wants the user again for is not replaced by a shared one', async () => {
      await room.addUpstream(owner);
      await room.connect(owner);
      await room.upstream.revokeAll();
      room.advance(595_000);
      const first = refused(await resolveOne(want('acme')));
      expect(first.refusal.code).toBe('KX_CONNECTION_REAUTH_REQUIRED');
      expect(first.refusal.members.connect_uri).toBeDefined();
      expect(code(await resolveOne(want('acme')))).toBe('KX_CONNECTION_REAUTH_REQUIRED');
      await room.connect(owner);
      expect((await resolveOne(want('acme')))?.ok).toBe(true);
    });
  });

  test('a connection pointed to the secret of another one in the database gives nothing', async () => {
    const { connection: mine } = await put('sk_mine');
    const other = await org.addUser('member');
    const { connection: theirs } = await put('sk_theirs', {}, other);
    await room.store.transaction({ role: 'system', orgId: null }, (tx) =>
      tx.update(connections).set({ secretId: theirs.secretId }).where(eq(connections.id, mine.id)),
    );
    expect(code(await resolveOne(want('stripe')))).toBe('KX_VAULT_OPEN');
  });

  test('broker delivery is refused, never turned into an inject', async () => {
    await put('sk');
    expect(code(await resolveOne(want('stripe', { delivery: 'broker' })))).toBe('KX_DELIVERY_UNSUPPORTED');
  });

  test('a scope beyond the connection is refused with the excess, any scope for a key', async () => {
    await room.addUpstream(owner);
    await room.connect(owner);
    await put('sk');
    const excess = refused(await resolveOne(want('acme', { scopes: ['read', 'admin'] }))).refusal;
    expect(excess).toMatchObject({ code: 'KX_SCOPE_EXCEEDED', members: { scope: 'admin' } });
    expect(code(await resolveOne(want('stripe', { scopes: ['read'] })))).toBe('KX_SCOPE_EXCEEDED');
    expect(code(await resolveOne(want('acme', { scopes: ['a b'] })))).toBe('KX_REQUEST_INVALID');
  });

  test('an agent below the scopes of a token that cannot be narrowed gets none', async () => {
    await room.addUpstream(owner);
    await room.connect(owner);
    await room.store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
      tx
        .update(agents)
        .set({ ceilingScopes: ['read'] })
        .where(eq(agents.name, 'claude')),
    );
    expect(code(await resolveOne(want('acme', { scopes: ['read'] })))).toBe('KX_SCOPE_EXCEEDED');
  });

  test('a provider that is not attached to the agent is refused', async () => {
    await put('sk');
    await room.store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
      tx.delete(agentProviders).where(and(eq(agentProviders.orgId, org.orgId))),
    );
    expect(code(await resolveOne(want('stripe')))).toBe('KX_PROVIDER_NOT_ATTACHED');
  });

  test('a dry run says what would happen and leaves no lease, event, link or call', async () => {
    await put('sk');
    await room.addUpstream(owner);
    const before = [await events('server'), await events('admin'), await room.upstream.stats()];
    const { outcomes } = await resolve([want('stripe'), want('acme')], owner, {
      dryRun: true,
      sessionId: '',
    });
    expect(issued(outcomes[0]).value.reveal()).toBe('');
    expect(refused(outcomes[1]).refusal.members.connect_uri).toBeUndefined();
    expect([await events('server'), await events('admin'), await room.upstream.stats()]).toEqual(before);
    expect(await leaseRows()).toEqual([]);
  });

  test('without a session the agent is run and the event stands in the admin stream', async () => {
    await put('sk');
    const { outcomes, serverEventHash } = await resolve([want('stripe')], owner, { sessionId: '' });
    expect(serverEventHash).toBeNull();
    const event = (await events('admin')).at(-1);
    expect(event?.kind).toBe('credential.resolved');
    expect(JSON.parse(event?.header ?? '')).toMatchObject({ agent: 'run', session: null });
    expect((await leaseRows())[0]).toMatchObject({ id: issued(outcomes[0]).leaseId, sessionId: null });
  });

  test('a session that is over, unknown or of another user gets nothing', async () => {
    await put('sk');
    const member = await org.addUser('member');
    await expect(resolve([want('stripe')], member)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    for (const id of [createId('ses'), 'ses_x', '\0']) {
      const unknown = resolve([want('stripe')], owner, { sessionId: id });
      await expect(unknown).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    }
    await room.sessions.end(owner, sessionId, { exitCode: 0, reason: '' });
    await expect(resolve([want('stripe')])).rejects.toMatchObject({ code: 'KX_SESSION_ENDED' });
    expect(await leaseRows()).toEqual([]);
  });

  test('the end of the session, and the end of the connection, end the leases', async () => {
    const { connection } = await put('sk');
    await put('sk_other', { provider: 'npm' });
    await resolve([want('stripe'), want('npm')]);
    await room.connections.revoke(owner, connection.id);
    const states = async () =>
      Object.fromEntries((await leaseRows()).map((row) => [row.provider, row.endReason ?? row.state]));
    expect(await states()).toEqual({ stripe: 'connection_revoked', npm: 'active' });
    await room.sessions.end(owner, sessionId, { exitCode: 0, reason: '' });
    expect(await states()).toEqual({ stripe: 'connection_revoked', npm: 'session.ended' });
  });

  test.each(['session', 'connection'] as const)(
    'a %s that ends while the credential is fetched gives nothing',
    async (what) => {
      await room.addUpstream(owner);
      const connectionId = await room.connect(owner);
      const { tokens } = room.connections;
      const tokenOf = tokens.get;
      const ending = () =>
        what === 'session'
          ? room.sessions.end(owner, sessionId, { exitCode: 0, reason: '' })
          : room.connections.revoke(owner, connectionId);
      Object.assign(tokens, {
        get: async (orgId: string, id: string) => {
          const token = await tokenOf(orgId, id);
          await ending();
          return token;
        },
      });
      const outcome = await resolveOne(want('acme')).finally(() => Object.assign(tokens, { get: tokenOf }));
      expect(code(outcome)).toBe(what === 'session' ? 'KX_SESSION_ENDED' : 'KX_CONNECTION_MISSING');
      expect((await leaseRows()).map(({ state }) => state)).toEqual(['ended']);
      expect((await events('server')).at(-1)?.kind).toBe('credential.refused');
    },
  );

  test('a provider that is down is a transient refusal, recorded, with nothing left pending', async () => {
    await room.addUpstream(owner);
    await room.connect(owner);
    room.advance(700_000);
    await room.fault('429');
    const { refusal, retryAfterSeconds } = refused(await resolveOne(want('acme')));
    expect(refusal).toMatchObject({
      ...{ code: 'KX_PROVIDER_UNREACHABLE', oauthError: 'temporarily_unavailable' },
      failureReason: 'transient_exchange_error',
    });
    expect(retryAfterSeconds).toBeGreaterThan(0);
    expect((await leaseRows()).map(({ state, endReason }) => [state, endReason])).toEqual([
      ['ended', 'not_issued'],
    ]);
  });

  test('twenty parallel resolves of an expiring token cause one refresh', async () => {
    await room.addUpstream(owner);
    await room.connect(owner);
    room.advance(595_000);
    const { refreshes } = await room.upstream.stats();
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => resolveOne(want('acme'))));
    expect(new Set(outcomes.map((one) => issued(one).value.reveal())).size).toBe(1);
    expect(new Set(outcomes.map((one) => issued(one).leaseId)).size).toBe(20);
    expect((await room.upstream.stats()).refreshes).toBe(refreshes + 1);
  });

  test('leases that a crash left pending and those that have expired are swept', async () => {
    await put('sk');
    await room.addUpstream(owner);
    await room.connect(owner);
    await resolve([want('stripe'), want('acme')]);
    await room.store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
      tx.update(leases).set({ state: 'pending' }).where(eq(leases.provider, 'stripe')),
    );
    await room.credentials.sweep();
    expect((await leaseRows()).map(({ state }) => state).sort()).toEqual(['active', 'pending']);
    room.advance(3_700_000);
    await room.credentials.sweep();
    const ended = (await leaseRows()).map(({ provider, endReason }) => [provider, endReason]).sort();
    expect(ended).toEqual([
      ['acme', 'expired'],
      ['stripe', 'stale'],
    ]);
  });

  test('ten thousand placeholders are answered, one more is refused', async () => {
    await put('sk');
    const many = Array.from({ length: 10_000 }, (_, i) =>
      want(i % 2 === 0 ? 'stripe' : `unknown-${i}`, i % 4 === 0 ? { resource: 'default' } : {}),
    );
    const { outcomes } = await resolve(many);
    expect(outcomes.filter((one) => one.ok)).toHaveLength(5000);
    expect(await leaseRows()).toHaveLength(2);
    await expect(resolve([...many, want('stripe')])).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
  });

  test('leases are listed newest first, page by page, the own ones alone', async () => {
    const every = { everybody: false, live: false, provider: '' };
    await put('sk', { shared: true });
    const member = await org.addUser('member');
    await resolve([want('stripe')], member, { sessionId: await room.openSession(member) });
    for (let i = 0; i < 3; i += 1) await resolve([want('stripe')]);
    const first = await room.credentials.listLeases(owner, { ...every, sessionId, pageSize: 2, cursor: '' });
    const rest = await room.credentials.listLeases(owner, {
      ...every,
      sessionId,
      pageSize: 2,
      cursor: first.next ?? '',
    });
    expect([first.leases.length, rest.leases.length, rest.next]).toEqual([2, 1, null]);
    const all = [...first.leases, ...rest.leases];
    expect(all.every(({ lease }) => lease.userId === owner.userId)).toBe(true);
    for (const query of [{ pageSize: 201 }, { cursor: 'x' }, { sessionId: 'x' }]) {
      const listed = room.credentials.listLeases(owner, {
        ...{ ...every, sessionId: '', pageSize: 0, cursor: '' },
        ...query,
      });
      await expect(listed).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
    }
  });
});
