/**
 * Claude Code: its flags and the settings it is started with, as observed with 2.1.330. Its events, tools and settings files
 * are known by the files beside this one, and by nobody else.
 *
 * What must hold against switching our hooks off:
 * - one `--settings` is passed; the user's own are merged under ours, because the last one silently replaces others,
 *   and are shown to the client before, because one entry it refuses makes it drop the whole file;
 * - `--bare` and `--safe-mode` are refused, with the reason, and never dropped silently; so are the flags with which
 *   the agent goes on elsewhere after `kontext start` has ended (`--bg`, `--cloud`, `--desktop`, …), and
 *   `--managed-settings`, which stand above ours;
 * - `disableAllHooks: false` stands in ours, above what the agent may write in mid-session;
 * - the variables that mean the same are set in our `env` block and removed from the environment; those by which
 *   the system loads programs keep the user's own values there, or a project could load a library into every hook;
 * - in enforce skills and slash commands may not run their inline shell commands, for which no hook is called;
 * - hooks are in exec form: nothing is quoted, and a repository's shell prefix cannot replace them.
 */
import { KontextError } from '@kontext/errors';
import type { AgentAdapter, HookWiring, LaunchPlan, SettingsCheck } from './agent.ts';
import { canBlock, decodeEvent, encodeAnswer, hookedEvents, stepOf } from './claude-events.ts';
import { guardedSettings, settingsFiles } from './claude-guard.ts';
import { readTool, steadyInput } from './claude-tools.ts';
import { isObject, mergeSettings } from './merge-settings.ts';

const hooksOff = 'it switches off the hooks that decide and record tool calls';
const leavesSession =
  'the agent would go on outside this session, where nothing decides or records its tool calls';
const refusedFlags: Readonly<Record<string, string>> = {
  '--bare': hooksOff,
  '--safe-mode': hooksOff,
  '--managed-settings': 'its settings stand above ours and can switch off the hooks',
  '--bg': leavesSession,
  '--background': leavesSession,
  '--cloud': leavesSession,
  '--environment': leavesSession,
  '--desktop': leavesSession,
};
/** Variables by which hooks could be switched off or replaced, as they have to be. */
export const forcedEnv = {
  CLAUDE_CODE_SIMPLE: '0',
  CLAUDE_CODE_SAFE_MODE: '0',
  CLAUDE_CODE_SHELL_PREFIX: '',
};
/** Variables that could load code into the hook's Node, or slow it down; the hook needs none. */
const clearedForHook = [
  'NODE_OPTIONS',
  'NODE_EXTRA_CA_CERTS',
  'NODE_COMPILE_CACHE',
  'NODE_V8_COVERAGE',
  'OPENSSL_CONF',
  'OPENSSL_ENGINES',
  'OPENSSL_MODULES',
];
/** Variables that load code into any program, also into the one that clears the others. */
export const loaderVariables = [
  'LD_PRELOAD',
  'LD_AUDIT',
  'LD_LIBRARY_PATH',
  'DYLD_INSERT_LIBRARIES',
  'DYLD_LIBRARY_PATH',
];
/** Seconds between our longest wait and the agent's own timeout: Node's start and the agent's load. */
const timeoutMarginSeconds = 10;

/** The adapter of Claude Code. */
export const claude: AgentAdapter = {
  name: 'claude',
  executable: 'claude',
  clearedVariables: Object.keys(forcedEnv),
  planLaunch,
  encodeSettings: (plan, wiring) => `${JSON.stringify(buildSettings(plan, wiring), null, 2)}\n`,
  planSettingsCheck,
  launchArgs: (plan, settingsPath) => ['--settings', settingsPath, ...plan.args],
  stepOf,
  decodeEvent,
  readTool,
  steadyInput,
  isInteractive,
  asksIn: (permissionMode) => askingModes.includes(permissionMode ?? ''),
  startEvent: 'SessionStart',
  settingsEvent: 'ConfigChange',
  packageName: '@anthropic-ai/claude-code',
  // The first that knows `onFailure`: a hook that cannot run would let the call through in older ones.
  minVersion: '2.1.295',
  settingsFiles,
  guardedSettings,
  encodeAnswer,
};

/**
 * Permission modes in which a hook's `ask` becomes a prompt; in the others it is refused, or nobody knows. In `auto`, which
 * 2.1.330 starts in at a terminal, a classifier stands in for the user, but not where a hook asks.
 */
const askingModes: readonly string[] = ['default', 'acceptEdits', 'plan', 'auto'];

/** A prompt needs a terminal to be read and answered in, and a run that is not to print and end. */
function isInteractive(
  { args }: LaunchPlan,
  terminal: { readonly stdin: boolean; readonly stdout: boolean },
): boolean {
  const end = args.indexOf('--');
  const flags = end < 0 ? args : args.slice(0, end);
  const asksNobody = flags.some((arg, index) => {
    const [flag = '', joined] = arg.split('=', 2);
    if (flag === '--permission-mode') return !askingModes.includes(joined ?? flags[index + 1] ?? '');
    return silentFlags.includes(flag) || /^-[a-z]*p$/.test(flag);
  });
  return terminal.stdin && terminal.stdout && !asksNobody;
}

/** Flags of runs that print, or that skip what would be asked. */
const silentFlags: readonly string[] = [
  '--print',
  '--output-format',
  '--input-format',
  '--dangerously-skip-permissions',
  '--init-only',
];

