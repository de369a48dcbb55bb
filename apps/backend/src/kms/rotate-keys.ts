import { KontextError } from '@kontext/errors';
import { activateKek, countSecretsByKek, type KekRow, listKeks } from '../store/queries/keks.ts';
import type { Store } from '../store/store.ts';
import { addKey, readKeyFile, selectKey } from './key-file.ts';
import { isDue } from './key-task.ts';
import { type Keyring, providerOf } from './keyring.ts';
import { type KeyConfig, keyFileOf } from './open-keyring.ts';
import { probeKey } from './probe-key.ts';

const scope = { role: 'system', orgId: null } as const;

/**
 * Adds a key to the key file, where the running backends find it; the database is not needed, so it also works while a backend
 * has the embedded one open.
 *
 * @param use `active`: seal under it (or under the prepared one) from now on; `next`: prepare it.
 * @returns Its id, and the file to back up.
 * @throws KontextError `KX_CONFIG_INVALID` when there is no key file, or it cannot be written.
 */
export function rotateKeyFile(config: KeyConfig, use: 'active' | 'next'): { id: string; path: string } {
  const path = keyFileOf(config);
  if (path === null) {
    throw new KontextError('KX_CONFIG_INVALID', 'there is no key file to change', {
      why: 'KONTEXT_KMS_KEYS is set, and KONTEXT_KEK_FILE is not',
      hint: 'add the new key to KONTEXT_KMS_KEYS of every replica, then run `kontext-backend keys rotate`',
    });
  }
  return { id: addKey(path, use), path };
}

/**
 * Makes a configured key the active one: it is tried first, then the table tells the running backends.
 *
 * @param to Its id; null: the one configured key service key that was never used.
 * @returns Its id.
 * @throws KontextError `KX_CONFIG_INVALID` when it is not clear which, or the key does not bind its context; `KX_KEK_MISSING`
 *   when it is not configured; `KX_KMS_UNAVAILABLE`, `KX_KMS_REFUSED` when its service cannot be used.
 */
export async function activateKey(
  { store, keyring, config }: { store: Store; keyring: Keyring; config: KeyConfig },
  to: string | null,
  now: Date,
): Promise<string> {
  const known = await store.transaction(scope, listKeks);
  const id = to ?? findUnused(keyring, config, known);
  await probeKey(keyring.serviceOf(id), id);
  await store.transaction(scope, (tx) => activateKek(tx, { id, provider: providerOf(id) }, now, false));
  const path = keyFileOf(config);
  if (path !== null && id in readKeyFile(path).keks) selectKey(path, id);
  keyring.activate(id);
  return id;
}

function findUnused(keyring: Keyring, { kmsKeys }: KeyConfig, known: readonly KekRow[]): string {
  const unused = kmsKeys.filter((id) => !known.some((kek) => kek.id === id));
  const [id] = unused;
  if (id !== undefined && unused.length === 1) return id;
  throw new KontextError('KX_CONFIG_INVALID', 'it is not clear which key to use', {
    why:
      unused.length === 0 ? 'every configured key was used before' : `${unused.length} keys were never used`,
    hint: `name one with --to: ${keyring.keyIds.join(', ')}`,
  });
}

/** One key as `keys status` shows it. Null: not known, because a running backend has the database. */
export interface KeyStatus {
  readonly id: string;
  readonly provider: string;
  /** `prepared`: in the key file as the next one; `unused`: configured, and nothing was ever sealed under it. */
  readonly state: KekRow['state'] | 'prepared' | 'unused';
  /** Whether this configuration has the key. */
  readonly readable: boolean;
  readonly uses: number | null;
  readonly secrets: number | null;
  readonly activeSince: Date | null;
  /** The active key should be replaced: 2³¹ uses, or a year. */
  readonly due: boolean;
}

/**
 * Tells of every key that is configured or was used.
 *
 * @param store Null when a running backend has the embedded database: then only the configuration speaks.
 */
export async function readKeyStatus(
  config: KeyConfig,
  keyring: Keyring,
  store: Store | null,
  now: Date,
): Promise<KeyStatus[]> {
  const path = keyFileOf(config);
  const file = path === null ? null : readKeyFile(path);
  const [rows, counts] = store
    ? await store.transaction(scope, async (tx) => [await listKeks(tx), await countSecretsByKek(tx)] as const)
    : [[], null];
  const ids = new Set([...rows.map(({ id }) => id), ...(counts?.keys() ?? []), ...keyring.keyIds]);
  return [...ids].map((id) => {
    const row = rows.find((kek) => kek.id === id);
    const withoutRow = file?.next === id ? 'prepared' : (counts?.get(id) ?? 0) > 0 ? 'retiring' : 'unused';
    const isOnlyKnownActive = store === null && keyring.preferred.kekId === id;
    return {
      id,
      provider: providerOf(id),
      state: row?.state ?? (isOnlyKnownActive ? 'active' : withoutRow),
      readable: keyring.keyIds.includes(id),
      uses: counts === null ? null : (row?.uses ?? 0),
      secrets: counts === null ? null : (counts.get(id) ?? 0),
      activeSince: row?.activatedAt ?? null,
      due: row?.state === 'active' && isDue(row, now.getTime()),
    };
  });
}
