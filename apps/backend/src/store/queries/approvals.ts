/** Approvals of tool calls: asked for, decided, used, over; role `app`, unless said otherwise. */
import { and, asc, eq, exists, gt, inArray, isNull, lte, or, type SQL, sql } from 'drizzle-orm';
import { approvals, sessions } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** An approval as stored. */
export type ApprovalRow = typeof approvals.$inferSelect;

/** What somebody decided. */
export type ApprovalDecision = Pick<
  ApprovalRow,
  'state' | 'lifetime' | 'decidedBy' | 'decisionReason' | 'acr' | 'expiresAt'
>;

/** Which call of which session, and who decides about it by now. */
export interface AskedCall extends SameDecider, Pick<ApprovalRow, 'callHash'> {}

/** Calls of a shape that a rule asks the same people about. */
type SameDecider = Pick<ApprovalRow, 'sessionId' | 'shapeHash' | 'rule' | 'approver' | 'fourEyes'>;

/** The same rule of another policy version may want somebody else: what was said there does not count here. */
export const sameDecider = ({
  sessionId,
  rule,
  approver,
  fourEyes,
}: Omit<SameDecider, 'shapeHash'>): SQL | undefined =>
  and(
    eq(approvals.sessionId, sessionId),
    eq(approvals.rule, rule),
    approver === null ? isNull(approvals.approver) : eq(approvals.approver, approver),
    eq(approvals.fourEyes, fourEyes),
  );

/** Stores a question. */
export async function insertApproval(tx: Tx, row: ApprovalRow): Promise<void> {
  await tx.insert(approvals).values(row);
}

/**
 * Uses an approval that covers a call, in one statement: of two that come at once only one gets what holds once.
 *
 * @returns The row as it is then (`used`, where it held once); null when none covers it.
 */
export async function useApprovalFor(tx: Tx, asked: AskedCall, now: Date): Promise<ApprovalRow | null> {
  const { callHash, shapeHash } = asked;
  const covering = tx
    .select({ id: approvals.id })
    .from(approvals)
    .where(
      and(
        sameDecider(asked),
        holds(now),
        or(
          and(inArray(approvals.lifetime, ['once', 'hour']), eq(approvals.callHash, callHash)),
          and(eq(approvals.lifetime, 'session'), eq(approvals.shapeHash, shapeHash)),
        ),
      ),
    )
    // What holds longer goes first: what holds once is kept for later.
    .orderBy(sql`${approvals.lifetime} = 'once'`, asc(approvals.id))
    .limit(1);
  return use(tx, sql`${approvals.id} = (${covering})`, now);
}

/** Uses one approval, as {@link useApprovalFor} does; only while its session lives, and of one user. */
export async function useApproval(
  tx: Tx,
  id: string,
  userId: string,
  now: Date,
): Promise<ApprovalRow | null> {
  const live = tx
    .select({ id: sessions.id })
    .from(sessions)
    .where(and(eq(sessions.id, approvals.sessionId), eq(sessions.state, 'live')));
  return use(tx, and(eq(approvals.id, id), eq(approvals.userId, userId), exists(live)), now);
}

const holds = (now: Date): SQL | undefined =>
  and(eq(approvals.state, 'approved'), gt(approvals.expiresAt, now));

async function use(tx: Tx, which: SQL | undefined, now: Date): Promise<ApprovalRow | null> {
  const [row] = await tx
    .update(approvals)
    .set({
      state: sql`CASE WHEN ${approvals.lifetime} = 'once' THEN 'used' ELSE ${approvals.state} END`,
      usedAt: now,
    })
    // Once more what the subquery said: whoever waited for the row sees it as it is now.
    .where(and(which, holds(now)))
    .returning();
  return row ?? null;
}

/** Decides one that waits, once. @returns Null when it does not wait any more. */
export async function decideApproval(
  tx: Tx,
  id: string,
  decision: ApprovalDecision,
  now: Date,
): Promise<ApprovalRow | null> {
  const [row] = await tx
    .update(approvals)
    .set({ ...decision, decidedAt: now })
    .where(and(eq(approvals.id, id), eq(approvals.state, 'pending'), gt(approvals.expiresAt, now)))
    .returning();
  return row ?? null;
}

/** Decides every other question of a session that waits for the same people and rule about calls of the same shape. */
export async function decideSameShape(
  tx: Tx,
  asked: SameDecider,
  decision: ApprovalDecision,
  now: Date,
): Promise<ApprovalRow[]> {
  return tx
    .update(approvals)
    .set({ ...decision, decidedAt: now })
    .where(
      and(
        sameDecider(asked),
        eq(approvals.shapeHash, asked.shapeHash),
        eq(approvals.state, 'pending'),
        gt(approvals.expiresAt, now),
      ),
    )
    .returning();
}

/** Sessions with something that no longer holds: its time is over, or the session is; role `system`. */
export async function listSessionsToExpire(
  tx: Tx,
  now: Date,
  limit: number,
): Promise<{ orgId: string; sessionId: string }[]> {
  return tx
    .selectDistinct({ orgId: approvals.orgId, sessionId: approvals.sessionId })
    .from(approvals)
    .innerJoin(sessions, eq(sessions.id, approvals.sessionId))
    .where(
      and(
        inArray(approvals.state, ['pending', 'approved']),
        or(lte(approvals.expiresAt, now), eq(sessions.state, 'ended')),
      ),
    )
    .limit(limit);
}

/** Ends what no longer holds in a session: what is over, or with `all` everything that is open or unused. */
export async function expireApprovals(
  tx: Tx,
  sessionId: string,
  { all, now }: { readonly all: boolean; readonly now: Date },
): Promise<ApprovalRow[]> {
  return tx
    .update(approvals)
    .set({ state: 'expired' })
    .where(
      and(
        eq(approvals.sessionId, sessionId),
        inArray(approvals.state, ['pending', 'approved']),
        all ? undefined : lte(approvals.expiresAt, now),
      ),
    )
    .returning();
}
