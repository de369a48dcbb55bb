import type { CallWorld } from '../call-world.ts';
import { unknownText } from './words.ts';

/** A path and what is known of it. */
export interface ResolvedPath {
  /** Absolute, links followed; begins with U+FFFD when its start is unknown. */
  readonly path: string;
  readonly inProject: boolean;
  /** Only running tells the whole of it. */
  readonly dynamic: boolean;
  /** Its links could not be followed. */
  readonly unresolved: boolean;
}

/**
 * Resolves a path as a program would: relative to `cwd`, `~` as the home, `..` after links are followed.
 *
 * @param cwd Null when unknown.
 */
export function resolvePath(text: string, cwd: string | null, world: CallWorld): ResolvedPath {
  const absolute = makeAbsolute(text, cwd, world.home);
  if (absolute.includes(unknownText)) {
    const path = absolute.startsWith('/') ? joinLexically('/', absolute) : absolute;
    return { path, inProject: false, dynamic: true, unresolved: false };
  }
  const real = followLinks(absolute, world);
  if (real === null) {
    return { path: joinLexically('/', absolute), inProject: false, dynamic: false, unresolved: true };
  }
  return { path: real, inProject: isInside(real, world.projectRoot), dynamic: false, unresolved: false };
}

function makeAbsolute(text: string, cwd: string | null, home: string | null): string {
  if (text.startsWith('/') || text.startsWith(unknownText)) return text;
  if (text === '~' || text.startsWith('~/')) return `${home ?? unknownText}${text.slice(1)}`;
  if (text.startsWith('~'))
    return `${unknownText}${text.slice(text.indexOf('/') < 0 ? text.length : text.indexOf('/'))}`;
  return `${cwd ?? unknownText}/${text}`;
}

function followLinks(absolute: string, world: CallWorld): string | null {
  let path = '';
  for (const name of absolute.split('/')) {
    if (name === '' || name === '.') continue;
    if (name !== '..') {
      path += `/${name}`;
      continue;
    }
    const real = path === '' ? '' : world.realPath(path);
    if (real === null) return null;
    path = real.slice(0, Math.max(0, real.lastIndexOf('/')));
  }
  return path === '' ? '/' : world.realPath(path);
}

/** Joins by text alone, as `cd` does. */
export function joinLexically(base: string, text: string): string {
  const names: string[] = [];
  for (const name of (text.startsWith('/') ? text : `${base}/${text}`).split('/')) {
    if (name === '..') names.pop();
    else if (name !== '' && name !== '.') names.push(name);
  }
  return `/${names.join('/')}`;
}

const isInside = (path: string, root: string | null): boolean =>
  root !== null && (path === root || path.startsWith(root === '/' ? '/' : `${root}/`));
