import { randomBytes } from 'node:crypto';
import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findFreePort } from '../free-port.ts';
import { endProcess, guardOrphans } from '../guard-orphans.ts';
import { runCommand, runCommandOrThrow } from '../run-command.ts';
import { findPostgresBinaries, type PostgresBinaries } from './postgres-binaries.ts';

/** A started server as plain data, so that another process of the same test run can use and stop it. */
export interface PostgresServer {
  readonly directory: string;
  readonly port: number;
  readonly password: string;
  readonly postmasterPid: number;
  readonly guardPid: number;
}

/**
 * Makes a new cluster in the temp directory and starts it on a random loopback port.
 *
 * @param ownerPid When this process is gone, the server is killed and its files are removed.
 * @param durable true keeps fsync on, for tests about crashes; the default trades durability for speed.
 * @throws Error when the machine has no Postgres 15+ or the server does not start.
 */
export async function startServer(ownerPid: number, durable: boolean): Promise<PostgresServer> {
  const binaries = findPostgresBinaries();
  if (binaries === null)
    throw new Error('no Postgres 15 or newer on this machine: initdb and pg_ctl not found');
  const directory = mkdtempSync(join(tmpdir(), 'kontext-pg-'));
  try {
    const password = randomBytes(12).toString('hex');
    await initialise(binaries, directory, password);
    const port = await startOnFreePort(binaries, directory, durable);
    const postmasterPid = Number(
      readFileSync(join(directory, 'data', 'postmaster.pid'), 'utf8').split('\n')[0],
    );
    const guard = guardOrphans(ownerPid, [postmasterPid], [directory]);
    return { directory, port, password, postmasterPid, guardPid: guard.pid };
  } catch (error) {
    rmSync(directory, { recursive: true, force: true });
    throw error;
  }
}

/** Stops the server at once (its data is thrown away) and removes its files. */
export async function stopServer(server: PostgresServer): Promise<void> {
  const binaries = findPostgresBinaries();
  if (binaries !== null) {
    const args = ['stop', '-D', join(server.directory, 'data'), '-m', 'immediate', '-w', '-t', '20'];
    await runCommand(binaries.pgCtl, args, { ...binaries.runAs, cwd: '/' });
  }
  endProcess(server.guardPid);
  rmSync(server.directory, { recursive: true, force: true, maxRetries: 3 });
}

/** Runs `initdb` for a cluster in `<directory>/data`, superuser `postgres`. The directory must exist. */
export async function initialise(
  binaries: PostgresBinaries,
  directory: string,
  password: string,
): Promise<void> {
  const passwordFile = join(directory, 'password');
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  mkdirSync(join(directory, 'data'), { mode: 0o700 });
  if (binaries.runAs !== undefined) {
    for (const path of [directory, passwordFile, join(directory, 'data')]) {
      chownSync(path, binaries.runAs.uid, binaries.runAs.gid);
    }
  }
  const args = [
    '-D',
    join(directory, 'data'),
    '-U',
    'postgres',
    '--no-sync',
    '--encoding=UTF8',
    '--locale=C',
  ];
  const auth = ['--auth=scram-sha-256', `--pwfile=${passwordFile}`];
  await runCommandOrThrow(binaries.initdb, [...args, ...auth], { ...binaries.runAs, cwd: '/' });
}

async function startOnFreePort(
  binaries: PostgresBinaries,
  directory: string,
  durable: boolean,
): Promise<number> {
  const speed = durable ? [] : ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off'];
  const settings = [
    ...speed,
    'listen_addresses=127.0.0.1',
    "unix_socket_directories=''",
    'max_connections=300',
    'shared_buffers=64MB',
    'wal_level=minimal',
    'max_wal_senders=0',
  ];
  const logFile = join(directory, 'server.log');
  // The port can be taken between finding it and the server's bind: a few tries settle that.
  for (let attempt = 1; ; attempt += 1) {
    const port = await findFreePort();
    const options = [`-p ${port}`, ...settings.map((setting) => `-c ${setting}`)].join(' ');
    const args = [
      'start',
      '-D',
      join(directory, 'data'),
      '-w',
      '-t',
      '60',
      '-s',
      '-l',
      logFile,
      '-o',
      options,
    ];
    const result = await runCommand(binaries.pgCtl, args, { ...binaries.runAs, cwd: '/' });
    if (result.exitCode === 0) return port;
    if (attempt === 4) throw new Error(`Postgres did not start: ${result.stderr}${readLog(logFile)}`);
  }
}

function readLog(path: string): string {
  try {
    return readFileSync(path, 'utf8').slice(-2000);
  } catch {
    return '';
  }
}
