/**
 * Marks a directory with the process that works in it. Process ids are used again, so the start time of the process stands
 * beside its id where the system tells it.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const markFile = 'writer.json';

/** Marks a directory as ours. @throws Error of the file system. */
export function markDirectory(path: string): void {
  const mark = { v: 1, pid: process.pid, startedAt: startTime(process.pid) };
  writeFileSync(join(path, markFile), JSON.stringify(mark), { mode: 0o600 });
}

/** Takes the mark away again. */
export const unmarkDirectory = (path: string): void => rmSync(join(path, markFile), { force: true });

/** Whether the process that marked the directory still lives; false without a mark. */
export const hasLiveOwner = (path: string): boolean => liveOwner(path) !== null;

/**
 * The process that marked the directory, where it still lives.
 *
 * @returns Its id, and whether its start time told it from a later process with the same id; null without a live one.
 */
export function liveOwner(path: string): { readonly pid: number; readonly isCertain: boolean } | null {
  try {
    const { pid, startedAt } = JSON.parse(readFileSync(join(path, markFile), 'utf8')) as Record<
      string,
      unknown
    >;
    const isOwner = typeof pid === 'number' && isAlive(pid) && startTime(pid) === startedAt;
    return isOwner ? { pid, isCertain: startedAt !== '' } : null;
  } catch {
    return null;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Field 22 of /proc/<pid>/stat, counted after the command name, which may hold anything; empty elsewhere. */
function startTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}
