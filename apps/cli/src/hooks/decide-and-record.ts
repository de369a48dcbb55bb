/**
 * What a hook event means: decode, redact, decide, intent line, answer, record. In that order, each once.
 *
 * - Input that cannot be read whole is `opaque`: in observe it is recorded and nothing is said, in enforce an event
 *   that can block is denied.
 * - In enforce every failure on an event that can block denies: policy that does not load or evaluate, a full
 *   spool, an exception. In observe the same is recorded as would-deny, and the agent hears nothing.
 * - The record is written after the answer has been handed to the socket.
 */
import type { Decision, Mode, ToolCall } from '@kontext/policy';
import type { Redactor } from '@kontext/redaction';
import type { AgentAdapter, AgentEvent, Answer } from '../agents/agent.ts';
import type { EventSink, IntentFields, WriteRecord } from './event-sink.ts';
import type { HookReply, HookRequest } from './frames.ts';
import { createInputPairs } from './input-pairs.ts';
import { parseInput } from './parse-input.ts';
import { clipUtf8, payloadText } from './payload-text.ts';

/** Who acts; the same for every call of a session. */
export type Actor = Pick<ToolCall, 'user' | 'org' | 'session' | 'groups' | 'role'>;

/** The policy of the moment. */
export interface DecidingPolicy {
  /** Mode of the moment; known before the policy is loaded. */
  readonly mode: Mode;
  readonly version: number;
  /** Decides once the engine is ready; rejects when it cannot be made ready. */
  decide(call: ToolCall): Promise<Decision>;
}

/** What a session's hooks have been so far. */
export interface HookCounts {
  toolCalls: number;
  denied: number;
  wouldDeny: number;
}

/** What the handler works with. */
export interface HookHandlerOptions {
  readonly agent: AgentAdapter;
  readonly actor: Actor;
  readonly redactor: Redactor;
  readonly policy: DecidingPolicy;
  readonly sink: EventSink;
  /** Told of every event's name before it is handled; the first one proves that hooks run. */
  readonly onEvent?: (event: string) => void;
  /** Told of the agent's own id of its conversation, with every event that has one. */
  readonly onAgentSession?: (id: string) => void;
}

/** Answers hooks. */
export interface HookHandler {
  handleHook(request: HookRequest): Promise<HookReply>;
  /** The answer when {@link HookHandler.handleHook} fails: closed in enforce, where the event can block. */
  onFailure(request: HookRequest, error: unknown): HookReply;
  readonly counts: Readonly<HookCounts>;
}

/** Makes the handler of one session. */
export function createHookHandler(options: HookHandlerOptions): HookHandler {
  const { agent, policy } = options;
  const counts: HookCounts = { toolCalls: 0, denied: 0, wouldDeny: 0 };
  const pairs = createInputPairs();
  const canBlock = (event: string): boolean => ['proposed', 'permission'].includes(agent.stepOf(event));

  const handleHook = async (request: HookRequest): Promise<HookReply> => {
    if (request.agent !== agent.name) throw new Error('another agent than the session was opened for');
    options.onEvent?.(request.event);
    const event = readEvent(options, request);
    if (!canBlock(request.event)) {
      recordOther(options, pairs, request, event);
      return agent.encodeAnswer(request.event, { kind: 'silent' });
    }
    if (event.raw?.toolUse) pairs.propose(event.raw.toolUse, event.raw.input);
    const answer = await decideCall(options, counts, request, event);
    return agent.encodeAnswer(request.event, answer);
  };

  return {
    handleHook,
    counts,
    onFailure(request) {
      if (policy.mode !== 'enforce' || !canBlock(request.event)) {
        return agent.encodeAnswer(request.event, { kind: 'silent' });
      }
      const reason = denyText('the call could not be decided', null);
      return agent.encodeAnswer(request.event, { kind: 'deny', reason });
    },
  };
}

