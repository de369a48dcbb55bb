import { sql } from 'drizzle-orm';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createTestOrganisation, type TestOrganisation } from '../organisations/test-organisation.ts';
import { dropPart, listDueParts, makePartitions } from './queries/partitions.ts';
import { type TestStore, testStores } from './test-stores.ts';

const dayMs = 86_400_000;
const dayBefore = (days: number): string => new Date(Date.now() - days * dayMs).toISOString().slice(0, 10);
const retention = { role: 'retention', orgId: null } as const;

describe.each(testStores())('partitions on $kind', ({ open }) => {
  let opened: TestStore;
  beforeAll(async () => {
    opened = await open();
  });
  afterAll(() => opened?.close());
  const make = (day: string, days = 1) =>
    opened.store.transaction(retention, (tx) => makePartitions(tx, day, days));
  const rowsOf = (text: string) =>
    opened.store.transaction({ role: 'system', orgId: null }, (tx) => tx.execute(sql.raw(text)));

  test('that are made have the columns, keys and indexes of those before them, and are part of the whole', async () => {
    await make(dayBefore(100));
    const suffix = dayBefore(100).replaceAll('-', '');
    const describeTable = async (name: string) => {
      const { rows } =
        await rowsOf(`SELECT a.attname, a.attnotnull, format_type(a.atttypid, a.atttypmod) AS type
        FROM pg_attribute a WHERE a.attrelid = '${name}'::regclass AND a.attnum > 0 ORDER BY a.attnum`);
      const { rows: indexes } =
        await rowsOf(`SELECT regexp_replace(pg_get_indexdef(i.indexrelid), '.* USING', '') AS def, i.indisprimary,
          (SELECT count(*)::int FROM pg_inherits h WHERE h.inhrelid = i.indexrelid) AS attached
        FROM pg_index i WHERE i.indrelid = '${name}'::regclass ORDER BY 1`);
      return { rows, indexes };
    };
    for (const parent of ['audit_events', 'audit_payloads_hold', 'audit_payloads_days_30']) {
      const [made, whole] = [await describeTable(`${parent}_${suffix}`), await describeTable(parent)];
      expect(made.rows).toEqual(whole.rows);
      expect(made.indexes.map(({ def }) => def)).toEqual(whole.indexes.map(({ def }) => def));
      expect(made.indexes.every(({ attached }) => attached === 1)).toBe(true);
    }
  });

  test('cannot be read or written but through the whole, where row-level security holds', async () => {
    await make(dayBefore(100));
    const suffix = dayBefore(100).replaceAll('-', '');
    for (const role of ['app', 'ingest', 'read', 'erase'] as const) {
      const look = opened.store.transaction({ role, orgId: 'org_a' }, (tx) =>
        tx.execute(sql.raw(`SELECT 1 FROM audit_payloads_hold_${suffix}`)),
      );
      await expect(look).rejects.toThrow(/permission denied/);
    }
  });

  test('are due from the second day after the last one of their class, oldest first', async () => {
    await make(dayBefore(33), 3);
    const due = await opened.store.transaction(retention, (tx) => listDueParts(tx, new Date()));
    const ofClass = due.filter(({ retentionClass }) => retentionClass === 'days-30');
    expect(ofClass.map(({ partDay }) => partDay)).toEqual([100, 33, 32].map(dayBefore));
    expect(due.some(({ retentionClass }) => retentionClass === 'standard')).toBe(false);
    const longAgo = new Date(Date.now() - 5000 * dayMs);
    expect(await opened.store.transaction(retention, (tx) => listDueParts(tx, longAgo))).toEqual([]);
  });

  test('are dropped once', async () => {
    await make(dayBefore(40));
    const part = { retentionClass: 'days-30', partDay: dayBefore(40) } as const;
    const drop = () => opened.store.transaction(retention, (tx) => dropPart(tx, part));
    expect([await drop(), await drop()]).toEqual([true, false]);
  });
});

const [postgres] = testStores().filter(({ kind }) => kind === 'postgres');

