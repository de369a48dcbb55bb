import { type ApprovalRow, expireApprovals, listSessionsToExpire } from '../store/queries/approvals.ts';
import { lockSession } from '../store/queries/sessions.ts';
import type { ApprovalDeps } from './deps.ts';
import { recordApprovals } from './record-approval.ts';

/** Sessions per sweep; what is left waits for the next. */
const sweepLimit = 200;

/**
 * Ends questions nobody decided in time, approvals nobody used, and whatever is left of sessions that ended; run it every few
 * seconds on every replica.
 *
 * @returns How many it ended.
 */
export async function sweepApprovals(deps: ApprovalDeps): Promise<number> {
  const { store, nowMs, appended, decided } = deps;
  const now = new Date(nowMs());
  const found = await store.transaction({ role: 'system', orgId: null }, (tx) =>
    listSessionsToExpire(tx, now, sweepLimit),
  );
  let count = 0;
  for (const { orgId, sessionId } of found) {
    const rows = await store.transaction({ role: 'app', orgId }, async (tx) => {
      const session = await lockSession(tx, sessionId);
      const hasEnded = session?.state === 'ended';
      const expired = await expireApprovals(tx, sessionId, { all: hasEnded, now });
      await recordApprovals(tx, 'approval.expired', expired, (row) => endFacts(row, hasEnded), now);
      return expired;
    });
    if (rows.length > 0) appended.notify(orgId);
    for (const { id } of rows) decided.notify(id);
    count += rows.length;
  }
  return count;
}

const endFacts = ({ decidedAt, lifetime }: ApprovalRow, hasEnded: boolean) => ({
  was: decidedAt === null ? 'pending' : 'approved',
  lifetime,
  why: hasEnded ? 'the session ended' : 'its time is over',
});
