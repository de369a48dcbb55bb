import { createHash, randomUUID } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { KontextError } from '@kontext/errors';
import type { SecretStore } from './secret-store.ts';

/** Stored format of one item. */
interface StoredItem {
  readonly v: 1;
  readonly account: string;
  readonly value: string;
}

/** Path of the file that holds an account's value: named by a hash, since accounts are URLs. */
export const fileStorePath = (configDir: string, account: string): string =>
  join(configDir, 'secrets', `${createHash('sha256').update(account).digest('hex').slice(0, 32)}.json`);

/** Keeps each item in a file of mode 0600 in a directory of mode 0700. Only for users who asked for it. */
export function createFileStore(configDir: string): SecretStore {
  const pathOf = (account: string) => fileStorePath(configDir, account);
  return {
    kind: 'file',
    location: join(configDir, 'secrets'),
    get: async (account) => readItem(pathOf(account)),
    set: async (account, value) => writeItem(pathOf(account), { v: 1, account, value }),
    delete: async (account) => {
      const path = pathOf(account);
      const existed = readItem(path) !== null;
      rmSync(path, { force: true });
      return existed;
    },
    probe: async () => {
      const path = pathOf(`probe ${randomUUID()}`);
      writeItem(path, { v: 1, account: 'probe', value: 'probe' });
      rmSync(path);
    },
  };
}

function readItem(path: string): string | null {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return null;
    throw new KontextError('KX_KEYRING_ITEM_INVALID', `${path} cannot be read`, { cause });
  }
  // Handed out as it is: whoever asked for it finds that it is no item, and can still replace or delete it.
  return parseItem(text) ?? text;
}

function parseItem(text: string): string | null {
  try {
    const item = JSON.parse(text) as Partial<StoredItem> | null;
    return item?.v === 1 && typeof item.value === 'string' ? item.value : null;
  } catch {
    return null;
  }
}

/** Writes beside and renames, so that a crash leaves the old item or the new one. */
function writeItem(path: string, item: StoredItem): void {
  const directory = dirname(path);
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    chmodSync(directory, 0o700);
    writeFileSync(temporary, JSON.stringify(item), { mode: 0o600 });
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw new KontextError('KX_CONFIG_INVALID', `${directory} cannot be written`, {
      why: 'the login is to be kept there',
      hint: 'check the permissions of the directory',
      cause,
    });
  }
}
