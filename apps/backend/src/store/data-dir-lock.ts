/**
 * Keeps a second process away from the directory of the embedded database, which has no lock of its own.
 *
 * Node has no file locks, so a file names the process that has the directory: its pid, and on Linux the instant it started,
 * because pids are used again (a container's first process always has pid 1). A file whose process is gone is taken over;
 * the takeover is serialised by making a directory, which only one process can.
 */
import { linkSync, mkdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { KontextError } from '@kontext/errors';

/** A lock that is held. `release` may be called more than once. */
export interface DataDirLock {
  release(): void;
}

/** A takeover takes milliseconds; one that is older than this was cut short. */
const staleTakeoverMs = 10_000;

/**
 * Takes the directory for this process, making it with mode 0700.
 *
 * @throws KontextError `KX_STORE_LOCKED` naming the pid that has it.
 */
export function lockDataDir(directory: string): DataDirLock {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  // Beside the directory: the database wants its own empty.
  const path = `${directory}.lock`;
  const owner = `${process.pid} ${startedAt(process.pid)}`;
  if (!writeNew(path, owner)) takeOver(path, owner);
  const release = () => {
    process.off('exit', release);
    if (readOwner(path) === owner) rmSync(path, { force: true });
  };
  process.on('exit', release);
  return { release };
}

function takeOver(path: string, owner: string): void {
  const turn = `${path}.takeover`;
  if (!takeTurn(turn)) throw locked(path);
  try {
    const holder = readOwner(path);
    if (holder !== null && isAlive(holder)) throw locked(path);
    rmSync(path, { force: true });
    if (!writeNew(path, owner)) throw locked(path);
  } finally {
    rmdirSync(turn);
  }
}

function takeTurn(turn: string): boolean {
  for (const attempt of [1, 2]) {
    try {
      mkdirSync(turn);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const stat = statSync(turn, { throwIfNoEntry: false });
      if (attempt === 2 || (stat && Date.now() - stat.mtimeMs < staleTakeoverMs)) return false;
      rmSync(turn, { recursive: true, force: true });
    }
  }
  return false;
}

function writeNew(path: string, owner: string): boolean {
  // Written first, then linked: the file never stands there without its content.
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, owner, { mode: 0o600 });
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

function readOwner(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function isAlive(owner: string): boolean {
  const [pid = '', started = ''] = owner.split(' ');
  if (!/^\d+$/.test(pid)) return false;
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  return started === startedAt(Number(pid));
}

/** Start of a process in clock ticks since boot (proc(5), field 22 of stat); `-` where there is no /proc. */
function startedAt(pid: number): string {
  const stat = readOwner(`/proc/${pid}/stat`);
  // The command name in field 2 may hold spaces and parentheses: count after the last one.
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '-';
}

const locked = (path: string): KontextError =>
  new KontextError('KX_STORE_LOCKED', 'the embedded database is in use', {
    why: `process ${readOwner(path)?.split(' ')[0] ?? 'unknown'} has it open`,
  });
