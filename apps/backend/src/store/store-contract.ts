import type { SchemaState } from './migrate.ts';
import type { Tx, TxScope } from './tx.ts';

/** The one door to the database. */
export interface Store {
  readonly kind: 'postgres' | 'pglite';
  /**
   * Runs `work` in one transaction of the given role and organisation; commits when it resolves, rolls back when it throws.
   *
   * Inside, only `tx` may be used: opening a second transaction in the same async context is refused, because on PGlite it
   * would wait for ever. `work` must not wait for the network on PGlite. A statement may take 15 s, a pause 30 s.
   *
   * @throws KontextError `KX_STORE_UNREACHABLE` when the database does not answer, `KX_TEMPORARY` when a statement waited too
   *   long, `KX_REQUEST_INVALID` when a text holds NUL, which it cannot store.
   * @throws KontextError `KX_INTERNAL` when called inside a transaction.
   */
  transaction<T>(scope: TxScope, work: (tx: Tx) => Promise<T>): Promise<T>;
  /**
   * Like {@link Store.transaction} for work that is one statement, and known to be: on Postgres it takes one round trip, and one
   * plan is kept for it whatever its values. No searches.
   *
   * @throws KontextError `KX_INTERNAL` when `work` sends a second one.
   */
  single<T>(scope: TxScope, work: (tx: Tx) => Promise<T>): Promise<T>;
  /** Brings the schema up to date; safe to run in several processes at once. Returns how many migrations ran. */
  migrate(): Promise<number>;
  /** Compares the schema with the migrations of this build. */
  schemaState(): Promise<SchemaState>;
  /**
   * Makes audit partitions from two days ago to seven days ahead and deletes rows that have expired. Call it at start, after
   * `migrate`, and every hour: events cannot be stored on a day without a partition. After the first call, a transaction on a
   * day it did not reach (the machine slept) makes the partitions itself.
   */
  maintain(now: Date): Promise<void>;
  /** One cheap query, for readiness. */
  ping(): Promise<void>;
  /** How its connections are used; absent where there is only one. */
  connections?(): { readonly busy: number; readonly idle: number; readonly waiting: number };
  /** Waits for open transactions and closes; the store cannot be used afterwards. */
  close(): Promise<void>;
}
