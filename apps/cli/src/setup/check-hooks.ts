import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { findStandingHooks } from '../agents/agents.ts';
import { isObject } from '../agents/merge-settings.ts';
import type { StandingHooks } from '../agents/standing.ts';
import type { Config } from '../config.ts';
import { hookClientPath } from '../hooks/hook-client-path.ts';
import { maxSocketPathBytes } from '../hooks/hook-server.ts';
import { cliVersion } from '../version.ts';
import { type CheckResult, failed, passed, warned } from './checkup.ts';
import { readDaemonFacts } from './daemon-facts.ts';
import { daemonSocketPath, runtimeDirOf } from './daemon-place.ts';
import { type HookEntries, ownedHooks } from './hook-entries.ts';
import { type HookCommand, type HookTiming, timeHook } from './hook-timing.ts';
import { standingWiring } from './standing-wiring.ts';

/** What was found about hooks. */
export interface HookCheckup {
  readonly checks: readonly CheckResult[];
  readonly timing: (HookTiming & { readonly client: 'native' | 'twin' }) | null;
}

/** Hooks there are, whether they are switched off, and what happens when one runs. */
export async function checkHooks(config: Config): Promise<HookCheckup> {
  const hooks = findStandingHooks(config.agent);
  const found = findInstalled(config, hooks);
  const installed = describeInstalled(config, hooks, found);
  const executed = await checkExecuted(config, hooks, found);
  const daemon = found === null ? [] : [await checkDaemon(found)];
  return {
    checks: [...installed, ...executed.checks, checkSocketPath(config), ...daemon],
    timing: executed.timing,
  };
}

interface Installed {
  /** File the hooks stand in. */
  readonly path: string;
  readonly entries: HookEntries;
  readonly isManaged: boolean;
}

/** The administrator's come first: where they allow no others, the user's do not run. */
function findInstalled(config: Config, hooks: StandingHooks): Installed | null {
  const places = [
    { path: hooks.managedPaths[process.platform] ?? '', isManaged: true },
    { path: hooks.settingsPath(config.environment, homeOf(config)), isManaged: false },
  ];
  for (const { path, isManaged } of places) {
    const text = readText(path);
    if (text === null) continue;
    try {
      const entries = ownedHooks(text, hooks.isOurs);
      if (Object.keys(entries).length > 0) return { path, entries, isManaged };
    } catch {
      // No JSON: nothing of ours works from there; the agent says so itself.
    }
  }
  return null;
}

const homeOf = ({ environment }: Config): string => environment.HOME || homedir();

function describeInstalled(config: Config, hooks: StandingHooks, found: Installed | null): CheckResult[] {
  if (found === null) {
    return [
      passed('hooks', `not set up: ${hooks.name} started without kontext is not seen (\`kontext setup\`)`),
    ];
  }
  const shadows = findShadows(config, hooks, found);
  if (shadows.length > 0) {
    return [failed('hooks', `switched off by ${shadows.join(', ')}`, 'take that setting out')];
  }
  const mode = JSON.stringify(found.entries).includes('"onFailure":"block"') ? 'enforce' : 'observe';
  if (found.isManaged) return [passed('hooks', `${found.path}, mode ${mode}`)];
  const wanted = hooks.encodeHooks(standingWiring(config, { mode }));
  const isCurrent = Object.entries(wanted).every(
    ([event, entries]) => JSON.stringify(found.entries[event]) === JSON.stringify(entries),
  );
  return isCurrent
    ? [passed('hooks', `${found.path}, mode ${mode}`)]
    : [
        warned(
          'hooks',
          `${found.path}: written by another version or for other paths`,
          `run \`kontext setup --mode ${mode}\``,
        ),
      ];
}

