import { type Client, Code, ConnectError, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { createDpopProof } from '@kontext/oauth';
import {
  AuditService,
  ConnectionService,
  CredentialService,
  ProviderKind,
  ProviderService,
  SessionService,
} from '@kontext/protocol';
import { createLocalKms } from '@kontext/vault';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addMember, createOrg, type NewLocalAccount } from '../login/local-accounts.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';
import { confirming } from '../test-confirm.ts';
import { logIn } from '../test-login.ts';
import { wire } from '../wiring.ts';

/** What one person can call. */
interface Clients {
  readonly sessions: Client<typeof SessionService>;
  readonly credentials: Client<typeof CredentialService>;
  readonly connections: Client<typeof ConnectionService>;
  readonly providers: Client<typeof ProviderService>;
  readonly audit: Client<typeof AuditService>;
}

/** What belongs to the owner. */
interface Belongings {
  readonly sessionId: string;
  readonly clientStreamId: string;
  readonly serverStreamId: string;
  readonly connectionId: string;
}

describe.each(testStores())('what belongs to one person, called by another, on $kind', ({ open }) => {
  const kms = createLocalKms(new Map([['test', Buffer.alloc(32, 7)]]), 'test');
  let opened: TestStore;
  let app: TestApp;
  let owner: Clients;
  let people: Record<'colleague' | 'auditor' | 'stranger', Clients>;
  let mine: Belongings;

  beforeAll(async () => {
    opened = await open();
    app = await startTestApp(opened.store, { wire, kms });
    const add = (name: string, role: string) =>
      addMember(opened.store, { orgSlug: 'default', name, role, groups: [], withPasscode: true }, Date.now());
    const elsewhere = { slug: 'elsewhere', owner: 'mallory', withPasscode: true };
    owner = await clientsOf(app.owner);
    people = {
      colleague: await clientsOf(await add('bob', 'member')),
      auditor: await clientsOf(await add('ann', 'auditor')),
      stranger: await clientsOf(await createOrg(opened.store, kms, elsewhere, Date.now())),
    };
    const made = await owner.sessions.openSession({ agent: 'claude', hostname: 'laptop' });
    const { connection } = await owner.connections.putSecret({ provider: 'stripe', value: 'sk_owner' });
    const sessionId = made.session?.id ?? '';
    await owner.credentials.resolveCredentials({ sessionId, placeholders: [{ provider: 'stripe' }] });
    const { clientStreamId, serverStreamId } = made;
    mine = { sessionId, clientStreamId, serverStreamId, connectionId: connection?.id ?? '' };
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });

  async function clientsOf(account: NewLocalAccount): Promise<Clients> {
    const { accessToken, jwk: key } = await logIn({ ...app, owner: account });
    const prove: Interceptor = (next) => async (request) => {
      const proof = { key, htm: 'POST', htu: request.url, accessToken, nowMs: Date.now() };
      request.header.set('authorization', `DPoP ${accessToken}`);
      request.header.set('dpop', await createDpopProof(proof));
      return next(request);
    };
    const options = {
      baseUrl: app.apiUrl,
      httpVersion: '1.1' as const,
      interceptors: [confirming(account), prove],
    };
    const transport = createConnectTransport(options);
    return {
      sessions: createClient(SessionService, transport),
      credentials: createClient(CredentialService, transport),
      connections: createClient(ConnectionService, transport),
      providers: createClient(ProviderService, transport),
      audit: createClient(AuditService, transport),
    };
  }
  const codeOf = (call: Promise<unknown>): Promise<Code | 'let through'> =>
    call.then(
      () => 'let through' as const,
      (error: unknown) => ConnectError.from(error).code,
    );

  const acting: Readonly<Record<string, (by: Clients) => Promise<unknown>>> = {
    HeartbeatSession: ({ sessions }) => sessions.heartbeatSession({ sessionId: mine.sessionId }),
    EndSession: ({ sessions }) => sessions.endSession({ sessionId: mine.sessionId, exitCode: 0 }),
    ResolveCredentials: ({ credentials }) =>
      credentials.resolveCredentials({
        sessionId: mine.sessionId,
        placeholders: [{ provider: 'stripe' }],
      }),
    'ResolveCredentials, dry': ({ credentials }) =>
      credentials.resolveCredentials({ sessionId: mine.sessionId, dryRun: true, placeholders: [{}] }),
    AppendEvents: ({ audit }) => audit.appendEvents({ streamId: mine.clientStreamId, events: [{ seq: 1n }] }),
    RevokeConnection: ({ connections }) => connections.revokeConnection({ connectionId: mine.connectionId }),
    GetConnection: ({ connections }) => connections.getConnection({ connectionId: mine.connectionId }),
  };
  const reading: Readonly<Record<string, (by: Clients) => Promise<unknown>>> = {
    GetSession: ({ sessions }) => sessions.getSession({ sessionId: mine.sessionId }),
    'ReadStream, client': ({ audit }) => audit.readStream({ streamId: mine.clientStreamId }),
    'ReadStream, server': ({ audit }) => audit.readStream({ streamId: mine.serverStreamId }),
  };

  test.each(Object.keys(acting))('%s is found by nobody else, whatever their role', async (method) => {
    for (const by of Object.values(people)) {
      const call = acting[method];
      expect(await codeOf(call?.(by) ?? Promise.resolve())).toBe(Code.NotFound);
    }
  });

  test.each(Object.keys(reading))('%s is open to an auditor of the organisation alone', async (method) => {
    const call = async (by: Clients) => codeOf(reading[method]?.(by) ?? Promise.resolve());
    expect(await call(people.auditor)).toBe('let through');
    expect(await call(people.colleague)).toBe(Code.NotFound);
    expect(await call(people.stranger)).toBe(Code.NotFound);
  });

  test('lists and watches leave out what is not theirs, also when they are asked for it by id', async () => {
    const { sessionId } = mine;
    for (const by of [people.colleague, people.stranger]) {
      expect((await by.sessions.listSessions({})).sessions).toEqual([]);
      expect((await by.audit.listStreams({ sessionId })).streams).toEqual([]);
      expect((await by.credentials.listLeases({ sessionId })).leases).toEqual([]);
      expect((await by.connections.listConnections({})).connections).toEqual([]);
      const watching = new AbortController();
      const timer = setTimeout(() => watching.abort(), 700);
      const seen: unknown[] = [];
      try {
        const stream = by.audit.watchEvents({ sessionId, sinceSeconds: 3600 }, { signal: watching.signal });
        for await (const { events } of stream) seen.push(...events);
      } catch (error) {
        expect(ConnectError.from(error).code).toBe(Code.Canceled);
      }
      clearTimeout(timer);
      expect(seen).toEqual([]);
    }
  });

  test('what belongs to the organisation is changed by owners and admins alone', async () => {
    for (const by of [people.colleague, people.auditor]) {
      const add = by.providers.addProvider({ provider: { name: 'mine', kind: ProviderKind.STATIC } });
      expect(await codeOf(add)).toBe(Code.PermissionDenied);
      expect(await codeOf(by.providers.removeProvider({ name: 'stripe', force: true }))).toBe(
        Code.PermissionDenied,
      );
      const shared = { provider: 'stripe', value: 'x', shared: true };
      expect(await codeOf(by.connections.putSecret(shared))).toBe(Code.PermissionDenied);
    }
    expect(await codeOf(people.stranger.providers.removeProvider({ name: 'stripe', force: true }))).toBe(
      Code.NotFound,
    );
  });

  test('ids that are none are bad requests or not found, never a fault of ours', async () => {
    for (const id of ['', 'x', 'ses_\0', `' OR 1=1 --`, 'ses_'.padEnd(5000, 'a')]) {
      const codes = await Promise.all(
        [
          ...[owner.sessions.getSession({ sessionId: id }), owner.sessions.endSession({ sessionId: id })],
          ...[owner.sessions.heartbeatSession({ sessionId: id }), owner.audit.readStream({ streamId: id })],
          owner.audit.appendEvents({ streamId: id, events: [{ seq: 1n }] }),
          owner.connections.getConnection({ connectionId: id }),
          owner.connections.revokeConnection({ connectionId: id }),
        ].map(codeOf),
      );
      for (const code of codes) expect([Code.NotFound, Code.InvalidArgument]).toContain(code);
    }
  });
});