describe('beside a reader and a writer whose transactions stay open', () => {
  let opened: TestStore;
  let org: TestOrganisation;
  let reader: pg.Client;
  let writer: pg.Client;
  beforeAll(async () => {
    if (postgres === undefined) throw new Error('there is no Postgres to test with');
    opened = await postgres.open();
    org = await createTestOrganisation(opened.store, new Date());
  });
  afterAll(() => opened?.close());
  const connect = async (): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: opened.url ?? '' });
    await client.connect();
    return client;
  };
  const writeEvent = (seq: number) => `
    INSERT INTO audit_events (part_day, stream_id, seq, org_id, event_id, kind, occurred_at, received_at, late, header, chain)
      SELECT part_day, id, ${seq}, org_id, 'evt_${seq}', 'x', now(), now(), false, '', '' FROM audit_streams WHERE org_id = '${org.orgId}';
    INSERT INTO audit_payloads (retention_class, part_day, stream_id, seq, org_id, salt, payload)
      SELECT 'days-30', part_day, id, ${seq}, org_id, '', '{}' FROM audit_streams WHERE org_id = '${org.orgId}'`;
  const readAll = 'SELECT count(*) FROM audit_events; SELECT count(*) FROM audit_payloads';
  /** Opens transactions that hold what a long read and a long write hold. */
  beforeEach(async () => {
    [reader, writer] = [await connect(), await connect()];
    await reader.query(`BEGIN; ${readAll}`);
    await writer.query(`BEGIN; ${writeEvent(1001)}`);
  });
  afterEach(async () => {
    await Promise.all([reader, writer].map((client) => client.query('ROLLBACK').then(() => client.end())));
  });

  test('partitions are made, and both go on before that is committed: nobody waits', async () => {
    const maker = await connect();
    // Whoever waits for a lock at all fails.
    for (const client of [maker, reader, writer]) await client.query(`SET lock_timeout = '1s'`);
    await maker.query('BEGIN');
    const { rows } = await maker.query(
      `SELECT kontext_make_partitions('${dayBefore(200)}'::date, 2) AS made`,
    );
    expect(rows).toEqual([{ made: 12 }]);

    await reader.query(readAll);
    await writer.query(writeEvent(1002));
    const newcomer = await connect();
    await newcomer.query(`SET lock_timeout = '1s'; ${readAll}; ${writeEvent(1003)}`);
    await newcomer.query(
      `DELETE FROM audit_payloads WHERE seq = 1003; DELETE FROM audit_events WHERE seq = 1003`,
    );
    await newcomer.end();
    await maker.query('COMMIT');
    await reader.query(readAll);
    await writer.query(writeEvent(1004));
    await maker.end();
  });

  test('made in one statement as part of the whole, they would have to wait (so the test above can fail)', async () => {
    const maker = await connect();
    const day = dayBefore(300);
    const made = maker.query(`SET lock_timeout = '200ms';
      CREATE TABLE audit_events_old PARTITION OF audit_events FOR VALUES FROM ('${day}') TO ('${dayBefore(299)}')`);
    await expect(made).rejects.toMatchObject({ code: '55P03' });
    await maker.end();
  });

  test('a partition in use is not dropped: that gives up soon, and others go on; later it is dropped', async () => {
    const part = { retentionClass: 'days-30', partDay: dayBefore(60) } as const;
    const drop = () => opened.store.transaction(retention, (tx) => dropPart(tx, part));
    await opened.store.transaction(retention, (tx) => makePartitions(tx, part.partDay, 1));
    // The day is new to them: a read of everything takes it in.
    await reader.query(readAll);

    const [dropped] = await Promise.allSettled([
      drop(),
      writer.query(writeEvent(1005)),
      reader.query(readAll),
    ]);
    expect(dropped).toMatchObject({ status: 'rejected', reason: { code: 'KX_TEMPORARY' } });
    await writer.query(writeEvent(1006));

    await Promise.all([reader.query('ROLLBACK'), writer.query('ROLLBACK')]);
    expect(await drop()).toBe(true);
    await reader.query('BEGIN');
    await writer.query('BEGIN');
  });
});
