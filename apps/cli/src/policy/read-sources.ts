import { readdirSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { KontextError } from '@kontext/errors';
import { readAtMost } from '../read-at-most.ts';

/** One `.cedar` file as it lies on disk. */
export interface SourceFile {
  /** Name without directory, as it is stored in a version. */
  readonly name: string;
  readonly text: string;
  /** As a person wrote it, to be named in findings. */
  readonly path: string;
}

/** What a version may consist of, the limits of `PolicySources` in proto/kontext/v1/policies.proto. */
const limits = { files: 100, bytes: 1 << 20 } as const;

const nameShape = /^[a-z0-9][a-z0-9._-]*\.cedar$/;

/** Whether a file may be part of a version: `[a-z0-9][a-z0-9._-]*\.cedar`, at most 100 characters. */
export const isSourceName = (name: string): boolean => name.length <= 100 && nameShape.test(name);

/**
 * Reads policy files: each path is a `.cedar` file, or a directory whose `.cedar` files are meant (not those below it).
 *
 * @param paths Relative to `cwd`. Files of a directory come in order of their names.
 * @throws KontextError `KX_POLICY_UNREADABLE` naming what is missing, misnamed, named twice, no UTF-8 or beyond a limit.
 */
export function readSources(paths: readonly string[], cwd: string): readonly SourceFile[] {
  const files = paths.flatMap((path) => listSources(path, cwd)).map((path) => readSource(path, cwd));
  if (files.length === 0) throw unreadable(`there is no .cedar file in ${paths.join(', ')}`);
  if (files.length > limits.files) throw unreadable(`there are more than ${limits.files} policy files`);
  const bytes = files.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
  if (bytes > limits.bytes) throw unreadable('the policy files are larger than 1 MiB together');
  const names = files.map(({ name }) => name);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw unreadable(`two policy files are called ${twice}`);
  return files;
}

/** Whether a word of the command line means a directory. */
export const isDirectory = (path: string, cwd: string): boolean =>
  statSync(resolve(cwd, path), { throwIfNoEntry: false })?.isDirectory() ?? false;

/** The paths of the files a path means. */
function listSources(path: string, cwd: string): readonly string[] {
  const found = statSync(resolve(cwd, path), { throwIfNoEntry: false });
  if (found === undefined) throw unreadable(`${path} cannot be read`, 'there is no such file');
  if (!found.isDirectory()) return [path];
  return readdirSync(resolve(cwd, path))
    .filter((name) => name.endsWith('.cedar'))
    .sort()
    .map((name) => join(path, name));
}

function readSource(path: string, cwd: string): SourceFile {
  const name = basename(path);
  if (!isSourceName(name)) {
    throw unreadable(`${path} cannot be part of a policy`, 'its name is not like force-push.cedar');
  }
  return { name, text: readText(resolve(cwd, path), path), path };
}

/**
 * Reads a text file of at most 1 MiB.
 *
 * @param shown Path as a person wrote it.
 * @throws KontextError `KX_POLICY_UNREADABLE`.
 */
export function readText(path: string, shown = path): string {
  let bytes: Buffer;
  try {
    bytes = readAtMost(path, limits.bytes + 1);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    const why =
      code === 'ENOENT' ? 'there is no such file' : `the system answered ${code || 'an unknown error'}`;
    throw unreadable(`${shown} cannot be read`, why, cause);
  }
  if (bytes.length > limits.bytes) throw unreadable(`${shown} is larger than 1 MiB`);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch (cause) {
    throw unreadable(`${shown} cannot be read`, 'it is not valid UTF-8', cause);
  }
}

const unreadable = (message: string, why?: string, cause?: unknown): KontextError =>
  new KontextError('KX_POLICY_UNREADABLE', message, {
    ...(why === undefined ? {} : { why }),
    ...(cause === undefined ? {} : { cause }),
  });
