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
  const modules = await fetchPackages(packages);
  if (modules === null) return [];
  const bin = join(modules, '.bin');
  return Object.keys(packages).map((name) => {
    const cwd = join(scratch, name);
    mkdirSync(cwd, { recursive: true });
    const text = 'ALPHA_KEY=value-1\nBETA_KEY=value-2\nGAMMA_KEY=value-3\n';
    for (const file of ['.env', '.env.schema']) writeFileSync(join(cwd, file), text);
    return { name, command: [join(bin, name), 'run', '--'], cwd };
  });
}

/** A published hook of another product that judges shell commands; null where it cannot be fetched. */
export async function findHookRival(): Promise<{ readonly name: string; readonly script: string } | null> {
  const name = 'cc-safety-net';
  const modules = await fetchPackages({ [name]: `${name}@2.4.5` });
  return modules === null ? null : { name, script: join(modules, name, 'dist/bin/cc-safety-net.js') };
}

/** @returns The folder the packages stand in, by the names they are wanted under in `.bin` or as a package; else null. */
async function fetchPackages(wanted: Readonly<Record<string, string>>): Promise<string | null> {
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'kontext', 'bench');
  const modules = join(cache, 'node_modules');
  mkdirSync(cache, { recursive: true });
  const has = (name: string): boolean => existsSync(join(modules, '.bin', name));
  if (Object.keys(wanted).every(has)) return modules;
  const args = ['install', '--prefix', cache, '--ignore-scripts', '--no-audit', '--no-fund'];
  const install = await runCommand('npm', [...args, ...Object.values(wanted)], {
    cwd: cache,
    timeoutMs: 180_000,
  });
  if (install.exitCode === 0) return modules;
  process.stderr.write(
    `bench: ${Object.values(wanted).join(' and ')} cannot be fetched, their rows are left out\n`,
  );
  return null;
}
