import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { partState } from '../part-state.ts';
import { type PostgresCluster, startPostgresCluster } from './cluster.ts';
import { startPgbouncer } from './pgbouncer.ts';

const pgbouncer = partState('pgbouncer');

async function query(url: string, sql: string): Promise<Record<string, unknown> | undefined> {
  const client = new pg.Client({ connectionString: url });
  try {
    await client.connect();
    return (await client.query(sql)).rows[0];
  } finally {
    await client.end();
  }
}

describe.skipIf(!pgbouncer.available)(`startPgbouncer ${pgbouncer.reason}`, () => {
  let cluster: PostgresCluster;
  beforeAll(async () => {
    cluster = await startPostgresCluster();
  });
  afterAll(() => cluster?.stop());

  it('leads to the server, for its login alone', async () => {
    const pooler = await startPgbouncer(cluster.adminUrl);
    const url = pooler.through(cluster.adminUrl);
    const wrong = Object.assign(new URL(url), { password: 'wrong' }).href;

    const row = await query(url, 'SELECT inet_server_port() AS port');

    expect(row).toEqual({ port: cluster.port });
    expect(Number(new URL(url).port)).not.toBe(cluster.port);
    await expect(query(wrong, 'SELECT 1')).rejects.toThrow();
    await pooler.stop();
  });

  it('is gone when killed, and back at the same address when started again', async () => {
    const pooler = await startPgbouncer(cluster.adminUrl);
    const url = pooler.through(cluster.adminUrl);

    await pooler.kill();
    await expect(query(url, 'SELECT 1 AS one')).rejects.toThrow();
    await pooler.start();

    expect(await query(url, 'SELECT 1 AS one')).toEqual({ one: 1 });
    await pooler.stop();
    await expect(query(url, 'SELECT 1 AS one')).rejects.toThrow();
  });

  it('says why it does not start', async () => {
    const started = startPgbouncer(cluster.adminUrl, { pool_mode: 'no-such-mode' });

    await expect(started).rejects.toThrow(/no-such-mode/);
  });
});
