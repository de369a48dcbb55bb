import { createHash } from 'node:crypto';
import { type BundleReport, readBundleLines, verifyBundle } from '@kontext/audit';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Caller } from '../../caller.ts';
import {
  createTestOrganisation,
  testKms as kms,
  type TestOrganisation,
} from '../../organisations/test-organisation.ts';
import { dropExpiredExports } from '../../store/queries/exports.ts';
import type { Store } from '../../store/store.ts';
import { listAdminEvents } from '../../store/test-events.ts';
import { type TestStore, testStores } from '../../store/test-stores.ts';
import { createAppendSignal } from '../append-signal.ts';
import { type AuditService, createAuditService } from '../audit-service.ts';
import { type AuditLog, createAuditLog } from '../log/audit-log.ts';
import { createLogKeys, type LogKeys } from '../log/log-key.ts';
import { sequenceLogs } from '../log/sequence-log.ts';
import { openTestSession } from '../test-client.ts';
import { csvCell } from './csv.ts';
import type { ExportLimits } from './export-limits.ts';
import { createExportService, type ExportOrder, type ExportService } from './export-service.ts';

const bundle: ExportOrder = { format: 'bundle', query: '', withoutPayloads: false };

describe.each(testStores())('exports on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  let keys: LogKeys;
  let log: AuditLog;
  let audit: AuditService;
  let org: TestOrganisation;
  let nowMs = Date.now();
  const now = () => new Date(nowMs);
  const serviceOf = (limits: Partial<ExportLimits> = {}): ExportService =>
    createExportService({ store, log, appended: createAppendSignal(), nowMs: () => nowMs, limits });
  beforeAll(async () => {
    opened = await open(() => nowMs);
    store = opened.store;
    keys = createLogKeys({ store, kms, host: 'kontext.test', nowMs: () => nowMs });
    log = createAuditLog({ store, keys });
    audit = createAuditService({ store, nowMs: () => nowMs });
  });
  afterAll(() => opened?.close());
  beforeEach(async () => {
    nowMs = Date.now();
    org = await createTestOrganisation(store, now());
  });

  const sequence = () => sequenceLogs({ store, keys, nowMs: () => nowMs });
  const openWith = async (batches: readonly number[], caller: Caller = org.owner) => {
    const client = await openTestSession(store, caller, now());
    for (const count of batches) {
      const events = Array.from({ length: count }, (_, n) =>
        client.write({ tool: n === 0 ? 'Read' : 'Bash' }),
      );
      await audit.append(caller, client.batch(events));
    }
    return client;
  };
  /** Runs the job until the export is over. */
  const make = async (order: ExportOrder = bundle, exports = serviceOf(), caller = org.owner) => {
    const { id } = await exports.begin(caller, order);
    for (let runs = 0; runs < 20; runs += 1) {
      await sequence();
      await exports.run();
      const row = await exports.get(caller, id);
      if (row.state !== 'running') return row;
    }
    throw new Error('the export does not end');
  };
  const read = async (id: string, offset = 0, caller = org.owner, exports = serviceOf()): Promise<Buffer> => {
    const pieces: Uint8Array[] = [];
    for await (const piece of exports.read(caller, id, offset)) pieces.push(piece);
    return Buffer.concat(pieces);
  };
  const verify = async (bytes: Buffer): Promise<BundleReport> =>
    verifyBundle(readBundleLines([bytes]), { keys: [await log.verifierKey(org.orgId)] });

  test('hold everything that was stored before they were asked for, and verify without us', async () => {
    await openWith([3, 1, 2]);
    await openWith([5]);

    const row = await make();

    const bytes = await read(row.id);
    expect(row).toMatchObject({ state: 'ready', bytes: bytes.length, claimedUntil: null, error: '' });
    expect(createHash('sha256').update(bytes).digest()).toEqual(row.sha256);
    const report = await verify(bytes);
    expect(report).toMatchObject({
      exitCode: 0,
      scope: 'whole',
      trust: 'given',
      skipped: 0,
      events: row.events,
      findings: [],
    });
    expect(report.streams).toBe(5);
    expect(report.events).toBeGreaterThan(11);
  });

  test('are recorded when they can be read', async () => {
    const row = await make({ ...bundle, format: 'csv', query: 'tool:Bash' });

    expect((await listAdminEvents(store, org.orgId)).at(-1)).toEqual({
      kind: 'audit.exported',
      user: org.owner.userId,
      facts: {
        ...{ export: row.id, format: 'csv', query: 'tool:Bash', payloads: true },
        ...{ events: row.events, bytes: row.bytes, sha256: row.sha256?.toString('hex') },
      },
    });
  });

  test('of a query hold the streams of its sessions and the organisation, and prove their places in the log', async () => {
    const wanted = await openWith([3, 2]);
    const other = await openWith([4]);

    const row = await make({ ...bundle, query: `session:${wanted.sessionId}` });

    const bytes = await read(row.id);
    expect(await verify(bytes)).toMatchObject({ exitCode: 0, scope: 'part', streams: 3, findings: [] });
    expect(bytes.includes(wanted.sessionId)).toBe(true);
    expect(bytes.includes(other.opened.clientStreamId)).toBe(false);
  });

  test('leave payloads out when asked, and say so', async () => {
    await openWith([3]);

    const row = await make({ ...bundle, withoutPayloads: true });

    const bytes = await read(row.id);
    expect(bytes.includes('command')).toBe(false);
    const report = await verify(bytes);
    expect(report).toMatchObject({ exitCode: 0, payloads: false });
    expect(report.withheld).toBeGreaterThanOrEqual(3);
  });

  test('are made in steps that another process goes on from, to the same bytes', async () => {
    await openWith(Array.from({ length: 12 }, () => 3));
    await sequence();
    const whole = await make();
    const small = { stepLeaves: 2, stepEvents: 4 };
    const { id } = await serviceOf().begin(org.owner, bundle);
    await sequence();
    for (let run = 0; run < 40; run += 1) {
      // Each is a new process: it knows nothing of the one before, whose claim it waits for.
      const exports = serviceOf(small);
      const base = nowMs;
      let calls = 0;
      const killed = createExportService({
        ...{ store, log, appended: createAppendSignal(), limits: small },
        nowMs: () => {
          calls += 1;
          return base + (calls > 6 ? 10_000 : 0);
        },
      });
      await killed.run();
      nowMs += 61_000;
      if ((await exports.get(org.owner, id)).state !== 'running') break;
    }

    const row = await serviceOf().get(org.owner, id);
    const bytes = await read(id);
    expect(row.state).toBe('ready');
    expect(createHash('sha256').update(bytes).digest()).toEqual(row.sha256);
    expect(await verify(bytes)).toMatchObject({ exitCode: 0, findings: [] });
    expect(row.events).toBeGreaterThan(whole.events);
    const { rows } = await store.transaction({ role: 'read', orgId: org.orgId }, (tx) =>
      tx.execute<{ n: number }>(
        sql`SELECT count(*)::int AS n FROM audit_export_chunks WHERE export_id = ${id}`,
      ),
    );
    expect(rows[0]?.n).toBeGreaterThan(3);
  });

  test('have only so many bytes of payloads in memory at once', async () => {
    const client = await openTestSession(store, org.owner, now());
    for (let n = 0; n < 6; n += 1) {
      const event = client.write({}, JSON.stringify({ command: 'ls '.repeat(200) }));
      await audit.append(org.owner, client.batch([event]));
    }
    const steps = async (order: ExportOrder) => {
      const row = await make(order, serviceOf({ stepBytes: 1500 }));
      const bytes = await read(row.id);
      expect(await verify(bytes)).toMatchObject({ exitCode: 0, findings: [], events: row.events });
      const { rows } = await store.transaction({ role: 'read', orgId: org.orgId }, (tx) =>
        tx.execute<{ n: number }>(
          sql`SELECT count(*)::int AS n FROM audit_export_chunks WHERE export_id = ${row.id}`,
        ),
      );
      return rows[0]?.n;
    };

    expect(await steps(bundle)).toBeGreaterThanOrEqual(3);
    expect(await steps({ ...bundle, withoutPayloads: true })).toBe(1);
  });

  test('are worked on by one replica at a time', async () => {
    await openWith([3]);
    const { id } = await serviceOf().begin(org.owner, bundle);
    await sequence();
    await Promise.all(Array.from({ length: 4 }, () => serviceOf().run()));

    const row = await serviceOf().get(org.owner, id);
    expect(await verify(await read(id))).toMatchObject({ exitCode: 0, findings: [], events: row.events });
    const exported = (await listAdminEvents(store, org.orgId)).filter(
      ({ kind }) => kind === 'audit.exported',
    );
    expect(exported).toHaveLength(1);
  });

  test('take turns: a long one does not keep those of others waiting', async () => {
    await openWith([1, 1, 1, 1]);
    const other = await createTestOrganisation(store, now());
    // Each look at the clock takes so long that a turn is over after one step.
    const slow = createExportService({
      ...{ store, log, appended: createAppendSignal(), limits: { stepLeaves: 1 } },
      nowMs: () => {
        nowMs += 700;
        return nowMs;
      },
    });
    const long = await slow.begin(org.owner, bundle);
    const short = await slow.begin(other.owner, bundle);
    await sequence();

    for (let run = 0; run < 2; run += 1) await slow.run();

    expect((await slow.get(org.owner, long.id)).bytes).toBeGreaterThan(0);
    expect((await slow.get(other.owner, short.id)).bytes).toBeGreaterThan(0);
    for (const { owner } of [org, other])
      expect((await make(bundle, serviceOf(), owner)).state).toBe('ready');
  });

  test('wait for the signed log to hold what was stored before, and fail when there is none for long', async () => {
    await openWith([2]);
    const exports = serviceOf();
    const { id } = await exports.begin(org.owner, bundle);

    await exports.run();
    expect((await exports.get(org.owner, id)).state).toBe('running');
    await expect(read(id)).rejects.toMatchObject({ code: 'KX_TEMPORARY' });
    nowMs += 31_000;
    await exports.run();

    expect(await exports.get(org.owner, id)).toMatchObject({
      state: 'failed',
      error: expect.stringContaining('no signed checkpoint'),
    });
    await expect(read(id)).rejects.toMatchObject({ code: 'KX_EXPORT_FAILED' });
  });

  test('fail rather than lack what was stored before, when the log stands still', async () => {
    await make();
    await openWith([2]);
    const exports = serviceOf();
    const { id } = await exports.begin(org.owner, bundle);

    await exports.run();
    nowMs += 31_000;
    await exports.run();

    expect(await exports.get(org.owner, id)).toMatchObject({
      state: 'failed',
      error: expect.stringContaining('lags behind'),
    });
  });

  test('fail with a reason when they grow too large, and leave nothing behind', async () => {
    await openWith([5, 5]);

    const tooMany = await make(bundle, serviceOf({ maxEvents: 4 }));
    const tooLarge = await make(bundle, serviceOf({ maxBytes: 1000 }));
    await openWith([1]);
    const tooWide = await make({ ...bundle, query: 'tool:*' }, serviceOf({ maxSessions: 1 }));

    expect(tooMany).toMatchObject({ state: 'failed', error: expect.stringContaining('more than 4 events') });
    expect(tooLarge).toMatchObject({
      state: 'failed',
      error: expect.stringContaining('larger than 1000 bytes'),
    });
    expect(tooWide).toMatchObject({
      state: 'failed',
      error: expect.stringContaining('more than 1 sessions'),
    });
    expect((await listAdminEvents(store, org.orgId)).map(({ kind }) => kind)).not.toContain('audit.exported');
  });

  test('are gone after a day', async () => {
    const row = await make();

    nowMs += 86_400_001;
    await serviceOf().run();

    expect((await serviceOf().get(org.owner, row.id)).state).toBe('expired');
    await expect(read(row.id)).rejects.toMatchObject({
      code: 'KX_EXPORT_FAILED',
      message: 'the export has expired',
    });
    const { rows } = await store.transaction({ role: 'read', orgId: org.orgId }, (tx) =>
      tx.execute(sql`SELECT 1 AS one FROM audit_export_chunks WHERE export_id = ${row.id}`),
    );
    expect(rows).toEqual([]);
  });

  test('lose their bytes some at a time, so that no statement deletes gigabytes', async () => {
    await openWith([1, 1, 1, 1]);
    await make(bundle, serviceOf({ stepLeaves: 2 }));
    nowMs += 86_400_001;
    const drop = (limit: number) =>
      store.transaction({ role: 'retention', orgId: null }, (tx) => dropExpiredExports(tx, now(), limit));

    expect(await drop(2)).toBe(2);
    expect(await drop(100)).toBeGreaterThanOrEqual(1);
    expect(await drop(100)).toBe(0);
  });

  test('can be read from any byte on', async () => {
    await openWith([50]);
    const row = await make();
    const bytes = await read(row.id);

    for (const offset of [1, 1000, bytes.length - 1, bytes.length, bytes.length + 10])
      expect((await read(row.id, offset)).equals(bytes.subarray(offset))).toBe(true);
  });

  test('are of one organisation, refuse a query that is none, and are no more than ten at a time', async () => {
    const other = await createTestOrganisation(store, now());
    const row = await make();
    const exports = serviceOf();

    await expect(exports.get(other.owner, row.id)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    await expect(read(row.id, 0, other.owner)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    await expect(exports.get(org.owner, 'exp_x')).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    expect((await exports.list(other.owner, { pageSize: 0, cursor: '' })).exports).toEqual([]);
    expect((await exports.list(org.owner, { pageSize: 0, cursor: '' })).exports.map(({ id }) => id)).toEqual([
      row.id,
    ]);
    await expect(exports.begin(org.owner, { ...bundle, query: 'nothing:x"' })).rejects.toMatchObject({
      code: 'KX_QUERY_INVALID',
    });
    await expect(exports.list(org.owner, { pageSize: 0, cursor: 'x' })).rejects.toMatchObject({
      code: 'KX_REQUEST_INVALID',
    });
    for (let n = 1; n < 10; n += 1) await exports.begin(org.owner, bundle);
    await expect(exports.begin(org.owner, bundle)).rejects.toMatchObject({ code: 'KX_RATE_LIMITED' });
  });

  test('are no more than ten at a time also when many are asked for at once', async () => {
    const exports = serviceOf({ maxKept: 2 });

    const asked = await Promise.allSettled(Array.from({ length: 6 }, () => exports.begin(org.owner, bundle)));

    expect(asked.filter(({ status }) => status === 'fulfilled')).toHaveLength(2);
  });

  test('are no larger together than they may be: neither one that is asked for nor one that is made', async () => {
    await openWith([5, 5]);
    const first = await make();
    const limits = { maxKeptBytes: first.bytes + 100 };

    const second = await make(bundle, serviceOf(limits));
    const refused = serviceOf({ maxKeptBytes: first.bytes }).begin(org.owner, bundle);

    expect(first.state).toBe('ready');
    expect(second).toMatchObject({
      state: 'failed',
      error: expect.stringContaining(`larger than ${limits.maxKeptBytes} bytes together`),
    });
    await expect(refused).rejects.toMatchObject({
      code: 'KX_RATE_LIMITED',
      message: expect.stringContaining('0 MiB at a time'),
      hint: expect.stringContaining('until one of them expires'),
    });
    nowMs += 25 * 3_600_000;
    expect(await make(bundle, serviceOf({ maxKeptBytes: 4 * first.bytes }))).toMatchObject({
      state: 'ready',
    });
  });

  test('of another organisation take no room', async () => {
    await openWith([5]);
    const { bytes } = await make();
    const other = await createTestOrganisation(store, now());

    const asked = serviceOf({ maxKeptBytes: bytes }).begin(other.owner, bundle);

    expect(await asked).toMatchObject({ state: 'running' });
  });

  test('as CSV hold the rows of a query, and no cell a spreadsheet would run', async () => {
    const client = await openTestSession(store, org.owner, now());
    const hostile = ['=1+1', '@SUM(A1)', '-2', 'a,"b"c', '\u0000x', '\ud800y'];
    await audit.append(
      org.owner,
      client.batch(hostile.map((tool) => client.write({ tool }, '{"a":"b, c"}'))),
    );

    const row = await make({ format: 'csv', query: `session:${client.sessionId}`, withoutPayloads: false });

    const text = (await read(row.id)).toString();
    expect(text.startsWith('received_at,occurred_at,event_id,')).toBe(true);
    expect(row.events).toBeGreaterThanOrEqual(6);
    for (const cell of [
      ",'=1+1,",
      ",'@SUM(A1),",
      ",'-2,",
      ',"a,""b""c",',
      ',\ufffdx,',
      ',\ufffdy,',
      ',"{""a"":""b, c""}"\r\n',
    ])
      expect(text).toContain(cell);
  });
});

test.each([
  ['=A1', "'=A1"],
  ['+1', "'+1"],
  ['-1', "'-1"],
  ['@x', "'@x"],
  ['\tx', `"'\tx"`],
  ['\rx', `"'\rx"`],
  ['\n=x', `"'\n=x"`],
  ['\uff1dA1', "'\uff1dA1"],
  ['a;=b', '"a;=b"'],
  ['a"b', '"a""b"'],
  ['a,b', '"a,b"'],
  [' a', '" a"'],
  ['', ''],
  ['plain', 'plain'],
])('writes %j as the cell %j', (text, cell) => {
  expect(csvCell(text)).toBe(cell);
});
