/**
 * What a hook event means: decode, redact, read, decide, intent line, answer, record. In that order, each once.
 *
 * - Input that cannot be read whole is `opaque`: in observe it is recorded and nothing is said, in enforce an event
 *   that can block is denied.
 * - In enforce every failure on an event that can block denies: a call that cannot be read, policy that does not load or
 *   evaluate or takes too long, a full spool, an exception. In observe the same is recorded as would-deny, and the agent hears
 *   nothing.
 * - Where a rule asks for a person, the attempt is recorded before anybody is asked, and the decision once it is made.
 * - The record is written after the answer has been handed to the socket.
 */
import { headerLimits, toHeaderText } from '@kontext/audit';
import type { CallReader, Decision, Mode, ToolCall } from '@kontext/policy';
import type { PayloadRedactor, Redactor } from '@kontext/redaction';
import type { AgentAdapter, Answer } from '../agents/agent.ts';
import { type Actor, type BuiltCall, createCallBuilder } from './build-call.ts';
import { type CallFacts, noFacts } from './call-facts.ts';
import { type EventSink, type IntentFields, leftOut, type WriteRecord } from './event-sink.ts';
import type { HookReply, HookRequest } from './frames.ts';
import {
  clipUtf8,
  createRecordRedactor,
  type PayloadSetting,
  payloadText,
  redactName,
  redactQuestion,
} from './payload-text.ts';
import { type ReadEvent, readEvent } from './read-event.ts';
import type { SettingsGuard } from './settings-guard.ts';
import { type AskPerson, createAskSettler, type Settled } from './settle-ask.ts';
import { createTamperWatch } from './tamper-watch.ts';
import { timeLimit } from './time-limit.ts';
import { createTurnQueue, type TurnQueue } from './turn-queue.ts';

export type { Actor } from './build-call.ts';

/** The policy of the moment. */
export interface DecidingPolicy {
  /** Mode of the moment; known before the policy is loaded. */
  readonly mode: Mode;
  readonly version: number;
  /** Not refreshed for longer than it lives; what that means has been made part of the decision. */
  readonly stale?: boolean;
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
  /** Takes the session's own secrets out of everything, before it is decided on. */
  readonly redactor: Redactor;
  /** Takes what looks like a secret out of what is recorded. Default {@link createRecordRedactor}. */
  readonly patterns?: PayloadRedactor;
  /** What is kept of payloads from now on. Default `summary`. */
  readonly payloads?: () => PayloadSetting;
  readonly policy: DecidingPolicy;
  readonly sink: EventSink;
  /** Loads the reader of calls; called once, before the first call at the latest. */
  readonly loadReader: () => Promise<CallReader>;
  /** Default: nothing is known. */
  readonly facts?: CallFacts;
  /** The agent was started where it can ask its user itself. Default false. */
  readonly interactive?: boolean;
  /** Left out: a rule that asks for a person denies. */
  readonly askPerson?: AskPerson;
  /** What the watch for tampering needs to know. */
  readonly watch?: {
    /** Whether a hook that fails lets the call run, as the agent's settings say. */
    readonly failsOpen: boolean;
    readonly missed: () => ReadonlyMap<string, number>;
    readonly settings?: SettingsGuard;
  };
  /** Longest time reading and deciding may take, without asking anybody; default 10,000 ms. */
  readonly decideWithinMs?: number;
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
  /** Hands what is still to be recorded to the sink, at the end of a session. */
  settle(): void;
}

/** What handling one event needs. */
interface Room extends HookHandlerOptions {
  readonly patterns: PayloadRedactor;
  readonly payloads: () => PayloadSetting;
  readonly counts: HookCounts;
  /** What has time until answers are out. */
  readonly later: TurnQueue;
  readonly calls: ReturnType<typeof createCallBuilder>;
  readonly asks: ReturnType<typeof createAskSettler>;
  readonly tampering: ReturnType<typeof createTamperWatch>;
}

