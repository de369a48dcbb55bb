import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A private home for one CLI run. */
export interface ScratchHome {
  /** The folder that holds everything below; removed by `remove`. */
  readonly root: string;
  readonly home: string;
  /** An empty folder to work in, outside `home`. */
  readonly workDir: string;
  /** A complete child environment: PATH, HOME, the XDG folders, TMPDIR, a plain locale; nothing else of ours. */
  readonly env: Readonly<Record<string, string>>;
  remove(): void;
}

/**
 * Makes a private HOME with XDG folders (runtime folder 0700) under the temp directory.
 *
 * The name is short: socket paths under the runtime folder must fit into 100 bytes.
 */
export function scratchHome(): ScratchHome {
  const root = mkdtempSync(join(tmpdir(), 'kx-'));
  const make = (...parts: string[]) => {
    const path = join(root, ...parts);
    mkdirSync(path, { recursive: true, mode: 0o700 });
    return path;
  };
  const home = make('home');
  const env = {
    PATH: process.env.PATH ?? '/usr/bin:/bin',
    HOME: home,
    TMPDIR: make('tmp'),
    LANG: 'C.UTF-8',
    XDG_CONFIG_HOME: make('home', '.config'),
    XDG_STATE_HOME: make('home', '.local', 'state'),
    XDG_DATA_HOME: make('home', '.local', 'share'),
    XDG_CACHE_HOME: make('home', '.cache'),
    XDG_RUNTIME_DIR: make('run'),
  };
  return {
    root,
    home,
    workDir: make('work'),
    env,
    remove: () => rmSync(root, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }),
  };
}
