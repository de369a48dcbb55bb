import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findFreePort } from '../free-port.ts';
import { endProcess, guardOrphans, type OrphanGuard } from '../guard-orphans.ts';
import { runCommand } from '../run-command.ts';
import { findPostgresBinaries } from './postgres-binaries.ts';
import { initialise } from './server.ts';

/** A Postgres of one's own, durable, that can be killed and started again on the same port and data. */
export interface CrashPostgres {
  /** Of its one database, superuser. */
  readonly url: string;
  /** SIGKILL to the postmaster; its children follow it. */
  kill(): void;
  /** Ends it the way an operator's restart does (`-m fast`). */
  shutDown(): Promise<void>;
  /** Starts it again; resolves when it takes connections. */
  start(): Promise<void>;
  /** Stops it and removes its data. */
  stop(): Promise<void>;
}

/**
 * Makes a cluster with fsync on and starts it.
 *
 * @param options.directory Where to put it, for example a small file system; default a new one under the temp directory.
 * @throws Error when the machine has no Postgres 15+ or the server does not start.
 */
export async function startCrashPostgres(
  options: { readonly directory?: string } = {},
): Promise<CrashPostgres> {
  const binaries = findPostgresBinaries();
  if (binaries === null) throw new Error('no Postgres 15 or newer on this machine');
  const { runAs, pgCtl } = binaries;
  const parent = mkdtempSync(join(options.directory ?? tmpdir(), 'kontext-pg-'));
  const directory = join(parent, 'cluster');
  mkdirSync(directory);
  if (runAs !== undefined) chownSync(parent, runAs.uid, runAs.gid);
  const password = 'crash';
  await initialise(binaries, directory, password);
  const data = join(directory, 'data');
  const port = await findFreePort();
  const settings = [
    `-p ${port}`,
    ...['listen_addresses=127.0.0.1', "unix_socket_directories=''", 'shared_buffers=32MB'].map(
      (one) => `-c ${one}`,
    ),
    ...['wal_level=minimal', 'max_wal_senders=0', 'max_wal_size=48MB', 'min_wal_size=32MB'].map(
      (one) => `-c ${one}`,
    ),
  ].join(' ');
  const control = (...args: string[]) => runCommand(pgCtl, ['-D', data, ...args], { ...runAs, cwd: '/' });
  let guard: OrphanGuard | null = null;
  const pid = (): number => Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0]);
  const start = async (): Promise<void> => {
    const args = ['start', '-w', '-t', '60', '-s', '-l', join(directory, 'server.log'), '-o', settings];
    // After a kill its children may hold the shared memory for a moment.
    for (let attempt = 1; ; attempt += 1) {
      const { exitCode, stderr } = await control(...args);
      if (exitCode === 0) break;
      if (attempt === 20) throw new Error(`Postgres did not start: ${stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    guard?.release();
    guard = guardOrphans(process.pid, [pid()], [parent]);
  };
  await start();
  return {
    url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
    kill: () => endProcess(pid(), 'SIGKILL'),
    shutDown: async () => void (await control('stop', '-m', 'fast', '-w', '-t', '20')),
    start,
    stop: async () => {
      await control('stop', '-m', 'immediate', '-w', '-t', '20');
      guard?.release();
      rmSync(parent, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}