/** Makes the handler of one session. */
export function createHookHandler(options: HookHandlerOptions): HookHandler {
  const { agent, policy, redactor } = options;
  const room = furnish(options);
  const isDecided = (event: string): boolean => decidedSteps.includes(agent.stepOf(event));

  const handleHook = async (request: HookRequest): Promise<HookReply> => {
    if (request.agent !== agent.name) throw new Error('another agent than the session was opened for');
    options.onEvent?.(request.event);
    const event = readEvent(agent, redactor, request);
    const agentSession = event.raw?.agentSession ?? null;
    if (agentSession !== null) options.onAgentSession?.(agentSession);
    if (isDecided(request.event)) {
      return agent.encodeAnswer(request.event, await decideCall(room, request, event));
    }
    recordOther(room, request, event);
    return agent.encodeAnswer(request.event, { kind: 'silent' });
  };

  return {
    handleHook,
    counts: room.counts,
    settle: room.later.drain,
    onFailure(request) {
      if (policy.mode !== 'enforce' || !isDecided(request.event)) {
        return agent.encodeAnswer(request.event, { kind: 'silent' });
      }
      const reason = denyText('the call could not be decided', null);
      return agent.encodeAnswer(request.event, { kind: 'deny', reason });
    },
  };
}

const decidedSteps: readonly string[] = ['proposed', 'permission', 'elicitation'];

function furnish(options: HookHandlerOptions): Room {
  const { agent, facts = noFacts, interactive = false, askPerson } = options;
  const patterns = options.patterns ?? createRecordRedactor();
  const { failsOpen, missed, settings } = options.watch ?? { failsOpen: false, missed: () => new Map() };
  return {
    ...options,
    patterns,
    payloads: options.payloads ?? (() => 'summary'),
    counts: { toolCalls: 0, denied: 0, wouldDeny: 0 },
    later: createTurnQueue(),
    calls: createCallBuilder({ ...options, facts }),
    asks: createAskSettler({
      ...{ agent, interactive, nowMs: facts.nowMs },
      show: (call, part) => redactQuestion(patterns, call, part),
      ...(askPerson === undefined ? {} : { askPerson }),
    }),
    tampering: createTamperWatch({
      ...{ agent, failsOpen, missed },
      ...(settings === undefined ? {} : { settings }),
    }),
  };
}

/** What was decided about a call, and what it is to be recorded with. */
interface Verdict extends BuiltCall {
  readonly decision: Decision;
  readonly effect: Decision['effect'];
  /** Why it is denied in enforce; null when it is not. */
  readonly blockedWhy: string | null;
  readonly settled: Settled | null;
  readonly stale: boolean;
}

async function decideCall(room: Room, request: HookRequest, event: ReadEvent): Promise<Answer> {
  const { agent, counts, tampering, sink, asks } = room;
  const step = agent.stepOf(request.event);
  if (step === 'proposed' && event.raw !== null) tampering.proposed(event.raw);
  if (step === 'permission' && event.raw !== null) tampering.asked(event.raw);
  const first = await judge(room, request, event);
  const approvalId =
    step === 'permission' && first.effect === 'ask' && first.decision.mode === 'enforce'
      ? asks.approvedJustNow(event)
      : null;
  const verdict: Verdict =
    approvalId === null
      ? await askIfWanted(room, request, event, first)
      : { ...first, effect: 'allow', settled: { kind: 'approved', approvalId } };
  const record = sink.intend(intentOf(room, event, verdict, step));
  afterAnswer(room, record, () => decidedPayload(room, request, event, verdict));
  const { decision, effect, settled } = verdict;
  const enforced = decision.mode === 'enforce';
  const why = enforced && record === null ? unrecordedWhy : verdict.blockedWhy;
  if (step === 'proposed') {
    if (event.raw === null) tampering.proposedUnread(why === null);
    if (why !== null && event.raw?.toolUse) tampering.denied(event.raw.toolUse);
    counts.toolCalls += 1;
    if (why !== null) counts.denied += 1;
    else if (effect === 'deny') counts.wouldDeny += 1;
  }
  if (why !== null) return { kind: 'deny', reason: denyText(why, decision.rule) };
  if (settled?.kind === 'approved') return { kind: 'allow', approvalId: settled.approvalId };
  return settled?.kind === 'agent' ? settled.answer : { kind: 'silent' };
}

