/**
 * Makes sure that a daemon of this version answers: called by the hooks that come before any tool call, by a daemon that
 * finds itself replaced on disk, and by `kontext doctor`.
 *
 * The handshake: a running daemon says its version. One of an older version, or set up to enforce less than is asked for
 * now, is replaced: the new one takes its place, and it ends. A newer one is left in peace.
 */
import { spawn } from 'node:child_process';
import { existsSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KontextError } from '@kontext/errors';
import { makePrivateDirectory } from '../hooks/private-directory.ts';
import { isOlder } from '../is-older.ts';
import { cliVersion } from '../version.ts';
import { type DaemonFacts, readDaemonFacts } from './daemon-facts.ts';

/** What a daemon is started with. */
export interface EnsureDaemonOptions {
  readonly runtimeDir: string;
  /** What the hooks were set up with. */
  readonly mode: 'observe' | 'enforce';
  /** The `kontext` to start. */
  readonly program: string;
  readonly environment: Readonly<Record<string, string>>;
  /** A daemon that may not stay, whatever it says. */
  readonly notPid?: number;
  /** Default 15,000: a Node that starts on a busy machine. */
  readonly timeoutMs?: number;
}

/** Starting takes a Node; a lock older than this was left by a process that died. */
const staleLockMs = 15_000;
const pollMs = 20;

/**
 * @returns What the daemon says of itself.
 * @throws KontextError `KX_DAEMON_FAILED` when none answers in time.
 */
export async function ensureDaemon(options: EnsureDaemonOptions): Promise<DaemonFacts> {
  const { runtimeDir, mode, timeoutMs = 15_000 } = options;
  const endAt = performance.now() + timeoutMs;
  const found = await readDaemonFacts(runtimeDir);
  if (found !== null && isGood(found, options)) return found;
  makePrivateDirectory(runtimeDir);
  const lock = join(runtimeDir, 'd.lock');
  const isOurs = tryLock(lock);
  try {
    // Nobody enforces less because another set of hooks asks for less.
    const atLeast = found?.mode === 'enforce' ? 'enforce' : mode;
    const hasEnded = isOurs ? startDaemon({ ...options, mode: atLeast }) : () => false;
    for (let isOver = false; !isOver; ) {
      // What ended may have ended because another took its place: one more look.
      isOver = hasEnded() || performance.now() > endAt;
      await sleep(pollMs);
      const facts = await readDaemonFacts(runtimeDir);
      if (facts !== null && isGood(facts, options)) return facts;
    }
  } finally {
    if (isOurs) rmSync(lock, { force: true });
  }
  throw new KontextError('KX_DAEMON_FAILED', 'the daemon of `kontext setup` does not answer', {
    why: `it ended, or nobody answered in ${runtimeDir} within ${timeoutMs / 1000} s`,
  });
}

const isGood = ({ version, mode, pid }: DaemonFacts, options: EnsureDaemonOptions): boolean =>
  pid !== options.notPid &&
  !isOlder(version, cliVersion) &&
  (mode === 'enforce' || options.mode === 'observe');

function tryLock(lock: string): boolean {
  const stat = statSync(lock, { throwIfNoEntry: false });
  if (stat !== undefined && Math.abs(Date.now() - stat.mtimeMs) > staleLockMs) rmSync(lock, { force: true });
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx', mode: 0o600 });
    return true;
  } catch {
    return false;
  }
}

/**
 * Of its own session and process group: what ends the agent's terminal does not end it.
 *
 * @returns Whether it has ended already.
 */
function startDaemon({ runtimeDir, mode, program, environment }: EnsureDaemonOptions): () => boolean {
  const child = spawn(process.execPath, [program, 'daemon', '--runtime-dir', runtimeDir], {
    cwd: '/',
    detached: true,
    stdio: 'ignore',
    env: daemonEnvironment(environment, mode),
  });
  let ended = false;
  const note = (): void => {
    ended = true;
  };
  // Whether it came to life is told by its answer.
  child.once('error', note).once('exit', note);
  child.unref();
  return () => ended;
}

/** Variables of the agent and of a session around us are none of the daemon's; the user's session bus is. */
function daemonEnvironment(
  environment: Readonly<Record<string, string>>,
  mode: 'observe' | 'enforce',
): Record<string, string> {
  const foreign = /^(NODE_|CLAUDE|ANTHROPIC_|KONTEXT_(SESSION_ID|SOCKET|MODE|ENV_FILE|AGENT)$)/;
  const kept = Object.entries(environment).filter(([name]) => !foreign.test(name));
  const runtime = `/run/user/${process.geteuid?.()}`;
  const bus = `${runtime}/bus`;
  return {
    ...(existsSync(bus) ? { DBUS_SESSION_BUS_ADDRESS: `unix:path=${bus}` } : {}),
    ...Object.fromEntries(kept),
    KONTEXT_MODE: mode,
  };
}
