/**
 * Who writes a spool directory. A file `writer.json` names the process; a directory whose writer lives is left alone
 * by everybody else. Process ids are used again, so the start time of the process stands beside its id where the
 * system tells it.
 */
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KontextError } from '@kontext/errors';

/** A claimed directory. */
export interface ClaimedDirectory {
  readonly path: string;
  /** Gives it up; removes it with everything in it when `drained`. */
  release(drained: boolean): void;
}

const writerFile = 'writer.json';

/** Makes `<root>/<session>`, mode 0700, with us as its writer. @throws KontextError `KX_SPOOL_CORRUPT` when that fails. */
export function claimDirectory(root: string, session: string): ClaimedDirectory {
  const path = join(root, session);
  const unnamed = join(root, `.new-${session}`);
  try {
    mkdirSync(root, { recursive: true, mode: 0o700 });
    chmodSync(root, 0o700);
    mkdirSync(unnamed, { mode: 0o700 });
    const writer = { v: 1, pid: process.pid, startedAt: startTime(process.pid) };
    writeFileSync(join(unnamed, writerFile), JSON.stringify(writer), { mode: 0o600 });
    // Nobody ever sees a spool without its writer.
    renameSync(unnamed, path);
  } catch (cause) {
    rmSync(unnamed, { recursive: true, force: true });
    throw spoolFailed(path, cause);
  }
  return {
    path,
    release: (drained) =>
      rmSync(drained ? path : join(path, writerFile), { recursive: drained, force: true }),
  };
}

/** The error of a spool that cannot be begun: no permission, or no space. */
export const spoolFailed = (path: string, cause: unknown): KontextError =>
  new KontextError('KX_SPOOL_CORRUPT', 'the local spool cannot be made', {
    why: `${path} cannot be written`,
    hint: 'check the permissions of the state directory, and the space on its disk',
    cause,
  });

/** Whether the process that writes the directory still lives. */
export function hasLiveWriter(path: string): boolean {
  try {
    const { pid, startedAt } = JSON.parse(readFileSync(join(path, writerFile), 'utf8')) as Record<
      string,
      unknown
    >;
    return typeof pid === 'number' && isAlive(pid) && startTime(pid) === startedAt;
  } catch {
    return false;
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
