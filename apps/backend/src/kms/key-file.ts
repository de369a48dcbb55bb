/**
 * The key file of the local key service.
 *
 * JSON `{ "v": 1, "active": "<kek id>", "next"?: "<kek id>", "keks": { "<kek id>": "<32 bytes, base64>" } }`, mode 0600 in a 0700
 * directory. Every key in it can open; new secrets are sealed under the active one; `next` was prepared and is not used yet.
 * A change is written aside and renamed, so a reader finds the old file or the new one. A lock file keeps two changes apart:
 * a key that one of them lost could have sealed something already. Whoever has this file and the database has every secret:
 * keep the two apart, also in backups.
 */
import { randomBytes as nodeRandomBytes } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { KontextError } from '@kontext/errors';
import { z } from 'zod';

const fileSchema = z
  .strictObject({
    v: z.literal(1),
    active: z.string().min(1),
    next: z.string().min(1).optional(),
    keks: z.record(z.string().regex(/^[A-Za-z0-9_-]{1,64}$/), z.base64()),
  })
  .refine(({ active, next, keks }) => active in keks && (next === undefined || next in keks));

/** What a key file holds; keys as base64 of 32 bytes. */
export type KeyFile = z.infer<typeof fileSchema>;

type RandomBytes = (size: number) => Buffer;

/**
 * Makes a new key file with one key in it, mode 0600; its directory too, mode 0700.
 *
 * @throws KontextError `KX_CONFIG_INVALID` when there is a file already, which is never replaced: what is sealed under its
 *   keys would be lost. Also when it cannot be written.
 */
