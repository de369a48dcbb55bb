import { type Pgbouncer, startPgbouncer } from '@kontext/testkit';
import { type SQL, sql } from 'drizzle-orm';
import pg from 'pg';
import { openPostgresStore } from './postgres-store.ts';
import type { Store } from './store.ts';
import { type TestStore, testStores } from './test-stores.ts';
import type { Tx } from './tx.ts';

/** Sees every organisation. */
export const system = { role: 'system', orgId: null } as const;

/** Connections of the test's pooler to the server; stores open more to the pooler. */
export const poolSize = 3;

/** A migrated database with the organisations `org_a` and `org_b`, and a store that reaches it through pgbouncer. */
export interface PooledStore {
  readonly pooler: Pgbouncer;
  readonly store: Store;
  /** URL of the database itself, superuser, and a store there. */
  readonly directUrl: string;
  readonly directStore: Store;
  /** Runs `work` in a transaction of a client of its own on each server connection, all at the same time. */
  onEveryServer<T>(work: (client: pg.Client) => Promise<T>): Promise<T[]>;
  close(): Promise<void>;
}

/** Needs `partState('pgbouncer')`. */
export async function openPooledStore(): Promise<PooledStore> {
  const { store: directStore, url, close: closeDirect } = await openDirect();
  const directUrl = url ?? '';
  const pooler = await startPgbouncer(directUrl, { default_pool_size: poolSize });
  const store = await openPostgresStore(pooler.through(directUrl), 10);
  await directStore.transaction(system, (tx) =>
    tx.execute(
      sql`INSERT INTO orgs (id, slug, name, created_at) VALUES ('org_a', 'a', 'A', now()), ('org_b', 'b', 'B', now())`,
    ),
  );
  return {
    pooler,
    store,
    directUrl,
    directStore,
    onEveryServer: async (work) => {
      const clients = await times(poolSize, () => connectTo(pooler.through(directUrl)));
      try {
        // Whoever has begun keeps a server: three that have begun are on three.
        await Promise.all(clients.map((client) => client.query('BEGIN')));
        const results = await Promise.all(clients.map(work));
        await Promise.all(clients.map((client) => client.query('COMMIT')));
        return results;
      } finally {
        await Promise.all(clients.map((client) => client.end()));
      }
    },
    close: async () => {
      await store.close();
      await pooler.stop();
      await closeDirect();
    },
  };
}

async function openDirect(): Promise<TestStore> {
  const kind = testStores().find((one) => one.kind === 'postgres');
  if (kind === undefined) throw new Error('no Postgres among the stores');
  return kind.open();
}

/** A client of its own; that its connection dies is not an error of the test. */
export async function connectTo(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** Runs `work` so many times at once. */
export const times = <T>(count: number, work: (n: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, n) => work(n)));

export const rowsOf = async (tx: Tx, text: SQL) => (await tx.execute(text)).rows;

/** Of the server process that the transaction is on. */
export const pidOf = async (tx: Tx): Promise<number> =>
  Number((await rowsOf(tx, sql`SELECT pg_backend_pid() AS pid`))[0]?.pid);

/** Adds a row that belongs to an organisation: an agent. */
export const addAgent = (tx: Tx, id: string, orgId: string) =>
  tx.execute(sql`INSERT INTO agents (id, org_id, name, created_at) VALUES (${id}, ${orgId}, ${id}, now())`);

/** Ids of agents that are like `like`, in order. */
export const listAgents = (store: Store, like: string): Promise<unknown[]> =>
  store.transaction(system, async (tx) =>
    (await rowsOf(tx, sql`SELECT id FROM agents WHERE id LIKE ${like} ORDER BY id`)).map(({ id }) => id),
  );
