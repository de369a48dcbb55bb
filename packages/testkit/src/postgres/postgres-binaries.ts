import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Oldest major version the migrations are written for. */
const oldestMajor = 15;

/** Where a usable set of Postgres server programs lives, and whom to run them as. */
export interface PostgresBinaries {
  readonly initdb: string;
  readonly pgCtl: string;
  /** Unprivileged user to run as; absent when we are unprivileged ourselves. `initdb` and `pg_ctl` refuse root. */
  readonly runAs?: { readonly uid: number; readonly gid: number };
}

/**
 * Looks for `initdb` and `pg_ctl` 15 or newer: the distribution's versioned folders first, then PATH.
 *
 * @returns null when this machine has none, or when we are root and there is nobody to run them as.
 */
export function findPostgresBinaries(): PostgresBinaries | null {
  for (const folder of candidateFolders()) {
    const initdb = join(folder, 'initdb');
    const pgCtl = join(folder, 'pg_ctl');
    if (!existsSync(initdb) || !existsSync(pgCtl)) continue;
    if (majorVersion(pgCtl) < oldestMajor) continue;
    if (process.getuid?.() !== 0) return { initdb, pgCtl };
    const runAs = lookUpUser('postgres') ?? lookUpUser('nobody');
    return runAs === null ? null : { initdb, pgCtl, runAs };
  }
  return null;
}

function candidateFolders(): readonly string[] {
  const debianRoot = '/usr/lib/postgresql';
  const versions = existsSync(debianRoot)
    ? readdirSync(debianRoot).sort((a, b) => Number(b) - Number(a))
    : [];
  const onPath = (process.env.PATH ?? '').split(':').filter((folder) => folder !== '');
  return [...versions.map((version) => join(debianRoot, version, 'bin')), ...onPath];
}

function majorVersion(pgCtl: string): number {
  const { stdout } = spawnSync(pgCtl, ['--version'], { encoding: 'utf8' });
  return Number(/\(PostgreSQL\) (\d+)/.exec(stdout)?.[1] ?? 0);
}

function lookUpUser(name: string): { uid: number; gid: number } | null {
  const uid = spawnSync('id', ['-u', name], { encoding: 'utf8' });
  const gid = spawnSync('id', ['-g', name], { encoding: 'utf8' });
  if (uid.status !== 0 || gid.status !== 0) return null;
  return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
}