/**
 * Flags are looked for everywhere, also after `--`: an option that wants a value would swallow the `--`, and a
 * prompt that is spelled exactly like one of them is no loss.
 */
function planLaunch(args: readonly string[], readFile: (path: string) => string): LaunchPlan {
  const rest: string[] = [];
  let userSettings: Readonly<Record<string, unknown>> = {};
  for (let index = 0; index < args.length; index += 1) {
    const arg = args[index] ?? '';
    const [flag = ''] = arg.split('=', 1);
    const why = Object.hasOwn(refusedFlags, flag) ? refusedFlags[flag] : undefined;
    if (why !== undefined) {
      throw new KontextError('KX_AGENT_FLAG_REFUSED', `claude ${flag} cannot run in a session`, {
        why,
        hint: `leave ${flag} out, or start claude without kontext`,
      });
    }
    if (flag !== '--settings') {
      rest.push(arg);
      continue;
    }
    const isJoined = arg.includes('=');
    const value = isJoined ? arg.slice(flag.length + 1) : args[index + 1];
    if (!isJoined) index += 1;
    userSettings = mergeSettings(userSettings, readUserSettings(value, readFile));
  }
  return { args: rest, userSettings };
}

function readUserSettings(value: string | undefined, readFile: (path: string) => string) {
  if (value === undefined || value.trim() === '') throw settingsInvalid('--settings has no value');
  const isInline = value.trim().startsWith('{');
  let parsed: unknown;
  try {
    parsed = JSON.parse(isInline ? value : readFile(value));
  } catch (cause) {
    throw settingsInvalid(
      isInline ? 'the JSON after --settings is not valid' : `${value} cannot be read as JSON`,
      cause,
    );
  }
  if (!isObject(parsed)) throw settingsInvalid('the settings are not a JSON object');
  const { hooks = {}, env = {} } = parsed;
  if (!isObject(hooks) || !Object.values(hooks).every(Array.isArray)) {
    throw settingsInvalid('"hooks" is not an object of lists');
  }
  if (!isObject(env)) throw settingsInvalid('"env" is not an object');
  return parsed;
}

const settingsInvalid = (why: string, cause?: unknown): KontextError =>
  new KontextError('KX_AGENT_SETTINGS_INVALID', 'the settings given to claude cannot be used', {
    why,
    cause,
  });

function buildSettings(plan: LaunchPlan, wiring: HookWiring) {
  const hooks = Object.fromEntries(
    hookedEvents.map((event) => [event, [{ hooks: [hookEntry(event, wiring)] }]]),
  );
  const loading = loaderVariables.map((name) => [name, wiring.environment[name] ?? '']);
  const env = { ...forcedEnv, ...Object.fromEntries(loading) };
  // Observing changes nothing for the user, and so cannot see these commands either.
  const skills = wiring.mode === 'enforce' ? { disableSkillShellExecution: true } : {};
  return mergeSettings(plan.userSettings, { disableAllHooks: false, ...skills, env, hooks });
}

/** `--init-only` runs the hooks of a session's start and ends. No settings but these count, and no account is used. */
function planSettingsCheck(
  { userSettings }: LaunchPlan,
  paths: { readonly directory: string; readonly settingsPath: string; readonly markerPath: string },
): SettingsCheck {
  const args = ['-c', ': > "$1"', 'sh', paths.markerPath];
  const mark = { type: 'command', command: '/bin/sh', args, timeout: 10 };
  const theirs = { ...userSettings, hooks: withoutCommands(userSettings.hooks ?? {}) };
  const ours = { disableAllHooks: false, env: forcedEnv, hooks: { SessionStart: [{ hooks: [mark] }] } };
  return {
    settings: JSON.stringify(mergeSettings(theirs, ours)),
    args: ['--init-only', '--setting-sources', '', '--strict-mcp-config', '--settings', paths.settingsPath],
    env: {
      CLAUDE_CONFIG_DIR: paths.directory,
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
      DISABLE_AUTOUPDATER: '1',
    },
    withoutVariables: ['ANTHROPIC_', 'CLAUDE'],
  };
}

/** The same hooks, which do nothing: they are to be checked, not run. */
function withoutCommands(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutCommands);
  if (!isObject(value)) return value;
  const members = Object.entries(value).map(([key, member]) => [
    key,
    key === 'command' && typeof member === 'string' ? 'true' : withoutCommands(member),
  ]);
  return Object.fromEntries(members);
}

/** The entry of one event in the agent's settings. */
export function hookEntry(event: string, wiring: HookWiring) {
  const { nodePath, client, socketPath, serverPid, maxWaitMs, mode } = wiring;
  const blocks = mode === 'enforce' && canBlock(event);
  return {
    type: 'command',
    // The native client reads no environment; Node, which runs the twin, would.
    command: client.kind === 'native' ? client.path : '/usr/bin/env',
    args: [
      ...(client.kind === 'native'
        ? []
        : [...clearedForHook.flatMap((name) => ['-u', name]), nodePath, client.path]),
      'claude',
      event,
      socketPath,
      blocks ? '2' : '0',
      String(serverPid),
      String(maxWaitMs),
    ],
    timeout: Math.ceil(maxWaitMs / 1000) + timeoutMarginSeconds,
    ...(blocks ? { onFailure: 'block' } : {}),
  };
}