/** Reads the call and asks the policy. */
async function judge(room: Room, request: HookRequest, event: ReadEvent): Promise<Verdict> {
  const { policy, sink, calls } = room;
  const built = await calls.build(request.event, event);
  const decision =
    built.failure === null
      ? await decide(room, built.call)
      : failedDecision(policy, 'the call could not be read', built.failure);
  const enforced = decision.mode === 'enforce';
  // Where the record cannot show that a call happened, it may not happen.
  const isUnrecorded = sink.full;
  const isDenied = decision.effect === 'deny' || (enforced && (event.opaque !== null || isUnrecorded));
  const why =
    event.opaque !== null
      ? `the call cannot be read: ${event.opaque}`
      : isUnrecorded
        ? unrecordedWhy
        : decision.reason;
  return {
    ...built,
    decision,
    effect: isDenied ? 'deny' : decision.effect,
    blockedWhy: enforced && isDenied ? why : null,
    settled: null,
    stale: policy.stale ?? false,
  };
}

const unrecordedWhy = 'the local record of tool calls is full and cannot take this one';

async function askIfWanted(
  room: Room,
  request: HookRequest,
  event: ReadEvent,
  verdict: Verdict,
): Promise<Verdict> {
  const { sink, asks } = room;
  const { call, decision, effect } = verdict;
  if (effect !== 'ask' || decision.mode !== 'enforce') return verdict;
  const asked = { call, read: event, decision };
  if (asks.byAgent(asked)) {
    return { ...verdict, settled: { kind: 'agent', answer: { kind: 'ask', reason: askText(decision) } } };
  }
  // Whoever is killed while somebody thinks leaves the attempt on record.
  const attempt = sink.intend({
    ...headerOf(room, event, decision),
    ...{ kind: 'tool_call.proposed', decision: 'ask' },
  });
  if (attempt === null) return { ...verdict, effect: 'deny', blockedWhy: unrecordedWhy };
  attempt(decidedPayload(room, request, event, verdict));
  const settled = await asks.askPerson(asked);
  if (settled.kind !== 'denied') return { ...verdict, effect: 'allow', settled };
  const blockedWhy = `${decision.reason}; ${settled.why}`;
  return { ...verdict, effect: 'deny', blockedWhy, settled };
}

/** A policy that cannot be loaded, or does not answer, is a deny like one that cannot be evaluated. */
async function decide({ policy, decideWithinMs = 10_000 }: Room, call: ToolCall): Promise<Decision> {
  try {
    return await timeLimit(policy.decide(call), decideWithinMs);
  } catch (error) {
    const failure = error instanceof Error ? error.message.slice(0, 500) : 'unknown';
    return failedDecision(policy, 'the policy could not be loaded', failure);
  }
}

const failedDecision = (policy: DecidingPolicy, reason: string, failure: string): Decision => ({
  effect: 'deny',
  rule: null,
  reason,
  part: null,
  approver: null,
  fourEyes: false,
  sensitive: false,
  policyVersion: policy.version,
  mode: policy.mode,
  failure,
});

function intentOf(room: Room, event: ReadEvent, verdict: Verdict, step: string): IntentFields {
  const { decision, effect, blockedWhy, settled } = verdict;
  // The agent asking its user is no decision of ours, unless we answer in the user's place.
  const isOurs = step !== 'permission' || blockedWhy !== null || settled?.kind === 'approved';
  const approval = settled === null || settled.kind === 'agent' ? null : settled.approvalId;
  return {
    ...headerOf(room, event, decision),
    kind: isOurs ? 'tool_call.decided' : 'approval.requested',
    decision: effect,
    ...(approval === null ? {} : { lineage: { approval } }),
  };
}

function headerOf(room: Room, event: ReadEvent, { rule, policyVersion, mode }: Decision) {
  return { ...callNames(room, event), rule: headerText(room, rule), policyVersion, mode };
}

