import type { CallReader, Decision, Mode, ToolCall } from '@kontext/policy';
import type { PayloadRedactor, Redactor } from '@kontext/redaction';
import type { AgentAdapter } from '../agents/agent.ts';
import { type Actor, createCallBuilder } from './build-call.ts';
import { type CallFacts, noFacts } from './call-facts.ts';
import type { EventSink } from './event-sink.ts';
import { createRecordRedactor, type PayloadSetting, redactQuestion } from './payload-text.ts';
import type { SettingsGuard } from './settings-guard.ts';
import { type AskPerson, createAskSettler } from './settle-ask.ts';
import { createTamperWatch } from './tamper-watch.ts';
import { createTurnQueue, type TurnQueue } from './turn-queue.ts';

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

/** What handling the events of one session needs. */
export interface HookRoom extends HookHandlerOptions {
  readonly patterns: PayloadRedactor;
  readonly payloads: () => PayloadSetting;
  readonly counts: HookCounts;
  /** What has time until answers are out. */
  readonly later: TurnQueue;
  readonly calls: ReturnType<typeof createCallBuilder>;
  readonly asks: ReturnType<typeof createAskSettler>;
  readonly tampering: ReturnType<typeof createTamperWatch>;
}

/** Makes what {@link HookHandlerOptions} leave out. */
export function furnishRoom(options: HookHandlerOptions): HookRoom {
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
