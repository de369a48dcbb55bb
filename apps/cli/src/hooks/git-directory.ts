import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  openSync,
  readSync,
  statSync,
} from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';

/** Where git keeps what it knows of a working tree. */
export interface GitDirectory {
  /** Top of the working tree. */
  readonly top: string;
  /** Holds `HEAD`. */
  readonly gitDir: string;
  /** Holds `config`; another one in a worktree. */
  readonly commonDir: string;
}

/** Longest file that names another place; longer ones are no such file. */
const maxPointerBytes = 8192;

/**
 * Finds the repository around a directory by its files alone: the nearest `.git` above it, a directory or a file that points
 * to one. No program runs.
 *
 * @param directory Absolute.
 * @returns Null outside of any repository.
 */
export function findGitDirectory(directory: string): GitDirectory | null {
  for (let top = directory; ; top = dirname(top)) {
    const gitDir = gitDirOf(top);
    if (gitDir !== null) return { top, gitDir, commonDir: commonDirOf(gitDir) };
    if (dirname(top) === top) return null;
  }
}

function gitDirOf(top: string): string | null {
  const path = join(top, '.git');
  try {
    // An error is made with its stack, which costs ten times as much as the question, for each directory above.
    const found = statSync(path, { throwIfNoEntry: false });
    if (found === undefined) return null;
    if (found.isDirectory()) return isFile(join(path, 'HEAD')) ? path : null;
    const [, target] = /^gitdir: ([^\n]+)\n?$/.exec(readPointer(path)) ?? [];
    return target === undefined ? null : resolve(top, target);
  } catch {
    return null;
  }
}

function commonDirOf(gitDir: string): string {
  try {
    const pointer = join(gitDir, 'commondir');
    if (!existsSync(pointer)) return gitDir;
    const common = readPointer(pointer).trim();
    return isAbsolute(common) ? common : resolve(gitDir, common);
  } catch {
    return gitDir;
  }
}

/** @throws Error when it is no plain file: opening a pipe of a hostile repository would wait for ever. */
function readPointer(path: string): string {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    if (!fstatSync(descriptor).isFile()) throw new Error('not a file');
    const bytes = Buffer.alloc(maxPointerBytes);
    return bytes.toString('utf8', 0, readSync(descriptor, bytes, 0, bytes.length, 0));
  } finally {
    closeSync(descriptor);
  }
}

/** `HEAD` may be a link of old; it need not lead anywhere yet. */
function isFile(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  return stat !== undefined && !stat.isDirectory();
}
