import {
  hashSegment,
  type Id,
  openNote,
  parseCheckpoint,
  parseHeader,
  parseVerifierKey,
  verifyInclusion,
  verifyStream,
} from '@kontext/audit';
import { sql } from 'drizzle-orm';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  createTestOrganisation,
  type TestOrganisation,
  testKms,
} from '../../organisations/test-organisation.ts';
import { endSession } from '../../sessions/end-session.ts';
import { makePartitions } from '../../store/queries/partitions.ts';
import { lockStreamsOf, markHeld } from '../../store/queries/payloads.ts';
import { retentionClasses } from '../../store/retention-classes.ts';
import type { Store } from '../../store/store.ts';
import { listAdminEvents } from '../../store/test-events.ts';
import { type TestStore, testStores } from '../../store/test-stores.ts';
import type { TxScope } from '../../store/tx.ts';
import { appendServerEvent } from '../append-server-event.ts';
import { createAppendSignal } from '../append-signal.ts';
import { type AuditService, createAuditService } from '../audit-service.ts';
import { createAuditLog } from '../log/audit-log.ts';
import { createLogKeys } from '../log/log-key.ts';
import { sequenceLogs } from '../log/sequence-log.ts';
import { openTestSession } from '../test-client.ts';
import { dropDuePayloads } from './drop-due-payloads.ts';
import { createPayloadService, type PayloadService } from './payload-service.ts';

const dayMs = 86_400_000;
const unknownSession = 'ses_01900000-0000-7000-8000-000000000000';
const noTarget = { eventId: '', sessionId: '', userId: '' };

