import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import type { KontextError } from '@kontext/errors';
import { type PostgresCluster, startPostgresCluster } from '@kontext/testkit';
import { sql } from 'drizzle-orm';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { embeddedMigrations } from './migrations/embedded.ts';
import { openPostgresStore } from './postgres-store.ts';
import { orgs } from './schema.ts';
import type { Store } from './store.ts';

/** As poolers do, it tells clients of a server process that is not the one behind it. */
async function startPooler(serverPort: number): Promise<{ port: number; close(): Promise<unknown> }> {
  const keyOf = Buffer.from([0x4b, 0, 0, 0, 12]);
  const server = createServer((client) => {
    const upstream = connect(serverPort, '127.0.0.1');
    client.pipe(upstream);
    upstream.on('data', (piece) => {
      const at = piece.indexOf(keyOf);
      if (at >= 0) piece.writeUInt32BE(7, at + keyOf.length);
      client.write(piece);
    });
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      one.on('error', () => undefined);
      one.on('close', () => other.destroy());
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = () => new Promise((resolve) => server.close(resolve));
  return { port: (server.address() as AddressInfo).port, close };
}

describe('Postgres', () => {
  let cluster: PostgresCluster;
  beforeAll(async () => {
    cluster = await startPostgresCluster();
  });
  afterAll(() => cluster?.stop());

  const asSuperuser = async (url: string, text: string): Promise<void> => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query(text).finally(() => client.end());
  };
  const emptyDatabase = async () => (await cluster.createDatabase()).url;

  test('replicas that migrate an empty database at the same time end with one schema', async () => {
    const url = await emptyDatabase();
    const stores = await Promise.all([1, 2, 3].map(() => openPostgresStore(url, 1)));
    const ran = await Promise.all(stores.map((store) => store.migrate()));
    expect(ran.toSorted()).toEqual([0, 0, embeddedMigrations.length]);
    await Promise.all(stores.map((store) => store.close()));
  });

  test('databases of one cluster can be migrated at the same time, although they share the roles', async () => {
    const urls = await Promise.all([emptyDatabase(), emptyDatabase(), emptyDatabase()]);
    await Promise.all(
      urls.map(async (url) => {
        const store = await openPostgresStore(url, 1);
        expect(await store.migrate()).toBe(embeddedMigrations.length);
        await store.close();
      }),
    );
  });

  test('an empty database is told apart from a migrated one', async () => {
    const store = await openPostgresStore(await emptyDatabase(), 1);
    expect((await store.schemaState()).state).toBe('empty');
    await store.migrate();
    expect((await store.schemaState()).state).toBe('current');
    await store.close();
  });

  test('a login without superuser rights can migrate, maintain and work, and is bound by row-level security', async () => {
    const url = await emptyDatabase();
    const name = `plain_${url.slice(-6)}`;
    const database = new URL(url).pathname.slice(1);
    await asSuperuser(
      url,
      `CREATE ROLE ${name} LOGIN PASSWORD 'x' CREATEROLE; ALTER DATABASE ${database} OWNER TO ${name}`,
    );
    // Before 16 CREATEROLE may grant any role; from 16 on an administrator grants the ones that exist.
    await asSuperuser(
      url,
      `DO $$ DECLARE r text; BEGIN FOREACH r IN ARRAY ARRAY['app', 'ingest', 'read', 'retention', 'system', 'erase'] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'kontext_' || r) THEN EXECUTE format('GRANT kontext_%s TO ${name}', r); END IF;
      END LOOP; END $$`,
    );
    const login = new URL(url);
    login.username = name;
    login.password = 'x';
    const store = await openPostgresStore(login.href, 2);
    expect(await store.migrate()).toBe(embeddedMigrations.length);
    await store.maintain(new Date());
    await store.transaction({ role: 'system', orgId: null }, (tx) =>
      tx.insert(orgs).values({ id: 'org_a', slug: 'a', name: 'A', createdAt: new Date() }),
    );
    expect(await store.transaction({ role: 'app', orgId: 'org_b' }, (tx) => tx.select().from(orgs))).toEqual(
      [],
    );
    await store.close();
    const owner = new pg.Client({ connectionString: login.href });
    await owner.connect();
    // Even the owner of the tables sees nothing until it takes a role.
    expect((await owner.query('SELECT * FROM orgs')).rows).toEqual([]);
    await owner.end();
    await asSuperuser(
      url,
      `REASSIGN OWNED BY ${name} TO postgres; DROP OWNED BY ${name}; ALTER DATABASE ${database} OWNER TO postgres`,
    );
    await asSuperuser(url, `DROP ROLE ${name}`);
  });

  const work = { role: 'system', orgId: null } as const;
  const ask = async (store: Store, times: number): Promise<unknown[]> => {
    let names: unknown[] = [];
    for (let n = 0; n < times; n += 1) {
      await store.single(work, (tx) => tx.execute(sql`SELECT ${n}::int + 1`));
      names = await store.transaction(work, async (tx) => {
        await tx.execute(sql`SELECT ${n}::int + 2`);
        return (await tx.execute(sql`SELECT name FROM pg_prepared_statements ORDER BY name`)).rows;
      });
    }
    return names;
  };

  const limits = [{ statement: '15s', idle: '30s', jit: 'off' }];
  const limitsOf = (store: Store) =>
    store.transaction(work, async (tx) => {
      const { rows } = await tx.execute(sql`SELECT current_setting('statement_timeout') AS statement,
        current_setting('idle_in_transaction_session_timeout') AS idle, current_setting('jit') AS jit`);
      return rows;
    });

  test('a single statement that comes again and again gets a name, one of a longer transaction none', async () => {
    const store = await openPostgresStore(await emptyDatabase(), 1);
    await store.migrate();
    expect(await ask(store, 4)).toEqual([]);
    expect(await ask(store, 9)).toEqual([{ name: 'kontext_1' }]);
    expect(await limitsOf(store)).toEqual(limits);
    await store.close();
  });

  test('a plan that a migration made stale is an error once', async () => {
    const url = await emptyDatabase();
    await asSuperuser(url, 'CREATE TABLE kept (one int); GRANT SELECT ON kept TO PUBLIC');
    const store = await openPostgresStore(url, 1);
    await store.migrate();
    const read = () =>
      store.single(
        work,
        async (tx) => (await tx.execute(sql`SELECT one FROM kept WHERE ${1}::int = 1`)).rows,
      );
    for (let n = 0; n < 8; n += 1) await read();
    await asSuperuser(url, "ALTER TABLE kept ALTER one TYPE text; INSERT INTO kept VALUES ('a')");
    await expect(read()).rejects.toThrow();
    expect(await read()).toEqual([{ one: 'a' }]);
    await store.close();
  });

  test('a statement that comes after the end of its transaction is refused', async () => {
    const store = await openPostgresStore(await emptyDatabase(), 1);
    await store.migrate();
    const late = await store.transaction(work, async (tx) => () => tx.execute(sql`SELECT 1`));
    await expect(late()).rejects.toMatchObject({ cause: { code: 'KX_INTERNAL' } });
    await store.close();
  });

  test('behind a pooler, where the next statement may meet another server process, none does', async () => {
    const direct = await emptyDatabase();
    const pooler = await startPooler(Number(new URL(direct).port));
    const url = new URL(direct);
    url.port = String(pooler.port);
    const store = await openPostgresStore(url.href, 1);
    await store.migrate();
    expect(await ask(store, 9)).toEqual([]);
    expect(await limitsOf(store)).toEqual(limits);
    await store.close();
    await pooler.close();
  });

  test('a server that is not there is a typed error', async () => {
    const store = await openPostgresStore('postgres://nobody@127.0.0.1:1/none', 1);
    await expect(store.ping()).rejects.toMatchObject({ code: 'KX_STORE_UNREACHABLE' });
    await store.close();
  });

  test('a login, a database or a right that is missing is said in words, without the password', async () => {
    const url = await emptyDatabase();
    const name = `bare_${url.slice(-6)}`;
    await asSuperuser(url, `CREATE ROLE ${name} LOGIN PASSWORD 'x'`);
    const openAs = async (change: (login: URL) => void) => {
      const login = new URL(url);
      Object.assign(login, { username: name, password: 'x' });
      change(login);
      const store = await openPostgresStore(login.href, 1);
      const error = await store.migrate().catch((e: unknown) => e);
      await store.close();
      return error as KontextError;
    };
    expect(await openAs(() => undefined)).toMatchObject({ code: 'KX_CONFIG_INVALID' });
    const noDatabase = await openAs((login) => Object.assign(login, { pathname: '/nothing_here' }));
    expect(noDatabase).toMatchObject({
      code: 'KX_STORE_UNREACHABLE',
      message: 'the database does not exist',
    });
    await asSuperuser(url, `DROP ROLE ${name}`);
    expect(await openAs(() => undefined)).toMatchObject({ code: 'KX_STORE_UNREACHABLE' });
  });

  test('a statement that takes too long is temporary, not a fault', async () => {
    const url = await emptyDatabase();
    const store = await openPostgresStore(url, 1);
    await store.migrate();
    const slow = store.transaction({ role: 'system', orgId: null }, async (tx) => {
      await tx.execute(sql`SET LOCAL statement_timeout = 20`);
      await tx.execute(sql`SELECT pg_sleep(5)`);
    });
    await expect(slow).rejects.toMatchObject({ code: 'KX_TEMPORARY' });
    await store.close();
  });

  test('a connection that dies inside a transaction is a typed error, and the next transaction works', async () => {
    const url = await emptyDatabase();
    const store = await openPostgresStore(url, 1);
    await store.migrate();
    const scope = { role: 'system', orgId: null } as const;
    const dying = store.transaction(scope, async (tx) => {
      const { rows } = await tx.execute(sql`SELECT pg_backend_pid() AS pid`);
      await asSuperuser(url, `SELECT pg_terminate_backend(${Number(rows[0]?.pid)})`);
      await tx.execute(sql`SELECT 1`);
    });
    await expect(dying).rejects.toMatchObject({ code: 'KX_STORE_UNREACHABLE' });
    expect(await store.transaction(scope, async () => 'works')).toBe('works');
    await store.close();
  });
});
