/**
 * Notices what should not happen while an agent works under hooks. Each finding is an event of its own kind:
 *
 * - `tamper.unproposed_result`: a call ended that was never proposed, or that was denied;
 * - `tamper.input_changed`: a call ran with another input than the one that was decided;
 * - `tamper.subagent_unseen`: a sub-agent ended, or had a result, whose start and calls were never seen;
 * - `tamper.config_changed`: settings that bear on hooks were changed while the agent ran.
 *
 * No false alarm: a proposal that could not be read, or whose hook failed and let the call run, may be missing.
 */
import type { EventKind } from '@kontext/audit';
import type { AgentAdapter, AgentEvent } from '../agents/agent.ts';
import { createInputPairs, type PairResult } from './input-pairs.ts';
import type { SettingsGuard } from './settings-guard.ts';

/** Something that was noticed, with facts for its record. */
export interface TamperFinding {
  readonly kind: Extract<EventKind, `tamper.${string}`>;
  readonly facts: Readonly<Record<string, unknown>>;
}

/** What the watch asks of its surroundings. */
export interface TamperWatchOptions {
  readonly agent: Pick<AgentAdapter, 'steadyInput' | 'settingsEvent'>;
  /** Whether a hook that fails lets the call run, as the settings of the agent's start said. */
  readonly failsOpen: boolean;
  /** Hooks that failed and let things go on so far, by event. */
  readonly missed: () => ReadonlyMap<string, number>;
  /** Left out: settings are not watched. */
  readonly settings?: SettingsGuard;
}

/** Watches one session. */
export interface TamperWatch {
  /** A call is proposed. */
  proposed(event: AgentEvent): void;
  /** A proposal could not be read. @param runs Whether it was let through all the same. */
  proposedUnread(runs: boolean): void;
  /** The user is about to be asked. */
  asked(event: AgentEvent): void;
  denied(toolUse: string): void;
  /** Looks at an event that cannot be blocked. @returns What it gives away; mostly nothing. */
  look(event: AgentEvent): readonly TamperFinding[];
}

/** Names of the events whose missing explains a result without proposal, or a sub-agent without start. */
const proposalEvents = ['PreToolUse'];
const startEvents = ['PreToolUse', 'SubagentStart'];
/** Sub-agents kept at a time. */
const maxSubagents = 4096;

/** Makes the watch of a session. */
export function createTamperWatch(options: TamperWatchOptions): TamperWatch {
  const { agent, settings } = options;
  const pairs = createInputPairs(agent.steadyInput);
  const subagents = new Set<string>();
  /** Proposals that are known to be missing, and how many of them have been taken to explain something. */
  let unread = 0;
  const excused = { results: 0, subagents: 0 };

  const seen = (id: string | null): void => {
    if (id === null) return;
    if (subagents.size >= maxSubagents) subagents.delete(subagents.values().next().value ?? '');
    subagents.add(id);
  };
  const missedOf = (events: readonly string[]): number => {
    const missed = options.missed();
    return events.reduce((sum, event) => sum + (missed.get(event) ?? 0), 0);
  };
  /** Each missing hook explains one finding. */
  const excuse = (what: keyof typeof excused, known: number): boolean => {
    if (excused[what] >= known) return false;
    excused[what] += 1;
    return true;
  };

  const lookAtSubagent = (event: AgentEvent): TamperFinding[] => {
    const { subagentId, subagent } = event;
    if (subagentId === null || subagents.has(subagentId)) return [];
    // Helpers of the agent's own, which it starts without a kind, are told at their end alone.
    if (event.step === 'other' && !subagent) return [];
    seen(subagentId);
    if (excuse('subagents', missedOf(startEvents) + unread)) return [];
    return [{ kind: 'tamper.subagent_unseen', facts: { agentId: subagentId, agentType: subagent } }];
  };
  const lookAtResult = (event: AgentEvent): TamperFinding[] => {
    const { toolUse, tool, input, step } = event;
    if (toolUse === null || tool === null) return [];
    const result = pairs.end(toolUse, tool, input, step === 'completed');
    if (result === 'unknown') {
      // Told once, whatever else comes of the call.
      pairs.propose(toolUse, tool, input);
      pairs.end(toolUse, tool, input, true);
      const subagent = lookAtSubagent(event);
      if (subagent.length > 0) return subagent;
      const known = unread + (options.failsOpen ? missedOf(proposalEvents) : 0);
      if (excuse('results', known)) return [];
    }
    return findingOf(result);
  };

  return {
    proposed(event) {
      seen(event.subagentId);
      const { toolUse, tool, input } = event;
      if (toolUse !== null && tool !== null) pairs.propose(toolUse, tool, input);
    },
    proposedUnread(runs) {
      if (runs) unread += 1;
    },
    asked: ({ tool, input }) => pairs.ask(tool ?? '', input),
    denied: (toolUse) => pairs.deny(toolUse),
    look(event) {
      if (event.step === 'completed' || event.step === 'failed') return lookAtResult(event);
      if (event.event === agent.settingsEvent) {
        const files = settings?.changed() ?? [];
        return files.length === 0 ? [] : [{ kind: 'tamper.config_changed', facts: { files } }];
      }
      if (event.event !== 'SubagentStart') return lookAtSubagent(event);
      seen(event.subagentId);
      return [];
    },
  };
}

function findingOf(result: PairResult): TamperFinding[] {
  switch (result) {
    case 'changed':
      return [{ kind: 'tamper.input_changed', facts: {} }];
    case 'unknown':
      return [{ kind: 'tamper.unproposed_result', facts: { denied: false } }];
    case 'denied':
      return [{ kind: 'tamper.unproposed_result', facts: { denied: true } }];
    default:
      return [];
  }
}
