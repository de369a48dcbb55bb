import { homedir } from 'node:os';
import { join } from 'node:path';
import { findOnPath, isExecutable } from '../find-on-path.ts';
import pinned from './pinned-agents.json';

/** The exact Claude Code that tests drive; every statement about its behaviour is bound to this version. */
export const claudeVersion: string = pinned.claude.version;

/**
 * Finds the pinned Claude Code that `npm run agents:install` put into the user's cache.
 *
 * @param options `orOnPath: true` also accepts any `claude` on PATH (for the demo, never for a test).
 * @returns Absolute path of the native program, or null.
 */
export function findClaude(options: { readonly orOnPath?: boolean } = {}): string | null {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const { package: name, version, binary } = pinned.claude;
  const platform = `${name}-${process.platform}-${process.arch}${isMusl() ? '-musl' : ''}`;
  const folder = `${platform.replace(/^@/, '').replace('/', '-')}@${version}`;
  const program = process.platform === 'win32' ? `${binary}.exe` : binary;
  const path = join(cache, 'kontext', 'agents', folder, 'node_modules', ...platform.split('/'), program);
  if (isExecutable(path)) return path;
  return options.orOnPath === true ? findOnPath(binary) : null;
}

/** musl has a build of its own; glibc names its version in the diagnostic report. */
function isMusl(): boolean {
  if (process.platform !== 'linux') return false;
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
  return report?.header?.glibcVersionRuntime === undefined;
}
