import { constants, cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fillFolderOnce, startPostgresCluster, testRunFolder } from '@kontext/testkit';
import { migrationsId } from './migrate.ts';
import { openPgliteStore } from './pglite-store.ts';
import { openPostgresStore } from './postgres-store.ts';
import type { Store } from './store.ts';

/** A kind of database that a suite runs on. */
export interface TestStoreKind {
  readonly kind: Store['kind'];
  /** Opens a migrated store with partitions of its own; `close` removes what was made. */
  open(nowMs?: () => number): Promise<TestStore>;
}

/** An open store, and for Postgres the URL, to connect to it once more as superuser or as another replica. */
export interface TestStore {
  readonly store: Store;
  readonly url: string | null;
  close(): Promise<void>;
}

/**
 * Both databases, for `describe.each(testStores())('… on $kind', ({ open }) => …)`.
 *
 * Open one store per file (`beforeAll`), and give each test an organisation of its own: PGlite takes a second and
 * 800 MB. Every file gets a copy of a database that was migrated once a run.
 */
export const testStores = (): readonly TestStoreKind[] => [
  { kind: 'postgres', open: openPostgres },
  { kind: 'pglite', open: openPglite },
];

async function openPostgres(nowMs: () => number = Date.now): Promise<TestStore> {
  const cluster = await startPostgresCluster();
  const database = await cluster.createDatabase({
    template: {
      name: `store_${migrationsId}`,
      build: async (url) => {
        const building = await openPostgresStore(url, 1);
        await prepare(building);
      },
    },
  });
  const store = await openPostgresStore(database.url, 10, nowMs);
  await store.maintain(new Date());
  const close = async () => {
    await store.close();
    await cluster.stop();
  };
  return { store, url: database.url, close };
}

async function openPglite(nowMs: () => number = Date.now): Promise<TestStore> {
  const directory = mkdtempSync(join(tmpdir(), 'kontext-store-'));
  const data = join(directory, 'db');
  const run = testRunFolder();
  if (run !== null) cpSync(await fillFolderOnce(run, `pglite-${migrationsId}`, fill), data, copied);
  const store = await openPgliteStore(data, nowMs);
  await store.migrate();
  await store.maintain(new Date());
  const close = async () => {
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  };
  return { store, url: null, close };
}

const copied = { recursive: true, mode: constants.COPYFILE_FICLONE };

const fill = async (folder: string): Promise<void> => prepare(await openPgliteStore(folder));

/** What every suite would do first, in an empty database, and close it. */
async function prepare(store: Store): Promise<void> {
  await store.migrate();
  await store.maintain(new Date());
  await store.close();
}
