import type { Answer } from '../agents/agent.ts';
import { askText, denyText } from './answer-text.ts';
import { afterAnswer } from './event-facts.ts';
import type { HookRequest } from './frames.ts';
import type { HookRoom } from './hook-room.ts';
import { judgeCall, unrecordedWhy, type Verdict } from './judge-call.ts';
import type { ReadEvent } from './read-event.ts';
import { decidedPayload, headerOf, intentOf } from './record-decided.ts';

/** Decides a call, asks whom a rule wants asked, writes the intent line and says what the agent is answered. */
export async function decideCall(room: HookRoom, request: HookRequest, event: ReadEvent): Promise<Answer> {
  const step = room.agent.stepOf(request.event);
  if (step === 'proposed' && event.raw !== null) room.tampering.proposed(event.raw);
  if (step === 'permission' && event.raw !== null) room.tampering.asked(event.raw);
  const verdict = await settle(room, request, event, step);
  const record = room.sink.intend(intentOf(room, event, verdict, step));
  afterAnswer(room, record, () => decidedPayload(room, request, event, verdict));
  const isUnrecorded = verdict.decision.mode === 'enforce' && record === null;
  const why = isUnrecorded ? unrecordedWhy : verdict.blockedWhy;
  if (step === 'proposed') noteProposed(room, event, verdict, why);
  return answerOf(verdict, why);
}

/** What was just approved is not asked for again when the agent asks its user about the same call. */
async function settle(
  room: HookRoom,
  request: HookRequest,
  event: ReadEvent,
  step: string,
): Promise<Verdict> {
  const verdict = await judgeCall(room, request, event);
  const isAsked = verdict.effect === 'ask' && verdict.decision.mode === 'enforce';
  const approvalId = step === 'permission' && isAsked ? room.asks.approvedJustNow(event) : null;
  if (approvalId === null) return askIfWanted(room, request, event, verdict);
  return { ...verdict, effect: 'allow', settled: { kind: 'approved', approvalId } };
}

function noteProposed(
  { tampering, counts }: HookRoom,
  { raw }: ReadEvent,
  { effect }: Verdict,
  why: string | null,
): void {
  if (raw === null) tampering.proposedUnread(why === null);
  if (why !== null && raw?.toolUse) tampering.denied(raw.toolUse);
  counts.toolCalls += 1;
  if (why !== null) counts.denied += 1;
  else if (effect === 'deny') counts.wouldDeny += 1;
}

function answerOf({ decision, settled }: Verdict, why: string | null): Answer {
  if (why !== null) return { kind: 'deny', reason: denyText(why, decision.rule) };
  if (settled?.kind === 'approved') return { kind: 'allow', approvalId: settled.approvalId };
  return settled?.kind === 'agent' ? settled.answer : { kind: 'silent' };
}

async function askIfWanted(
  room: HookRoom,
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
