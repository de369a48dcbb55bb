import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findOnPath, isExecutable } from '../find-on-path.ts';
import { findFreePort } from '../free-port.ts';
import { endProcess, guardOrphans, type OrphanGuard } from '../guard-orphans.ts';
import { findPostgresBinaries } from './postgres-binaries.ts';

/** A running pgbouncer on loopback, in front of every database of one Postgres. */
export interface Pgbouncer {
  /** The same database and login as `url`, through the pooler. */
  through(url: string): string;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** Starts it again after {@link Pgbouncer.kill}, on the same port. */
  start(): Promise<void>;
  /** Ends it and removes its files. */
  stop(): Promise<void>;
}

/** Settings of the `[pgbouncer]` section by name, as its manual has them. */
export type PgbouncerSettings = Readonly<Record<string, string | number>>;

/** Debian keeps it where the PATH of a plain user does not lead. */
export function findPgbouncer(): string | null {
  const debian = '/usr/sbin/pgbouncer';
  return findOnPath('pgbouncer') ?? (isExecutable(debian) ? debian : null);
}

/**
 * Starts pgbouncer in front of the server of `serverUrl`: transaction pooling, three connections to the server for a database
 * and user, which is less than any store opens.
 *
 * @param serverUrl Any URL of the server; its user and password are those that the pooler lets in and logs in with.
 * @param settings Others than those above.
 * @throws Error when it is not installed or does not start; ask `partState('pgbouncer')` first to skip with a reason.
 */
export async function startPgbouncer(
  serverUrl: string,
  settings: PgbouncerSettings = {},
): Promise<Pgbouncer> {
  const program = findPgbouncer();
  if (program === null) throw new Error('no pgbouncer on this machine');
  // Like Postgres it refuses to run as root.
  const runAs = findPostgresBinaries()?.runAs;
  const directory = mkdtempSync(join(tmpdir(), 'kontext-pgb-'));
  let port = 0;
  let child: ChildProcess | null = null;
  let guard: OrphanGuard | null = null;

  const start = async (): Promise<void> => {
    child = spawn(program, [join(directory, 'pgbouncer.ini')], {
      ...runAs,
      cwd: '/',
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    guard?.release();
    guard = guardOrphans(process.pid, [child.pid ?? 0], [directory]);
    await untilUp(child);
  };
  const kill = async (): Promise<void> => {
    if (child !== null) await endAndWait(child);
  };
  const stop = async (): Promise<void> => {
    await kill();
    guard?.release();
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  };

  // The port can be taken between finding it and the bind: a few tries settle that.
  for (let attempt = 1; port === 0; attempt += 1) {
    const free = await findFreePort();
    const files = describePooler(new URL(serverUrl), directory, free, settings);
    writeFiles(directory, files, runAs);
    try {
      await start();
      port = free;
    } catch (error) {
      await kill();
      if (attempt === 4) await stop().finally(() => Promise.reject(error));
    }
  }
  const through = (url: string): string => Object.assign(new URL(url), { port: String(port) }).href;
  return { through, kill, start, stop };
}

type Files = Readonly<Record<string, string>>;

function describePooler(server: URL, directory: string, port: number, settings: PgbouncerSettings): Files {
  const all: PgbouncerSettings = {
    listen_addr: '127.0.0.1',
    listen_port: port,
    unix_socket_dir: '',
    auth_type: 'scram-sha-256',
    auth_file: join(directory, 'userlist.txt'),
    pool_mode: 'transaction',
    default_pool_size: 3,
    ...settings,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name} = ${value}`);
  return {
    'pgbouncer.ini': [
      '[databases]',
      `* = host=${server.hostname} port=${server.port}`,
      '[pgbouncer]',
      ...lines,
      '',
    ].join('\n'),
    'userlist.txt': `"${server.username}" "${server.password}"\n`,
  };
}

function writeFiles(directory: string, files: Files, runAs?: { uid: number; gid: number }): void {
  for (const [name, text] of Object.entries(files))
    writeFileSync(join(directory, name), text, { mode: 0o600 });
  if (runAs === undefined) return;
  for (const name of ['', ...Object.keys(files)]) chownSync(join(directory, name), runAs.uid, runAs.gid);
}

/** It says so on standard error; what it says afterwards is read and dropped. */
function untilUp(child: ChildProcess): Promise<void> {
  let said = '';
  return new Promise((resolve, reject) => {
    const fail = (why: unknown) => reject(new Error(`pgbouncer did not start: ${why} ${said.slice(-2000)}`));
    const timer = setTimeout(() => fail('nothing heard for 60 s'), 60_000);
    child.on('error', fail);
    child.on('close', (exitCode) => fail(`exit code ${exitCode}`));
    child.on('close', () => clearTimeout(timer));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      if (said.length < 20_000) said += text;
      if (!said.includes('process up')) return;
      clearTimeout(timer);
      resolve();
    });
  });
}

async function endAndWait(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const gone = once(child, 'exit');
  endProcess(child.pid);
  await gone;
}
