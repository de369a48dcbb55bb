/**
 * What Claude Code tells its hooks and how it is answered, as observed with 2.1.330.
 *
 * - A deny is exit 2 with the reason on stderr and an empty stdout; no objection is silence, because an explicit allow would
 *   skip the user's own permission prompt, and is said only when a person approved this very call.
 * - Only PreToolUse and PermissionRequest may exit 2: on Stop it keeps the agent going, on UserPromptSubmit it locks the user
 *   out. An elicitation is declined by its JSON answer with exit 0.
 * - Conversation text (prompts, last messages, transcripts) is left out on purpose.
 */
import { KontextError } from '@kontext/errors';
import type { HookReply } from '../hooks/frames.ts';
import { textReply } from '../hooks/text-reply.ts';
import type { AgentEvent, Answer, EventStep } from './agent.ts';
import { elicitationTool, shellTools } from './claude-tools.ts';
import { isObject } from './merge-settings.ts';

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
  Elicitation: 'elicitation',
  ConfigChange: 'other',
  Stop: 'other',
  SessionEnd: 'other',
};

/** Names of the events we hook. */
export const hookedEvents: readonly string[] = Object.keys(steps);

/** The step of an event by its name; inherited names are none. */
export const stepOf = (event: string): EventStep =>
  Object.hasOwn(steps, event) ? (steps[event] ?? 'other') : 'other';

/** Whether exit 2 blocks what the event is about. */
export const canBlock = (event: string): boolean => ['proposed', 'permission'].includes(stepOf(event));

/** Reads one event. @throws KontextError `KX_HOOK_INPUT` when it is not what the agent sends for it. */
export function decodeEvent(event: string, value: unknown): AgentEvent {
  if (!isObject(value)) throw inputInvalid('it is not a JSON object');
  if (value.hook_event_name !== event) throw inputInvalid('it names another event than the hook');
  const step = stepOf(event);
  const subagentId = textOrNull(value.agent_id);
  const common = {
    event,
    step,
    subagentId,
    // Without an id it is the main agent, which may have been started as one of a kind.
    subagent: subagentId === null ? null : textOrNull(value.agent_type),
    cwd: textOrNull(value.cwd),
    agentSession: textOrNull(value.session_id),
    permissionMode: textOrNull(value.permission_mode),
    result: step === 'completed' ? (value.tool_response ?? null) : null,
  };
  if (step === 'elicitation') return { ...common, ...readElicitation(value) };
  if (step === 'other') {
    const none = { tool: null, toolUse: null, input: null, mcpServer: null };
    return { ...common, ...none, details: describeOther(event, value) };
  }
  const { tool_name: tool, tool_input: input } = value;
  if (typeof tool !== 'string' || tool === '') throw inputInvalid('it names no tool');
  if (!Object.hasOwn(value, 'tool_input')) throw inputInvalid('it holds no tool input');
  checkShellInput(tool, input);
  const mcpServer = serverName(value.mcp_server);
  const details = { ...describeCall(step, value), ...(mcpServer === null ? {} : { mcpServer }) };
  return { ...common, tool, toolUse: textOrNull(value.tool_use_id), input, mcpServer, details };
}

const questionMembers: readonly string[] = ['message', 'mode', 'url', 'requested_schema'];

/** A server asks the user: a call of the server, as it were, by a tool of this name. */
function readElicitation(value: Readonly<Record<string, unknown>>) {
  const { mcp_server_name: server } = value;
  if (typeof server !== 'string' || server === '') throw inputInvalid('it names no server');
  return {
    tool: elicitationTool,
    toolUse: textOrNull(value.elicitation_id),
    // What is not there must not stand there: undefined is no JSON.
    input: Object.fromEntries(Object.entries(value).filter(([name]) => questionMembers.includes(name))),
    mcpServer: server,
    details: { ...pick(value, { agentSession: 'session_id' }), mcpServer: server },
  };
}

/** A shell call whose command is not a string cannot be judged, so it is not let through as "no command". */
function checkShellInput(tool: string, input: unknown): void {
  if (!shellTools.includes(tool)) return;
  if (!isObject(input) || typeof input.command !== 'string') {
    throw inputInvalid('the command of the shell tool is not text');
  }
}

/** `{name, source}`, with the name as the user configured it; older versions sent the name alone. */
function serverName(server: unknown): string | null {
  return textOrNull(isObject(server) ? server.name : server);
}

function describeCall(step: EventStep, value: Readonly<Record<string, unknown>>) {
  const from = pick(value, { agentId: 'agent_id', agentType: 'agent_type' });
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

const silent = (): HookReply => textReply(0, '', '');
const answerJson = (hookEventName: string, output: object): HookReply =>
  textReply(0, JSON.stringify({ hookSpecificOutput: { hookEventName, ...output } }), '');

/** Turns an answer into the client's reply; anything but silence is said only where it means what it says. */
export function encodeAnswer(event: string, answer: Answer): HookReply {
  switch (stepOf(event)) {
    case 'proposed':
      return answerProposal(event, answer);
    case 'permission':
      if (answer.kind === 'deny') return textReply(2, '', `${answer.reason}\n`);
      // Asked anew the user would see two prompts: this one is on its way already.
      return answer.kind === 'allow' ? answerJson(event, { decision: { behavior: 'allow' } }) : silent();
    case 'elicitation':
      return answer.kind === 'deny' ? answerJson(event, { action: 'decline' }) : silent();
    default:
      return silent();
  }
}

function answerProposal(event: string, answer: Answer): HookReply {
  if (answer.kind === 'silent') return silent();
  if (answer.kind === 'deny') return textReply(2, '', `${answer.reason}\n`);
  const permissionDecisionReason =
    answer.kind === 'ask' ? answer.reason : `kontext: approved by ${answer.approvalId}`;
  return answerJson(event, { permissionDecision: answer.kind, permissionDecisionReason });
}

const textOrNull = (value: unknown): string | null => (typeof value === 'string' ? value : null);

const inputInvalid = (why: string): KontextError =>
  new KontextError('KX_HOOK_INPUT', 'the hook input of claude cannot be read', { why });
