import { join } from 'node:path';
import { openPgliteStore } from './pglite-store.ts';
import { openPostgresStore } from './postgres-store.ts';
import type { Store } from './store-contract.ts';

export type { Store };

/** Where the data is. */
export interface StoreConfig {
  /** `postgres://…`; null: embedded database. */
  readonly databaseUrl: string | null;
  /** Directory of the embedded database is `db` in here, mode 0700; not used with a `databaseUrl`. */
  readonly dataDir: string;
  /** Connections to Postgres, 1 to 100; default 10. PGlite has one. */
  readonly maxConnections?: number;
}

/**
 * Opens the store: Postgres by URL, else the embedded database. Nothing is migrated.
 *
 * @throws KontextError `KX_STORE_LOCKED` when another process has the embedded database open.
 */
export function createStore(config: StoreConfig): Promise<Store> {
  return config.databaseUrl === null
    ? openPgliteStore(join(config.dataDir, 'db'))
    : openPostgresStore(config.databaseUrl, config.maxConnections ?? 10);
}
