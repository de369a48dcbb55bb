import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findOnPath } from '../find-on-path.ts';
import { endProcess, guardOrphans } from '../guard-orphans.ts';

/** A running Secret Service; `env` (the bus address alone) is what a child needs to reach it. */
export interface Keyring {
  readonly env: Readonly<Record<string, string>>;
  /** Locks the login collection with what it holds; there is no prompter, so a client's wish to unlock is refused. */
  lock(): Promise<void>;
  unlock(): Promise<void>;
  stop(): Promise<void>;
}

/** Any byte will do as the password, but none at all makes the daemon start without a login collection. */
const password = 'kontext-test';

/**
 * Starts a real Secret Service (gnome-keyring on a private D-Bus) that knows nothing of the user's own keyring.
 *
 * @param options `locked: true` starts with the login collection locked, as where nobody typed the password.
 * @throws Error when the daemons do not come up within 15 s; ask `partState('keyring')` first to skip with a reason.
 */
export async function startKeyring(options: { readonly locked?: boolean } = {}): Promise<Keyring> {
  const root = mkdtempSync(join(tmpdir(), 'kx-ring-'));
  const env = makeEnvironment(root);
  const bus = await startBus(root, env);
  let daemon: ChildProcess | null = null;
  let guard = guardOrphans(process.pid, [bus.pid ?? 0], [root]);

  /** The daemon unlocks only while it starts, so changing the lock means a new daemon on the same files. */
  async function restart(unlock: boolean): Promise<void> {
    if (daemon !== null) await endAndWait(daemon);
    daemon = await startDaemon(env, unlock);
    guard.release();
    guard = guardOrphans(process.pid, [bus.pid ?? 0, daemon.pid ?? 0], [root]);
  }

  async function stop(): Promise<void> {
    if (daemon !== null) await endAndWait(daemon);
    await endAndWait(bus);
    guard.release();
    rmSync(root, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }

  try {
    await restart(true);
    if (options.locked === true) await restart(false);
  } catch (error) {
    await stop();
    throw error;
  }
  const childEnv = { DBUS_SESSION_BUS_ADDRESS: env.DBUS_SESSION_BUS_ADDRESS ?? '' };
  return { env: childEnv, lock: () => restart(false), unlock: () => restart(true), stop };
}

/** The environment of a machine without any Secret Service: a bus address that nobody listens on. */
export function absentKeyringEnv(): Readonly<Record<string, string>> {
  return { DBUS_SESSION_BUS_ADDRESS: 'unix:path=/nonexistent/kontext-no-bus' };
}

function makeEnvironment(root: string): Readonly<Record<string, string>> {
  for (const folder of ['home', 'run', 'data']) mkdirSync(join(root, folder), { mode: 0o700 });
  return {
    PATH: process.env.PATH ?? '/usr/bin:/bin',
    HOME: join(root, 'home'),
    XDG_RUNTIME_DIR: join(root, 'run'),
    XDG_DATA_HOME: join(root, 'data'),
    DBUS_SESSION_BUS_ADDRESS: `unix:path=${join(root, 'bus')}`,
  };
}

/** A bus with a configuration of its own: without service folders nothing is started on demand behind our back. */
async function startBus(root: string, env: Readonly<Record<string, string>>): Promise<ChildProcess> {
  const config = join(root, 'bus.conf');
  const policy = '<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>';
  writeFileSync(
    config,
    `<busconfig><type>session</type><listen>unix:path=${join(root, 'bus')}</listen><auth>EXTERNAL</auth>` +
      `<policy context="default">${policy}</policy></busconfig>`,
  );
  const bus = spawn(requireOnPath('dbus-daemon'), [`--config-file=${config}`, '--nofork', '--nopidfile'], {
    env,
    stdio: 'ignore',
  });
  await waitFor(() => existsSync(join(root, 'bus')), bus, 'dbus-daemon');
  return bus;
}

async function startDaemon(env: Readonly<Record<string, string>>, unlock: boolean): Promise<ChildProcess> {
  const control = join(env.XDG_RUNTIME_DIR ?? '', 'keyring');
  rmSync(control, { recursive: true, force: true });
  const args = ['--foreground', '--components=secrets', ...(unlock ? ['--unlock'] : [])];
  const daemon = spawn(requireOnPath('gnome-keyring-daemon'), args, {
    env,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  daemon.stdin?.on('error', () => undefined);
  daemon.stdin?.end(unlock ? password : '');
  await waitFor(() => existsSync(join(control, 'control')), daemon, 'gnome-keyring-daemon');
  return daemon;
}

function requireOnPath(program: string): string {
  const path = findOnPath(program);
  if (path === null) throw new Error(`${program} is not installed`);
  return path;
}

async function waitFor(isReady: () => boolean, child: ChildProcess, name: string): Promise<void> {
  let failure: unknown = null;
  child.on('error', (error) => {
    failure = error;
  });
  for (let tries = 0; tries < 300; tries += 1) {
    if (failure !== null || child.exitCode !== null) break;
    if (isReady()) return;
    await sleep(50);
  }
  endProcess(child.pid ?? 0);
  throw new Error(`${name} did not come up: ${failure ?? `exit code ${child.exitCode}`}`);
}

async function endAndWait(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const gone = once(child, 'exit');
  endProcess(child.pid, 'SIGTERM');
  const timer = setTimeout(() => endProcess(child.pid ?? 0), 3_000);
  await gone;
  clearTimeout(timer);
}
