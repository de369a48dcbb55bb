import { lstatSync, readlinkSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';

/** What following links costs at most, for all paths of one call. */
export interface RealPathLimits {
  /** Default 40, as in the kernel. */
  readonly maxLinks?: number;
  /** Default 250 ms: a file system that hangs must not hold the hook server up for long. */
  readonly maxMs?: number;
  readonly nowMs?: () => number;
}

/**
 * Makes a function that follows links as far as a path exists; what does not exist yet stands as it is, also behind a link
 * that leads nowhere. Answers are kept: make a new one for each call, because the call before may have made a link.
 *
 * @returns Never throws; null for a loop, a place that may not be read, a path no system takes, or when time is up.
 */
export function createRealPath(limits: RealPathLimits = {}): (path: string) => string | null {
  const { maxLinks = 40, maxMs = 250, nowMs = () => performance.now() } = limits;
  const known = new Map<string, string | null>();
  const startedAt = nowMs();
  return (path) => {
    const before = known.get(path);
    if (before !== undefined) return before;
    const real = nowMs() - startedAt > maxMs ? null : follow(path, maxLinks);
    known.set(path, real);
    return real;
  };
}

type Target = 'plain' | 'absent' | 'unreadable' | { readonly link: string };

/** Twice what a kernel takes. */
const maxPathLength = 8192;

function follow(path: string, maxLinks: number): string | null {
  if (!isAbsolute(path) || path.includes('\0') || path.length > maxPathLength) return null;
  // Next name last.
  const waiting = namesOf(path);
  let current = '/';
  let links = 0;
  let exists = true;
  while (waiting.length > 0) {
    const name = waiting.pop() ?? '';
    if (name === '..') {
      current = dirname(current);
      // Back in what may exist.
      exists = true;
      continue;
    }
    const next = join(current, name);
    const target: Target = exists ? linkTarget(next) : 'absent';
    if (target === 'unreadable') return null;
    if (typeof target === 'string') {
      exists = target !== 'absent';
      current = next;
      continue;
    }
    links += 1;
    if (links > maxLinks) return null;
    if (isAbsolute(target.link)) current = '/';
    waiting.push(...namesOf(target.link));
  }
  return current;
}

const namesOf = (path: string): string[] =>
  path
    .split('/')
    .filter((name) => name !== '' && name !== '.')
    .reverse();

function linkTarget(path: string): Target {
  try {
    return lstatSync(path).isSymbolicLink() ? { link: readlinkSync(path) } : 'plain';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' || code === 'ENOTDIR' ? 'absent' : 'unreadable';
  }
}