/** Settings that keep our hooks from running. */
function findShadows(config: Config, hooks: StandingHooks, found: Installed): string[] {
  if (found.isManaged) return [];
  const managed = hooks.managedPaths[process.platform] ?? '';
  const settings = [
    found.path,
    join(config.cwd, '.claude', 'settings.json'),
    join(config.cwd, '.claude', 'settings.local.json'),
  ];
  const off = settings.filter((path) => readObject(path).disableAllHooks === true);
  const isAlone = readObject(managed).allowManagedHooksOnly === true;
  return [
    ...off.map((path) => `disableAllHooks in ${path}`),
    ...(isAlone ? [`allowManagedHooksOnly in ${managed}`] : []),
  ];
}

async function checkExecuted(
  config: Config,
  hooks: StandingHooks,
  found: Installed | null,
): Promise<HookCheckup> {
  const { kind } = hookClientPath();
  const entries = found?.entries ?? hooks.encodeHooks(standingWiring(config, { mode: 'observe' }));
  const commands = Object.values(entries)
    .flat()
    .map(hooks.commandOf)
    .filter((command): command is HookCommand => command !== null);
  // Those that start the daemon take a Node; a tool call meets the others.
  const perCall = commands.filter(({ args }) => !args.includes('--ensure'));
  const [command] = perCall;
  if (command === undefined)
    return {
      checks: [failed('hook run', 'there is no hook for tool calls', 'run `kontext setup`')],
      timing: null,
    };
  const timing = await timeHook(command, config.runtimeDir);
  if ('trouble' in timing) {
    return {
      checks: [failed('hook run', timing.trouble, 'install kontext again, then run `kontext setup`')],
      timing: null,
    };
  }
  const client = command.command === '/usr/bin/env' ? 'twin' : 'native';
  const detail = `${client} client answered ${timing.runs} of ${timing.runs}: p50 ${timing.p50Ms} ms, p95 ${timing.p95Ms} ms (a bare Node: ${timing.nodeP50Ms} ms, ${timing.nodeP95Ms} ms)`;
  const isSlow = client === 'twin' && kind === 'native';
  const check = isSlow
    ? warned('hook run', detail, 'run `kontext setup` to use the native client')
    : passed('hook run', detail);
  return { checks: [check], timing: { ...timing, client } };
}

/** An agent that has not been started yet has started no daemon. */
async function checkDaemon({ entries }: Installed): Promise<CheckResult> {
  const socketPath = findSocket(entries);
  const facts = await readDaemonFacts(runtimeDirOf(socketPath));
  if (facts === null) return passed('daemon', 'not running; the next agent starts it');
  const { version, pid, mode, sessions, unrecorded, trouble } = facts;
  const detail = `version ${version}, pid ${pid}, mode ${mode}, ${sessions} conversation(s), ${unrecorded} event(s) not recorded`;
  if (trouble !== null)
    return failed('daemon', `${detail}; ${trouble}`, 'run `kontext login`, or see `kontext doctor`');
  if (version !== cliVersion)
    return warned(
      'daemon',
      `${detail}; this is ${cliVersion}`,
      'start an agent: it replaces an older daemon',
    );
  return passed('daemon', detail);
}

function findSocket(entries: HookEntries): string {
  const [entry] = Object.values(entries).flat();
  return isObject(entry) && Array.isArray(entry.args) ? String(entry.args.at(-4) ?? '') : '';
}

function checkSocketPath({ runtimeDir }: Config): CheckResult {
  // A session's directory is five characters longer than the daemon's.
  const bytes = Buffer.byteLength(daemonSocketPath(runtimeDir)) + 6;
  if (bytes <= maxSocketPathBytes)
    return passed('socket path', `${runtimeDir}, ${bytes} of ${maxSocketPathBytes} bytes`);
  return failed('socket path', `${runtimeDir} is too long`, 'set XDG_RUNTIME_DIR to a shorter directory');
}

const readObject = (path: string): Readonly<Record<string, unknown>> => {
  try {
    const value: unknown = JSON.parse(readText(path) ?? '{}');
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
};

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
