import type { RecordedCall } from '../store/queries/recorded-calls.ts';
import type { Redecided } from './worker-protocol.ts';

type Effect = 'allow' | 'deny' | 'ask';

/** Calls of one kind that would be decided otherwise in the same way. */
export interface ReplayGroup {
  readonly shape: string;
  readonly before: Effect;
  readonly after: Effect;
  /** That decides after; empty when none does. */
  readonly rule: string;
  readonly calls: number;
  /** Names, in the order of their newest call, at most 20. */
  readonly people: readonly string[];
  /** Newest call. */
  readonly exampleEventId: string;
  readonly exampleSessionId: string;
}

/** What was decided beside what would be. `calls` is the sum of all the others. */
export interface ReplayReport {
  readonly calls: number;
  readonly same: number;
  readonly newlyDenied: number;
  readonly newlyAsked: number;
  readonly newlyAllowed: number;
  /** Calls that cannot be decided exactly again, by cause, most frequent first. */
  readonly notReproducible: readonly { readonly cause: string; readonly calls: number }[];
  /** Changes, most frequent first, at most 200. */
  readonly groups: readonly ReplayGroup[];
  /** Whose calls were looked at. */
  readonly people: number;
  readonly sessions: number;
  readonly truncated: boolean;
}

const maxGroups = 200;
const maxPeople = 20;
/** Kinds of change that are told apart; a replay has far fewer, but tool names come from developers' machines. */
const maxKinds = 10_000;
const maxCauses = 50;

interface Group extends Omit<ReplayGroup, 'people' | 'calls'> {
  calls: number;
  readonly people: Set<string>;
}

/** Counts decisions, newest call first. */
export interface ReplayCounter {
  readonly calls: number;
  add(call: RecordedCall, again: Redecided): void;
  /** @param truncated There were more calls. */
  report(truncated: boolean): ReplayReport;
}

/** Makes a counter. Bounded in memory, whatever was recorded. */
export function createReplayCounter(): ReplayCounter {
  const changed = { deny: 0, ask: 0, allow: 0 };
  let [calls, same] = [0, 0];
  const causes = new Map<string, number>();
  const groups = new Map<string, Group>();
  const people = new Set<string>();
  const sessions = new Set<string>();
  return {
    get calls() {
      return calls;
    },
    add(call, again) {
      calls += 1;
      if (call.userId !== null) people.add(call.userId);
      if (call.sessionId !== null) sessions.add(call.sessionId);
      const before = effectOf(call.decision);
      const cause =
        'notReproducible' in again
          ? again.notReproducible
          : before === null
            ? 'what was decided is not known here'
            : null;
      if (cause !== null) {
        const name = causes.has(cause) || causes.size < maxCauses ? cause : 'other causes';
        causes.set(name, (causes.get(name) ?? 0) + 1);
      } else if (before !== null && 'effect' in again) {
        if (again.effect === before) same += 1;
        else {
          changed[again.effect] += 1;
          count(groups, call, before, again);
        }
      }
    },
    report: (truncated) => ({
      ...{ calls, same, truncated, people: people.size, sessions: sessions.size },
      ...{ newlyDenied: changed.deny, newlyAsked: changed.ask, newlyAllowed: changed.allow },
      notReproducible: [...causes]
        .map(([cause, counted]) => ({ cause, calls: counted }))
        .sort((a, b) => b.calls - a.calls),
      groups: [...groups.values()]
        .sort((a, b) => b.calls - a.calls)
        .slice(0, maxGroups)
        .map((group) => ({ ...group, people: [...group.people] })),
    }),
  };
}

const effectOf = (decision: string | null): Effect | null =>
  decision === 'allow' || decision === 'deny' || decision === 'ask' ? decision : null;

function count(
  groups: Map<string, Group>,
  call: RecordedCall,
  before: Effect,
  { effect: after, rule, shape }: Extract<Redecided, { effect: Effect }>,
): void {
  const key = JSON.stringify([shape, before, after, rule]);
  const known = groups.get(key);
  if (known === undefined && groups.size >= maxKinds) return;
  const group = known ?? {
    ...{ shape, before, after, rule: rule ?? '', calls: 0, people: new Set<string>() },
    ...{ exampleEventId: call.eventId, exampleSessionId: call.sessionId ?? '' },
  };
  group.calls += 1;
  if (group.people.size < maxPeople) group.people.add(call.userName ?? call.userId ?? '');
  groups.set(key, group);
}
