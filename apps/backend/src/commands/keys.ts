import { KontextError } from '@kontext/errors';
import type { Config } from '../config.ts';
import { createNewKeyFile } from '../kms/key-file.ts';
import { defaultKekFile } from '../kms/local-kms.ts';
import { keyFileOf, openKeyring } from '../kms/open-keyring.ts';
import { activateKey, type KeyStatus, readKeyStatus, rotateKeyFile } from '../kms/rotate-keys.ts';
import type { Store } from '../store/store.ts';
import { openVault, withStore } from './open-backend.ts';

/** `kontext-backend keys create`: makes the file with the key-encryption key. @returns Its path. */
export function createKeys(config: Config): string {
  const path = keyFileOf(config) ?? defaultKekFile(config.dataDir);
  createNewKeyFile(path);
  return path;
}

/** What `keys rotate` is asked for. */
export interface RotateOptions {
  /** Id of a configured key; null: a new one of the key file, or the unused one of KONTEXT_KMS_KEYS. */
  readonly to: string | null;
  /** Only add a key to the key file, so that it can be copied everywhere before it is used. */
  readonly prepare: boolean;
}

/**
 * `kontext-backend keys rotate`: makes another key the active one. Running backends follow within seconds.
 *
 * @returns Lines that say what was done and what to do next.
 * @throws KontextError `KX_STORE_LOCKED` when a key is named while a backend has the embedded database open.
 */
export async function rotateKeys(config: Config, { to, prepare }: RotateOptions): Promise<string[]> {
  if (prepare || (to === null && config.kmsKeys.length === 0)) {
    const { id, path } = rotateKeyFile(config, prepare ? 'next' : 'active');
    const backup = `back up ${path} now, and apart from the database: it has a new key`;
    return prepare
      ? [`${id} is prepared`, backup, 'copy it to every replica, then run `kontext-backend keys rotate`']
      : [`${id} is the active key`, backup, followed];
  }
  const id = await withStore(config, async (store) =>
    activateKey({ store, config, keyring: await openVault(config, store) }, to, new Date()),
  );
  return [`${id} is the active key`, followed];
}

const followed =
  'a running backend follows within 5 s and re-wraps what is stored; see `kontext-backend keys status`';

/** What `keys status` shows. */
export interface KeysReport {
  readonly keys: readonly KeyStatus[];
  /** False: a running backend has the embedded database, so nothing is known of uses and secrets. */
  readonly complete: boolean;
}

/** `kontext-backend keys status`: every key, its state, how often it was used, how many secrets lie under it. */
export async function keysStatus(config: Config): Promise<KeysReport> {
  const keyring = await openKeyring(config);
  const read = (store: Store | null) => readKeyStatus(config, keyring, store, new Date());
  try {
    return { keys: await withStore(config, read), complete: true };
  } catch (error) {
    if (!(error instanceof KontextError) || error.code !== 'KX_STORE_LOCKED') throw error;
    return { keys: await read(null), complete: false };
  }
}

/** The report as lines of a table. */
export function formatKeys({ keys, complete }: KeysReport, now: Date): string[] {
  const header = ['KEY', 'PROVIDER', 'STATE', 'USES', 'SECRETS', 'ACTIVE FOR'];
  const rows = keys.map((key) => [
    key.id,
    key.provider,
    `${key.state}${key.readable ? '' : ' (not here)'}${key.due ? ' (due)' : ''}`,
    key.uses === null ? '?' : String(key.uses),
    key.secrets === null ? '?' : String(key.secrets),
    key.state === 'active' && key.activeSince !== null ? formatAge(key.activeSince, now) : '-',
  ]);
  const widths = header.map((_, i) => Math.max(...[header, ...rows].map((row) => (row[i] ?? '').length)));
  const table = [header, ...rows].map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  if (complete) return table;
  return [...table, 'kontext-backend: a running backend has the database: stop it to see uses and secrets'];
}

const formatAge = (since: Date, now: Date): string => {
  const days = Math.floor((now.getTime() - since.getTime()) / 86_400_000);
  return days < 1 ? 'less than a day' : `${days} days`;
};
