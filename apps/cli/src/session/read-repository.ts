import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { findGitDirectory } from '../hooks/git-directory.ts';
import { repositoryName } from '../hooks/repository-name.ts';

/** Longest configuration that is read, and longest name the backend takes. */
const maxConfigBytes = 65_536;
const maxNameLength = 255;

/**
 * The repository a session runs in, such as `github.com/acme/shop`, by git's own files: no program runs, because the agent's
 * start waits for this. Files that a configuration includes are not read.
 *
 * @param directory Absolute.
 * @returns Host and path of its remote, without credentials; empty where there is none.
 */
export function readRepository(directory: string): string {
  try {
    const place = findGitDirectory(directory);
    if (place === null) return '';
    const remotes = remotesOf(readStart(join(place.commonDir, 'config')));
    return (repositoryName(remotes) ?? '').slice(0, maxNameLength).replace(/\p{Surrogate}$/u, '');
  } catch {
    return '';
  }
}

/** @throws Error when it is no plain file: opening a pipe of a hostile repository would wait for ever. */
function readStart(path: string): string {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    if (!fstatSync(descriptor).isFile()) throw new Error('not a file');
    const bytes = Buffer.alloc(maxConfigBytes);
    return bytes.toString('utf8', 0, readSync(descriptor, bytes, 0, bytes.length, 0));
  } finally {
    closeSync(descriptor);
  }
}

/** The remotes' addresses in the form that `git config --null --get-regexp` prints (git-config(1), "Syntax"). */
function remotesOf(config: string): string {
  let remote: string | null = null;
  let listed = '';
  for (const line of config.split('\n')) {
    const section = /^\s*\[([^\]]*)\]/.exec(line)?.[1];
    if (section !== undefined) remote = /^\s*remote\s+"((?:[^"\\]|\\.)*)"\s*$/i.exec(section)?.[1] ?? null;
    const url = /^\s*(?:\[[^\]]*\]\s*)?url\s*=\s*(.*)$/i.exec(line)?.[1];
    if (remote !== null && url !== undefined) listed += `remote.${remote}.url\n${unquoted(url)}\0`;
  }
  return listed;
}

/** A value without its quotes and without the comment behind it. */
function unquoted(text: string): string {
  const [, quoted] = /^"((?:[^"\\]|\\.)*)"/.exec(text) ?? [];
  const value = quoted?.replace(/\\(.)/g, '$1') ?? text.replace(/[#;].*$/, '');
  return value.trim();
}
