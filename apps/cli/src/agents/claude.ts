/**
 * Claude Code. The one file that knows its flags, settings and JSON, as observed with 2.1.330.
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
 * Answers: a deny is exit 2 with the reason on stderr and an empty stdout; no objection is silence, because an
 * explicit allow would skip the user's own permission prompt. Only PreToolUse and PermissionRequest may exit 2:
 * on Stop it keeps the agent going, on UserPromptSubmit it locks the user out.
 */
import { KontextError } from '@kontext/errors';
import { textReply } from '../hooks/text-reply.ts';
import type {
  AgentAdapter,
  AgentEvent,
  Answer,
  EventStep,
  HookWiring,
  LaunchPlan,
  SettingsCheck,
} from './agent.ts';
import { isObject, mergeSettings } from './merge-settings.ts';

/** Events we hook. Those with whole conversation text, and WorktreeCreate, which replaces built-in work, are not. */
const steps: Readonly<Record<string, EventStep>> = {
  SessionStart: 'other',
  UserPromptSubmit: 'other',
  PreToolUse: 'proposed',
  PermissionRequest: 'permission',
  PostToolUse: 'completed',
  PostToolUseFailure: 'failed',
  SubagentStart: 'other',
  SubagentStop: 'other',
  Elicitation: 'other',
  ConfigChange: 'other',
  Stop: 'other',
  SessionEnd: 'other',
};

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
const forcedEnv = { CLAUDE_CODE_SIMPLE: '0', CLAUDE_CODE_SAFE_MODE: '0', CLAUDE_CODE_SHELL_PREFIX: '' };
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
const loaderVariables = [
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
  stepOf: (event) => (Object.hasOwn(steps, event) ? (steps[event] ?? 'other') : 'other'),
  decodeEvent,
  encodeAnswer,
};

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
    Object.keys(steps).map((event) => [event, [{ hooks: [hookEntry(event, wiring)] }]]),
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

function hookEntry(event: string, wiring: HookWiring) {
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

const canBlock = (event: string): boolean => steps[event] === 'proposed' || steps[event] === 'permission';

function decodeEvent(event: string, value: unknown): AgentEvent {
  if (!isObject(value)) throw inputInvalid('it is not a JSON object');
  if (value.hook_event_name !== event) throw inputInvalid('it names another event than the hook');
  const step = claude.stepOf(event);
  const common = {
    event,
    step,
    cwd: textOrNull(value.cwd),
    permissionMode: textOrNull(value.permission_mode),
  };
  if (step === 'other') {
    const none = { tool: null, toolUse: null, input: null, command: null, actions: [], subagent: null };
    return { ...common, ...none, details: describeOther(event, value) };
  }
  const tool = value.tool_name;
  if (typeof tool !== 'string' || tool === '') throw inputInvalid('it names no tool');
  if (!Object.hasOwn(value, 'tool_input')) throw inputInvalid('it holds no tool input');
  const input = value.tool_input;
  const toolUse = textOrNull(value.tool_use_id);
  const command = commandOf(tool, input);
  return {
    ...common,
    tool,
    toolUse,
    input,
    command,
    actions: command === null ? [] : [{ kind: 'shell', command, shell: 'posix' }],
    subagent: textOrNull(value.agent_type),
    details: describeCall(step, value),
  };
}

/** Tools that run nothing but a shell command. */
const shellTools = ['Bash', 'PowerShell'];

/**
 * The command of any tool that has one: `Monitor` and tools of MCP servers run shells, too.
 *
 * A shell call whose command is not a string cannot be judged, so it is not let through as "no command".
 */
function commandOf(tool: string, input: unknown): string | null {
  const command = isObject(input) ? input.command : undefined;
  if (typeof command === 'string') return command;
  if (shellTools.includes(tool)) throw inputInvalid('the command of the shell tool is not text');
  return null;
}

function describeCall(step: EventStep, value: Readonly<Record<string, unknown>>) {
  const from = pick(value, { agentId: 'agent_id', agentType: 'agent_type', mcpServer: 'mcp_server' });
  if (step === 'completed') {
    const response = value.tool_response;
    // What a tool printed is not recorded, only what it looked like.
    const text = JSON.stringify(response) ?? '';
    return {
      ...from,
      ...pick(value, { durationMs: 'duration_ms' }),
      outcome: 'completed',
      responseType: Array.isArray(response) ? 'array' : response === null ? 'null' : typeof response,
      responseBytes: Buffer.byteLength(text),
    };
  }
  if (step === 'failed') {
    const error = textOrNull(value.error);
    return {
      ...from,
      ...pick(value, { durationMs: 'duration_ms', isInterrupt: 'is_interrupt' }),
      outcome: 'failed',
      error,
      errorLength: error?.length ?? 0,
    };
  }
  return from;
}

/** Conversation text (prompts, last messages, transcripts) is left out on purpose. */
function describeOther(event: string, value: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const agentSession = pick(value, { agentSession: 'session_id' });
  switch (event) {
    case 'SessionStart':
      return { ...agentSession, ...pick(value, { source: 'source', model: 'model' }) };
    case 'UserPromptSubmit': {
      const prompt = textOrNull(value.prompt);
      return { ...agentSession, promptBytes: prompt === null ? null : Buffer.byteLength(prompt) };
    }
    case 'SubagentStart':
    case 'SubagentStop':
      return { ...agentSession, ...pick(value, { agentId: 'agent_id', agentType: 'agent_type' }) };
    case 'ConfigChange':
      return { ...agentSession, ...pick(value, { source: 'source', file: 'file_path' }) };
    case 'Elicitation':
      return { ...agentSession, ...pick(value, { mcpServer: 'mcp_server_name' }) };
    case 'SessionEnd':
      return { ...agentSession, ...pick(value, { reason: 'reason' }) };
    default:
      return agentSession;
  }
}

/** Takes scalar members under our names; anything else in their place is left out. */
function pick(value: Readonly<Record<string, unknown>>, names: Readonly<Record<string, string>>) {
  const picked: Record<string, string | number | boolean> = {};
  for (const [ours, theirs] of Object.entries(names)) {
    const member = value[theirs];
    if (typeof member === 'string' || typeof member === 'number' || typeof member === 'boolean')
      picked[ours] = member;
  }
  return picked;
}

function encodeAnswer(event: string, answer: Answer) {
  if (answer.kind === 'silent' || !canBlock(event)) return textReply(0, '', '');
  if (answer.kind === 'deny') return textReply(2, '', `${answer.reason}\n`);
  // At a PermissionRequest the user is being asked already.
  if (event !== 'PreToolUse') return textReply(0, '', '');
  const hookSpecificOutput = {
    hookEventName: event,
    permissionDecision: 'ask',
    permissionDecisionReason: answer.reason,
  };
  return textReply(0, JSON.stringify({ hookSpecificOutput }), '');
}

const textOrNull = (value: unknown): string | null => (typeof value === 'string' ? value : null);

const inputInvalid = (why: string): KontextError =>
  new KontextError('KX_HOOK_INPUT', 'the hook input of claude cannot be read', { why });