describe.each(testStores())('payloads on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  let nowMs = Date.now();
  let org: TestOrganisation;
  let other: TestOrganisation;
  let audit: AuditService;
  let payloads: PayloadService;
  const now = () => new Date(nowMs);
  beforeAll(async () => {
    opened = await open(() => nowMs);
    store = opened.store;
    const appended = createAppendSignal();
    audit = createAuditService({ store, nowMs: () => nowMs, appended });
    payloads = createPayloadService({ store, appended, nowMs: () => nowMs });
  });
  afterAll(() => opened?.close());

  const atStart = async () => {
    nowMs = Date.now();
    org = await createTestOrganisation(store, now());
    other = await createTestOrganisation(store, now());
  };
  /** A session with so many calls stored. */
  const openWith = async (count: number, caller = org.owner) => {
    const client = await openTestSession(store, caller, now());
    const events = Array.from({ length: count }, () => client.write());
    await audit.append(caller, client.batch(events));
    return { client, events, sessionId: client.sessionId, streamId: client.opened.clientStreamId };
  };
  const read = (streamId: string, caller = org.owner) =>
    audit.readStream(caller, { streamId, fromSeq: 0, pageSize: 1000 });
  const classesOf = async (streamId: string): Promise<Record<string, number>> => {
    const { rows } = await store.transaction({ role: 'system', orgId: null }, (tx) =>
      tx.execute<{ name: string; n: number }>(sql`SELECT retention_class AS name, count(*)::int AS n
        FROM audit_payloads WHERE stream_id = ${streamId} GROUP BY 1`),
    );
    return Object.fromEntries(rows.map(({ name, n }) => [name, n]));
  };
  const findings = ({ stream, events }: Awaited<ReturnType<typeof read>>) => {
    const { orgId, id: streamId, sessionId, nonce } = stream;
    const head = { seq: stream.headSeq, hash: stream.headHash };
    return verifyStream({ orgId, streamId, sessionId, nonce, head }, events);
  };
  const lastAdminEvent = async () => (await listAdminEvents(store, org.orgId)).at(-1);

  describe('settings', () => {
    beforeAll(atStart);

    test('are summaries in the class standard where nobody chose', async () => {
      expect(await payloads.settings(org.owner)).toEqual({
        ...{ payloads: 'summary', retentionClass: 'standard', changedAt: null, changedBy: null },
      });
    });

    test('change what is given, are recorded with what held before, and hold for one organisation', async () => {
      await payloads.set(org.owner, { payloads: 'full', retentionClass: null });
      const set = await payloads.set(org.owner, { payloads: null, retentionClass: 'days-90' });
      expect(set).toMatchObject({ payloads: 'full', retentionClass: 'days-90', changedBy: org.owner.userId });
      expect(await payloads.settings(org.owner)).toMatchObject({
        payloads: 'full',
        retentionClass: 'days-90',
      });
      expect(await lastAdminEvent()).toEqual({
        kind: 'audit.settings_changed',
        user: org.owner.userId,
        facts: {
          old: { payloads: 'full', retentionClass: 'standard' },
          new: { payloads: 'full', retentionClass: 'days-90' },
        },
      });
      expect(await payloads.settings(other.owner)).toMatchObject({ payloads: 'summary' });
    });

    test('that change nothing are not recorded', async () => {
      const before = await listAdminEvents(store, org.orgId);
      await payloads.set(org.owner, { payloads: 'full', retentionClass: 'days-90' });
      expect(await listAdminEvents(store, org.orgId)).toEqual(before);
    });

    test('two changes at once are recorded one after the other', async () => {
      const wanted = ['summary', 'omitted'] as const;
      await Promise.all(
        wanted.map((one) => payloads.set(org.owner, { payloads: one, retentionClass: null })),
      );
      const [first, second] = (await listAdminEvents(store, org.orgId)).slice(-2);
      expect(second?.facts.old).toEqual(first?.facts.new);
    });

    test.each(['hold', 'days-31', '', "x'; DROP TABLE audit_payloads; --"])(
      'refuse the class %j',
      async (retentionClass) => {
        const set = payloads.set(org.owner, { payloads: null, retentionClass });
        await expect(set).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
      },
    );
  });

  describe('an append', () => {
    beforeAll(atStart);

    test.each(retentionClasses)('stores in the class $name the organisation chose', async ({ name }) => {
      await payloads.set(org.owner, { payloads: null, retentionClass: name });
      const { streamId, client } = await openWith(3);
      expect(await classesOf(streamId)).toEqual({ [name]: 3 });
      expect(await classesOf(client.opened.serverStreamId)).toEqual({ [name]: 1 });
    });

    test('leaves what was stored before where it is, and other organisations where they are', async () => {
      await payloads.set(org.owner, { payloads: null, retentionClass: 'days-30' });
      const { client, streamId } = await openWith(2);
      await payloads.set(org.owner, { payloads: null, retentionClass: 'days-90' });
      await audit.append(org.owner, client.batch([client.write()]));
      expect(await classesOf(streamId)).toEqual({ 'days-30': 2, 'days-90': 1 });
      expect(await classesOf((await openWith(1, other.owner)).streamId)).toEqual({ standard: 1 });
    });

    test("keeps the organisation's own stream until it is erased, whatever the setting", async () => {
      await payloads.set(org.owner, { payloads: null, retentionClass: 'days-30' });
      const { streams } = await audit.listStreams(org.owner, { sessionId: null, pageSize: 0, cursor: '' });
      const admin = streams.find(({ kind }) => kind === 'admin');
      expect(Object.keys(await classesOf(admin?.id ?? ''))).toEqual(['standard']);
    });
  });

  describe('erasure', () => {
    beforeAll(atStart);

    test('of an event takes its payload and salt alone; the stream verifies', async () => {
      const { streamId, events } = await openWith(3);
      const target = { ...noTarget, eventId: events[1]?.id ?? '' };
      expect(await payloads.erase(org.owner, target, ' a key slipped in ')).toEqual({ erased: 1, held: 0 });
      const stored = await read(streamId);
      expect(stored.events.map(({ payload, salt }) => payload !== null && salt !== null)).toEqual([
        true,
        false,
        true,
      ]);
      expect(findings(stored)).toMatchObject({ ok: true, withheld: [2] });
      expect(await lastAdminEvent()).toEqual({
        kind: 'payload.erased',
        user: org.owner.userId,
        facts: { event: target.eventId, reason: 'a key slipped in', erased: 1, held: 0, questions: 0 },
      });
      expect(await payloads.erase(org.owner, target, 'again')).toEqual({ erased: 0, held: 0 });
    });

    test('of a session takes both of its streams and nothing of another session', async () => {
      const [one, two] = [await openWith(3), await openWith(3)];
      const target = { ...noTarget, sessionId: one.sessionId };
      expect(await payloads.erase(org.owner, target, 'r')).toEqual({ erased: 4, held: 0 });
      expect(await classesOf(one.streamId)).toEqual({});
      expect(await classesOf(one.client.opened.serverStreamId)).toEqual({});
      expect(await classesOf(two.streamId)).toEqual({ standard: 3 });
      const stored = await read(one.streamId);
      expect(findings(stored)).toMatchObject({ ok: true, withheld: [1, 2, 3] });
      // The stream goes on.
      await audit.append(org.owner, one.client.batch([one.client.write()]));
      expect(findings(await read(one.streamId))).toMatchObject({ ok: true, withheld: [1, 2, 3] });
    });

    test('leaves the event proven: the signed log still holds it, and the record of its erasure', async () => {
      const keys = createLogKeys({ store, kms: testKms, host: 'kontext.test', nowMs: () => nowMs });
      const log = createAuditLog({ store, keys });
      const { events, sessionId } = await openWith(3);
      await payloads.erase(org.owner, { ...noTarget, sessionId }, 'r');
      await sequenceLogs({ store, keys, nowMs: () => nowMs });
      const { note, verifierKey } = (await log.checkpoint(org.orgId))!;
      const { size, root } = parseCheckpoint(openNote(note, [parseVerifierKey(verifierKey)!])!.text)!;
      const { streams } = await audit.listStreams(org.owner, { sessionId: null, pageSize: 0, cursor: '' });
      const admin = await read(streams.find(({ kind }) => kind === 'admin')?.id ?? '');
      for (const eventId of [events[1]!.id, admin.events.at(-1)!.eventId]) {
        const found = await log.prove(org.owner, { streamId: '', seq: 0, eventId, size });
        const segment = { ...found.segment, stream: found.segment.streamId as Id<'str'> };
        const [leaf, index] = [hashSegment(segment), found.leafIndex];
        expect(verifyInclusion({ leaf, index, size, root, proof: found.proof })).toBe(true);
      }
      expect(admin.events.at(-1)).toMatchObject({ kind: 'payload.erased' });
    });

    test('of a user takes what they did, but not the traces of what they did to the record, and nobody else', async () => {
      const member = await org.addUser('security');
      const sessions = [await openWith(2, member), await openWith(2, member)];
      const mine = await openWith(2);
      const login = { kind: 'login.succeeded', user: member.userId, facts: { host: 'laptop' } } as const;
      const admin = { orgId: org.orgId, sessionId: null };
      await store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
        appendServerEvent(tx, admin, login, now()),
      );
      await payloads.set(member, { payloads: 'full', retentionClass: null });
      const target = { ...noTarget, userId: member.userId };
      expect(await payloads.erase(member, target, 'they left')).toEqual({ erased: 7, held: 0 });
      for (const { streamId } of sessions) expect(await classesOf(streamId)).toEqual({});
      expect(await classesOf(mine.streamId)).toEqual({ standard: 2 });
      const events = (await listAdminEvents(store, org.orgId)).filter(({ user }) => user === member.userId);
      expect(events.map(({ kind, facts }) => [kind, Object.keys(facts).length > 0])).toEqual([
        ['login.succeeded', false],
        ['audit.settings_changed', true],
        ['payload.erased', true],
      ]);
      expect(await payloads.erase(org.owner, target, 'again')).toEqual({ erased: 0, held: 0 });
    });

    test('of a session that is over takes what was asked about its calls, of a live one nothing', async () => {
      const [over, live] = [await openWith(1), await openWith(1)];
      const ask = (id: string, sessionId: string) => sql`
        INSERT INTO approvals (org_id, id, session_id, user_id, agent, hostname, tool, call_hash, shape_hash, part, call,
          call_clipped, rule, policy_version, reason, four_eyes, state, created_at, expires_at)
        VALUES (${org.orgId}, ${id}, ${sessionId}, ${org.owner.userId}, 'claude', 'h', 'Bash', 'c', 's', 'command ls',
          '{"command":"ls"}', false, 'r', 1, '', false, 'denied', now(), now())`;
      await store.transaction({ role: 'app', orgId: org.orgId }, async (tx) => {
        await tx.execute(ask(`apr_over_${org.orgId}`, over.sessionId));
        await tx.execute(ask(`apr_live_${org.orgId}`, live.sessionId));
      });
      await endSession(store, org.owner, over.sessionId, { exitCode: 0, reason: 'exit' }, now());
      for (const { sessionId } of [over, live])
        await payloads.erase(org.owner, { ...noTarget, sessionId }, 'r');
      const { rows } = await store.transaction({ role: 'read', orgId: org.orgId }, (tx) =>
        tx.execute(sql`SELECT part, call FROM approvals ORDER BY id DESC`),
      );
      expect(rows).toEqual([
        { part: '(erased)', call: '{}' },
        { part: 'command ls', call: '{"command":"ls"}' },
      ]);
    });

    test('of what says how the record was changed is refused, event by event', async () => {
      await payloads.set(org.owner, { payloads: 'omitted', retentionClass: null });
      const { streams } = await audit.listStreams(org.owner, { sessionId: null, pageSize: 0, cursor: '' });
      const { events } = await read(streams.find(({ kind }) => kind === 'admin')?.id ?? '');
      for (const kind of ['audit.settings_changed', 'payload.erased']) {
        const eventId = events.find((event) => event.kind === kind)?.eventId ?? '';
        const erasure = payloads.erase(org.owner, { ...noTarget, eventId }, 'r');
        await expect(erasure).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
      }
    });

    test('reaches nothing of another organisation', async () => {
      const foreign = await openWith(2, other.owner);
      const before = await listAdminEvents(store, org.orgId);
      for (const target of [
        { ...noTarget, eventId: foreign.events[0]?.id ?? '' },
        { ...noTarget, sessionId: foreign.sessionId },
        { ...noTarget, userId: other.owner.userId },
      ]) {
        const erasure = payloads.erase(org.owner, target, 'r');
        await expect(erasure).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
      }
      expect(await classesOf(foreign.streamId)).toEqual({ standard: 2 });
      expect(await listAdminEvents(store, org.orgId)).toEqual(before);
    });

    test.each([
      ['nothing', noTarget, 'r', 'KX_REQUEST_INVALID'],
      ['two things', { ...noTarget, userId: 'usr_1', sessionId: 'ses_1' }, 'r', 'KX_REQUEST_INVALID'],
      ['no reason', { ...noTarget, sessionId: unknownSession }, ' ', 'KX_REQUEST_INVALID'],
      ['a long reason', { ...noTarget, sessionId: unknownSession }, 'x'.repeat(501), 'KX_REQUEST_INVALID'],
      ['a reason with NUL', { ...noTarget, sessionId: unknownSession }, 'x\0', 'KX_REQUEST_INVALID'],
      ['an unknown session', { ...noTarget, sessionId: unknownSession }, 'r', 'KX_NOT_FOUND'],
      ['no id of an event', { ...noTarget, eventId: "evt_'; --" }, 'r', 'KX_REQUEST_INVALID'],
      ['an unknown user', { ...noTarget, userId: 'usr_x' }, 'r', 'KX_NOT_FOUND'],
    ])('of %s is refused', async (_, target, reason, code) => {
      await expect(payloads.erase(org.owner, target, reason)).rejects.toMatchObject({ code });
    });

    test('that fails half-way leaves payloads and record as they were', async () => {
      const { streamId, sessionId } = await openWith(2);
      const before = await listAdminEvents(store, org.orgId);
      const broken: Store = {
        ...store,
        transaction: (scope, work) =>
          store.transaction(scope, async (tx) => {
            const result = await work(tx);
            if (scope.role === 'erase') throw new Error('on purpose');
            return result;
          }),
      };
      const service = createPayloadService({
        store: broken,
        appended: createAppendSignal(),
        nowMs: () => nowMs,
      });
      const erasure = service.erase(org.owner, { ...noTarget, sessionId }, 'r');
      await expect(erasure).rejects.toThrow('on purpose');
      expect(await classesOf(streamId)).toEqual({ standard: 2 });
      expect(await listAdminEvents(store, org.orgId)).toEqual(before);
    });
  });

  describe('a hold', () => {
    beforeAll(atStart);
    const hold = (sessionId: string, held = true) => payloads.hold(org.owner, sessionId, held, 'a case');

    test('takes what is there and what comes, is recorded, and is not recorded twice', async () => {
      const { client, sessionId, streamId } = await openWith(3);
      expect(await hold(sessionId)).toBe(4);
      await audit.append(org.owner, client.batch([client.write()]));
      expect(await classesOf(streamId)).toEqual({ hold: 4 });
      expect(await lastAdminEvent()).toEqual({
        kind: 'payload.held',
        user: org.owner.userId,
        facts: { session: sessionId, reason: 'a case', payloads: 4 },
      });
      const before = await listAdminEvents(store, org.orgId);
      expect(await hold(sessionId)).toBe(0);
      expect(await listAdminEvents(store, org.orgId)).toEqual(before);
      expect(findings(await read(streamId))).toMatchObject({ ok: true, withheld: [] });
    });

    test('keeps payloads from erasures of every kind, which count them', async () => {
      const member = await org.addUser('member');
      const [held, free] = [await openWith(2, member), await openWith(2, member)];
      await hold(held.sessionId);
      const eventId = held.events[0]?.id ?? '';
      expect(await payloads.erase(org.owner, { ...noTarget, eventId }, 'r')).toEqual({ erased: 0, held: 1 });
      const { sessionId } = held;
      expect(await payloads.erase(org.owner, { ...noTarget, sessionId }, 'r')).toEqual({
        erased: 0,
        held: 3,
      });
      const { userId } = member;
      expect(await payloads.erase(org.owner, { ...noTarget, userId }, 'r')).toEqual({ erased: 3, held: 3 });
      expect(await lastAdminEvent()).toMatchObject({ facts: { member: userId, erased: 3, held: 3 } });
      expect(await classesOf(held.streamId)).toEqual({ hold: 2 });
      expect(await classesOf(free.streamId)).toEqual({});
    });

    test('that ends lets payloads go into the class they would have now', async () => {
      const { client, sessionId, streamId } = await openWith(3);
      await hold(sessionId);
      await payloads.set(org.owner, { payloads: null, retentionClass: 'days-365' });
      expect(await hold(sessionId, false)).toBe(4);
      await audit.append(org.owner, client.batch([client.write()]));
      expect(await classesOf(streamId)).toEqual({ 'days-365': 4 });
      expect(await lastAdminEvent()).toEqual({
        kind: 'payload.released',
        user: org.owner.userId,
        facts: { session: sessionId, reason: 'a case', payloads: 4, erased: 0, retentionClass: 'days-365' },
      });
      expect(await hold(sessionId, false)).toBe(0);
    });

    test('that ends after their time erases payloads, of days that have no partition any more too', async () => {
      await payloads.set(org.owner, { payloads: null, retentionClass: 'days-30' });
      nowMs = Date.now() - 40 * dayMs;
      const { sessionId, streamId } = await openWith(2);
      nowMs = Date.now();
      await hold(sessionId);
      await dropDuePayloads({ store, nowMs: () => nowMs, logger: { info: () => undefined } });
      expect(await classesOf(streamId)).toEqual({ hold: 2 });
      expect(await hold(sessionId, false)).toBe(3);
      expect(await classesOf(streamId)).toEqual({});
      expect(await lastAdminEvent()).toMatchObject({ facts: { payloads: 0, erased: 3 } });
      expect(findings(await read(streamId))).toMatchObject({ ok: true, withheld: [1, 2] });
    });

    test('of an unknown session, or one of another organisation, is refused', async () => {
      const foreign = await openWith(1, other.owner);
      for (const sessionId of [unknownSession, '', foreign.sessionId]) {
        await expect(hold(sessionId)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
      }
      expect(await classesOf(foreign.streamId)).toEqual({ standard: 1 });
    });

    test('set while 20 batches come leaves none outside', async () => {
      await payloads.set(org.owner, { payloads: null, retentionClass: 'days-30' });
      const { client, sessionId, streamId } = await openWith(1);
      const events = Array.from({ length: 20 }, () => client.write());
      const appends = async () => {
        for (const event of events) await audit.append(org.owner, client.batch([event]));
      };
      await Promise.all([appends(), hold(sessionId), appends()]);
      expect(await classesOf(streamId)).toEqual({ hold: 21 });
      await Promise.all([hold(sessionId, false), audit.append(org.owner, client.batch([client.write()]))]);
      expect(Object.keys(await classesOf(streamId))).toEqual(['days-30']);
    });

    test('takes a batch whose statement began before it and waited for it', async () => {
      await payloads.set(org.owner, { payloads: null, retentionClass: 'days-30' });
      const { client, sessionId, streamId } = await openWith(1);
      const [locked, goOn] = [createGate(), createGate()];
      const note = { sessionId, orgId: org.orgId, reason: 'r', heldBy: 'u', heldAt: now() };
      const holding = store.transaction({ role: 'erase', orgId: org.orgId }, async (tx) => {
        const streams = await lockStreamsOf(tx, { sessionId });
        locked.open();
        await goOn.passed;
        const ids = streams.map(({ id }) => id);
        await markHeld(tx, note, ids, true);
      });
      await locked.passed;
      const appending = audit.append(org.owner, client.batch([client.write()]));
      if (opened.url !== null) await untilSomebodyWaits(opened.url);
      goOn.open();
      await Promise.all([holding, appending]);
      expect(await classesOf(streamId)).toEqual({ 'days-30': 1, hold: 1 });
    });

    test('and an erasure at the same time end in one order or the other, both recorded', async () => {
      const { sessionId, streamId } = await openWith(5);
      const [held, erased] = await Promise.all([
        hold(sessionId),
        payloads.erase(org.owner, { ...noTarget, sessionId }, 'r'),
      ]);
      expect([held, erased.erased, erased.held]).toEqual(held === 0 ? [0, 6, 0] : [6, 0, 6]);
      expect(await classesOf(streamId)).toEqual(held === 0 ? {} : { hold: 5 });
    });
  });

  describe('retention', () => {
    beforeAll(atStart);
    const logged: object[] = [];
    const drop = () =>
      dropDuePayloads({ store, nowMs: () => nowMs, logger: { info: (facts) => void logged.push(facts) } });

    test('erases each class when its days are over, no day sooner, and what is stored verifies', async () => {
      const stored: { name: string; days: number; age: number; streamId: string }[] = [];
      for (const { name, days } of retentionClasses) {
        // Of the last day that is kept, and of the first one that is due.
        for (const age of [days + 1, days + 2]) {
          nowMs = Date.now();
          await payloads.set(org.owner, { payloads: null, retentionClass: name });
          nowMs = Date.now() - age * dayMs;
          stored.push({ name, days, age, streamId: (await openWith(2)).streamId });
        }
      }
      nowMs = Date.now();
      const dropped = await drop();
      for (const { name, days, age, streamId } of stored) {
        const isDue = days > 0 && age === days + 2;
        expect(await classesOf(streamId), `${name} after ${age} days`).toEqual(isDue ? {} : { [name]: 2 });
        const read1 = await read(streamId);
        expect(findings(read1)).toMatchObject({ ok: true, withheld: isDue ? [1, 2] : [] });
        expect(read1.events.map(({ header }) => parseHeader(header).kind)).toHaveLength(2);
      }
      for (const { name, days } of retentionClasses.filter((one) => one.days > 0)) {
        const partDay = new Date(Date.now() - (days + 2) * dayMs).toISOString().slice(0, 10);
        expect(dropped).toContainEqual({ retentionClass: name, partDay });
      }
      expect(logged).toEqual(dropped);
      expect(await drop()).toEqual([]);
    });

    test('tries a partition that is in use again, goes on past one that fails, and says so at the end', async () => {
      const first = new Date(Date.now() - 47 * dayMs).toISOString().slice(0, 10);
      await store.transaction({ role: 'retention', orgId: null }, (tx) => makePartitions(tx, first, 3));
      let calls = 0;
      const busy: Store = {
        ...store,
        transaction: (scope, work) => {
          calls += 1;
          // The first call lists; of the three partitions the first one fails each time, the second one twice.
          const fails = [2, 3, 4, 5, 6].includes(calls);
          return fails ? Promise.reject(new Error('in use')) : store.transaction(scope, work);
        },
      };
      const dropping = dropDuePayloads({
        ...{ store: busy, nowMs: () => nowMs },
        logger: { info: (facts) => void logged.push(facts) },
      });
      await expect(dropping).rejects.toThrow('in use');
      const second = new Date(Date.now() - 46 * dayMs).toISOString().slice(0, 10);
      const third = new Date(Date.now() - 45 * dayMs).toISOString().slice(0, 10);
      expect(logged.slice(-2).map((one) => 'partDay' in one && one.partDay)).toEqual([second, third]);
      expect(await drop()).toEqual([{ retentionClass: 'days-30', partDay: first }]);
    });

    test('of two replicas at once drops each partition once', async () => {
      const day = new Date(Date.now() - 50 * dayMs).toISOString().slice(0, 10);
      await store.transaction({ role: 'retention', orgId: null }, (tx) => makePartitions(tx, day, 2));
      const all = (await Promise.all([drop(), drop()])).flat();
      expect(all.map(({ partDay }) => partDay).sort()).toHaveLength(2);
      expect(new Set(all.map(({ partDay }) => partDay)).size).toBe(2);
    });

    test('cannot be made to drop what is not due, or a hold, by a wrong clock or by hand', async () => {
      const { streamId } = await openWith(1);
      const dropping = dropDuePayloads({
        ...{ store, logger: { info: () => undefined } },
        nowMs: () => Date.now() + 1000 * dayMs,
      });
      await expect(dropping).rejects.toThrow(/are not due/);
      const day = new Date().toISOString().slice(0, 10);
      for (const name of ['hold', 'standard', 'days-30', 'days-31', 'x']) {
        const call = store.transaction({ role: 'retention', orgId: null }, (tx) =>
          tx.execute(sql`SELECT kontext_erase_payloads(${name}, ${day}::date)`),
        );
        await expect(call).rejects.toThrow(/not due|no retention class/);
      }
      expect(await classesOf(streamId)).toEqual({ 'days-365': 1 });
    });
  });

  describe('rights', () => {
    beforeAll(atStart);
    const change = (scope: TxScope, text: string) =>
      store.transaction(scope, async (tx) => (await tx.execute(sql.raw(text))).rows);

    test('the classes of the database are those of the list', async () => {
      const rows = await change(
        { role: 'system', orgId: null },
        `SELECT pg_get_expr(c.relpartbound, c.oid) AS bound FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
          WHERE i.inhparent = 'audit_payloads'::regclass`,
      );
      const wanted = [...retentionClasses.map(({ name }) => name), 'hold'];
      expect(rows.map(({ bound }) => bound).sort()).toEqual(
        wanted.map((name) => `FOR VALUES IN ('${name}')`).sort(),
      );
    });

    test.each(['app', 'ingest', 'read', 'system', 'retention'] as const)(
      'role %s can neither delete nor move a payload, nor touch a hold',
      async (role) => {
        const { streamId, sessionId } = await openWith(1);
        await payloads.hold(org.owner, sessionId, true, 'r');
        for (const text of [
          `DELETE FROM audit_payloads WHERE stream_id = '${streamId}'`,
          `UPDATE audit_payloads SET retention_class = 'standard' WHERE stream_id = '${streamId}'`,
          `DELETE FROM audit_holds WHERE session_id = '${sessionId}'`,
          `UPDATE audit_streams SET held = false WHERE id = '${streamId}'`,
        ]) {
          await expect(change({ role, orgId: org.orgId }, text)).rejects.toThrow(/permission denied/);
        }
        expect(await classesOf(streamId)).toEqual({ hold: 1 });
      },
    );

    test('role erase reaches one organisation, and neither events nor the text of a payload', async () => {
      const { streamId, sessionId } = await openWith(1);
      const foreign = { role: 'erase', orgId: other.orgId } as const;
      for (const text of [
        `DELETE FROM audit_payloads WHERE stream_id = '${streamId}' RETURNING 1`,
        `UPDATE audit_payloads SET retention_class = 'hold' WHERE stream_id = '${streamId}' RETURNING 1`,
        `UPDATE audit_streams SET held = true WHERE id = '${streamId}' RETURNING 1`,
        `UPDATE approvals SET call = '' WHERE session_id = '${sessionId}' RETURNING 1`,
      ]) {
        expect(await change(foreign, text)).toEqual([]);
      }
      const own = { role: 'erase', orgId: org.orgId } as const;
      for (const text of [
        `DELETE FROM audit_events`,
        `UPDATE audit_events SET header = ''`,
        `UPDATE audit_payloads SET payload = ''`,
        `UPDATE audit_streams SET nonce = ''`,
        `DELETE FROM audit_settings`,
        `DELETE FROM sessions`,
        `SELECT 1 FROM secrets`,
        `SELECT 1 FROM leases`,
      ]) {
        await expect(change(own, text)).rejects.toThrow(/permission denied/);
      }
      expect(await classesOf(streamId)).toEqual({ standard: 1 });
    });
  });
});

/** Waits until a statement of the database waits for a lock. */
async function untilSomebodyWaits(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await expect
      .poll(async () => {
        const { rows } = await client.query(`SELECT count(*)::int AS n FROM pg_stat_activity
          WHERE datname = current_database() AND wait_event_type = 'Lock'`);
        return rows[0].n;
      })
      .toBe(1);
  } finally {
    await client.end();
  }
}

/** What waits until it is opened. */
function createGate() {
  let open = (): void => undefined;
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { passed, open: () => open() };
}
