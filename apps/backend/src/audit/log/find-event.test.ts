import {
  type ChainedEvent,
  chainLink,
  createId,
  encodeHeader,
  hashEvent,
  type Id,
  parseHeader,
} from '@kontext/audit';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Caller } from '../../caller.ts';
import {
  createTestOrganisation,
  testKms as kms,
  type TestOrganisation,
} from '../../organisations/test-organisation.ts';
import { findEventPlaces } from '../../store/queries/audit-events.ts';
import { makePartitions } from '../../store/queries/partitions.ts';
import type { Store } from '../../store/store.ts';
import { type TestStore, testStores } from '../../store/test-stores.ts';
import { createAppendSignal } from '../append-signal.ts';
import { type AuditService, createAuditService } from '../audit-service.ts';
import { findLineage } from '../lineage/lineage.ts';
import { erasePayloads } from '../payloads/erase-payloads.ts';
import { openTestSession, type TestClient } from '../test-client.ts';
import { createAuditLog } from './audit-log.ts';
import { findEventById } from './find-event.ts';
import { createLogKeys } from './log-key.ts';
import { sequenceLogs } from './sequence-log.ts';

const dayMs = 86_400_000;

/** The event under another id, as a client that chooses its ids would write it. */
function under(id: Id<'evt'>, event: ChainedEvent): ChainedEvent {
  const header = encodeHeader({ ...parseHeader(event.header), id });
  return { ...event, id, header, chain: chainLink(event.prev, hashEvent(header)) };
}

