/**
 * Changes a file of the user's that other programs change, too.
 *
 * - A link stays a link: what it points to is changed. Mode and owner stay.
 * - The new text takes the old one's place by one rename; a copy of the old text with the date lies beside it.
 * - Of several kontext that change it at once one goes after the other. When somebody else wrote in between, it begins anew.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KontextError } from '@kontext/errors';

/** What became of the file. */
export interface FileChange {
  /** Where it really lies, links followed. */
  readonly path: string;
  readonly changed: boolean;
  /** The copy of the old text; null when nothing was changed or there was no file. */
  readonly backup: string | null;
}

/** A process holds the lock for milliseconds; an older lock was left by one that died. */
const staleLockMs = 10_000;
const lockWaitMs = 20_000;
const attempts = 20;

/**
 * Reads a file, has its text changed, writes it.
 *
 * @param change Gets the text, empty where there is no file; what it throws leaves the file as it was. Called again when
 *   somebody else has written meanwhile.
 * @throws KontextError `KX_SETUP_FAILED` when the file cannot be read or written.
 */
export async function changeFile(
  path: string,
  change: (text: string) => string,
  nowMs = Date.now(),
): Promise<FileChange> {
  try {
    const target = followLinks(path);
    const hasFolder = statSync(dirname(target), { throwIfNoEntry: false }) !== undefined;
    if (!hasFolder && change('') === '') return { path: target, changed: false, backup: null };
    mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
    return await withLock(`${target}.kontext-lock`, () => changeLocked(target, change, nowMs));
  } catch (cause) {
    if (cause instanceof KontextError) throw cause;
    throw new KontextError('KX_SETUP_FAILED', `${path} cannot be changed`, {
      why: cause instanceof Error ? cause.message : 'an unknown error',
      cause,
    });
  }
}

async function changeLocked(
  path: string,
  change: (text: string) => string,
  nowMs: number,
): Promise<FileChange> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const before = readIfPresent(path);
    const after = change(before ?? '');
    if (after === (before ?? '')) return { path, changed: false, backup: null };
    const backup = before === null ? null : writeBackup(path, before, nowMs);
    if (replaceFile(path, before, after)) return { path, changed: true, backup };
    if (backup !== null) rmSync(backup, { force: true });
  }
  throw new KontextError('KX_SETUP_FAILED', `${path} cannot be changed`, {
    why: 'another program goes on writing it',
    hint: 'end the agent, then try again',
  });
}

/** Also where the last link points to nothing yet. */
function followLinks(path: string): string {
  let at = path;
  for (let hops = 0; hops < 40; hops += 1) {
    if (lstatSync(at, { throwIfNoEntry: false })?.isSymbolicLink() !== true) {
      return statSync(at, { throwIfNoEntry: false }) ? realpathSync(at) : at;
    }
    at = resolve(dirname(at), readlinkSync(at));
  }
  throw new Error('its links go round in a circle');
}

function readIfPresent(path: string): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(readFileSync(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

const modeOf = (path: string): number => (statSync(path, { throwIfNoEntry: false })?.mode ?? 0o600) & 0o7777;

function writeBackup(path: string, text: string, nowMs: number): string {
  const stamp = new Date(nowMs).toISOString().replaceAll(/[:.]/g, '-');
  for (let count = 0; ; count += 1) {
    const backup = `${path}.kontext-backup-${stamp}${count === 0 ? '' : `-${count}`}`;
    try {
      writeFileSync(backup, text, { mode: modeOf(path), flag: 'wx' });
      return backup;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

/** @returns False when the file is no longer what was read. */
function replaceFile(path: string, before: string | null, after: string): boolean {
  const temporary = `${path}.kontext-${process.pid}`;
  const stat = statSync(path, { throwIfNoEntry: false });
  try {
    const descriptor = openSync(temporary, 'wx', 0o600);
    writeFileSync(descriptor, after);
    fsyncSync(descriptor);
    closeSync(descriptor);
    chmodSync(temporary, modeOf(path));
    if (stat !== undefined && stat.uid !== process.getuid?.()) chownSync(temporary, stat.uid, stat.gid);
    if (readIfPresent(path) !== before) return false;
    renameSync(temporary, path);
    return true;
  } finally {
    rmSync(temporary, { force: true });
  }
}

async function withLock<T>(lock: string, work: () => Promise<T>): Promise<T> {
  for (let waitedMs = 0; !tryLock(lock); waitedMs += 25) {
    const stat = statSync(lock, { throwIfNoEntry: false });
    if (stat !== undefined && Math.abs(Date.now() - stat.mtimeMs) > staleLockMs)
      rmSync(lock, { force: true });
    else if (waitedMs > lockWaitMs) throw new Error('another kontext is changing it');
    else await sleep(25);
  }
  try {
    return await work();
  } finally {
    rmSync(lock, { force: true });
  }
}

function tryLock(lock: string): boolean {
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx', mode: 0o600 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}
