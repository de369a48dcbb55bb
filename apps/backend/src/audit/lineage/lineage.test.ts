import { createId, type Id } from '@kontext/audit';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Caller } from '../../caller.ts';
import { createTestOrganisation, type TestOrganisation } from '../../organisations/test-organisation.ts';
import { connections, leases, providers } from '../../store/schema.ts';
import type { Store } from '../../store/store.ts';
import { makeTestLease } from '../../store/test-lease.ts';
import { makeTestProvider } from '../../store/test-provider.ts';
import { type TestStore, testStores } from '../../store/test-stores.ts';
import { appendServerEvent } from '../append-server-event.ts';
import { type AuditService, createAuditService } from '../audit-service.ts';
import { openTestSession, type TestClient } from '../test-client.ts';
import { findLineage } from './lineage.ts';

const now = new Date();

describe.each(testStores())('lineage on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  let audit: AuditService;
  let org: TestOrganisation;
  let member: Caller;
  let client: TestClient;
  let callIds: string[];
  let consentId: string;
  const connectionId = createId('con');
  const [parentId, childId, tokenId] = [createId('lea'), createId('lea'), createId('lea')];

  beforeAll(async () => {
    opened = await open();
    store = opened.store;
    audit = createAuditService({ store });
    org = await createTestOrganisation(store, now);
    member = await org.addUser('member');
    client = await openTestSession(store, member, now);
    const { orgId } = org;
    const scope = { role: 'app', orgId } as const;
    const provider = makeTestProvider({ orgId, name: 'github' });
    await store.transaction(scope, async (tx) => {
      await tx.insert(providers).values(provider);
      await tx.insert(connections).values({
        ...{ id: connectionId, orgId, providerId: provider.id, userId: member.userId },
        ...{ state: 'connected', account: 'octocat', createdAt: now, connectedAt: now },
      });
      const own = { orgId, userId: member.userId, createdAt: now, sessionId: client.sessionId };
      await tx
        .insert(leases)
        .values([
          makeTestLease({ ...own, id: parentId, connectionId, providerId: provider.id }),
          makeTestLease({ ...own, id: childId, parentLeaseId: parentId, depth: 1 }),
          makeTestLease({ ...own, id: tokenId, kind: 'token', provider: 'kontext', sessionId: null }),
        ]);
      const connected = await appendServerEvent(
        tx,
        { orgId, sessionId: null },
        {
          ...{ kind: 'connection.connected', user: member.userId, lineage: { connection: connectionId } },
          facts: { provider: 'github', name: 'default' },
        },
        now,
      );
      consentId = connected.eventId;
    });
    await store.transaction(scope, (tx) =>
      appendServerEvent(
        tx,
        { orgId, sessionId: client.sessionId },
        {
          ...{ kind: 'credential.resolved', user: member.userId },
          ...{ lineage: { leases: [parentId], connection: connectionId }, facts: { provider: 'github' } },
        },
        now,
      ),
    );
    const events = [client.write({ toolUse: 'toolu_a' }), client.write({ tool: 'Read', decision: 'deny' })];
    callIds = events.map(({ id }) => id);
    await audit.append(member, client.batch(events));
  });
  afterAll(() => opened?.close());

  const pairs = async (id: string, caller: Caller = org.owner) =>
    (await findLineage(store, caller, id)).nodes.map(({ id: own, parentId: above, type }) => ({
      own,
      above,
      type,
    }));

  test('joins consent, connection, leases, session and calls by their ids, whichever of them is asked for', async () => {
    const chain = [
      { own: consentId, above: '', type: 'consent' },
      { own: connectionId, above: consentId, type: 'connection' },
      { own: parentId, above: connectionId, type: 'lease' },
      { own: childId, above: parentId, type: 'lease' },
      { own: client.sessionId, above: parentId, type: 'session' },
      { own: client.sessionId, above: childId, type: 'session' },
      ...callIds.map((own) => ({ own, above: client.sessionId, type: 'event' })),
    ];

    for (const id of [callIds[0]!, client.sessionId, parentId, childId, connectionId])
      expect(await pairs(id)).toEqual(chain);
  });

  test('says who consented when, to what, and marks what was asked for', async () => {
    const { nodes, clipped } = await findLineage(store, org.owner, callIds[1]!);

    expect(nodes[0]).toMatchObject({
      kind: 'connection.connected',
      userName: 'member',
      label: 'member consented to github',
    });
    expect(nodes[1]).toMatchObject({ label: 'github (default) as octocat, of member' });
    expect(nodes.filter(({ asked }) => asked)).toEqual([
      expect.objectContaining({ id: callIds[1], tool: 'Read', decision: 'deny', kind: 'tool_call.decided' }),
    ]);
    expect(clipped).toBe(false);
  });

  test('shows an event of the backend below what it is about', async () => {
    const nodes = await pairs(consentId);

    expect(nodes).toContainEqual({ own: consentId, above: '', type: 'consent' });
    expect(nodes).toContainEqual({ own: connectionId, above: consentId, type: 'connection' });
  });

  test('of a session without leases begins with the login', async () => {
    await store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
      appendServerEvent(
        tx,
        { orgId: org.orgId, sessionId: null },
        { kind: 'login.succeeded', user: member.userId },
        now,
      ),
    );
    const bare = await openTestSession(store, member, now);

    const { nodes } = await findLineage(store, member, bare.sessionId);

    expect(nodes.map(({ type, kind }) => [type, kind])).toEqual([
      ['consent', 'login.succeeded'],
      ['session', ''],
    ]);
  });

  test('stops at two hundred calls, and says so', async () => {
    const many = await openTestSession(store, member, now);
    await audit.append(member, many.batch(Array.from({ length: 201 }, () => many.write({}, null))));

    const { nodes, clipped } = await findLineage(store, member, many.sessionId);

    expect(nodes.filter(({ type }) => type === 'event')).toHaveLength(200);
    expect(clipped).toBe(true);
  });

  test('does not exist for other members, other organisations and ids of nothing', async () => {
    const stranger = await org.addUser('member');
    const other = await createTestOrganisation(store, now);

    for (const id of [callIds[0]!, client.sessionId, parentId, connectionId]) {
      await expect(findLineage(store, stranger, id)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
      await expect(findLineage(store, other.owner, id)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
      expect((await findLineage(store, member, id)).nodes.length).toBeGreaterThan(0);
    }
    for (const id of [createId('ses'), createId('evt'), createId('lea'), createId('con'), createId('apr')])
      await expect(findLineage(store, org.owner, id)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    for (const id of ['', 'x', createId('usr')])
      await expect(findLineage(store, org.owner, id)).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
  });

  test('shows nothing of others below what a client wrote, whatever its events say they are about', async () => {
    const forger = await org.addUser('member');
    const own = await openTestSession(store, forger, now);
    const lineage = { leases: [parentId as Id<'lea'>], connection: connectionId as Id<'con'> };
    const [event] = [own.write({ lineage })];
    await audit.append(forger, own.batch([event]));

    for (const caller of [forger, org.owner]) {
      const { nodes } = await findLineage(store, caller, event.id);
      expect(nodes.map(({ id }) => id)).toEqual([own.sessionId, event.id]);
    }
  });

  test('is written beside the events of the backend, with the provider by its name', async () => {
    const { rows } = await store.transaction({ role: 'read', orgId: org.orgId }, (tx) =>
      tx.execute<{ ref: string; n: number }>(
        sql`SELECT ref, count(*)::int AS n FROM audit_refs GROUP BY 1 ORDER BY 1`,
      ),
    );

    expect(rows).toEqual(
      [
        { ref: connectionId, n: 2 },
        { ref: parentId, n: 1 },
        { ref: 'provider:github', n: 2 },
      ].sort((a, b) => (a.ref < b.ref ? -1 : 1)),
    );
  });
});
