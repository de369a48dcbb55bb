import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from '../run-command.ts';

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
export async function findPostgresBinaries(): Promise<PostgresBinaries | null> {
  for (const folder of candidateFolders()) {
    const initdb = join(folder, 'initdb');
    const pgCtl = join(folder, 'pg_ctl');
    if (!existsSync(initdb) || !existsSync(pgCtl)) continue;
    if ((await majorVersion(pgCtl)) < oldestMajor) continue;
    if (process.getuid?.() !== 0) return { initdb, pgCtl };
    const runAs = (await lookUpUser('postgres')) ?? (await lookUpUser('nobody'));
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

async function majorVersion(pgCtl: string): Promise<number> {
  const { stdout } = await runCommand(pgCtl, ['--version']);
  return Number(/\(PostgreSQL\) (\d+)/.exec(stdout)?.[1] ?? 0);
}

async function lookUpUser(name: string): Promise<{ uid: number; gid: number } | null> {
  const uid = await runCommand('id', ['-u', name]);
  const gid = await runCommand('id', ['-g', name]);
  if (uid.exitCode !== 0 || gid.exitCode !== 0) return null;
  return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
}
