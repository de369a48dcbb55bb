/**
 * Removes what a `kontext start` that was killed left in the runtime directory: socket, key and settings of its hooks.
 *
 * A directory goes only when three things hold: it has the name and owner of ours, the process that marked it is gone, and
 * nobody answers on its socket. The last one speaks for a process in another container, whose id means nothing here.
 */
import { lstatSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { hasLiveOwner } from '../process-mark.ts';

/** An agent that outlived its hook server goes on writing what it missed; its directory is left until that rests. */
const restMs = 600_000;
/** Default time for a socket to answer; on a live one it takes a millisecond. */
const probeMs = 1_000;

/** What was found. */
export interface SweepReport {
  readonly removed: number;
  /** Hooks that failed after their server was gone and let the call run. */
  readonly missed: number;
}

/** @param runtimeDir Directory of all sessions' sockets. @param nowMs Milliseconds since 1970. */
export async function sweepRuntime(runtimeDir: string, nowMs = Date.now()): Promise<SweepReport> {
  let removed = 0;
  let missed = 0;
  for (const path of listSocketDirectories(runtimeDir)) {
    const socketPath = join(path, 's');
    if (hasLiveOwner(path) || isBusy(`${socketPath}.missed`, nowMs) || (await answers(socketPath))) continue;
    missed += countLines(`${socketPath}.missed`);
    rmSync(path, { recursive: true, force: true });
    removed += 1;
  }
  return { removed, missed };
}

/** The directories of hook servers, live or not: as `mkdtemp` names them, of this user, and no links. */
export function listSocketDirectories(runtimeDir: string): string[] {
  const uid = process.getuid?.();
  try {
    return readdirSync(runtimeDir)
      .filter((name) => /^h[A-Za-z0-9]{6}$/.test(name))
      .map((name) => join(runtimeDir, name))
      .filter((path) => {
        const stat = lstatSync(path, { throwIfNoEntry: false });
        return stat?.isDirectory() === true && (uid === undefined || stat.uid === uid);
      });
  } catch {
    return [];
  }
}

function isBusy(path: string, nowMs: number): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  return stat !== undefined && Math.abs(nowMs - stat.mtimeMs) < restMs;
}

/** Only a refusal, or no socket at all, says that nobody is there. */
function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path: socketPath });
    const settle = (isThere: boolean): void => {
      socket.destroy();
      resolve(isThere);
    };
    socket.setTimeout(probeMs, () => settle(true));
    socket.once('connect', () => settle(true));
    socket.once('error', ({ code }: NodeJS.ErrnoException) =>
      settle(code !== 'ECONNREFUSED' && code !== 'ENOENT'),
    );
  });
}

function countLines(path: string): number {
  try {
    return readFileSync(path, 'utf8').split('\n').length - 1;
  } catch {
    return 0;
  }
}
