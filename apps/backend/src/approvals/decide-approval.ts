import { KontextError } from '@kontext/errors';
import type { BrowserAccount } from '../login/browser-sessions.ts';
import { checkFresh } from '../login/fresh-login.ts';
import {
  type ApprovalDecision,
  type ApprovalRow,
  decideApproval,
  decideSameShape,
} from '../store/queries/approvals.ts';
import { findMember, type MemberRow } from '../store/queries/members.ts';
import {
  type ApprovalViewer,
  findApproval,
  listSameShape,
  type NamedApproval,
} from '../store/queries/named-approvals.ts';
import { lockSession } from '../store/queries/sessions.ts';
import type { Tx } from '../store/tx.ts';
import { queueMessages } from '../webhooks/queue-messages.ts';
import { approvalMessage } from './approval-message.ts';
import { type ApprovalDeps, approvalUrl } from './deps.ts';
import { mayDecide } from './may-decide.ts';
import { decisionFacts, recordApprovals } from './record-approval.ts';
import { openMs } from './request-approval.ts';

/** What a person can say. */
export type Verdict = 'once' | 'session' | 'hour' | 'deny';

/** A question as its page shows it. */
export interface ShownApproval extends NamedApproval {
  /** `pending`, unless its time is over or somebody decided. */
  readonly state: ApprovalRow['state'];
  readonly orgName: string;
  /** Whoever looks. */
  readonly viewerName: string;
  /** What was decided in this session about calls of the same shape, newest first. */
  readonly before: readonly NamedApproval[];
}

const hourMs = 60 * 60_000;
/** The session ends long before, and the approval with it. */
const sessionMs = 30 * 24 * hourMs;
const maxReasonLength = 500;

/**
 * Shows a question to whoever may decide it.
 *
 * @throws KontextError `KX_NOT_FOUND` to everybody else, as if there were none.
 */
export async function showApproval(
  { store, nowMs }: ApprovalDeps,
  opener: BrowserAccount,
  id: string,
): Promise<ShownApproval> {
  return store.transaction({ role: 'app', orgId: opener.orgId }, async (tx) => {
    const { found, member } = await findToDecide(tx, opener, id);
    const { userName: viewerName, orgName } = member;
    const before = await listSameShape(tx, found.approval, 5);
    return { ...found, viewerName, orgName, before, state: stateAt(found.approval, nowMs()) };
  });
}

/**
 * Decides, once. An approval for the session also settles the other open questions that it covers.
 *
 * @throws KontextError `KX_NOT_FOUND` as {@link showApproval}; `KX_FORBIDDEN` when the login is too old or too weak;
 *   `KX_APPROVAL_OVER` when it was decided before, has expired, or the session does not live; `KX_REQUEST_INVALID` when the
 *   reason is longer than 500 characters.
 */
export async function decide(
  deps: ApprovalDeps,
  opener: BrowserAccount,
  id: string,
  verdict: Verdict,
  reason: string,
): Promise<ApprovalRow> {
  checkFresh(opener, deps.nowMs());
  const decisionReason = checkReason(reason);
  const decided = await deps.store.transaction({ role: 'app', orgId: opener.orgId }, async (tx) => {
    const now = new Date(deps.nowMs());
    const { found } = await findToDecide(tx, opener, id);
    const session = await lockSession(tx, found.approval.sessionId);
    if (session?.state !== 'live') throw over('its session does not live any more');
    const said = { decidedBy: opener.userId, decisionReason, acr: opener.acr };
    const row = await decideApproval(tx, id, { ...said, ...effectOf(verdict, now) }, now);
    if (row === null) throw over(whyOver(found.approval, deps.nowMs()));
    const others =
      verdict === 'session' ? await decideSameShape(tx, row, { ...said, ...effectOf('once', now) }, now) : [];
    await recordApprovals(tx, 'approval.decided', [row, ...others], decisionFacts, now);
    for (const settled of [row, ...others]) await tell(tx, deps, settled, now);
    return [row, ...others];
  });
  deps.appended.notify(opener.orgId);
  for (const { id: settledId } of decided) deps.decided.notify(settledId);
  const [row] = decided;
  if (row === undefined) throw new KontextError('KX_INTERNAL', 'an approval was not stored');
  return row;
}

async function tell(tx: Tx, deps: ApprovalDeps, { id, orgId }: ApprovalRow, now: Date): Promise<void> {
  const named = await findApproval(tx, orgId, id);
  if (named === null) return;
  const message = approvalMessage(named, approvalUrl(deps, id));
  await queueMessages(tx, orgId, 'approval.decided', message, now);
}

/** The person's groups and role are read now: what they were when the question was asked does not count. */
async function findToDecide(
  tx: Tx,
  { userId, orgId }: BrowserAccount,
  id: string,
): Promise<{ readonly found: NamedApproval; readonly member: MemberRow }> {
  const [found, member] = [await findApproval(tx, orgId, id), await findMember(tx, userId)];
  if (found === null || member === null || member.disabled) throw notFound();
  const viewer: ApprovalViewer = { userId, orgId, role: member.role, groups: member.groups };
  if (!mayDecide(found.approval, viewer)) throw notFound();
  return { found, member };
}

function effectOf(verdict: Verdict, now: Date): Pick<ApprovalDecision, 'state' | 'lifetime' | 'expiresAt'> {
  const until = (ms: number) => new Date(now.getTime() + ms);
  if (verdict === 'deny') return { state: 'denied', lifetime: null, expiresAt: until(openMs) };
  const holdsMs = { once: openMs, hour: hourMs, session: sessionMs }[verdict];
  return { state: 'approved', lifetime: verdict, expiresAt: until(holdsMs) };
}

/** How a question stands at a moment: what nobody swept yet is over all the same. */
export function stateAt({ state, expiresAt }: ApprovalRow, nowMs: number): ApprovalRow['state'] {
  const isOver = expiresAt.getTime() <= nowMs;
  return isOver && (state === 'pending' || state === 'approved') ? 'expired' : state;
}

function whyOver(row: ApprovalRow, nowMs: number): string {
  return stateAt(row, nowMs) === 'expired' && row.decidedAt === null
    ? 'nobody decided within 15 minutes'
    : 'somebody decided it before';
}

function checkReason(reason: string): string {
  const text = reason.replace(/[\p{C}\p{Z}]+/gu, ' ').trim();
  if (text.length <= maxReasonLength) return text;
  throw new KontextError('KX_REQUEST_INVALID', 'the reason is too long', {
    why: `it may have ${maxReasonLength} characters`,
  });
}

const over = (why: string): KontextError =>
  new KontextError('KX_APPROVAL_OVER', 'there is nothing to decide any more', { why });

const notFound = (): KontextError =>
  new KontextError('KX_NOT_FOUND', 'there is no such request, or it is not yours to decide');
