import { execFile } from 'node:child_process';
import { lstatSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { errorTable, KontextError } from '@kontext/errors';
import { findAdapter } from '../agents/agents.ts';
import type { Config } from '../config.ts';
import type { Context } from '../context.ts';
import { listSocketDirectories } from '../hooks/sweep-runtime.ts';
import { isOlder } from '../is-older.ts';
import { gatherStatus, isSkewed, type Status } from '../login/gather-status.ts';
import { openSecretStore } from '../login/open-secret-store.ts';
import { hasLiveOwner } from '../process-mark.ts';
import { findExecutable } from '../session/find-executable.ts';
import { describeBacklog } from '../session/measure-spool.ts';
import { programPath } from '../session/program-path.ts';
import { cliVersion } from '../version.ts';
import { type CheckResult, failed, passed, warned } from './checkup.ts';

/** From where on, within a line of releases, Node loads ES modules by require; lines between never do. */
const nodeLines = ['20.19.0', '22.12.0'] as const;
/** Bytes of events that wait, from which somebody should look: a quarter of what a session may keep. */
const muchSpoolBytes = 16_777_216;
/** The backend takes late batches for seven days. */
const oldSpoolMs = 86_400_000;

/** Everything but the hooks. */
export async function checkMachine(context: Context): Promise<readonly CheckResult[]> {
  const { config } = context;
  const [{ status }, keyring, agent] = await Promise.all([
    gatherStatus(context),
    checkKeyring(context),
    checkAgent(config),
  ]);
  return [
    checkNode(),
    checkProgram(config),
    passed('configuration', describeConfig(config)),
    ...checkBackend(status),
    keyring,
    agent,
    checkSpool(status),
    checkLeftovers(config),
  ];
}

function checkNode(): CheckResult {
  const version = process.version.slice(1);
  const detail = `v${version}, ${process.execPath}`;
  const [first, second] = nodeLines;
  const isBetween = !isOlder(version, '21.0.0') && isOlder(version, second);
  return isOlder(version, first) || isBetween
    ? failed('node', detail, `install Node ${first} or a later 20, or ${second} or newer`)
    : passed('node', detail);
}

function checkProgram({ environment }: Config): CheckResult {
  const own = programPath();
  try {
    const found = findExecutable('kontext', environment.PATH);
    if (realpathSync(found) === own) return passed('command', `${cliVersion}, ${found}`);
    return warned('command', `PATH leads to ${found}; this is ${own}`, 'put one of the two away');
  } catch {
    return warned(
      'command',
      `${own} is not on PATH`,
      'put it on PATH, so that programs inside a session find it',
    );
  }
}

const describeConfig = ({ apiUrl, configDir, stateDir, runtimeDir, mode, loginStore }: Config): string =>
  [
    `backend ${apiUrl}`,
    `configuration ${configDir}`,
    `state ${stateDir}`,
    `sockets ${runtimeDir}`,
    ...(mode === null ? [] : [`mode ${mode}`]),
    ...(loginStore === null ? [] : [`login store ${loginStore}`]),
  ].join(', ');

function checkBackend(status: Status): CheckResult[] {
  const { backend, error, user, login } = status;
  const next = error?.next ?? 'run `kontext status`';
  const { hint } = errorTable.KX_BACKEND_UNREACHABLE;
  const reached = backend.reachable
    ? passed('backend', `${status.apiUrl} answers${backend.version ? `, version ${backend.version}` : ''}`)
    : failed('backend', `${status.apiUrl} does not answer`, hint);
  const clock = isSkewed(status)
    ? [warned('clock', `off by ${Math.round((backend.clockSkewMs ?? 0) / 1000)} s`, 'set it')]
    : [];
  const pinned =
    status.policyKeyPinned === false
      ? [
          failed(
            'policy key',
            'differs from the one pinned at login',
            'run `kontext login` if you expect that',
          ),
        ]
      : [];
  const log = status.auditTrouble
    ? [
        failed(
          'audit log',
          `${status.auditTrouble.message}: ${status.auditTrouble.why} (${status.auditTrouble.code})`,
          'tell whoever runs the backend',
        ),
      ]
    : [];
  const account = status.loggedIn
    ? passed(
        'login',
        `${user?.name ?? ''}${login?.absoluteExpiresAt ? `, until ${login.absoluteExpiresAt}` : ''}`,
      )
    : failed('login', error === null ? 'nobody is logged in' : `${error.message} (${error.code})`, next);
  return [reached, ...clock, account, ...pinned, ...log];
}

async function checkKeyring({ config }: Context): Promise<CheckResult> {
  // What is said about a file is said by this check.
  const store = openSecretStore(config, { warn: () => undefined });
  if (store.kind === 'file') {
    return warned('keyring', `the login is kept in ${store.location}`, 'run `kontext login` with a keyring');
  }
  try {
    await store.probe();
    return passed('keyring', `${store.location}: written, read and deleted`);
  } catch (error) {
    if (!(error instanceof KontextError)) throw error;
    return failed('keyring', `${error.message}: ${error.why} (${error.code})`, error.hint);
  }
}

async function checkAgent(config: Config): Promise<CheckResult> {
  const { executable, name, minVersion } = findAdapter(config.agent);
  let path: string;
  try {
    path = findExecutable(executable, config.environment.PATH);
  } catch (error) {
    return warned(
      'agent',
      error instanceof Error ? error.message : `${name} was not found`,
      `install ${name}`,
    );
  }
  const version = await readVersion(path, config.environment);
  if (version === null) return warned('agent', `${path} does not say its version`, `install ${name} again`);
  return isOlder(version, minVersion)
    ? failed(
        'agent',
        `${name} ${version}, ${path}: its hooks let calls through when they fail`,
        `install ${name} ${minVersion} or newer`,
      )
    : passed('agent', `${name} ${version}, ${path}`);
}

async function readVersion(path: string, env: Readonly<Record<string, string>>): Promise<string | null> {
  try {
    const { stdout } = await promisify(execFile)(path, ['--version'], { env, timeout: 10_000 });
    return /\d+\.\d+\.\d+/.exec(stdout)?.[0] ?? null;
  } catch {
    return null;
  }
}

function checkSpool({ spool }: Status): CheckResult {
  const detail = describeBacklog(spool, Date.now());
  if (spool.refused > 0) return warned('spool', detail, 'look at `spool` in the state directory');
  const isOld = spool.oldestAt !== null && Date.now() - Date.parse(spool.oldestAt) > oldSpoolMs;
  return spool.bytes > muchSpoolBytes || isOld || spool.trouble !== null
    ? warned('spool', detail, 'start a session while the backend can be reached')
    : passed('spool', detail);
}

/** What killed sessions left; the next session sweeps it away and says what was missed. */
function checkLeftovers({ runtimeDir }: Config): CheckResult {
  const dead = listSocketDirectories(runtimeDir).filter((path) => !hasLiveOwner(path));
  const missed = dead.filter((path) => lstatSync(join(path, 's.missed'), { throwIfNoEntry: false }));
  if (dead.length === 0) return passed('leftovers', 'none');
  const detail = `${dead.length} of killed sessions${missed.length > 0 ? `; hooks of ${missed.length} could not be recorded` : ''}`;
  return missed.length > 0
    ? warned('leftovers', detail, 'the next session takes them away')
    : passed('leftovers', detail);
}
