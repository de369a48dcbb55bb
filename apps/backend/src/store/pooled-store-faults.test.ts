/** What a store tells its callers when the pooler, or Postgres behind it, goes away. */
import { partState, startCrashPostgres, startPgbouncer } from '@kontext/testkit';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openPostgresStore } from './postgres-store.ts';
import {
  addAgent,
  connectTo,
  listAgents,
  openPooledStore,
  type PooledStore,
  pidOf,
  system,
  times,
} from './test-pooler.ts';

const unreachable = { code: 'KX_STORE_UNREACHABLE' };
/** As docs/scaling.md advises. */
const advised = { query_wait_timeout: 5, server_login_retry: 1 };

const pgbouncer = partState('pgbouncer');

describe.skipIf(!pgbouncer.available)(`faults behind pgbouncer ${pgbouncer.reason}`, () => {
  let pooled: PooledStore;
  beforeAll(async () => {
    pooled = await openPooledStore();
  });
  afterAll(() => pooled?.close());

  test('a statement that takes too long is temporary and stores nothing; its connection goes on', async () => {
    const slow = pooled.store.transaction(system, async (tx) => {
      await addAgent(tx, 'agt_slow', 'org_a');
      await tx.execute(sql`SET LOCAL statement_timeout = 20`);
      await tx.execute(sql`SELECT pg_sleep(50)`);
    });
    await expect(slow).rejects.toMatchObject({ code: 'KX_TEMPORARY' });
    expect(await listAgents(pooled.directStore, 'agt_slow')).toEqual([]);
    await times(10, () => pooled.store.ping());
  });

  test('a server process that is ended inside a transaction is a typed error, and the next one works', async () => {
    const dying = pooled.store.transaction(system, async (tx) => {
      await addAgent(tx, 'agt_dying', 'org_a');
      const pid = await pidOf(tx);
      const admin = await connectTo(pooled.directUrl);
      await admin.query('SELECT pg_terminate_backend($1, 20000)', [pid]).finally(() => admin.end());
      await tx.execute(sql`SELECT 1`);
    });
    await expect(dying).rejects.toMatchObject(unreachable);
    expect(await pooled.store.transaction(system, async (tx) => (await pidOf(tx)) > 0)).toBe(true);
    expect(await listAgents(pooled.directStore, 'agt_dying')).toEqual([]);
  });

  test('who waits too long for a server is told so, instead of when the pooler gives up', async () => {
    // Minutes, as it is unless somebody sets it.
    const patient = await startPgbouncer(pooled.directUrl, { default_pool_size: 1 });
    const hasty = await openPostgresStore(patient.through(pooled.directUrl), 2, Date.now, 1_000);
    await expect.poll(() => hasty.ping().then(() => 'up', String)).toBe('up');
    const holder = await connectTo(patient.through(pooled.directUrl));
    await holder.query('BEGIN');
    await expect(hasty.single(system, (tx) => pidOf(tx))).rejects.toMatchObject(unreachable);
    await expect(hasty.ping()).rejects.toMatchObject(unreachable);
    await holder.query('COMMIT');
    await expect.poll(() => hasty.ping().then(() => 'up', String)).toBe('up');
    await holder.end();
    await hasty.close();
    await patient.stop();
  });

  test('a pooler that is killed is a typed error until it is back; what was acknowledged stays', async () => {
    await pooled.store.single(system, (tx) => addAgent(tx, 'agt_kill_1', 'org_a'));
    const cut = pooled.store.transaction(system, async (tx) => {
      await addAgent(tx, 'agt_kill_2', 'org_a');
      await pooled.pooler.kill();
      await tx.execute(sql`SELECT 1`);
    });
    await expect(cut).rejects.toMatchObject(unreachable);
    for (let n = 0; n < 12; n += 1) await expect(pooled.store.ping()).rejects.toMatchObject(unreachable);
    await pooled.pooler.start();
    await pooled.store.single(system, (tx) => addAgent(tx, 'agt_kill_3', 'org_a'));
    expect(await listAgents(pooled.directStore, 'agt_kill%')).toEqual(['agt_kill_1', 'agt_kill_3']);
  });

  test('a pooler that gives each statement another server is refused', async () => {
    const wrong = await startPgbouncer(pooled.directUrl, { pool_mode: 'statement' });
    const lost = await openPostgresStore(wrong.through(pooled.directUrl), 1);
    await expect(lost.transaction(system, (tx) => pidOf(tx))).rejects.toMatchObject(unreachable);
    await lost.close();
    await wrong.stop();
  });

  test('a restart of Postgres behind it is typed errors, and then work goes on', async () => {
    const server = await startCrashPostgres();
    const front = await startPgbouncer(server.url, advised);
    const behind = await openPostgresStore(front.through(server.url), 4);
    await behind.migrate();
    const work = () => behind.transaction(system, (tx) => pidOf(tx));
    const cut = behind.transaction(system, async (tx) => {
      await pidOf(tx);
      await server.shutDown();
      await pidOf(tx);
    });
    await expect(cut).rejects.toMatchObject(unreachable);
    for (let n = 0; n < 5; n += 1) await expect(work()).rejects.toMatchObject(unreachable);
    await server.start();
    await expect.poll(() => work().then(() => 'up', String)).toBe('up');
    await behind.close();
    await front.stop();
    await server.stop();
  });

  test('a login that the pooler refuses is said in words, without the password', async () => {
    const url = Object.assign(new URL(pooled.pooler.through(pooled.directUrl)), { password: 'not-it' }).href;
    const refused = await openPostgresStore(url, 1);
    const error = await refused.ping().catch((e: unknown) => e);
    expect(error).toMatchObject({ ...unreachable, why: expect.stringContaining('a pooler') });
    expect(JSON.stringify(error)).not.toContain('not-it');
    await refused.close();
  });
});