export function createNewKeyFile(path: string, randomBytes: RandomBytes = nodeRandomBytes): void {
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
 * Makes the key file unless there is one. Of two processes that start together one makes the key and both use it.
 *
 * @returns False when there is a file already.
 */
export function createKeyFile(path: string, randomBytes: RandomBytes = nodeRandomBytes): boolean {
  if (statSync(path, { throwIfNoEntry: false })) return false;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const id = newKeyId(randomBytes);
  const draft = writeDraft(
    path,
    { v: 1, active: id, keks: { [id]: randomBytes(32).toString('base64') } },
    randomBytes,
  );
  try {
    linkSync(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return false;
  } finally {
    rmSync(draft, { force: true });
  }
  syncDirectory(dirname(path));
  return true;
}

/**
 * Reads and checks the key file.
 *
 * @throws KontextError `KX_KEK_MISSING` when it is missing, can be read by others, or is damaged.
 */
export function readKeyFile(path: string): KeyFile {
  return parseKeyFile(path, readText(path));
}

/**
 * Adds a key to the file. The keys in it stay readable.
 *
 * @param use `active`: new secrets are sealed under it from now on, or under the key that was prepared before;
 *   `next`: it is prepared, so that the file can be copied everywhere first.
 * @returns Id of the key.
 * @throws KontextError `KX_CONFIG_INVALID` when the file cannot be written or another change is going on;
 *   `KX_KEK_MISSING` as {@link readKeyFile}.
 */
export function addKey(
  path: string,
  use: 'active' | 'next',
  randomBytes: RandomBytes = nodeRandomBytes,
): string {
  return changeKeyFile(path, randomBytes, (file) => {
    const { next, ...rest } = file;
    if (use === 'active' && next !== undefined) return [{ ...rest, active: next }, next];
    if (next !== undefined) throw notChanged(path, `the key ${next} is prepared already`, 'make it active');
    const id = newKeyId(randomBytes);
    const keks = { ...file.keks, [id]: randomBytes(32).toString('base64') };
    return [use === 'active' ? { ...rest, active: id, keks } : { ...rest, next: id, keks }, id];
  });
}

/**
 * Makes a key that is in the file the active one.
 *
 * @throws KontextError `KX_KEK_MISSING` when it is not in the file; else as {@link addKey}.
 */
export function selectKey(path: string, id: string): void {
  changeKeyFile(path, nodeRandomBytes, ({ next, ...file }) => {
    if (!(id in file.keks)) throw unusable(path, `the key ${id} is not in it`, 'name one that is');
    return [{ ...file, active: id, ...(next === undefined || next === id ? {} : { next }) }, id];
  });
}

function changeKeyFile(
  path: string,
  randomBytes: RandomBytes,
  change: (file: KeyFile) => readonly [KeyFile, string],
): string {
  const unlock = lockFile(`${path}.lock`, path);
  try {
    // A mounted secret is often a link: the file itself is replaced, not the link to it.
    const [changed, id] = change(readKeyFile(path));
    const target = realpathSync(path);
    replaceFile(target, changed, randomBytes);
    return id;
  } catch (error) {
    if (error instanceof KontextError) throw error;
    throw notChanged(path, 'it cannot be written', 'run it where the key file can be written', error);
  } finally {
    unlock();
  }
}

function replaceFile(target: string, content: KeyFile, randomBytes: RandomBytes): void {
  const draft = writeDraft(target, content, randomBytes);
  try {
    renameSync(draft, target);
  } finally {
    rmSync(draft, { force: true });
  }
  syncDirectory(dirname(target));
}

function lockFile(lock: string, path: string): () => void {
  try {
    closeSync(openSync(lock, 'wx', 0o600));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') {
      throw notChanged(
        path,
        `${lock} exists: another change is going on, or was cut short`,
        `remove ${lock}`,
      );
    }
    throw notChanged(
      path,
      'its directory cannot be written',
      'run it where the key file can be written',
      cause,
    );
  }
  return () => rmSync(lock, { force: true });
}

function writeDraft(path: string, content: KeyFile, randomBytes: RandomBytes): string {
  const draft = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
  const file = openSync(draft, 'wx', 0o600);
  try {
    writeFileSync(file, `${JSON.stringify(content, null, 2)}\n`);
    fsyncSync(file);
    return draft;
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
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

function readText(path: string): string {
  let file: number | null = null;
  try {
    file = openSync(path, 'r');
    // Of the file that is read, not of what stands under its name a moment earlier.
    checkOwner(path, fstatSync(file));
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof KontextError) throw error;
    throw unusable(path, 'it cannot be read', 'set KONTEXT_KEK_FILE or restore the key file', error);
  } finally {
    if (file !== null) closeSync(file);
  }
}

/** Whoever can write it chooses the keys that everything is sealed under; for a backend that runs as root, that could be anybody. */
function checkOwner(path: string, { mode, uid }: Stats): void {
  // Windows has neither: it reports 0666 for every writable file.
  if (process.platform === 'win32') return;
  if ((mode & 0o077) !== 0) {
    throw unusable(path, 'others than its owner have rights on it', `run \`chmod 600 ${path}\``);
  }
  if (uid !== process.geteuid?.() && uid !== 0) {
    throw unusable(path, 'it belongs to another user', `run \`chown\` on ${path}`);
  }
}

function parseKeyFile(path: string, text: string): KeyFile {
  try {
    return fileSchema.parse(JSON.parse(text));
  } catch {
    // The cause would quote parts of the file.
    throw unusable(path, 'it is not a key file of version 1', 'restore the key file from a backup');
  }
}

const newKeyId = (randomBytes: RandomBytes): string => `kek-${randomBytes(8).toString('hex')}`;

const notMade = (path: string, why: string, hint: string, cause?: unknown): KontextError =>
  new KontextError('KX_CONFIG_INVALID', `the key file ${path} cannot be made`, { why, hint, cause });

const notChanged = (path: string, why: string, hint: string, cause?: unknown): KontextError =>
  new KontextError('KX_CONFIG_INVALID', `the key file ${path} cannot be changed`, { why, hint, cause });

const unusable = (path: string, why: string, hint: string, cause?: unknown): KontextError =>
  new KontextError('KX_KEK_MISSING', `the key file ${path} cannot be used`, { why, hint, cause });
