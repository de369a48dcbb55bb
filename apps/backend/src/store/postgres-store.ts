import pg from 'pg';
import { noTimeLimits, statementTimeoutMs } from './begin.ts';
import { addMaintenance } from './maintain.ts';
import { type MigrationConnection, migrate, readSchemaState } from './migrate.ts';
import { createPostgresLane, type PostgresLane, within } from './postgres-lane.ts';
import { createStatementNames } from './statement-names.ts';
import type { Store } from './store-contract.ts';
import { explainMigration, isStalePlan, notCommitted, translateStoreError } from './store-errors.ts';
import { createTransactionGuard } from './transaction-guard.ts';

/**
 * Opens a pool of connections; the first one is made by the first transaction.
 *
 * @param maxConnections 1 to 100.
 * @param nowMs Clock that says which day it is.
 * @param waitMs Longest wait for a server that a pooler has to find, 100 to 60,000.
 */
export async function openPostgresStore(
  url: string,
  maxConnections: number,
  nowMs: () => number = Date.now,
  waitMs: number = statementTimeoutMs,
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

  const nameOf = createStatementNames();
  const lanes = new WeakMap<pg.PoolClient, PostgresLane>();
  pool.on('connect', (client) => lanes.set(client, createPostgresLane(client, nameOf, waitMs)));

  const withLane = async <T>(work: (lane: PostgresLane) => Promise<T>): Promise<T> => {
    try {
      const client = await pool.connect();
      const lane = lanes.get(client) ?? createPostgresLane(client, nameOf, waitMs);
      try {
        await lane.ready;
        const result = await work(lane);
        client.release();
        return result;
      } catch (error) {
        // The state of the connection is unknown when even the rollback failed; a plan is kept as long as its connection.
        client.release(isStalePlan(error) || !(await rollsBack(client, waitMs)) ? true : undefined);
        throw error;
      }
    } catch (error) {
      throw translateStoreError(error);
    }
  };
  const withConnection = <T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> =>
    withLane(({ client }) => work(client));

  const plain: Store['transaction'] = (scope, work) =>
    guard.enter(() => withLane((lane) => lane.run(scope, work)));

  const single: Store['single'] = (scope, work) =>
    guard.enter(() => withLane((lane) => lane.runOnce(scope, work)));

  return {
    kind: 'postgres',
    ...addMaintenance({ transaction: plain, single }, nowMs),
    migrate: () =>
      withConnection((client) => inTransaction(client, migrate)).catch((error: unknown) => {
        throw explainMigration(error);
      }),
    schemaState: () => withConnection((client) => readSchemaState(asMigrationConnection(client))),
    ping: () => withConnection(async (client) => void (await client.query(within(waitMs, 'SELECT 1')))),
    connections: () => ({
      busy: pool.totalCount - pool.idleCount,
      idle: pool.idleCount,
      waiting: pool.waitingCount,
    }),
    close: () => pool.end(),
  };
}

async function rollsBack(client: pg.PoolClient, waitMs: number): Promise<boolean> {
  return client.query(within(waitMs, 'ROLLBACK')).then(
    () => true,
    () => false,
  );
}

async function inTransaction<T>(
  client: pg.PoolClient,
  work: (connection: MigrationConnection) => Promise<T>,
): Promise<T> {
  await client.query(`BEGIN; ${noTimeLimits}`);
  const result = await work(asMigrationConnection(client));
  const { command } = await client.query('COMMIT');
  if (command !== 'COMMIT') throw notCommitted();
  return result;
}

const asMigrationConnection = (client: pg.PoolClient): MigrationConnection => ({
  exec: async (text) => void (await client.query(text)),
  query: async (text, params) => (await client.query(text, params ? [...params] : [])).rows,
});
