import { KontextError } from '@kontext/errors';
import type { Kms } from '@kontext/vault';
import type { Config } from '../config.ts';
import { defaultKekFile, loadLocalKms } from '../kms/local-kms.ts';
import { createStore, type Store } from '../store/store.ts';

/** Opens the store of the configuration; the caller closes it. Nothing is migrated. */
export const openStore = ({ databaseUrl, dataDir }: Config): Promise<Store> =>
  createStore({ databaseUrl, dataDir });

/**
 * Loads the key-encryption keys of the configuration.
 *
 * @throws KontextError `KX_KEK_MISSING` when the file is missing; only local mode's own file is made on first use.
 */
export const openKms = (config: Config): Kms =>
  loadLocalKms({ path: keyFileOf(config), create: config.local });

/**
 * Where the key file of the configuration is, whether it exists or not.
 *
 * @throws KontextError `KX_KEK_MISSING` when none is configured outside local mode.
 */
export function keyFileOf({ kekFile, local, dataDir }: Config): string {
  if (kekFile !== null) return kekFile;
  if (local) return defaultKekFile(dataDir);
  throw new KontextError('KX_KEK_MISSING', 'no key-encryption key is configured', {
    why: 'KONTEXT_KEK_FILE is required outside local mode',
  });
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
