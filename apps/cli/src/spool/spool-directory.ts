/** Who writes a spool directory: a directory whose writer lives is left alone by everybody else. */
import { chmodSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { KontextError } from '@kontext/errors';
import { markDirectory, unmarkDirectory } from '../process-mark.ts';

/** A claimed directory. */
export interface ClaimedDirectory {
  readonly path: string;
  /** Gives it up; removes it with everything in it when `drained`. */
  release(drained: boolean): void;
}

/** Makes `<root>/<session>`, mode 0700, with us as its writer. @throws KontextError `KX_SPOOL_CORRUPT` when that fails. */
export function claimDirectory(root: string, session: string): ClaimedDirectory {
  const path = join(root, session);
  const unnamed = join(root, `.new-${session}`);
  try {
    mkdirSync(root, { recursive: true, mode: 0o700 });
    chmodSync(root, 0o700);
    mkdirSync(unnamed, { mode: 0o700 });
    markDirectory(unnamed);
    // Nobody ever sees a spool without its writer.
    renameSync(unnamed, path);
  } catch (cause) {
    rmSync(unnamed, { recursive: true, force: true });
    throw spoolFailed(path, cause);
  }
  return {
    path,
    release: (drained) => (drained ? rmSync(path, { recursive: true, force: true }) : unmarkDirectory(path)),
  };
}

/** The error of a spool that cannot be begun: no permission, or no space. */
export const spoolFailed = (path: string, cause: unknown): KontextError =>
  new KontextError('KX_SPOOL_CORRUPT', 'the local spool cannot be made', {
    why: `${path} cannot be written`,
    hint: 'check the permissions of the state directory, and the space on its disk',
    cause,
  });
