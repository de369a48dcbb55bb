import type { Decision, ToolCall } from '@kontext/policy';
import type { BuiltCall } from './build-call.ts';
import type { HookRequest } from './frames.ts';
import type { DecidingPolicy, HookRoom } from './hook-room.ts';
import type { ReadEvent } from './read-event.ts';
import type { Settled } from './settle-ask.ts';
import { timeLimit } from './time-limit.ts';

/** What was decided about a call, and what it is to be recorded with. */
export interface Verdict extends BuiltCall {
  readonly decision: Decision;
  readonly effect: Decision['effect'];
  /** Why it is denied in enforce; null when it is not. */
  readonly blockedWhy: string | null;
  readonly settled: Settled | null;
  readonly stale: boolean;
}

/** Why a call is denied that could not be shown to have happened. */
export const unrecordedWhy = 'the local record of tool calls is full and cannot take this one';

/** Reads the call and asks the policy. */
export async function judgeCall(room: HookRoom, request: HookRequest, event: ReadEvent): Promise<Verdict> {
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

/** A policy that cannot be loaded, or does not answer, is a deny like one that cannot be evaluated. */
async function decide({ policy, decideWithinMs = 10_000 }: HookRoom, call: ToolCall): Promise<Decision> {
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
