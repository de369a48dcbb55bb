import { KontextError } from '@kontext/errors';
import type { Config } from '../config.ts';
import type { Keyring } from '../kms/keyring.ts';
import { openKeyring } from '../kms/open-keyring.ts';
import { syncKeys } from '../kms/sync-keys.ts';
import { createStore, type Store } from '../store/store.ts';

/** Opens the store of the configuration; the caller closes it. Nothing is migrated. */
export const openStore = ({ databaseUrl, dataDir }: Config): Promise<Store> =>
  createStore({ databaseUrl, dataDir });

/**
 * Opens the keys of the configuration and follows the active one of the database, which is migrated.
 *
 * @throws KontextError `KX_KEK_MISSING` as `openKeyring`.
 */
export async function openVault(config: Config, store: Store): Promise<Keyring> {
  const keyring = await openKeyring(config);
  await syncKeys(store, keyring, new Date());
  return keyring;
}

/**
 * Makes sure that the schema is the one of this build; in local mode by migrating.
 *
 * @throws KontextError `KX_STORE_SCHEMA_OLD` when it is not, and this is not local mode.
 */
export async function ensureSchema(store: Store, local: boolean): Promise<void> {
  if (local) {
    await store.migrate();
    return;
  }
  const { state, missing } = await store.schemaState();
  if (state === 'current') return;
  throw new KontextError('KX_STORE_SCHEMA_OLD', 'the database schema does not fit this backend', {
    why: state === 'new' ? 'it was migrated by a newer backend' : `${missing.length} migrations are missing`,
    hint: state === 'new' ? 'install the newer backend' : 'run `kontext-backend migrate`',
  });
}

/** Opens the store, current and maintained, for one piece of work and closes it. */
export async function withStore<T>(config: Config, work: (store: Store) => Promise<T>): Promise<T> {
  const store = await openStore(config);
  try {
    await ensureSchema(store, config.local);
    await store.maintain(new Date());
    return await work(store);
  } finally {
    await store.close();
  }
}
