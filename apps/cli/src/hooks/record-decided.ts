import type { Decision } from '@kontext/policy';
import { callNames, opaqueFacts, toName } from './event-facts.ts';
import type { IntentFields } from './event-sink.ts';
import type { HookRequest } from './frames.ts';
import type { HookRoom } from './hook-room.ts';
import type { Verdict } from './judge-call.ts';
import { clipUtf8, payloadText } from './payload-text.ts';
import type { ReadEvent } from './read-event.ts';
import type { Settled } from './settle-ask.ts';

/** The intent line of a decided call. */
export function intentOf(room: HookRoom, event: ReadEvent, verdict: Verdict, step: string): IntentFields {
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

/** What the header of a decided call says, whatever kind it is recorded as. */
export function headerOf(room: HookRoom, event: ReadEvent, { rule, policyVersion, mode }: Decision) {
  return { ...callNames(room, event), rule: toName(room, rule), policyVersion, mode };
}

/** The payload of a decided call; null where it is left out. */
export function decidedPayload(
  { patterns, payloads }: HookRoom,
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
