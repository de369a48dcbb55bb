import { type PostgresCluster, startPostgresCluster } from '@kontext/testkit';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type MigrationConnection, migrate } from './migrate.ts';
import { embeddedMigrations } from './migrations/embedded.ts';

/** The last migration before policies had publications and streams had segments. */
const before = '0005';

describe.each([{ login: 'a superuser' }, { login: 'a plain owner' }])('an upgrade by $login', ({ login }) => {
  let cluster: PostgresCluster;
  beforeAll(async () => {
    cluster = await startPostgresCluster();
  });
  afterAll(() => cluster?.stop());

  const connect = async (url: string): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    return client;
  };
  const asMigration = (client: pg.Client): MigrationConnection => ({
    exec: async (text) => void (await client.query(text)),
    query: async (text, params) => (await client.query(text, params ? [...params] : [])).rows,
  });
  /** In one transaction, as the store does. */
  const run = async (client: pg.Client, migrations = embeddedMigrations): Promise<void> => {
    await client.query('BEGIN');
    await migrate(asMigration(client), migrations);
    await client.query('COMMIT');
  };
  const asSystem = async (client: pg.Client, text: string): Promise<pg.QueryResult['rows']> => {
    await client.query('BEGIN; SET LOCAL ROLE kontext_system');
    const { rows } = await client.query(text);
    await client.query('COMMIT');
    return rows;
  };

  /** A migrating login of the kind the suite is about; `end` removes it. */
  const open = async () => {
    const { url } = await cluster.createDatabase();
    if (login === 'a superuser') {
      const client = await connect(url);
      return { client, end: () => client.end() };
    }
    const admin = await connect(url);
    const name = `upgrader_${url.slice(-6)}`;
    const database = new URL(url).pathname.slice(1);
    await admin.query(`CREATE ROLE ${name} LOGIN PASSWORD 'x' CREATEROLE;
      ALTER DATABASE ${database} OWNER TO ${name};
      DO $$ DECLARE r text; BEGIN FOREACH r IN ARRAY ARRAY['app', 'ingest', 'read', 'retention', 'system', 'erase'] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'kontext_' || r) THEN EXECUTE format('GRANT kontext_%s TO ${name}', r); END IF;
      END LOOP; END $$`);
    const own = new URL(url);
    own.username = name;
    own.password = 'x';
    const client = await connect(own.href);
    const end = async () => {
      await client.end();
      await admin.query(`REASSIGN OWNED BY ${name} TO postgres; DROP OWNED BY ${name};
        ALTER DATABASE ${database} OWNER TO postgres`);
      await admin.query(`DROP ROLE ${name}`);
      await admin.end();
    };
    return { client, end };
  };

  test('keeps what holds for an organisation in enforce, and hands its streams to the log, and its payloads to classes', async () => {
    const { client, end } = await open();
    await run(
      client,
      embeddedMigrations.filter(({ name }) => name.slice(0, 4) <= before),
    );
    await asSystem(
      client,
      `INSERT INTO orgs (id, slug, name, mode, created_at) VALUES ('org_a', 'a', 'A', 'enforce', now());
       INSERT INTO policies (id, org_id, newest_version, created_at) VALUES ('pol_a', 'org_a', 3, now());
       INSERT INTO policy_versions (org_id, policy_id, version, policies, hash, author, reason, created_at)
         VALUES ('org_a', 'pol_a', 3, '[]', 'h', 'kontext', 'r', now());
       INSERT INTO audit_streams (org_id, id, kind, nonce, head_seq, head_hash, part_day, part_started_at, created_at, updated_at)
         VALUES ('org_a', 'str_a', 'admin', 'n', 7, 'head', now(), now(), now(), now())`,
    );
    await client.query('SELECT kontext_make_partitions(current_date - 1, 2)');
    const payload = (day: string, seq: number) => `
      INSERT INTO audit_payloads (retention_class, part_day, stream_id, seq, org_id, salt, payload)
        VALUES ('standard', ${day}, 'str_a', ${seq}, 'org_a', 's', '{}')`;
    await asSystem(client, payload('current_date', 7));

    await run(client);

    expect(
      await asSystem(client, 'SELECT seq::int, group_name, version::int, mode FROM policy_publications'),
    ).toEqual([{ seq: 3, group_name: '', version: 3, mode: 'enforce' }]);
    expect(
      await asSystem(client, 'SELECT stream_id, first_seq::int, last_seq::int FROM audit_segments'),
    ).toEqual([{ stream_id: 'str_a', first_seq: 1, last_seq: 7 }]);
    // Partitions made before and after stand side by side, and what was stored can be moved to a hold.
    await client.query('SELECT kontext_make_partitions(current_date - 1, 4)');
    await asSystem(client, payload('current_date + 2', 8));
    await client.query(`BEGIN; SET LOCAL ROLE kontext_erase; SET LOCAL kontext.org_id = 'org_a'`);
    await client.query(`UPDATE audit_payloads SET retention_class = 'hold' WHERE seq = 7`);
    await client.query(`UPDATE audit_payloads SET retention_class = 'days-30' WHERE seq = 8`);
    await client.query('COMMIT');
    expect(
      await asSystem(
        client,
        `SELECT p.retention_class, p.seq::int, s.held FROM audit_payloads p JOIN audit_streams s ON s.id = p.stream_id ORDER BY p.seq`,
      ),
    ).toEqual([
      { retention_class: 'hold', seq: 7, held: false },
      { retention_class: 'days-30', seq: 8, held: false },
    ]);
    await end();
  });
});