/** An event, redacted; `raw` keeps what comparing needs. Opaque when there is a reason why it cannot be read. */
interface ReadEvent {
  readonly raw: AgentEvent | null;
  readonly redacted: Pick<
    AgentEvent,
    'tool' | 'toolUse' | 'permissionMode' | 'input' | 'command' | 'cwd' | 'details'
  > | null;
  readonly opaque: string | null;
}

function readEvent(options: HookHandlerOptions, request: HookRequest): ReadEvent {
  const opaque = (why: string): ReadEvent => ({ raw: null, redacted: null, opaque: why });
  const parsed = parseInput(request);
  if (!parsed.ok) return opaque(parsed.why);
  let raw: AgentEvent;
  try {
    raw = options.agent.decodeEvent(request.event, parsed.value);
  } catch {
    return opaque('it is not what the agent sends for this event');
  }
  if (raw.agentSession !== null) options.onAgentSession?.(raw.agentSession);
  const { tool, toolUse, permissionMode, input, command, cwd, details } = raw;
  const shown = { tool, toolUse, permissionMode, input, command, cwd, details };
  const { value, omitted } = options.redactor.redactJson(shown);
  if (omitted) return opaque('it could not be searched for secrets in time');
  const redacted = value as NonNullable<ReadEvent['redacted']>;
  return { raw, redacted: { ...redacted, details: clipDetails(redacted.details) }, opaque: null };
}

/** Longest text among the details, such as the error of a failed call. */
const maxDetailLength = 1000;

/** Cut only now: half a secret is not found any more. */
const clipDetails = (details: AgentEvent['details']): AgentEvent['details'] =>
  Object.fromEntries(
    Object.entries(details).map(([name, value]) => [
      name,
      typeof value === 'string' ? value.slice(0, maxDetailLength) : value,
    ]),
  );

async function decideCall(
  options: HookHandlerOptions,
  counts: HookCounts,
  request: HookRequest,
  event: ReadEvent,
): Promise<Answer> {
  const { policy, sink } = options;
  const isProposal = options.agent.stepOf(request.event) === 'proposed';
  const call = toolCall(options, event, isProposal);
  const decision = await decide(policy, call);
  const enforced = decision.mode === 'enforce';
  // Where the record cannot show that a call happened, it may not happen.
  const unrecorded = sink.full;
  const denied = decision.effect === 'deny' || (enforced && (event.opaque !== null || unrecorded));
  const effect = denied ? 'deny' : decision.effect;
  const isDecided = isProposal || (denied && enforced);
  const record = sink.intend(decidedFields(event, { ...decision, effect }, isDecided));
  afterAnswer(record, () => decidedPayload(call, request, event, decision));
  const blocked = enforced && (denied || record === null);
  if (isProposal) {
    counts.toolCalls += 1;
    if (blocked) counts.denied += 1;
    else if (denied) counts.wouldDeny += 1;
  }
  if (blocked) {
    const why = whyDenied(event, unrecorded || record === null, decision);
    return { kind: 'deny', reason: denyText(why, decision.rule) };
  }
  return enforced && effect === 'ask' ? { kind: 'ask', reason: askText(decision) } : { kind: 'silent' };
}

/** A policy that cannot be loaded is a deny like one that cannot be evaluated. */
async function decide(policy: DecidingPolicy, call: ToolCall): Promise<Decision> {
  try {
    return await policy.decide(call);
  } catch (error) {
    return {
      effect: 'deny',
      rule: null,
      reason: 'the policy could not be loaded',
      part: null,
      approver: null,
      fourEyes: false,
      sensitive: false,
      policyVersion: policy.version,
      mode: policy.mode,
      failure: error instanceof Error ? error.message.slice(0, 500) : 'unknown',
    };
  }
}

