import { existsSync } from 'node:fs';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { partState } from '../part-state.ts';
import { type PostgresCluster, startPostgresCluster } from './cluster.ts';
import { startServer, stopServer } from './server.ts';

const postgres = partState('postgres');

async function query(url: string, sql: string): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: url });
  try {
    await client.connect();
    return await client.query(sql);
  } finally {
    await client.end();
  }
}

describe.skipIf(!postgres.available)(`startPostgresCluster ${postgres.reason}`, () => {
  let cluster: PostgresCluster;
  beforeAll(async () => {
    cluster = await startPostgresCluster();
  });
  afterAll(() => cluster.stop());

  it('gives every caller an empty database of its own, Postgres 15 or newer', async () => {
    const one = await cluster.createDatabase();
    const two = await cluster.createDatabase();

    await query(one.url, 'CREATE TABLE only_here (id int)');

    const tables = await query(two.url, "SELECT 1 FROM pg_tables WHERE tablename = 'only_here'");
    const version = await query(two.url, 'SHOW server_version_num');
    expect(tables.rowCount).toBe(0);
    expect(Number(version.rows[0].server_version_num)).toBeGreaterThanOrEqual(150000);
  });

  it('builds a template once and copies it, also for callers that ask at the same moment', async () => {
    let builds = 0;
    const template = {
      name: 'twice',
      build: async (url: string) => {
        builds += 1;
        await query(url, 'CREATE TABLE migrated (id int); INSERT INTO migrated VALUES (7)');
      },
    };

    const databases = await Promise.all([1, 2, 3].map(() => cluster.createDatabase({ template })));

    const rows = await Promise.all(
      databases.map((database) => query(database.url, 'SELECT id FROM migrated')),
    );
    expect(rows.map((result) => result.rows[0].id)).toEqual([7, 7, 7]);
    expect(builds).toBe(1);
  });

  it('shares one server within a run', async () => {
    const second = await startPostgresCluster();

    await second.stop();

    expect(second.port).toBe(cluster.port);
    expect((await query(cluster.adminUrl, 'SELECT 1 AS ok')).rows[0].ok).toBe(1);
  });

  it('refuses a password-less connection', async () => {
    await expect(
      query(`postgres://postgres@127.0.0.1:${cluster.port}/postgres`, 'SELECT 1'),
    ).rejects.toThrow();
  });

  it('leaves no files behind when a server of its own is stopped', async () => {
    const server = await startServer(process.pid, false);

    await stopServer(server);

    expect(existsSync(server.directory)).toBe(false);
  });
});
