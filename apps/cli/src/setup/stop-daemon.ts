import { setTimeout as sleep } from 'node:timers/promises';
import { isRunning, liveOwner, type MarkedProcess } from '../process-mark.ts';
import { readDaemonFacts } from './daemon-facts.ts';
import { daemonDirectory, leavePlace } from './daemon-place.ts';

/** It ends its sessions at the backend first, for two seconds at most. */
const endMs = 4_000;

/**
 * Ends the daemon of this user, never another process: it must have marked its directory, and either its start time or
 * its own answer must say that the process with that id is still the same.
 *
 * @returns Whether there was one.
 */
export async function stopDaemon(runtimeDir: string): Promise<boolean> {
  const directory = daemonDirectory(runtimeDir);
  const owner = directory === null ? null : liveOwner(directory);
  if (directory === null || owner === null) {
    if (directory !== null) leavePlace(runtimeDir, directory);
    return false;
  }
  if (owner.startedAt === '' && (await readDaemonFacts(runtimeDir))?.pid !== owner.pid) return false;
  signal(owner, 'SIGTERM');
  for (let waitedMs = 0; waitedMs < endMs && isRunning(owner); waitedMs += 20) await sleep(20);
  signal(owner, 'SIGKILL');
  leavePlace(runtimeDir, directory);
  return true;
}

/** It may end between the look and the signal, which is what was wanted. */
function signal(owner: MarkedProcess, name: 'SIGTERM' | 'SIGKILL'): void {
  try {
    if (isRunning(owner)) process.kill(owner.pid, name);
  } catch {
    // It has ended.
  }
}
