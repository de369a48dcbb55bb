import { KontextError } from '@kontext/errors';
import { type Caller, seesOrganisation } from '../caller.ts';
import { useApproval } from '../store/queries/approvals.ts';
import {
  type ApprovalFilter,
  type ApprovalViewer,
  findApproval,
  listApprovals,
  type NamedApproval,
} from '../store/queries/named-approvals.ts';
import type { Tx } from '../store/tx.ts';
import { stateAt } from './decide-approval.ts';
import type { ApprovalDeps } from './deps.ts';
import { mayDecide } from './may-decide.ts';
import { recordApprovals } from './record-approval.ts';
import { type ApprovalAnswer, useFacts } from './request-approval.ts';

/** Whoever calls, with the groups they are in now. */
export type ApprovalCaller = Caller & { readonly groups: readonly string[] };

/** How to wait. */
export interface Waiting {
  /** Milliseconds, 0 to 25,000. */
  readonly waitMs: number;
  /** Use it when it is approved; only its session's own user can. */
  readonly use: boolean;
  /** Aborted when whoever waits has gone. */
  readonly signal: AbortSignal;
}

/** One page of questions; `next` is the cursor of the following one, null on the last. */
export interface ApprovalPage {
  readonly approvals: readonly NamedApproval[];
  readonly next: string | null;
}

/** A decision made at another replica is seen within this. */
const pollMs = 1_000;

/** Who looks at approvals. */
export const viewerOf = ({ userId, orgId, role, groups }: ApprovalCaller): ApprovalViewer => ({
  userId,
  orgId,
  role,
  groups,
});

/**
 * Finds one for whoever made it, may decide it, or sees the organisation.
 *
 * @throws KontextError `KX_NOT_FOUND` to everybody else.
 */
export async function getApproval(
  { store, nowMs }: ApprovalDeps,
  caller: ApprovalCaller,
  id: string,
): Promise<NamedApproval> {
  return store.transaction({ role: 'read', orgId: caller.orgId }, (tx) => look(tx, caller, id, nowMs()));
}

/**
 * Answers when a question is decided, at the latest after the time given; with `use`, an approval is used by this call.
 *
 * @returns `usable` only when this very call used it.
 * @throws KontextError `KX_NOT_FOUND` as {@link getApproval}, and for `use` by somebody else than the session's user.
 */
export async function waitApproval(
  deps: ApprovalDeps,
  caller: ApprovalCaller,
  id: string,
  { waitMs, use, signal }: Waiting,
): Promise<ApprovalAnswer> {
  const until = performance.now() + waitMs;
  for (;;) {
    // Listening begins before the look: what is decided in between is heard.
    const stop = new AbortController();
    const left = until - performance.now();
    const heard = deps.decided.wait(
      id,
      Math.min(pollMs, Math.max(0, left)),
      AbortSignal.any([signal, stop.signal]),
    );
    const found = await getApproval(deps, caller, id);
    if (use && found.approval.userId !== caller.userId) throw notFound();
    if (found.approval.state !== 'pending' || left <= 0 || signal.aborted) {
      stop.abort();
      if (!use || found.approval.state !== 'approved') return { ...found, usable: false };
      return useNow(deps, caller, found);
    }
    await heard;
  }
}

async function useNow(
  { store, nowMs, appended }: ApprovalDeps,
  { orgId, userId }: ApprovalCaller,
  found: NamedApproval,
): Promise<ApprovalAnswer> {
  const used = await store.transaction({ role: 'app', orgId }, async (tx) => {
    const now = new Date(nowMs());
    const row = await useApproval(tx, found.approval.id, userId, now);
    if (row !== null) await recordApprovals(tx, 'approval.used', [row], () => useFacts(row.toolUseId), now);
    return row;
  });
  if (used !== null) {
    appended.notify(orgId);
    return { ...found, approval: used, usable: true };
  }
  // Somebody else used it, or its session is over: whatever it says, it is no approval of this call.
  const after = await store.transaction({ role: 'read', orgId }, (tx) =>
    findApproval(tx, orgId, found.approval.id),
  );
  const { approval } = after ?? found;
  const state = approval.state === 'used' ? 'used' : 'expired';
  return { ...found, approval: { ...approval, state }, usable: false };
}

/** Questions the caller made or may decide, newest first. */
export async function listApprovalsOf(
  { store, nowMs }: ApprovalDeps,
  caller: ApprovalCaller,
  filter: ApprovalFilter,
  page: { readonly before: string | null; readonly limit: number },
): Promise<ApprovalPage> {
  const now = new Date(nowMs());
  const rows = await store.transaction({ role: 'read', orgId: caller.orgId }, (tx) =>
    listApprovals(tx, viewerOf(caller), filter, { ...page, now }),
  );
  const approvals = rows.map((row) => asOf(row, now.getTime()));
  return { approvals, next: rows.length < page.limit ? null : (rows.at(-1)?.approval.id ?? null) };
}

async function look(tx: Tx, caller: ApprovalCaller, id: string, nowMs: number): Promise<NamedApproval> {
  const found = await findApproval(tx, caller.orgId, id);
  if (found === null) throw notFound();
  const { approval } = found;
  const mayLook =
    approval.userId === caller.userId || seesOrganisation(caller) || mayDecide(approval, viewerOf(caller));
  if (!mayLook) throw notFound();
  return asOf(found, nowMs);
}

const asOf = (found: NamedApproval, nowMs: number): NamedApproval => ({
  ...found,
  approval: { ...found.approval, state: stateAt(found.approval, nowMs) },
});

const notFound = (): KontextError =>
  new KontextError('KX_NOT_FOUND', 'there is no such request, or it is not yours');
