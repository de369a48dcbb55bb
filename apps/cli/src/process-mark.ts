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

/** A process, told from a later one with the same id. */
export interface MarkedProcess {
  readonly pid: number;
  /** Empty where the system does not tell it; then the id alone stands for the process. */
  readonly startedAt: string;
}

/** Whether it still runs; one that has ended and waits for its parent does not. */
export const isRunning = ({ pid, startedAt }: MarkedProcess): boolean =>
  isAlive(pid) && startTime(pid) === startedAt;

/** The process that marked the directory; null when it has ended, or nobody did. */
export function liveOwner(path: string): MarkedProcess | null {
  try {
    const { pid, startedAt } = JSON.parse(readFileSync(join(path, markFile), 'utf8')) as Record<
      string,
      unknown
    >;
    if (typeof pid !== 'number' || typeof startedAt !== 'string') return null;
    return isRunning({ pid, startedAt }) ? { pid, startedAt } : null;
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

/**
 * Field 22 of /proc/<pid>/stat, counted after the command name, which may hold anything; field 3 is Z for a process that has
 * ended. Empty elsewhere.
 */
function startTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' ? 'ended' : (fields[18] ?? '');
  } catch {
    return '';
  }
}
