import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, isAbsolute, join, resolve } from 'node:path';
import { KontextError } from '@kontext/errors';

/**
 * Finds the program a shell would run for a name, so that a missing agent is reported before any login.
 *
 * A name with a slash is taken as a path. Empty entries of the search path are skipped: they mean the current
 * directory, where a cloned repository could have put a program of the same name.
 *
 * @param name Program name or path.
 * @param path Search path, as in `PATH`; undefined finds nothing.
 * @returns Absolute path of an executable regular file.
 * @throws KontextError `KX_AGENT_NOT_FOUND` (exit 127) when no file of that name exists.
 * @throws KontextError `KX_AGENT_NOT_EXECUTABLE` (exit 126) when one exists but none may be executed.
 */
export function findExecutable(name: string, path: string | undefined): string {
  const candidates = name.includes('/') ? [resolve(name)] : searchPath(name, path);
  let blocked: string | null = null;
  for (const candidate of candidates) {
    const state = executableState(candidate);
    if (state === 'ready') return candidate;
    if (state === 'blocked') blocked ??= candidate;
  }
  if (blocked !== null) {
    throw new KontextError('KX_AGENT_NOT_EXECUTABLE', `${name} cannot be executed`, {
      why: `${blocked} is not an executable file`,
    });
  }
  throw new KontextError('KX_AGENT_NOT_FOUND', `${name} was not found`, {
    why: name.includes('/') ? `there is no file ${candidates[0]}` : 'no directory on PATH holds it',
    hint: `install ${name}, or put it on PATH`,
  });
}

function searchPath(name: string, path: string | undefined): string[] {
  if (name === '' || path === undefined) return [];
  return path
    .split(delimiter)
    .filter((directory) => isAbsolute(directory))
    .map((directory) => join(directory, name));
}

function executableState(file: string): 'absent' | 'blocked' | 'ready' {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return 'absent';
  if (!stat.isFile()) return 'blocked';
  try {
    accessSync(file, constants.X_OK);
    return 'ready';
  } catch {
    return 'blocked';
  }
}
