/**
 * The key file of the local key service.
 *
 * JSON `{ "v": 1, "active": "<kek id>", "keks": { "<kek id>": "<32 bytes, base64>" } }`, mode 0600 in a 0700 directory. To rotate,
 * add a key and make it active; remove the old one when nothing is sealed under it. Whoever has this file and the database
 * has every secret: keep the two apart, also in backups.
 */
import { randomBytes as nodeRandomBytes } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { KontextError } from '@kontext/errors';
import { createLocalKms, type Kms } from '@kontext/vault';
import { z } from 'zod';

/** Where the key file is. */
export interface LocalKmsOptions {
  /** Absolute path (`KONTEXT_KEK_FILE`); in local mode by default {@link defaultKekFile}. */
  readonly path: string;
  /** Make the file when it is missing: local mode only. Elsewhere a missing key must not look like a new installation. */
  readonly create: boolean;
  /** Default that of `node:crypto`. */
  readonly randomBytes?: (size: number) => Buffer;
}

const fileSchema = z.strictObject({
  v: z.literal(1),
  active: z.string().min(1),
  keks: z.record(z.string().regex(/^[A-Za-z0-9_-]{1,64}$/), z.base64()),
});

/** The key file of local mode: beside the data directory, not in it, so that a copy of the data does not carry the key. */
export const defaultKekFile = (dataDir: string): string => join(`${dataDir}-keys`, 'kek.json');

/**
 * Loads the key-encryption keys.
 *
 * @throws KontextError `KX_KEK_MISSING` when the file is missing (and may not be made), can be read by others, or is damaged.
 */
export function loadLocalKms({ path, create, randomBytes = nodeRandomBytes }: LocalKmsOptions): Kms {
  if (create) createKeyFile(path, randomBytes);
  const { active, keks } = parseKeyFile(path, readKeyFile(path));
  const keys = new Map(Object.entries(keks).map(([id, text]) => [id, Buffer.from(text, 'base64')]));
  try {
    return createLocalKms(keys, active);
  } finally {
    for (const key of keys.values()) key.fill(0);
  }
}

/**
 * Makes a new key file with one key in it, mode 0600; its directory too, mode 0700.
 *
 * @throws KontextError `KX_CONFIG_INVALID` when there is a file already, which is never replaced: what is sealed under its
 *   keys would be lost. Also when it cannot be written.
 */
export function createNewKeyFile(path: string, randomBytes = nodeRandomBytes): void {
  let isNew: boolean;
  try {
    isNew = createKeyFile(path, randomBytes);
  } catch (cause) {
    throw notMade(path, 'its directory cannot be written', 'set KONTEXT_KEK_FILE to another path', cause);
  }
  if (isNew) return;
  throw notMade(path, 'it exists, and is not replaced', 'use it, or set KONTEXT_KEK_FILE to another path');
}

/**
 * Written aside and linked: of two processes that start together one makes the key and both use it.
 *
 * @returns False when there is a file already.
 */
function createKeyFile(path: string, randomBytes: (size: number) => Buffer): boolean {
  if (statSync(path, { throwIfNoEntry: false })) return false;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const id = `kek-${randomBytes(8).toString('hex')}`;
  const content = { v: 1, active: id, keks: { [id]: randomBytes(32).toString('base64') } };
  const draft = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
  const file = openSync(draft, 'wx', 0o600);
  try {
    writeFileSync(file, `${JSON.stringify(content, null, 2)}\n`);
    fsyncSync(file);
    linkSync(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return false;
  } finally {
    closeSync(file);
    rmSync(draft, { force: true });
  }
  syncDirectory(dirname(path));
  return true;
}

/** A key that is lost in a power cut makes everything sealed since unreadable. */
function syncDirectory(path: string): void {
  const directory = openSync(path, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

function readKeyFile(path: string): string {
  try {
    const { mode } = statSync(path);
    // Windows has no such bits: it reports 0666 for every writable file.
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      throw unusable(path, 'others than its owner have rights on it', `run \`chmod 600 ${path}\``);
    }
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof KontextError) throw error;
    throw unusable(path, 'it cannot be read', 'set KONTEXT_KEK_FILE or restore the key file', error);
  }
}

function parseKeyFile(path: string, text: string): z.infer<typeof fileSchema> {
  try {
    return fileSchema.parse(JSON.parse(text));
  } catch {
    // The cause would quote parts of the file.
    throw unusable(path, 'it is not a key file of version 1', 'restore the key file from a backup');
  }
}

const notMade = (path: string, why: string, hint: string, cause?: unknown): KontextError =>
  new KontextError('KX_CONFIG_INVALID', `the key file ${path} cannot be made`, { why, hint, cause });

const unusable = (path: string, why: string, hint: string, cause?: unknown): KontextError =>
  new KontextError('KX_KEK_MISSING', `the key file ${path} cannot be used`, { why, hint, cause });
