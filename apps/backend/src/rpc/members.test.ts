import type { DescService } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { createDpopProof } from '@kontext/oauth';
import { OrganisationService, SessionService, SessionState } from '@kontext/protocol';
import { createLocalKms } from '@kontext/vault';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addMember, type NewLocalAccount } from '../login/local-accounts.ts';
import { openPostgresStore } from '../store/postgres-store.ts';
import type { Store } from '../store/store.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';
import { confirming } from '../test-confirm.ts';
import { logIn, type TestLogin } from '../test-login.ts';
import { wire } from '../wiring.ts';

describe.each(testStores())('members at the router on $kind', ({ kind, open }) => {
  const kms = createLocalKms(new Map([['test', Buffer.alloc(32, 7)]]), 'test');
  let opened: TestStore;
  let app: TestApp;
  /** A second replica; on the embedded database, which has none, the same app. */
  let replica: TestApp;
  let replicaStore: Store | null = null;
  beforeAll(async () => {
    opened = await open();
    app = await startTestApp(opened.store, { wire, kms });
    if (opened.url === null) {
      replica = app;
      return;
    }
    replicaStore = await openPostgresStore(opened.url, 5);
    // Both replicas are the same API to the outside: tokens of one are good at the other.
    const config = { apiUrl: app.apiUrl, local: true, tls: null, trustedProxies: [] };
    replica = await startTestApp(replicaStore, { wire, kms, owner: app.owner, config });
  });
  afterAll(async () => {
    if (replica !== app) await replica?.close();
    await replicaStore?.close();
    await app?.close();
    await opened?.close();
  });

  function clientsOf(login: TestLogin, account: NewLocalAccount, through: TestApp) {
    const { accessToken, jwk: key } = login;
    const baseUrl = `http://127.0.0.1:${(through.app.server.address() as { port: number }).port}`;
    const prove: Interceptor = (next) => async (request) => {
      const htu = `${app.apiUrl}${new URL(request.url).pathname}`;
      request.header.set('authorization', `DPoP ${accessToken}`);
      const proof = { key, htm: 'POST', htu, accessToken, nowMs: Date.now() };
      request.header.set('dpop', await createDpopProof(proof));
      return next(request);
    };
    const interceptors = [confirming(account), prove];
    const transport = createConnectTransport({ baseUrl, httpVersion: '1.1', interceptors });
    const make = <T extends DescService>(service: T) => createClient(service, transport);
    return { organisation: make(OrganisationService), sessions: make(SessionService) };
  }
  const codeOf = (call: Promise<unknown>) =>
    call.then(
      () => 'let through' as const,
      (error: unknown) => ConnectError.from(error).code,
    );

  it(`suspends at once on every replica (${kind})`, async () => {
    const member = { orgSlug: 'default', name: 'bob', role: 'member', groups: [], withPasscode: true };
    const bob = await addMember(opened.store, member, Date.now());
    const bobs = await logIn({ ...app, owner: bob });
    const [here, there] = [clientsOf(bobs, bob, app), clientsOf(bobs, bob, replica)];
    const opening = await here.sessions.openSession({ agent: 'claude', hostname: 'laptop' });
    expect(await codeOf(there.organisation.getCaller({}))).toBe('let through');
    const owner = clientsOf(await logIn(app), app.owner, app);

    const ended = await owner.organisation.suspendMember({ userId: bob.userId });

    for (const { organisation } of [here, there]) {
      expect(await codeOf(organisation.getCaller({}))).toBe(Code.Unauthenticated);
    }
    expect(ended).toMatchObject({ sessionsEnded: 1 });
    const sessionId = opening.session?.id ?? '';
    expect((await owner.sessions.getSession({ sessionId })).session?.state).toBe(SessionState.ENDED);
    const { members } = await owner.organisation.listMembers({});
    expect(members.find(({ userId }) => userId === bob.userId)?.suspendedAt).toBeDefined();

    await owner.organisation.suspendMember({ userId: bob.userId, restore: true });
    // What was ended stays ended; a new login is a new beginning.
    expect(await codeOf(here.organisation.getCaller({}))).toBe(Code.Unauthenticated);
    const again = clientsOf(await logIn({ ...app, owner: bob }), bob, replica);
    expect(await codeOf(again.organisation.getCaller({}))).toBe('let through');
  });

  it('gives a new role with the next request', async () => {
    const member = { orgSlug: 'default', name: 'ann', role: 'member', groups: [], withPasscode: true };
    const ann = await addMember(opened.store, member, Date.now());
    const anns = clientsOf(await logIn({ ...app, owner: ann }), ann, replica);
    const owner = clientsOf(await logIn(app), app.owner, app);
    expect(await codeOf(anns.organisation.listMembers({}))).toBe(Code.PermissionDenied);

    const { userId } = ann;
    const { member: changed } = await owner.organisation.setMember({
      userId,
      role: 'auditor',
      groups: ['q'],
    });

    expect(changed).toMatchObject({ role: 'auditor', groups: ['q'] });
    expect(await codeOf(anns.organisation.listMembers({}))).toBe('let through');
    expect(await anns.organisation.getCaller({})).toMatchObject({ role: 'auditor', groups: ['q'] });
  });
});
