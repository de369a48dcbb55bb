import { KontextError } from '@kontext/errors';
import { drizzle } from 'drizzle-orm/node-postgres';
import pg from 'pg';
import { encodeScope } from './begin.ts';
import { addMaintenance } from './maintain.ts';
import { type MigrationConnection, migrate, readSchemaState } from './migrate.ts';
import type { Store } from './store-contract.ts';
import { explainMigration, notCommitted, translateStoreError } from './store-errors.ts';
import { createTransactionGuard } from './transaction-guard.ts';
import type { Tx, TxScope } from './tx.ts';

/**
 * Opens a pool of connections; the first one is made by the first transaction.
 *
 * @param maxConnections 1 to 100.
 * @param nowMs Clock that says which day it is.
 */
export async function openPostgresStore(
  url: string,
  maxConnections: number,
  nowMs: () => number = Date.now,
): Promise<Store> {
  const pool = new pg.Pool({
    connectionString: url,
    max: maxConnections,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    pipeline: true,
    application_name: 'kontext-backend',
  });
  // A connection that dies fails its query, if it has one, and is replaced by the pool. That it also emits an event, at any
  // moment and even after it was given back, must not end the process.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  const guard = createTransactionGuard();

  const withConnection = async <T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> => {
    try {
      const client = await pool.connect();
      try {
        const result = await work(client);
        client.release();
        return result;
      } catch (error) {
        // The state of the connection is unknown when even the rollback failed.
        client.release((await rollsBack(client)) ? undefined : true);
        throw error;
      }
    } catch (error) {
      throw translateStoreError(error);
    }
  };

  // What opens a transaction and its first statement go out together: pg sends without waiting for the answer before.
  const begin = (client: pg.PoolClient, scope: TxScope): Promise<unknown> => {
    const begun = client.query(`BEGIN; ${encodeScope(scope)}`);
    // When it fails, so does every statement after it; whoever waits for those hears of this one.
    begun.catch(() => undefined);
    return begun;
  };

  const plain: Store['transaction'] = (scope, work) =>
    guard.enter(() =>
      withConnection(async (client) => {
        const begun = begin(client, scope);
        const result = await work(drizzle(client) as unknown as Tx).catch(async (error: unknown) => {
          await begun;
          throw error;
        });
        await begun;
        await commit(client);
        return result;
      }),
    );

  const single: Store['single'] = (scope, work) =>
    guard.enter(() =>
      withConnection(async (client) => {
        const begun = begin(client, scope);
        const sent = sendOnce(client);
        const result = await work(drizzle(sent.client) as unknown as Tx).catch(async (error: unknown) => {
          await begun;
          throw error;
        });
        await begun;
        await sent.committed();
        return result;
      }),
    );

  return {
    kind: 'postgres',
    ...addMaintenance({ transaction: plain, single }, nowMs),
    migrate: () =>
      withConnection((client) => inTransaction(client, migrate)).catch((error: unknown) => {
        throw explainMigration(error);
      }),
    schemaState: () => withConnection((client) => readSchemaState(asMigrationConnection(client))),
    ping: () => withConnection(async (client) => void (await client.query('SELECT 1'))),
    connections: () => ({
      busy: pool.totalCount - pool.idleCount,
      idle: pool.idleCount,
      waiting: pool.waitingCount,
    }),
    close: () => pool.end(),
  };
}

/** A connection that takes one statement, and sends the commit after it without waiting. */
function sendOnce(client: pg.PoolClient): { readonly client: pg.PoolClient; committed(): Promise<void> } {
  let committed: Promise<void> | null = null;
  const query = (...args: Parameters<pg.PoolClient['query']>): unknown => {
    if (committed !== null) throw new KontextError('KX_INTERNAL', 'a second statement in a single one');
    const answer = client.query(...args) as unknown;
    committed = commit(client);
    // A statement that fails makes the commit fail as well: the statement says why.
    committed.catch(() => undefined);
    return answer;
  };
  return {
    client: { query } as unknown as pg.PoolClient,
    committed: () => committed ?? commit(client),
  };
}

/** A statement that failed, and whose error `work` kept to itself, makes a COMMIT roll back without a word. */
async function commit(client: pg.PoolClient): Promise<void> {
  const { command } = await client.query('COMMIT');
  if (command !== 'COMMIT') throw notCommitted();
}

async function rollsBack(client: pg.PoolClient): Promise<boolean> {
  return client.query('ROLLBACK').then(
    () => true,
    () => false,
  );
}

async function inTransaction<T>(
  client: pg.PoolClient,
  work: (connection: MigrationConnection) => Promise<T>,
): Promise<T> {
  await client.query('BEGIN');
  const result = await work(asMigrationConnection(client));
  await commit(client);
  return result;
}

const asMigrationConnection = (client: pg.PoolClient): MigrationConnection => ({
  exec: async (text) => void (await client.query(text)),
  query: async (text, params) => (await client.query(text, params ? [...params] : [])).rows,
});
