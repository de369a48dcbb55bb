import { createHash } from 'node:crypto';
import { headerLimits } from '@kontext/audit';
import { appendServerEvents, type ServerEvent } from '../audit/append-server-event.ts';
import type { ApprovalRow } from '../store/queries/approvals.ts';
import type { Tx } from '../store/tx.ts';

/** What happened to an approval. */
export type ApprovalEventKind =
  | 'approval.requested'
  | 'approval.decided'
  | 'approval.used'
  | 'approval.expired';

/** Parts of a call are clipped to this in facts and messages, in UTF-16 units. */
export const clippedPart = (part: string): string => (part.length > 300 ? `${part.slice(0, 300)}…` : part);

/**
 * Records what happened to approvals of one session on its server stream; call it last but for messages of webhooks.
 *
 * @param facts What else is to be said, per row.
 */
export async function recordApprovals(
  tx: Tx,
  kind: ApprovalEventKind,
  rows: readonly ApprovalRow[],
  facts: (row: ApprovalRow) => Readonly<Record<string, unknown>>,
  now: Date,
): Promise<void> {
  const [first] = rows;
  if (first === undefined) return;
  const { orgId, sessionId } = first;
  const events = rows.map((row) => toEvent(kind, row, facts(row)));
  await appendServerEvents(tx, { orgId, sessionId }, events, now);
}

function toEvent(
  kind: ApprovalEventKind,
  row: ApprovalRow,
  facts: Readonly<Record<string, unknown>>,
): ServerEvent {
  const { userId, agent, policyVersion } = row;
  return {
    ...{ kind, user: kind === 'approval.decided' ? row.decidedBy : userId, agent, policyVersion },
    tool: row.tool.slice(0, headerLimits.tool),
    toolUse: row.toolUseId?.slice(0, headerLimits.toolUse) ?? null,
    rule: row.rule,
    decision: decisionOf(kind, row),
    lineage: { approval: row.id },
    facts: { approval: row.id, ...facts },
  };
}

function decisionOf(kind: ApprovalEventKind, { state }: ApprovalRow): 'allow' | 'deny' | 'ask' | null {
  if (kind === 'approval.requested') return 'ask';
  if (kind === 'approval.expired') return null;
  return state === 'denied' ? 'deny' : 'allow';
}

/**
 * What a question was, as its event says it: who was to decide, about what, and a hash of the very text they were shown.
 *
 * Not the keyed hashes of the call: they are what an approval is found by, and whoever has the user's login reads this event. They
 * could ask about a harmless text under the hash of another call.
 */
export const questionFacts = (row: ApprovalRow) => ({
  ...{ part: clippedPart(row.part), reason: row.reason, approver: row.approver, fourEyes: row.fourEyes },
  callClipped: row.callClipped,
  shown: createHash('sha256').update(row.call).digest('hex'),
  expiresAt: row.expiresAt.toISOString(),
});

/** What was decided, by whom, and how they were logged in. */
export const decisionFacts = (row: ApprovalRow) => ({
  ...{ state: row.state, lifetime: row.lifetime, decidedBy: row.decidedBy, acr: row.acr },
  ...{ reason: row.decisionReason, approver: row.approver, fourEyes: row.fourEyes, owner: row.userId },
  expiresAt: row.expiresAt.toISOString(),
});
