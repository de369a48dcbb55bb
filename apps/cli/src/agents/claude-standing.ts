/**
 * Claude Code's hooks that stand in its settings, of the user or of the administrator, as observed with 2.1.330.
 *
 * - They name the daemon's socket and pid 0; by these they are known again, whatever version wrote them.
 * - A native client cannot start the daemon. SessionStart and UserPromptSubmit, which come before any tool call, run `kontext
 *   hook --ensure` instead: it costs a Node once per prompt, and a daemon that is gone or of another version is replaced.
 * - Managed settings allow no hooks but theirs; a user's `--settings` and a project's settings cannot undo them.
 */
import { join } from 'node:path';
import { forcedEnv, hookEntry, loaderVariables } from './claude.ts';
import { hookedEvents } from './claude-events.ts';
import { isObject } from './merge-settings.ts';
import type { StandingHooks, StandingWiring } from './standing.ts';

const ensuring: readonly string[] = ['SessionStart', 'UserPromptSubmit'];

/** See the file's comment. */
export const claudeStanding: StandingHooks = {
  name: 'claude',
  settingsPath: (environment, home) =>
    join(environment.CLAUDE_CONFIG_DIR || join(home, '.claude'), 'settings.json'),
  encodeHooks: (wiring) =>
    Object.fromEntries(hookedEvents.map((event) => [event, [standingEntry(event, wiring)]])),
  isOurs: (entry) => daemonArguments(entry) !== null,
  commandOf(entry) {
    if (daemonArguments(entry) === null || !isObject(entry)) return null;
    return { command: String(entry.command), args: entry.args as readonly string[] };
  },
  encodeManaged,
  endEvent: 'SessionEnd',
  managedPaths: {
    linux: '/etc/claude-code/managed-settings.json',
    darwin: '/Library/Application Support/ClaudeCode/managed-settings.json',
  },
  findSession: (head) => /"session_id"\s*:\s*"([\w-]{1,100})"/.exec(head.slice(0, 4096))?.[1] ?? null,
};

function standingEntry(event: string, wiring: StandingWiring) {
  const entry = hookEntry(event, wiring);
  if (!ensuring.includes(event)) return entry;
  return {
    ...entry,
    command: wiring.ensure.command,
    args: [...wiring.ensure.args, ...entry.args.slice(-daemonArgumentCount)],
  };
}

/** Agent, event, socket, failure exit, pid, longest wait. */
const daemonArgumentCount = 6;
const daemonSocket = /[/]kontext(-%u|[/]run)?[/]d[/]s$/;

/** The client's arguments of an entry of ours; null for any other value. */
function daemonArguments(entry: unknown): readonly string[] | null {
  if (!isObject(entry) || entry.type !== 'command' || !Array.isArray(entry.args)) return null;
  if (!entry.args.every((arg) => typeof arg === 'string')) return null;
  const args = (entry.args as readonly string[]).slice(-daemonArgumentCount);
  const [agent, , socketPath = '', , pid] = args;
  return agent === 'claude' && pid === '0' && daemonSocket.test(socketPath) ? args : null;
}

function encodeManaged(wiring: StandingWiring): string {
  const hooks = Object.entries(claudeStanding.encodeHooks(wiring)).map(([event, entries]) => [
    event,
    [{ hooks: entries }],
  ]);
  const settings = {
    allowManagedHooksOnly: true,
    disableAllHooks: false,
    ...(wiring.mode === 'enforce' ? { disableSkillShellExecution: true } : {}),
    env: { ...forcedEnv, ...Object.fromEntries(loaderVariables.map((name) => [name, ''])) },
    hooks: Object.fromEntries(hooks),
  };
  return `${JSON.stringify(settings, null, 2)}\n`;
}
