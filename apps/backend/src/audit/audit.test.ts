import { createStreamWriter, deriveColumns, parseHeader, verifyStream } from '@kontext/audit';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestOrganisation, type TestOrganisation } from '../organisations/test-organisation.ts';
import { endSession } from '../sessions/end-session.ts';
import { lockSession } from '../store/queries/sessions.ts';
import { users } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { appendServerEvent } from './append-server-event.ts';
import { type AuditService, createAuditService } from './audit-service.ts';
import { openTestSession } from './test-client.ts';

const dayMs = 86_400_000;
let nowMs = Date.now();
const now = () => new Date(nowMs);

describe.each(testStores())('the audit log on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  let audit: AuditService;
  let org: TestOrganisation;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
    audit = createAuditService({ store, nowMs: () => nowMs });
    org = await createTestOrganisation(store, now());
  });
  afterAll(() => opened?.close());

  const readAll = async (streamId: string) =>
    audit.readStream(org.owner, { streamId, fromSeq: 0, pageSize: 1000 });
  const serverEvents = async (streamId: string) =>
    (await readAll(streamId)).events.map((event) => parseHeader(event.header).kind);

  test('stores a batch and reads back the same bytes', async () => {
    const client = await openTestSession(store, org.owner, now());
    const events = [
      client.write(),
      client.write({ kind: 'tool_call.completed' }, null),
      client.write({}, '{"x":"\\u0000"}'),
    ];
    expect(await audit.append(org.owner, client.batch(events))).toMatchObject({ status: 'ok', headSeq: 3 });
    const { stream, events: stored } = await readAll(client.opened.clientStreamId);
    expect(stored.map(({ seq, header, payload, chain }) => ({ seq, header, payload, chain }))).toEqual(
      events.map(({ seq, header, payload, chain }) => ({ seq, header, payload, chain })),
    );
    expect(stored[0]?.salt).toEqual(events[0]?.salt);
    expect(stored[0]).toMatchObject({ userName: 'owner', late: false, tool: 'Bash', decision: 'allow' });
    expect(stream).toMatchObject({ headSeq: 3, headHash: events[2]?.chain });
  });

  // The agent names its tools: a name the database cannot hold must not keep the rest of the stream from being stored.
  test('names that no column can hold are stored as a client writes them, and verify', async () => {
    const client = await openTestSession(store, org.owner, now());
    const names = ['a\0b', '\0', 'a\ud800', '\udc00\ud800', 'NULL', '{"a",\\}', "'; --", '\u{1f600}'];
    const events = names.map((name) =>
      client.write({ tool: name, rule: name, toolUse: name, agent: name.slice(0, 64) }),
    );
    expect(await audit.append(org.owner, client.batch(events))).toMatchObject({ status: 'ok' });
    const read = await readAll(client.opened.clientStreamId);
    expect(read.events.map(({ header }) => parseHeader(header).tool)).toEqual([
      ...['a\ufffdb', '\ufffd', 'a\ufffd', '\ufffd\ufffd'],
      ...names.slice(4),
    ]);
    expect(findings(read)).toEqual([]);
  });

  test('an event without its payload is taken, a payload that does not match its hash is not', async () => {
    const client = await openTestSession(store, org.owner, now());
    const event = client.write();
    const withheld = { ...client.batch([event]), events: [{ ...event, payload: null, salt: null }] };
    const altered = { ...client.batch([event]), events: [{ ...event, payload: '{"command":"cat"}' }] };
    await expect(audit.append(org.owner, altered)).rejects.toMatchObject({ code: 'KX_EVENT_INVALID' });
    expect(await audit.append(org.owner, withheld)).toMatchObject({ status: 'ok' });
  });

  test.each([
    ['a kind only the backend may write', { kind: 'credential.resolved' }],
    ['another user', { user: 'usr_01900000-0000-7000-8000-000000000000' }],
    ['another session', { session: 'ses_01900000-0000-7000-8000-000000000000' }],
  ] as const)('refuses an event of %s and stores nothing', async (_, fields) => {
    const client = await openTestSession(store, org.owner, now());
    const batch = client.batch([client.write(), client.write(fields)]);
    await expect(audit.append(org.owner, batch)).rejects.toMatchObject({
      code: 'KX_EVENT_INVALID',
      details: { seq: 2 },
    });
    expect((await readAll(client.opened.clientStreamId)).stream.headSeq).toBe(0);
  });

  test('the same batch again is a dup, an overlapping one adds what is new, a later one is a gap', async () => {
    const client = await openTestSession(store, org.owner, now());
    const events = Array.from({ length: 6 }, () => client.write());
    const send = (from: number, to: number) => audit.append(org.owner, client.batch(events.slice(from, to)));
    expect(await send(0, 2)).toMatchObject({ status: 'ok', headSeq: 2 });
    expect(await send(0, 2)).toMatchObject({ status: 'dup', headSeq: 2 });
    expect(await send(4, 6)).toMatchObject({ status: 'gap', headSeq: 2 });
    expect(await send(1, 4)).toMatchObject({ status: 'ok', headSeq: 4 });
    expect(await send(4, 6)).toMatchObject({ status: 'ok', headSeq: 6 });
    expect((await readAll(client.opened.clientStreamId)).events.map((event) => event.seq)).toEqual([
      1, 2, 3, 4, 5, 6,
    ]);
  });

  test('a forked batch is refused, recorded on the server stream, and marks the session', async () => {
    const client = await openTestSession(store, org.owner, now());
    const [first, second] = [client.write(), client.write()];
    await audit.append(org.owner, client.batch([first, second]));
    const forger = client.forkFrom({ seq: 1, hash: first.chain });
    const forged = forger.write({ tool: 'Forged' });
    expect(await audit.append(org.owner, client.batch([forged]))).toMatchObject({
      status: 'fork',
      headSeq: 2,
    });
    const server = await readAll(client.opened.serverStreamId);
    expect(server.events.map((event) => event.kind)).toEqual(['session.opened', 'tamper.fork']);
    expect(JSON.parse(server.events[1]?.payload ?? '')).toMatchObject({
      seq: 2,
      offeredHeader: forged.header,
    });
    expect((await readAll(client.opened.clientStreamId)).stream).toMatchObject({
      headSeq: 2,
      headHash: second.chain,
    });
  });

  test.each([
    'tamper.settings_changed',
    'tamper.input_changed',
    'tamper.config_changed',
    'tamper.unproposed_result',
    'tamper.no_session_start',
    'tamper.subagent_unseen',
  ] as const)('a batch with %s marks the session, once and together with its events', async (kind) => {
    const client = await openTestSession(store, org.owner, now());
    const tamperedAt = async () => {
      const scope = { role: 'app', orgId: org.orgId } as const;
      const session = await store.transaction(scope, (tx) => lockSession(tx, client.sessionId));
      return session?.tamperedAt ?? null;
    };
    await audit.append(org.owner, client.batch([client.write()]));
    expect(await tamperedAt()).toBeNull();

    const tamper = client.write({ kind, decision: null });
    const altered = client.batch([{ ...tamper, payload: '{"command":"other"}' }]);
    await expect(audit.append(org.owner, altered)).rejects.toMatchObject({ code: 'KX_EVENT_INVALID' });
    expect(await tamperedAt()).toBeNull();
    expect(await audit.append(org.owner, client.batch([tamper]))).toMatchObject({ status: 'ok' });
    const first = await tamperedAt();
    expect(first).toEqual(now());

    nowMs += 60_000;
    await audit.append(org.owner, client.batch([client.write({ kind, decision: null })]));
    expect(await tamperedAt()).toEqual(first);
  });

  test('another user of the organisation cannot append, which is recorded in the admin stream', async () => {
    const client = await openTestSession(store, org.owner, now());
    const other = await org.addUser('member');
    const write = audit.append(other, client.batch([client.write()]));
    await expect(write).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    const admin = await adminStream();
    expect((await readAll(admin)).events.at(-1)).toMatchObject({ kind: 'tamper.fork', userId: other.userId });
  });

  test('another organisation cannot append, read or see, which is recorded in its own admin stream', async () => {
    const client = await openTestSession(store, org.owner, now());
    const stranger = await createTestOrganisation(store, now());
    await expect(audit.append(stranger.owner, client.batch([client.write()]))).rejects.toMatchObject({
      code: 'KX_NOT_FOUND',
    });
    const query = { streamId: client.opened.clientStreamId, fromSeq: 0, pageSize: 0 };
    await expect(audit.readStream(stranger.owner, query)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    const { streams } = await audit.listStreams(stranger.owner, { sessionId: null, pageSize: 0, cursor: '' });
    expect(streams.map((stream) => stream.kind)).toEqual(['admin']);
    const own = await audit.readStream(stranger.owner, {
      streamId: streams[0]?.id ?? '',
      fromSeq: 0,
      pageSize: 0,
    });
    expect(own.events.at(-1)?.kind).toBe('tamper.fork');
  });

  test('a stream that never existed is refused without a record', async () => {
    const client = await openTestSession(store, org.owner, now());
    const streamId = 'str_01900000-0000-7000-8000-000000000000';
    const before = (await readAll(await adminStream())).stream.headSeq;
    await expect(
      audit.append(org.owner, { ...client.batch([client.write()]), streamId }),
    ).rejects.toMatchObject({
      code: 'KX_NOT_FOUND',
    });
    expect((await readAll(await adminStream())).stream.headSeq).toBe(before);
  });

  test('of 50 parallel appends of the same event one stores it', async () => {
    const client = await openTestSession(store, org.owner, now());
    const batch = client.batch([client.write()]);
    const results = await Promise.all(Array.from({ length: 50 }, () => audit.append(org.owner, batch)));
    const count = (status: string) => results.filter((result) => result.status === status).length;
    expect([count('ok'), count('dup')]).toEqual([1, 49]);
  });

  test('50 parallel appends of different batches end in one unbroken chain', async () => {
    const client = await openTestSession(store, org.owner, now());
    const events = Array.from({ length: 50 }, () => client.write());
    const send = async (event: (typeof events)[number]): Promise<void> => {
      const { status } = await audit.append(org.owner, client.batch([event]));
      if (status === 'gap') await send(event);
    };
    await Promise.all(events.map(send));
    const read = await readAll(client.opened.clientStreamId);
    expect(findings(read)).toEqual([]);
    expect(read.stream.headSeq).toBe(50);
  });

  test('50 parallel server events end in one unbroken chain', async () => {
    const client = await openTestSession(store, org.owner, now());
    const target = { orgId: org.orgId, sessionId: client.sessionId };
    const write = () =>
      store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
        appendServerEvent(tx, target, { kind: 'credential.resolved', facts: { provider: 'x' } }, now()),
      );
    await Promise.all(Array.from({ length: 50 }, write));
    const read = await readAll(client.opened.serverStreamId);
    expect(read.stream.headSeq).toBe(51);
    expect(findings(read)).toEqual([]);
  });

  test('a server event is rolled back with the work it is about', async () => {
    const client = await openTestSession(store, org.owner, now());
    const target = { orgId: org.orgId, sessionId: client.sessionId };
    const work = store.transaction({ role: 'app', orgId: org.orgId }, async (tx) => {
      await appendServerEvent(tx, target, { kind: 'credential.resolved' }, now());
      throw new Error('no credential after all');
    });
    await expect(work).rejects.toThrow('no credential');
    expect(await serverEvents(client.opened.serverStreamId)).toEqual(['session.opened']);
  });

  test('after the end of the session batches are late, after 7 days they are refused', async () => {
    const client = await openTestSession(store, org.owner, now());
    await endSession(store, org.owner, client.sessionId, { exitCode: 0, reason: '' }, now());
    const began = nowMs;
    nowMs = began + 6 * dayMs;
    await store.maintain(now());
    expect(await audit.append(org.owner, client.batch([client.write()]))).toMatchObject({ status: 'ok' });
    expect((await readAll(client.opened.clientStreamId)).events[0]?.late).toBe(true);
    nowMs = began + 7 * dayMs + 1000;
    const tooLate = audit.append(org.owner, client.batch([client.write()]));
    nowMs = began;
    await expect(tooLate).rejects.toMatchObject({ code: 'KX_SESSION_ENDED' });
  });

  test('a stream that lives longer than a day goes on in another partition and reads as one', async () => {
    const client = await openTestSession(store, org.owner, now());
    const began = nowMs;
    const events = Array.from({ length: 9 }, () => client.write());
    for (const day of [0, 1, 2]) {
      nowMs = began + day * (dayMs + 1000);
      await audit.append(org.owner, client.batch(events.slice(day * 3, day * 3 + 3)));
    }
    const dup = await audit.append(org.owner, client.batch(events.slice(2, 9)));
    nowMs = began;
    const read = await readAll(client.opened.clientStreamId);
    expect(dup.status).toBe('dup');
    expect(findings(read)).toEqual([]);
    const page = await audit.readStream(org.owner, { streamId: read.stream.id, fromSeq: 3, pageSize: 5 });
    expect(page.events.map((event) => event.seq)).toEqual([3, 4, 5, 6, 7]);
  });

  test('a clock that jumps back a day changes neither order nor chain', async () => {
    const client = await openTestSession(store, org.owner, now());
    const began = nowMs;
    const events = [client.write(), client.write()];
    await audit.append(org.owner, client.batch(events.slice(0, 1)));
    nowMs = began - dayMs;
    await audit.append(org.owner, client.batch(events.slice(1)));
    nowMs = began;
    expect(findings(await readAll(client.opened.clientStreamId))).toEqual([]);
  });

  test('a member sees their own sessions, overseers see the organisation', async () => {
    const member = await org.addUser('member');
    const client = await openTestSession(store, member, now());
    const mine = await openTestSession(store, org.owner, now());
    const list = async (caller: typeof member) =>
      (await audit.listStreams(caller, { sessionId: null, pageSize: 200, cursor: '' })).streams;
    expect((await list(member)).map((stream) => stream.sessionId)).toEqual([
      client.sessionId,
      client.sessionId,
    ]);
    for (const role of ['owner', 'admin', 'security', 'auditor'] as const) {
      const seen = await list(await org.addUser(role));
      expect(seen.map((stream) => stream.sessionId)).toEqual(
        expect.arrayContaining([client.sessionId, mine.sessionId, null]),
      );
    }
    const foreign = { streamId: mine.opened.clientStreamId, fromSeq: 0, pageSize: 0 };
    await expect(audit.readStream(member, foreign)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    const admin = { streamId: await adminStream(), fromSeq: 0, pageSize: 0 };
    await expect(audit.readStream(member, admin)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
  });

  test('pages of streams join up', async () => {
    for (let i = 0; i < 3; i += 1) await openTestSession(store, org.owner, now());
    const all = (await audit.listStreams(org.owner, { sessionId: null, pageSize: 200, cursor: '' })).streams;
    const paged: string[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const page: Awaited<ReturnType<AuditService['listStreams']>> = await audit.listStreams(org.owner, {
        sessionId: null,
        pageSize: 4,
        cursor,
      });
      paged.push(...page.streams.map((stream) => stream.id));
      cursor = page.next;
    }
    expect(paged).toEqual(all.map((stream) => stream.id));
  });

  test.each([
    [{ sessionId: null, pageSize: 201, cursor: '' }],
    [{ sessionId: null, pageSize: -1, cursor: '' }],
    [{ sessionId: null, pageSize: 0, cursor: `' OR 1=1` }],
  ])('refuses the page %o', async (query) => {
    await expect(audit.listStreams(org.owner, query)).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
  });

  test('the events of a new organisation verify', async () => {
    const read = await readAll(await adminStream());
    const kinds = read.events.slice(0, 3).map((event) => event.kind);
    expect(kinds).toEqual(['member.added', 'key.created', 'policy.published']);
    expect(findings(read)).toEqual([]);
  });

  test('columns beside a header follow from it', async () => {
    const { events } = await readAll(await adminStream());
    for (const event of events) expect(event).toMatchObject(deriveColumns(parseHeader(event.header)));
  });

  const adminStream = async (): Promise<string> => {
    const { streams } = await audit.listStreams(org.owner, { sessionId: null, pageSize: 200, cursor: '' });
    return streams.find((stream) => stream.kind === 'admin')?.id ?? '';
  };

  describe('a watcher', () => {
    /** Collects events of a watch until `count` came; the watch is ended then. */
    const collect = async (watch: ReturnType<AuditService['watch']>, count: number): Promise<string[]> => {
      const seen: string[] = [];
      for await (const { events } of watch) {
        seen.push(...events.map((event) => `${event.streamId}:${event.seq}`));
        if (seen.length >= count) break;
      }
      return seen;
    };

    test('gets events stored by this and by another replica, each once, in order', async () => {
      nowMs = Date.now();
      const replica = createAuditService({ store, nowMs: () => nowMs });
      const client = await openTestSession(store, org.owner, now());
      const query = { sessionId: client.sessionId, sinceSeconds: 60, untilMs: nowMs + 60_000 };
      const seen = collect(audit.watch(org.owner, query, new AbortController().signal), 7);
      for (let i = 0; i < 6; i += 1) {
        await (i % 2 === 0 ? audit : replica).append(org.owner, client.batch([client.write()]));
      }
      const { clientStreamId, serverStreamId } = client.opened;
      const expected = [1, 2, 3, 4, 5, 6].map((seq) => `${clientStreamId}:${seq}`);
      expect((await seen).filter((id) => id !== `${serverStreamId}:1`)).toEqual(expected);
    });

    test('gets nothing from before it began, and nothing of others when it is a member', async () => {
      const member = await org.addUser('member');
      const own = await openTestSession(store, member, now());
      const foreign = await openTestSession(store, org.owner, now());
      await audit.append(member, own.batch([own.write()]));
      nowMs = Date.now() + 5_000;
      const query = { sessionId: null, sinceSeconds: 0, untilMs: nowMs + 60_000 };
      const seen = collect(audit.watch(member, query, new AbortController().signal), 1);
      await audit.append(org.owner, foreign.batch([foreign.write()]));
      await audit.append(member, own.batch([own.write()]));
      expect(await seen).toEqual([`${own.opened.clientStreamId}:2`]);
    });

    test('ends when its token expires, when it is aborted, and when its user was disabled', async () => {
      const member = await org.addUser('member');
      const watch = (untilMs: number, signal: AbortSignal) =>
        collect(audit.watch(member, { sessionId: null, sinceSeconds: 0, untilMs }, signal), 1);
      expect(await watch(nowMs - 1, new AbortController().signal)).toEqual([]);
      const aborter = new AbortController();
      const aborted = watch(nowMs + 60_000, aborter.signal);
      aborter.abort();
      expect(await aborted).toEqual([]);
      const disabled = watch(nowMs + 60_000, new AbortController().signal);
      await disableUser(member.userId);
      expect(await disabled).toEqual([]);
    });

    test('refuses to look back further than a day', async () => {
      const query = { sessionId: null, sinceSeconds: 86_401, untilMs: nowMs + 1000 };
      const watch = audit.watch(org.owner, query, new AbortController().signal);
      await expect(watch.next()).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
    });
  });

  const disableUser = (userId: string) =>
    store.transaction({ role: 'system', orgId: null }, (tx) =>
      tx.update(users).set({ disabledAt: now() }).where(eq(users.id, userId)),
    );

  test('a writer that lost the nonce cannot continue a stream', async () => {
    const client = await openTestSession(store, org.owner, now());
    const writer = createStreamWriter({
      orgId: org.orgId,
      streamId: client.opened.clientStreamId,
      from: { nonce: Buffer.alloc(32) },
    });
    const event = writer.append({ kind: 'agent.event', session: client.sessionId, user: org.owner.userId });
    expect(await audit.append(org.owner, client.batch([event]))).toMatchObject({ status: 'fork' });
  });
});

type Read = Awaited<ReturnType<AuditService['readStream']>>;
const findings = ({ stream, events }: Read) =>
  verifyStream(
    {
      ...{ orgId: stream.orgId, streamId: stream.id, sessionId: stream.sessionId, nonce: stream.nonce },
      head: { seq: stream.headSeq, hash: stream.headHash },
    },
    events,
  ).findings;