function decidedPayload(
  { patterns, payloads }: Room,
  request: HookRequest,
  event: ReadEvent,
  verdict: Verdict,
): string | null {
  const { call, decision, settled, stale } = verdict;
  const { reason, failure, part, approver, fourEyes } = decision;
  // Without these nobody could tell what the view is worth, so they go wherever it goes.
  const view = {
    ...(failure === null ? {} : { failure }),
    ...(stale ? { policyStale: true } : {}),
    ...opaqueFacts(request, event),
    call,
  };
  if (payloads() === 'omitted') return payloadText(patterns, view);
  return payloadText(patterns, {
    reason: clipUtf8(reason, 500),
    ...(part === null ? {} : { part: clipUtf8(part, 500) }),
    ...(decision.effect === 'ask' ? { approver, fourEyes } : {}),
    ...(settled === null ? {} : { asked: describeSettled(settled) }),
    details: event.redacted?.details ?? {},
    ...view,
  });
}

const describeSettled = (settled: Settled): string =>
  settled.kind === 'agent' ? 'the user, by the agent' : settled.kind;

const opaqueFacts = (request: HookRequest, { opaque }: ReadEvent) =>
  opaque === null ? {} : { opaque, inputBytes: request.trueLength };

function recordOther(room: Room, request: HookRequest, event: ReadEvent): void {
  const { sink, agent, tampering, redactor, patterns, payloads } = room;
  const step = agent.stepOf(request.event);
  const { text: name } = redactor.redactText(request.event);
  const isFull = payloads() === 'full';
  const write = (record: WriteRecord | null, parts: () => Readonly<Record<string, unknown>>): void =>
    afterAnswer(room, record, () => (payloads() === 'omitted' ? leftOut : payloadText(patterns, parts())));
  for (const { kind, facts } of event.raw === null ? [] : tampering.look(event.raw)) {
    const { value } = redactor.redactJson(facts);
    const input = step === 'other' ? {} : { input: event.redacted?.input };
    write(sink.intend({ kind, ...callNames(room, event) }), () => ({ event: name, facts: value, ...input }));
  }
  const kind =
    step === 'completed' ? 'tool_call.completed' : step === 'failed' ? 'tool_call.failed' : 'agent.event';
  write(sink.intend({ kind, ...callNames(room, event) }), () => ({
    event: name,
    ...opaqueFacts(request, event),
    ...describeEnd(room, event, isFull),
  }));
}

/** Texts that a tool gave back are kept where the organisation keeps them in full; what they looked like is, always. */
function describeEnd({ redactor }: Room, { raw, redacted }: ReadEvent, isFull: boolean) {
  const { error, ...facts } = redacted?.details ?? {};
  if (!isFull) return { details: facts };
  const details = error === undefined ? facts : { ...facts, error };
  if (raw === null || raw.result === null) return { details };
  const result = redactor.redactJson(raw.result);
  return { details, ...(result.omitted ? {} : { result: result.value }) };
}

const callNames = (room: Room, { redacted }: ReadEvent) => ({
  tool: headerText(room, redacted?.tool),
  toolUse: headerText(room, redacted?.toolUse),
});

/** Fit for a header, whatever the agent sends: nothing that a backend refuses, at most 256 code units, never empty. */
const headerText = ({ patterns }: Room, text: string | null | undefined): string | null =>
  text ? toHeaderText(text, headerLimits.tool, (name) => redactName(patterns, name)) : null;

/** In the order of the intents, once the reply has been given to the socket. */
function afterAnswer(
  { later }: Room,
  record: WriteRecord | null,
  payload: () => Parameters<WriteRecord>[0],
): void {
  if (record === null) return;
  later.add(() => {
    let text: Parameters<WriteRecord>[0] = null;
    try {
      text = payload();
    } catch {
      // The event is written without payload.
    }
    record(text);
  });
}

const denyText = (why: string, rule: string | null): string =>
  `kontext: denied${rule === null ? '' : ` by rule ${rule}`}: ${oneLine(why)}`;
const askText = ({ reason, rule }: Decision): string =>
  `kontext: approval needed${rule === null ? '' : ` by rule ${rule}`}: ${oneLine(reason)}`;

/** Reasons come from policy texts; an agent shows them to its user. */
const oneLine = (text: string): string => text.slice(0, 1000).replaceAll(/\p{Cc}+/gu, ' ');
