import { PGlite } from '@electric-sql/pglite';
import { KontextError } from '@kontext/errors';
import { drizzle } from 'drizzle-orm/pglite';
import { encodeScope, noTimeLimits, sessionLimits } from './begin.ts';
import { lockDataDir } from './data-dir-lock.ts';
import { addMaintenance } from './maintain.ts';
import { type MigrationConnection, migrate, readSchemaState } from './migrate.ts';
import type { Store } from './store-contract.ts';
import { notCommitted, translateStoreError } from './store-errors.ts';
import { createTransactionGuard } from './transaction-guard.ts';
import type { Tx } from './tx.ts';

type Transaction = Parameters<Parameters<PGlite['transaction']>[0]>[0];

/**
 * Opens the embedded database (Postgres in WebAssembly), making it when the directory is empty.
 *
 * It has one connection: transactions run one after the other. It connects as superuser, so row-level security holds only
 * because every transaction takes its role first.
 *
 * @param directory Absolute path, made with mode 0700; null keeps everything in memory.
 * @param nowMs Clock that says which day it is.
 * @throws KontextError `KX_STORE_LOCKED` when another process has it open.
 */
export async function openPgliteStore(
  directory: string | null,
  nowMs: () => number = Date.now,
): Promise<Store> {
  const lock = directory === null ? null : lockDataDir(directory);
  const database = await PGlite.create(directory ?? 'memory://').catch((error: unknown) => {
    lock?.release();
    throw error;
  });
  trimParsers(database);
  await database.exec(sessionLimits);
  const guard = createTransactionGuard();

  const run = <T>(work: (connection: Transaction) => Promise<T>): Promise<T> =>
    guard.enter(() =>
      database
        .transaction(async (connection) => {
          let hasFailed = false;
          const result = await work(
            watchFailures(connection, () => {
              hasFailed = true;
            }),
          );
          // Asked only then: a statement of its own would make every transaction a third longer.
          if (hasFailed) await checkCommittable(connection);
          return result;
        })
        .catch((error: unknown) => {
          throw translateStoreError(error);
        }),
    );

  const plain: Store['transaction'] = (scope, work) =>
    run(async (connection) => {
      await connection.exec(encodeScope(scope, true));
      // drizzle needs `query` alone, which a transaction has.
      return work(drizzle(connection as unknown as PGlite) as unknown as Tx);
    });

  const single: Store['single'] = (scope, work) =>
    run(async (connection) => {
      await connection.exec(encodeScope(scope, true));
      return work(drizzle(sendOnce(connection) as unknown as PGlite) as unknown as Tx);
    });

  return {
    kind: 'pglite',
    ...addMaintenance({ transaction: plain, single }, nowMs),
    migrate: () =>
      run(async (connection) => {
        await connection.exec(noTimeLimits);
        return migrate(asMigrationConnection(connection));
      }),
    schemaState: () => run((connection) => readSchemaState(asMigrationConnection(connection))),
    ping: () => run(async (connection) => void (await connection.query('SELECT 1'))),
    close: async () => {
      await database.close();
      lock?.release();
    },
  };
}

/** The same connection for one statement. */
function sendOnce(connection: Transaction): Transaction {
  let sent = false;
  return {
    ...connection,
    query: (...args) => {
      if (sent) throw new KontextError('KX_INTERNAL', 'a second statement in a single one');
      sent = true;
      return connection.query(...args);
    },
  };
}

/** The same connection, telling of every statement that failed. */
function watchFailures(connection: Transaction, onFailure: () => void): Transaction {
  const watch = <T>(answer: Promise<T>): Promise<T> =>
    answer.catch((error: unknown) => {
      onFailure();
      throw error;
    });
  return {
    ...connection,
    query: (...args) => watch(connection.query(...args)),
    exec: (...args) => watch(connection.exec(...args)),
  };
}

/** A statement that failed, and whose error `work` kept to itself, makes a COMMIT roll back without a word. */
async function checkCommittable(connection: Transaction): Promise<void> {
  await connection.query('SELECT 1').catch((cause: unknown) => {
    throw notCommitted(cause);
  });
}

/** Types of the catalog and its views begin here (Postgres gives out lower ids by hand, for types people use). */
const firstCatalogTypeId = 4_096;

/**
 * Keeps the parsers of types that columns have. PGlite copies its table for every result; nine tenths of it are arrays
 * of row types of the catalog, and copying them took half of a short transaction.
 */
function trimParsers(database: PGlite): void {
  const kept = Object.entries(database.parsers).filter(([typeId]) => Number(typeId) < firstCatalogTypeId);
  database.parsers = Object.fromEntries(kept);
}

const asMigrationConnection = (connection: Transaction): MigrationConnection => ({
  exec: async (text) => void (await connection.exec(text)),
  query: async (text, params) =>
    (await connection.query<Record<string, unknown>>(text, params ? [...params] : [])).rows,
});
