import { spawn } from 'node:child_process';

/** A running guard; `release` ends it without doing its work. */
export interface OrphanGuard {
  readonly pid: number;
  release(): void;
}

/**
 * Cleans up after a test process that died without its own clean-up (SIGKILL, power of the CI runner).
 *
 * A small shell outlives the owner: once the owner's pid is gone it kills the given processes and removes the given folders.
 *
 * @param ownerPid The process whose life the parts belong to.
 * @param pids Processes to end with SIGKILL, each by its id.
 * @param directories Absolute paths to remove.
 */
export function guardOrphans(
  ownerPid: number,
  pids: readonly number[],
  directories: readonly string[],
): OrphanGuard {
  const script =
    'owner=$1; n=$2; shift 2; while kill -0 "$owner" 2>/dev/null; do sleep 1; done; ' +
    'while [ "$n" -gt 0 ]; do kill -9 "$1" 2>/dev/null; shift; n=$((n-1)); done; sleep 1; ' +
    'for d in "$@"; do rm -rf -- "$d"; done';
  const args = ['-c', script, 'orphan-guard', ownerPid, pids.length, ...pids, ...directories].map(String);
  const child = spawn('/bin/sh', args, { detached: true, stdio: 'ignore' });
  child.on('error', () => undefined);
  child.unref();
  const pid = child.pid ?? 0;
  return { pid, release: () => endProcess(pid) };
}

/** Sends a signal to one process by id; a process that is already gone is fine. */
export function endProcess(pid: number, signal: NodeJS.Signals = 'SIGKILL'): void {
  if (pid <= 0) return;
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
