import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { runCommand } from '@kontext/testkit';

/** Another tool that starts a child with variables from a file. */
export interface Rival {
  readonly name: string;
  /** Everything before the child's name. */
  readonly command: readonly string[];
  /** Folder with its own kind of file, three variables in it. */
  readonly cwd: string;
}

const packages = { varlock: 'varlock@1.20.0', dotenvx: '@dotenvx/dotenvx@2.38.2' } as const;

/**
 * Fetches the tools from npm into the user's cache, for the bench only. Without a registry the rows are left out, and
 * standard error says so.
 */
export async function findRivals(scratch: string): Promise<readonly Rival[]> {
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'kontext', 'bench');
  const bin = join(cache, 'node_modules', '.bin');
  mkdirSync(cache, { recursive: true });
  const missing = Object.entries(packages).filter(([name]) => !existsSync(join(bin, name)));
  if (missing.length > 0) {
    const wanted = Object.values(packages);
    const args = ['install', '--prefix', cache, '--ignore-scripts', '--no-audit', '--no-fund', ...wanted];
    const install = await runCommand('npm', args, { cwd: cache, timeoutMs: 180_000 });
    if (install.exitCode !== 0) {
      process.stderr.write(`bench: ${wanted.join(' and ')} cannot be fetched, their rows are left out\n`);
      return [];
    }
  }
  return Object.keys(packages).map((name) => {
    const cwd = join(scratch, name);
    mkdirSync(cwd, { recursive: true });
    const text = 'ALPHA_KEY=value-1\nBETA_KEY=value-2\nGAMMA_KEY=value-3\n';
    for (const file of ['.env', '.env.schema']) writeFileSync(join(cwd, file), text);
    return { name, command: [join(bin, name), 'run', '--'], cwd };
  });
}