describe.each(testStores())('events by their ids on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  let audit: AuditService;
  let org: TestOrganisation;
  let nowMs = Date.now();
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
    audit = createAuditService({ store, nowMs: () => nowMs });
    org = await createTestOrganisation(store, new Date());
  });
  afterAll(() => opened?.close());

  const openClient = (caller: Caller) => openTestSession(store, caller, new Date());
  /** Sends one event under an id, so many milliseconds from now. */
  const send = async (caller: Caller, client: TestClient, id: Id<'evt'>, afterMs = 0): Promise<void> => {
    nowMs = Date.now() + afterMs;
    await audit.append(caller, client.batch([under(id, client.write())]));
    nowMs = Date.now();
  };

  test('an id of which there is nothing costs the partitions near its instant, however many there are', async () => {
    const first = new Date(Date.now() - 50 * dayMs).toISOString().slice(0, 10);
    await store.transaction({ role: 'retention', orgId: null }, (tx) => makePartitions(tx, first, 50));
    const days = { first: dayAfter(-10), last: dayAfter(8) };
    const eventId = createId('evt');

    const locked = await store.transaction({ role: 'read', orgId: org.orgId }, async (tx) => {
      await findEventPlaces(tx, { orgId: org.orgId, owner: null, eventId }, days, 1);
      const { rows } = await tx.execute<{ name: string }>(sql`
        SELECT c.relname AS name FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
        WHERE l.pid = pg_backend_pid() AND c.relkind = 'r' AND c.relname LIKE 'audit_events_20%'`);
      return rows.map(({ name }) => name).sort();
    });

    expect(locked.length).toBeGreaterThan(10);
    expect(locked.length).toBeLessThanOrEqual(19);
    await expect(findEventById(store, org.owner, eventId)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
  });

  test('are looked up in an index that holds them', async () => {
    const { rows } = await store.transaction({ role: 'read', orgId: org.orgId }, async (tx) => {
      await tx.execute(sql`SET LOCAL enable_seqscan = off`);
      return tx.execute(sql`EXPLAIN SELECT 1 FROM audit_events WHERE org_id = ${org.orgId}
        AND event_id = ${createId('evt')} AND part_day = ${dayAfter(0)}::date`);
    });

    expect(JSON.stringify(rows)).toMatch(/Index Cond: [^"]*event_id/);
  });

  test.each([
    ['before there were years', 'evt_00000000-0000-7000-8000-000000000000', 'KX_NOT_FOUND'],
    ['after the year 9999', 'evt_ffffffff-ffff-7fff-bfff-ffffffffffff', 'KX_NOT_FOUND'],
    ['that is none', "evt_' OR 1=1", 'KX_REQUEST_INVALID'],
  ])('an id %s is refused with a typed error', async (_what, eventId, code) => {
    await expect(findEventById(store, org.owner, eventId)).rejects.toMatchObject({ code });
  });

  test('an event that was late by a week is found; beyond it is said where was looked', async () => {
    const client = await openClient(org.owner);
    const [late, tooLate] = [
      createId('evt', Date.now() - 7.5 * dayMs),
      createId('evt', Date.now() - 12 * dayMs),
    ];
    await send(org.owner, client, late);
    const again = await openClient(org.owner);
    await send(org.owner, again, tooLate);

    expect(await findEventById(store, org.owner, late)).toMatchObject({ seq: 1, sameId: [] });
    await expect(findEventById(store, org.owner, tooLate)).rejects.toMatchObject({
      code: 'KX_NOT_FOUND',
      why: expect.stringContaining('eight days'),
      hint: expect.stringContaining('stream and seq'),
    });
  });

  test('of two with one id the first that was received is meant, and the other is named', async () => {
    const ann = await org.addUser('member');
    const [hers, forged] = [await openClient(ann), await openClient(org.owner)];
    const id = createId('evt');
    // Stored in the other order than they were received, so that no order of the table gives this answer.
    await send(org.owner, forged, id, 5_000);
    await send(ann, hers, id);
    const keys = createLogKeys({ store, kms, host: 'kontext.test', nowMs: Date.now });
    await sequenceLogs({ store, keys, nowMs: Date.now });
    const log = createAuditLog({ store, keys });
    const { size } = (await log.checkpoint(org.orgId))!;

    const proof = await log.prove(org.owner, { streamId: '', seq: 0, eventId: id, size });
    const lineage = await findLineage(store, org.owner, id);

    const other = { streamId: forged.opened.clientStreamId, seq: 1 };
    expect(proof.segment.streamId).toBe(hers.opened.clientStreamId);
    expect(proof.sameId).toEqual([other]);
    expect(lineage.sameId).toEqual([other]);
    expect(lineage.nodes.filter(({ asked }) => asked)).toEqual([
      expect.objectContaining({ id, streamId: hers.opened.clientStreamId, seq: 1 }),
    ]);
  });

  test('of two with one id a member hears of their own alone', async () => {
    const [ann, bob] = [await org.addUser('member'), await org.addUser('member')];
    const [hers, his] = [await openClient(ann), await openClient(bob)];
    const id = createId('evt');
    await send(ann, hers, id);
    await send(bob, his, id, 5_000);
    const other = await createTestOrganisation(store, new Date());

    expect(await findEventById(store, bob, id)).toMatchObject({
      ...{ streamId: his.opened.clientStreamId, sameId: [] },
    });
    const { nodes, sameId } = await findLineage(store, bob, id);
    expect([nodes.some((node) => node.id === hers.sessionId), sameId]).toEqual([false, []]);
    await expect(findEventById(store, other.owner, id)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
  });

  test('two of one session with one id are two things of the tree', async () => {
    const client = await openClient(org.owner);
    const id = createId('evt');
    const first = under(id, client.write({ tool: 'Read' }));
    await audit.append(org.owner, client.batch([first]));
    const second = client.forkFrom({ seq: 1, hash: first.chain });
    await send(org.owner, second, id, 1_000);

    const { nodes } = await findLineage(store, org.owner, id);

    const events = nodes.filter(({ type }) => type === 'event');
    expect(events.map((node) => [node.id, node.tool, node.asked])).toEqual([
      [id, 'Read', true],
      [`${client.opened.clientStreamId}:2`, 'Bash', false],
    ]);
  });

  test('nothing is erased by an id that several bear', async () => {
    const [one, two] = [await openClient(org.owner), await openClient(org.owner)];
    const id = createId('evt');
    await send(org.owner, one, id);
    await send(org.owner, two, id);
    const deps = { store, appended: createAppendSignal(), nowMs: Date.now };

    const erasure = erasePayloads(deps, org.owner, { eventId: id, sessionId: '', userId: '' }, 'a reason');

    await expect(erasure).rejects.toMatchObject({
      code: 'KX_EVENT_AMBIGUOUS',
      why: expect.stringContaining(`${two.opened.clientStreamId} 1`),
    });
    const { events } = await audit.readStream(org.owner, {
      ...{ streamId: one.opened.clientStreamId, fromSeq: 1, pageSize: 1 },
    });
    expect(events[0]?.payload).not.toBeNull();
  });

  test('of more than a hundred with one id none is chosen', async () => {
    const ann = await org.addUser('member');
    const client = await openClient(ann);
    const id = createId('evt');
    const events: ChainedEvent[] = [];
    for (let writer = client; events.length < 101; ) {
      const event = under(id, writer.write({}, null));
      events.push(event);
      writer = client.forkFrom({ seq: event.seq, hash: event.chain });
    }
    await audit.append(ann, client.batch(events));

    const [asked, byAnn] = [findEventById(store, org.owner, id), findEventById(store, ann, id)];
    await expect(asked).rejects.toMatchObject({ code: 'KX_EVENT_AMBIGUOUS' });
    await expect(byAnn).rejects.toMatchObject({ code: 'KX_EVENT_AMBIGUOUS' });
    expect((await findLineage(store, ann, client.sessionId)).nodes.length).toBeGreaterThan(100);
  });
});

const dayAfter = (days: number): string => new Date(Date.now() + days * dayMs).toISOString().slice(0, 10);
