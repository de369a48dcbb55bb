import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createAuditService } from '../audit/audit-service.ts';
import type { Caller } from '../caller.ts';
import type { TestOrganisation } from '../organisations/test-organisation.ts';
import { connectTickets, providers, secrets } from '../store/schema.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import type { ProviderInput } from './provider-input.ts';
import { approve, openTestRoom, readCallback, type TestRoom } from './test-room.ts';

const oauth: ProviderInput = {
  ...{ name: 'github', kind: 'oauth2', clientId: 'id', clientSecret: 'very-secret-client', scopes: ['read'] },
  ...{ authorizationEndpoint: 'https://idp.example/auth', tokenEndpoint: 'https://idp.example/token' },
  ...{ revocationEndpoint: '', clientAuth: 'client_secret_basic' },
};

describe.each(testStores())('providers and connections on $kind', ({ open }) => {
  let opened: TestStore;
  let room: TestRoom;
  let org: TestOrganisation;
  let owner: Caller;
  beforeAll(async () => {
    opened = await open();
    room = await openTestRoom(opened);
  });
  beforeEach(async () => {
    org = await room.organisation();
    owner = org.owner;
  });
  afterEach(async () => {
    await room.fault('none');
    await room.upstream.setSettings({ account: 'upstream-user' });
  });
  afterAll(async () => {
    await room?.close();
    await opened?.close();
  });

  const events = async () => {
    const audit = createAuditService({ store: room.store });
    const { streams } = await audit.listStreams(owner, { sessionId: null, pageSize: 50, cursor: '' });
    const admin = streams.find(({ kind }) => kind === 'admin');
    const query = { streamId: admin?.id ?? '', fromSeq: 0, pageSize: 0 };
    return (await audit.readStream(owner, query)).events;
  };
  const kinds = async () => (await events()).map(({ kind }) => kind);
  const opener = (caller: Caller, browserId = `browser-of-${caller.userId}`) => ({ ...caller, browserId });
  const begin = async (caller: Caller, provider = 'acme', name = '') => {
    const link = await room.connections.begin(caller, { provider, name, scopes: [] });
    return { ...link, ticket: link.connectUri.split('/').at(-1) ?? '' };
  };
  /** Goes to the provider and comes back with its answer. */
  const visit = async (caller: Caller, ticket: string) => {
    const callback = new URL(await approve(await room.connections.flow.open(opener(caller), ticket)));
    return { query: readCallback(callback), callbackId: callback.pathname.split('/').at(-1) ?? '' };
  };

  describe('providers', () => {
    test('adding one seals its client secret, attaches it in local mode and records it', async () => {
      const row = await room.connections.addProvider(owner, oauth);
      expect(room.connections.callbackUrl(row)).toMatch(
        /^http:\/\/127\.0\.0\.1:4180\/connect\/callback\/[A-Za-z0-9_-]{24}$/,
      );
      const event = (await events()).at(-1);
      expect(event?.kind).toBe('provider.added');
      expect(JSON.parse(event?.payload ?? '')).toMatchObject({
        provider: 'github',
        attachedTo: ['claude', 'run'],
      });
      expect(event?.payload).not.toContain('very-secret-client');
      expect((await room.connections.listProviders(owner)).map(({ name }) => name)).toEqual(['github']);
    });

    test.each<[string, Partial<ProviderInput>]>([
      ['a name with capitals', { name: 'GitHub' }],
      ['a name of 64 characters', { name: 'a'.repeat(64) }],
      ['an empty name', { name: '' }],
      ['an unknown kind', { kind: null }],
      ['an endpoint by plain http', { tokenEndpoint: 'http://idp.example/token' }],
      ['an endpoint that is no URL', { authorizationEndpoint: 'idp.example' }],
      ['an endpoint with a fragment', { authorizationEndpoint: 'https://idp.example/auth#x' }],
      ['an endpoint with a password', { tokenEndpoint: 'https://u:p@idp.example/token' }],
      ['an endpoint of another scheme', { revocationEndpoint: 'file:///etc/passwd' }],
      ['an endpoint of 2,049 characters', { tokenEndpoint: `https://idp.example/${'a'.repeat(2029)}` }],
      ['a missing client id', { clientId: '' }],
      ['a missing secret', { clientSecret: '' }],
      ['a secret without client authentication', { clientAuth: 'none' }],
      ['an unknown client authentication', { clientAuth: null }],
      ['a static one with endpoints', { kind: 'static' }],
    ])('%s is refused', async (_what, change) => {
      const added = room.connections.addProvider(owner, { ...oauth, ...change });
      await expect(added).rejects.toMatchObject({ code: 'KX_PROVIDER_INVALID' });
    });

    test('plain http on loopback is accepted in local mode alone', async () => {
      const input = { ...oauth, tokenEndpoint: 'http://127.0.0.1:1/token' };
      const strict = room.replica({ local: false }).connections;
      await expect(strict.addProvider(owner, input)).rejects.toMatchObject({ code: 'KX_PROVIDER_INVALID' });
      await expect(room.connections.addProvider(owner, input)).resolves.toMatchObject({ name: 'github' });
    });

    test('a name is taken once, also by two administrators at the same moment', async () => {
      const added = await Promise.allSettled([1, 2].map(() => room.connections.addProvider(owner, oauth)));
      const refused = added.find(({ status }) => status === 'rejected');
      expect(refused).toMatchObject({ reason: { code: 'KX_PROVIDER_EXISTS' } });
      expect(await room.connections.listProviders(owner)).toHaveLength(1);
    });

    test('members, auditors and security may neither add nor remove', async () => {
      await room.connections.addProvider(owner, oauth);
      for (const role of ['member', 'auditor', 'security'] as const) {
        const caller = await org.addUser(role);
        const added = room.connections.addProvider(caller, { ...oauth, name: 'other' });
        await expect(added).rejects.toMatchObject({ code: 'KX_FORBIDDEN' });
        const removed = room.connections.removeProvider(caller, 'github', true);
        await expect(removed).rejects.toMatchObject({ code: 'KX_FORBIDDEN' });
      }
    });

    test('one with connections is removed by force alone, and then nothing of it is left', async () => {
      await room.addUpstream(owner);
      await room.connect(owner);
      const remove = (force: boolean) => room.connections.removeProvider(owner, 'acme', force);
      await expect(remove(false)).rejects.toMatchObject({ code: 'KX_PROVIDER_IN_USE' });
      await remove(true);
      const left = await room.store.transaction({ role: 'app', orgId: org.orgId }, async (tx) => [
        ...(await tx.select().from(providers)),
        ...(await tx.select().from(secrets).where(eq(secrets.purpose, 'connection'))),
        ...(await tx.select().from(secrets).where(eq(secrets.purpose, 'client-secret'))),
      ]);
      expect(left).toEqual([]);
      expect((await kinds()).at(-1)).toBe('provider.removed');
      await expect(remove(true)).rejects.toMatchObject({ code: 'KX_PROVIDER_UNKNOWN' });
    });

    test('another organisation sees none of them', async () => {
      await room.connections.addProvider(owner, oauth);
      const { owner: stranger } = await room.organisation();
      expect(await room.connections.listProviders(stranger)).toEqual([]);
      await expect(begin(stranger, 'github')).rejects.toMatchObject({ code: 'KX_PROVIDER_UNKNOWN' });
    });
  });

  describe('the connect flow', () => {
    beforeEach(() => room.addUpstream(owner));

    test('leads from the link to a connected connection, recorded at each step', async () => {
      const { connectionId, ticket } = await begin(owner);
      expect(await room.connections.get(owner, connectionId)).toMatchObject({
        connection: { state: 'pending' },
      });
      expect(await room.connections.flow.show(opener(owner), ticket)).toEqual({
        ...{ provider: 'acme', host: new URL(room.upstream.url).host, connectionName: 'default' },
        ...{ scopes: ['openid', 'read', 'write'], granted: [], shared: false },
      });
      const { query, callbackId } = await visit(owner, ticket);
      await room.connections.flow.finish(opener(owner), callbackId, query);
      expect(await room.connections.get(owner, connectionId)).toMatchObject({
        connection: { state: 'connected', scopes: ['openid', 'read', 'write'], version: 1 },
      });
      expect((await kinds()).slice(-2)).toEqual(['connection.begun', 'connection.connected']);
    });

    test('the request carries state, S256 challenge and the fixed callback', async () => {
      const { ticket } = await begin(owner);
      const url = new URL(await room.connections.flow.open(opener(owner), ticket));
      const { searchParams: params } = url;
      expect(params.get('code_challenge_method')).toBe('S256');
      expect(params.get('code_challenge')).toMatch(/^[A-Za-z0-9_-]{43}$/);
      expect(params.get('state')).toMatch(/^[A-Za-z0-9_-]{43}$/);
      expect(params.get('redirect_uri')).toContain('/connect/callback/');
      expect(params.get('response_type')).toBe('code');
    });

    test('neither the link nor the state stands in the database', async () => {
      const { ticket } = await begin(owner);
      const url = new URL(await room.connections.flow.open(opener(owner), ticket));
      const rows = await room.store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
        tx.select().from(connectTickets),
      );
      const stored = JSON.stringify(rows);
      for (const secret of [ticket, url.searchParams.get('state') ?? '', opener(owner).browserId]) {
        expect(stored).not.toContain(secret);
      }
    });

    test('another user of the organisation cannot open the link', async () => {
      const { ticket } = await begin(owner);
      const other = await org.addUser('admin');
      const { flow } = room.connections;
      await expect(flow.show(opener(other), ticket)).rejects.toMatchObject({ code: 'KX_FORBIDDEN' });
      await expect(flow.open(opener(other), ticket)).rejects.toMatchObject({ code: 'KX_FORBIDDEN' });
    });

    test('another organisation does not see the link', async () => {
      const { ticket } = await begin(owner);
      const { owner: stranger } = await room.organisation();
      const shown = room.connections.flow.show(opener(stranger), ticket);
      await expect(shown).rejects.toMatchObject({ code: 'KX_CONNECT_LINK_EXPIRED' });
    });

    test('the first browser that opens the link keeps it', async () => {
      const { ticket } = await begin(owner);
      await room.connections.flow.open(opener(owner), ticket);
      await room.connections.flow.open(opener(owner), ticket);
      const elsewhere = room.connections.flow.open(opener(owner, 'another-browser'), ticket);
      await expect(elsewhere).rejects.toMatchObject({ code: 'KX_CONNECT_LINK_EXPIRED' });
    });

    test('the link works for ten minutes', async () => {
      const { ticket } = await begin(owner);
      room.advance(601_000);
      const late = room.connections.flow.open(opener(owner), ticket);
      await expect(late).rejects.toMatchObject({ code: 'KX_CONNECT_LINK_EXPIRED' });
    });

    test('an answer is taken once', async () => {
      const { ticket } = await begin(owner);
      const { query, callbackId } = await visit(owner, ticket);
      await room.connections.flow.finish(opener(owner), callbackId, query);
      const expired = { code: 'KX_CONNECT_LINK_EXPIRED' };
      await expect(room.connections.flow.finish(opener(owner), callbackId, query)).rejects.toMatchObject(
        expired,
      );
      await expect(room.connections.flow.show(opener(owner), ticket)).rejects.toMatchObject(expired);
    });

    test.each(['state', 'browser', 'callback', 'user'] as const)(
      'an answer with another %s is refused',
      async (what) => {
        const { connectionId, ticket } = await begin(owner);
        const { query, callbackId } = await visit(owner, ticket);
        const other = await org.addUser('member');
        const from = {
          state: opener(owner),
          browser: opener(owner, 'another-browser'),
          callback: opener(owner),
          user: opener(other, opener(owner).browserId),
        }[what];
        const finished = room.connections.flow.finish(
          from,
          what === 'callback' ? 'x'.repeat(24) : callbackId,
          what === 'state' ? { ...query, state: 'x'.repeat(43) } : query,
        );
        await expect(finished).rejects.toMatchObject({ code: 'KX_CONNECT_LINK_EXPIRED' });
        const { connection } = await room.connections.get(owner, connectionId);
        expect(connection.state).toBe('pending');
      },
    );

    test('a refusal of the provider ends the connection that never was, and is recorded', async () => {
      const { connectionId, ticket } = await begin(owner);
      const { query, callbackId } = await visit(owner, ticket);
      const refused = { ...query, code: null, error: 'access_denied' };
      await expect(room.connections.flow.finish(opener(owner), callbackId, refused)).rejects.toMatchObject({
        ...{ code: 'KX_CONNECT_FAILED', why: 'it answered access_denied' },
      });
      const { connection } = await room.connections.get(owner, connectionId);
      expect(connection.state).toBe('revoked');
      expect((await kinds()).at(-1)).toBe('connection.failed');
    });

    test.each([
      ['500', 'KX_PROVIDER_UNREACHABLE'],
      ['garbage', 'KX_PROVIDER_UNREACHABLE'],
      ['lost-answer', 'KX_PROVIDER_UNREACHABLE'],
      ['invalid_grant', 'KX_CONNECT_FAILED'],
    ] as const)('a token endpoint in mode %s is %s, and connects nothing', async (mode, code) => {
      const { connectionId, ticket } = await begin(owner);
      const { query, callbackId } = await visit(owner, ticket);
      await room.fault(mode, 1);
      const finished = room.connections.flow.finish(opener(owner), callbackId, query);
      await expect(finished).rejects.toMatchObject({ code });
      const { connection } = await room.connections.get(owner, connectionId);
      expect(connection).toMatchObject({ state: 'revoked', secretId: null });
    });

    test('connecting again keeps id and name; another account at the provider is refused', async () => {
      const first = await room.connect(owner);
      expect(await room.connect(owner)).toBe(first);
      await room.upstream.setSettings({ account: 'somebody-else' });
      await expect(room.connect(owner)).rejects.toMatchObject({ code: 'KX_CONNECT_FAILED' });
      const { connection } = await room.connections.get(owner, first);
      expect(connection).toMatchObject({ state: 'connected', version: 2 });
    });

    test('a static provider has nothing to connect to, and scopes it was not added with are refused', async () => {
      await room.connections.putSecret(owner, { provider: 'stripe', name: '', value: 'k', shared: false });
      await expect(begin(owner, 'stripe')).rejects.toMatchObject({ code: 'KX_PROVIDER_INVALID' });
      const wider = room.connections.begin(owner, { provider: 'acme', name: '', scopes: ['admin'] });
      await expect(wider).rejects.toMatchObject({ code: 'KX_SCOPE_EXCEEDED' });
    });

    test('a name that a placeholder could not write is refused', async () => {
      for (const name of ['a b', 'a}b', 'a?b', 'x'.repeat(257), 'a\0', '\ud800', '\u202e']) {
        await expect(begin(owner, 'acme', name)).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
      }
    });
  });

  describe('revoking', () => {
    test('tells the provider, so that no token works any more, and records it', async () => {
      await room.addUpstream(owner);
      const id = await room.connect(owner);
      const { accessToken } = await room.connections.tokens.get(org.orgId, id);
      expect(await room.connections.revoke(owner, id)).toEqual({ revokedAtProvider: true, message: '' });
      const answer = await fetch(room.upstream.apiUrl, {
        headers: { authorization: `Bearer ${accessToken}` },
      });
      expect(answer.status).toBe(401);
      expect((await kinds()).at(-1)).toBe('connection.revoked');
      expect(await room.connections.list(owner)).toEqual([]);
      await expect(room.connections.revoke(owner, id)).rejects.toMatchObject({
        code: 'KX_CONNECTION_NOT_FOUND',
      });
    });

    test('ends it here also when the provider cannot be told, and says so', async () => {
      await room.addUpstream(owner);
      const id = await room.connect(owner);
      await room.upstream.setFault('500', { on: 'all' });
      const result = await room.connections.revoke(owner, id);
      expect(result.revokedAtProvider).toBe(false);
      expect(result.message).toContain('it answered 500');
      expect(await room.connections.list(owner)).toEqual([]);
    });

    test('is for the user whose it is, and for owners and admins', async () => {
      await room.addUpstream(owner);
      const [alice, bob, admin] = [
        await org.addUser('member'),
        await org.addUser('member'),
        await org.addUser('admin'),
      ];
      const id = await room.connect(alice);
      const notFound = { code: 'KX_CONNECTION_NOT_FOUND' };
      await expect(room.connections.revoke(bob, id)).rejects.toMatchObject(notFound);
      await expect(room.connections.get(bob, id)).rejects.toMatchObject(notFound);
      expect(await room.connections.list(bob)).toEqual([]);
      const { owner: stranger } = await room.organisation();
      await expect(room.connections.revoke(stranger, id)).rejects.toMatchObject(notFound);
      await expect(room.connections.get(stranger, id)).rejects.toMatchObject(notFound);
      await expect(room.connections.revoke(admin, id)).resolves.toBeDefined();
    });

    test.each(['', 'con_x', "con_'; --", 'con_\0'])('the id %j is not found', async (id) => {
      await expect(room.connections.get(owner, id)).rejects.toMatchObject({
        code: 'KX_CONNECTION_NOT_FOUND',
      });
      await expect(room.connections.revoke(owner, id)).rejects.toMatchObject({
        code: 'KX_CONNECTION_NOT_FOUND',
      });
    });
  });

  describe('static keys', () => {
    const put = (caller: Caller, value: string, change: { name?: string; shared?: boolean } = {}) =>
      room.connections.putSecret(caller, { provider: 'stripe', name: '', shared: false, ...change, value });

    test('putting one makes provider and connection; putting another makes a new version and leaves no old one', async () => {
      const first = await put(owner, 'sk_first');
      const second = await put(owner, 'sk_second');
      expect(second.connection).toMatchObject({ id: first.connection.id, version: 2, state: 'connected' });
      const rows = await room.store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
        tx.select().from(secrets).where(eq(secrets.subjectId, first.connection.id)),
      );
      expect(rows.map(({ version }) => version)).toEqual([2]);
      expect((await kinds()).slice(-3)).toEqual(['provider.added', 'secret.put', 'secret.put']);
    });

    test('parallel puts of one key all succeed or say that it changed, and one value stands', async () => {
      await put(owner, 'sk_0');
      const results = await Promise.allSettled(['sk_1', 'sk_2', 'sk_3'].map((value) => put(owner, value)));
      expect(results.some(({ status }) => status === 'fulfilled')).toBe(true);
      expect(await room.connections.list(owner)).toHaveLength(1);
    });

    test.each([
      ['an empty one', ''],
      ['one of 64 KiB and a byte', 'x'.repeat(65_537)],
      ['one with NUL', 'a\0b'],
    ])('%s is refused', async (_what, value) => {
      await expect(put(owner, value)).rejects.toMatchObject({ code: 'KX_SECRET_INVALID' });
    });

    test('64 KiB are accepted', async () => {
      await expect(put(owner, 'x'.repeat(65_536))).resolves.toBeDefined();
    });

    test('a member may put their own, not share one, and not make the provider', async () => {
      const member = await org.addUser('member');
      await expect(put(member, 'sk')).rejects.toMatchObject({ code: 'KX_FORBIDDEN' });
      await put(owner, 'sk_of_owner');
      await expect(put(member, 'sk')).resolves.toMatchObject({ connection: { userId: member.userId } });
      await expect(put(member, 'sk', { shared: true })).rejects.toMatchObject({ code: 'KX_FORBIDDEN' });
      await put(owner, 'sk_of_all', { shared: true });
      expect(await room.connections.list(member)).toHaveLength(2);
    });

    test('a key does not fit an OAuth provider', async () => {
      await room.addUpstream(owner);
      const stored = room.connections.putSecret(owner, {
        provider: 'acme',
        name: '',
        value: 'k',
        shared: false,
      });
      await expect(stored).rejects.toMatchObject({ code: 'KX_PROVIDER_INVALID' });
    });

    test('revoking one says that it has to be ended where it was made', async () => {
      const { connection } = await put(owner, 'sk');
      const result = await room.connections.revoke(owner, connection.id);
      expect(result.revokedAtProvider).toBe(false);
      expect(result.message).toContain('stripe');
    });
  });
});