function toolCall(options: HookHandlerOptions, event: ReadEvent, isProposal: boolean): ToolCall {
  const { redacted } = event;
  return {
    schema: 2,
    agent: options.agent.name,
    agentVersion: '',
    event: isProposal ? 'PreToolUse' : 'PermissionRequest',
    tool: redacted?.tool ?? '',
    input: redacted?.input ?? null,
    command: redacted?.command ?? null,
    cwd: redacted?.cwd ?? null,
    permissionMode: redacted?.permissionMode ?? null,
    parts: [{ kind: 'tool', name: redacted?.tool ?? '' }],
    subagent: null,
    opaque: event.opaque === null ? [] : ['unreadable'],
    repository: null,
    credentials: [],
    atMs: Date.now(),
    ...options.actor,
  };
}

function decidedFields(event: ReadEvent, decision: Decision, isDecided: boolean): IntentFields {
  return {
    kind: isDecided ? 'tool_call.decided' : 'approval.requested',
    ...callNames(event),
    decision: decision.effect,
    rule: decision.rule,
    policyVersion: decision.policyVersion,
    mode: decision.mode,
  };
}

function decidedPayload(call: ToolCall, request: HookRequest, event: ReadEvent, decision: Decision): string {
  const { reason, failure } = decision;
  const said = { reason: clipUtf8(reason, 500), ...(failure === null ? {} : { failure }) };
  const opaque = event.opaque === null ? {} : { opaque: event.opaque, inputBytes: request.trueLength };
  return payloadText({ ...said, ...opaque, details: event.redacted?.details ?? {}, call });
}

function recordOther(
  options: HookHandlerOptions,
  pairs: ReturnType<typeof createInputPairs>,
  request: HookRequest,
  event: ReadEvent,
): void {
  const { sink, agent } = options;
  const step = agent.stepOf(request.event);
  const { raw } = event;
  const { text: name } = options.redactor.redactText(request.event);
  if (raw?.toolUse && step !== 'other' && pairs.differs(raw.toolUse, raw.input)) {
    const tamper = sink.intend({ kind: 'tamper.input_changed', ...callNames(event) });
    afterAnswer(tamper, () => payloadText({ event: name, input: event.redacted?.input }));
  }
  const kind =
    step === 'completed' ? 'tool_call.completed' : step === 'failed' ? 'tool_call.failed' : 'agent.event';
  const opaque = event.opaque === null ? {} : { opaque: event.opaque, inputBytes: request.trueLength };
  const record = sink.intend({ kind, ...callNames(event) });
  afterAnswer(record, () => payloadText({ event: name, ...opaque, details: event.redacted?.details ?? {} }));
}

/** Names from the agent, fit for a header: nothing a database refuses, at most 256 code units, never empty. */
function callNames(event: ReadEvent) {
  return { tool: headerText(event.redacted?.tool), toolUse: headerText(event.redacted?.toolUse) };
}

const headerText = (text: string | null | undefined): string | null =>
  text ? text.slice(0, 256).replaceAll(/[\p{Cc}\p{Surrogate}]/gu, '\ufffd') : null;

/** `setImmediate` keeps the order of the intents, and runs after the reply has been given to the socket. */
function afterAnswer(record: WriteRecord | null, payload: () => string): void {
  if (record === null) return;
  setImmediate(() => {
    let text: string | null = null;
    try {
      text = payload();
    } catch {
      // The event is written without payload.
    }
    record(text);
  });
}

function whyDenied(event: ReadEvent, isUnrecorded: boolean, decision: Decision): string {
  if (event.opaque !== null) return `the call cannot be read: ${event.opaque}`;
  if (isUnrecorded) return 'the local record of tool calls is full and cannot take this one';
  return decision.reason;
}

const denyText = (why: string, rule: string | null): string =>
  `kontext: denied${rule === null ? '' : ` by rule ${rule}`}: ${oneLine(why)}`;
const askText = ({ reason, rule }: Decision): string =>
  `kontext: approval needed${rule === null ? '' : ` by rule ${rule}`}: ${oneLine(reason)}`;

/** Reasons come from policy texts; an agent shows them to its user. */
const oneLine = (text: string): string => text.slice(0, 1000).replaceAll(/\p{Cc}+/gu, ' ');
