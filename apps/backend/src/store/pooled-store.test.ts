/** The store behind a real pooler that gives each transaction another server: what docs/scaling.md says of it. */
import { partState } from '@kontext/testkit';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { embeddedMigrations } from './migrations/embedded.ts';
import { openPostgresStore } from './postgres-store.ts';
import {
  addAgent,
  connectTo,
  listAgents,
  openPooledStore,
  type PooledStore,
  pidOf,
  poolSize,
  rowsOf,
  system,
  times,
} from './test-pooler.ts';
import type { Tx, TxScope } from './tx.ts';

const pgbouncer = partState('pgbouncer');

describe.skipIf(!pgbouncer.available)(`behind pgbouncer ${pgbouncer.reason}`, () => {
  let pooled: PooledStore;
  beforeAll(async () => {
    pooled = await openPooledStore();
  });
  afterAll(() => pooled?.close());

  test('replicas migrate an empty database through it, at the same time', async () => {
    const name = `pooled_${new URL(pooled.directUrl).pathname.slice(1)}`;
    const admin = await connectTo(pooled.directUrl);
    await admin.query(`CREATE DATABASE ${name} TEMPLATE template0`);
    const url = Object.assign(new URL(pooled.pooler.through(pooled.directUrl)), {
      pathname: `/${name}`,
    }).href;
    const stores = await times(poolSize, () => openPostgresStore(url, 1));
    const ran = await Promise.all(stores.map((one) => one.migrate()));
    expect(ran.toSorted((a, b) => a - b)).toEqual([0, 0, embeddedMigrations.length]);
    expect((await stores[0]?.schemaState())?.state).toBe('current');
    await Promise.all(stores.map((one) => one.close()));
    await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
    await admin.end();
  });

  test('organisations whose transactions take turns on few servers never see each other', async () => {
    const pids = new Set<number>();
    const look = async (tx: Tx, { role, orgId }: TxScope): Promise<void> => {
      const seen = await rowsOf(
        tx,
        sql`SELECT current_user::text AS role, current_setting('kontext.org_id') AS org, (SELECT array_agg(id) FROM orgs) AS orgs`,
      );
      expect(seen).toEqual([{ role: `kontext_${role}`, org: orgId, orgs: [orgId] }]);
      pids.add(await pidOf(tx));
    };
    const outcomes = await times(50, (n) => {
      const orgId = n % 2 === 0 ? 'org_a' : 'org_b';
      const scope: TxScope = { role: n % 3 === 0 ? 'read' : 'app', orgId };
      const isFailing = n % 5 === 4;
      const done = pooled.store.transaction(scope, async (tx) => {
        await look(tx, scope);
        if (isFailing) await tx.execute(sql`SELECT 1 / ${0}::int`);
        await look(tx, scope);
      });
      return done.then(
        () => 'done',
        (error: { code?: string }) => error.code ?? String(error),
      );
    });
    expect(outcomes).toEqual(outcomes.map((_, n) => (n % 5 === 4 ? '22012' : 'done')));
    expect(pids.size).toBeGreaterThan(1);
    const left = await pooled.onEveryServer((client) =>
      client.query(
        `SELECT current_user = session_user AS own, coalesce(current_setting('kontext.org_id', true), '') AS org`,
      ),
    );
    expect(left.flatMap(({ rows }) => rows)).toEqual(Array(poolSize).fill({ own: true, org: '' }));
  });

  test('a row for another organisation is refused on every server', async () => {
    const foreign = await times(9, (n) =>
      pooled.store
        .transaction({ role: 'app', orgId: 'org_a' }, (tx) => addAgent(tx, `agt_foreign_${n}`, 'org_b'))
        .then(
          () => 'stored',
          (error: { code?: string }) => error.code ?? String(error),
        ),
    );
    expect(foreign).toEqual(Array(9).fill('42501'));
    expect(await listAgents(pooled.directStore, 'agt_foreign%')).toEqual([]);
  });

  test('limits hold in each transaction, whatever another client of the same login has left on the server', async () => {
    const rude = await pooled.onEveryServer(async (client) => {
      await client.query(
        `SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET jit = on;
        SET max_parallel_workers_per_gather = 4; SET kontext.org_id = 'org_b'; SET ROLE kontext_system`,
      );
      return Number((await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid);
    });
    const scope = { role: 'app', orgId: 'org_a' } as const;
    const ask = (tx: Tx) =>
      rowsOf(
        tx,
        sql`SELECT current_setting('statement_timeout') AS statement, current_setting('idle_in_transaction_session_timeout') AS idle,
          current_setting('jit') AS jit, current_setting('max_parallel_workers_per_gather') AS helpers, pg_backend_pid() AS pid,
          (SELECT array_agg(id) FROM orgs) AS orgs`,
      );
    const seen = (
      await times(20, (n) =>
        n % 2 === 0 ? pooled.store.transaction(scope, ask) : pooled.store.single(scope, ask),
      )
    ).flat();
    const limits = { statement: '15s', idle: '30s', jit: 'off', helpers: '0', orgs: ['org_a'] };
    expect(seen).toEqual(seen.map(({ pid }) => ({ ...limits, pid })));
    expect(rude).toEqual(expect.arrayContaining(seen.map(({ pid }) => pid)));
    await pooled.onEveryServer((client) => client.query('RESET ALL; RESET ROLE'));
  });

  test('single statements are answered, and no server is told a name', async () => {
    const single = (n: number) =>
      pooled.store.single(system, (tx) => rowsOf(tx, sql`SELECT ${n}::int + 1 AS next`));
    const answers = await times(60, single);
    expect(answers).toEqual(answers.map((_, n) => [{ next: n + 1 }]));
    const names = await pooled.onEveryServer((client) =>
      client.query('SELECT name FROM pg_prepared_statements'),
    );
    expect(names.flatMap(({ rows }) => rows)).toEqual([]);
  });

  test('a single statement is committed, or is an error and nothing', async () => {
    const add = () => pooled.store.single(system, (tx) => addAgent(tx, 'agt_single', 'org_a'));
    await add();
    await expect(add()).rejects.toMatchObject({ code: '23505' });
    expect(await listAgents(pooled.directStore, 'agt_single')).toEqual(['agt_single']);
  });

  test('arrays of texts arrive as they were sent', async () => {
    const texts = ['', 'a"b\\', '{x,y}', 'null', null, '\u{1F510} ü', 'x'.repeat(300_000)];
    const echo = (values: readonly unknown[]) =>
      pooled.store.transaction(system, (tx) => rowsOf(tx, sql`SELECT ${sql.param(values)}::text[] AS texts`));
    expect(await echo(texts)).toEqual([{ texts }]);
    expect(await echo([])).toEqual([{ texts: [] }]);
  });

  test('statements that leave in one turn are answered in their order, large ones too', async () => {
    const lengths = await times(12, (n) =>
      pooled.store.transaction(system, (tx) =>
        times(8, async (m) => {
          const text = 'y'.repeat(n * 9_001 + m);
          return Number((await rowsOf(tx, sql`SELECT length(${text}::text) AS size`))[0]?.size);
        }),
      ),
    );
    expect(lengths).toEqual(lengths.map((_, n) => Array.from({ length: 8 }, (__, m) => n * 9_001 + m)));
  });
});
