import { setTimeout as sleep } from 'node:timers/promises';
import { liveOwner } from '../process-mark.ts';
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
  const isSame = (): boolean => liveOwner(directory)?.pid === owner.pid;
  if (!owner.isCertain && (await readDaemonFacts(runtimeDir))?.pid !== owner.pid) return false;
  if (isSame()) process.kill(owner.pid, 'SIGTERM');
  for (let waitedMs = 0; waitedMs < endMs && isSame(); waitedMs += 20) await sleep(20);
  if (isSame()) process.kill(owner.pid, 'SIGKILL');
  leavePlace(runtimeDir, directory);
  return true;
}
