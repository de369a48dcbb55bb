/**
 * The key that seals this machine's spools: an item of its own in the keyring, kept until every spool is drained.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { KontextError } from '@kontext/errors';

/** Where the spool key comes from. */
export interface SpoolKeyStore {
  /** @returns 32 bytes; the same in every run. @throws KontextError when there is one that cannot be read. */
  load(): Promise<Buffer>;
}

/** What a key store needs of the login's secret store. */
export interface SecretItems {
  get(account: string): Promise<string | null>;
  set(account: string, value: string): Promise<void>;
}

const keyLength = 32;
/** Errors after which the key is kept in a file instead. */
const noKeyring: ReadonlySet<string> = new Set(['KX_KEYRING_UNAVAILABLE', 'KX_KEYRING_LOCKED']);

/** Account name of the spool key in the keyring, beside the login of the same backend. */
export const spoolKeyAccount = (apiUrl: string): string => `spool-key ${apiUrl}`;

/**
 * Takes the key from the keyring, making it at first use. Where no keyring can be used, a file of mode 0600 in the
 * state directory holds it, which is announced every time.
 *
 * @param announce Told the path of the file whenever the file is used.
 */
export function createSpoolKeyStore(options: {
  readonly items: SecretItems;
  readonly apiUrl: string;
  readonly stateDir: string;
  readonly announce: (path: string) => void;
}): SpoolKeyStore {
  const { items, apiUrl, stateDir, announce } = options;
  const path = join(stateDir, 'spool', 'key');
  return {
    async load() {
      try {
        return await loadItem(items, spoolKeyAccount(apiUrl));
      } catch (error) {
        if (!(error instanceof KontextError) || !noKeyring.has(error.code)) throw error;
      }
      announce(path);
      return loadFile(path);
    },
  };
}

async function loadItem(items: SecretItems, account: string): Promise<Buffer> {
  const stored = await items.get(account);
  if (stored !== null) return parseKey(stored);
  await items.set(account, spellKey(randomBytes(keyLength)));
  // Two first runs may both have written: what is stored now is what both use.
  const settled = await items.get(account);
  if (settled === null) throw unreadable();
  return parseKey(settled);
}

function loadFile(path: string): Buffer {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  try {
    writeFileSync(path, spellKey(randomBytes(keyLength)), { mode: 0o600, flag: 'wx' });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw unreadable(cause);
  }
  return parseKey(readFileSync(path, 'utf8'));
}

const spellKey = (key: Buffer): string => JSON.stringify({ v: 1, key: key.toString('base64') });

function parseKey(text: string): Buffer {
  try {
    const { v, key } = JSON.parse(text) as { v?: unknown; key?: unknown };
    const bytes = typeof key === 'string' ? Buffer.from(key, 'base64') : Buffer.alloc(0);
    if (v === 1 && bytes.length === keyLength) return bytes;
  } catch {
    // Said below.
  }
  throw unreadable();
}

const unreadable = (cause?: unknown): KontextError =>
  new KontextError('KX_SPOOL_CORRUPT', 'the key of the local spool cannot be read', {
    why: 'what is stored under its name is not a key',
    hint: 'remove it; what waits in the spool cannot be uploaded then',
    cause,
  });
