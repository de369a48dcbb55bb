/** Approvals as people see them, with the names of those who asked and decided; role `app`. */
import { and, desc, eq, gt, inArray, isNull, lt, ne, or, type SQL, sql } from 'drizzle-orm';
import { alias } from 'drizzle-orm/pg-core';
import { approvals, users } from '../schema.ts';
import type { Tx } from '../tx.ts';
import { type ApprovalRow, type AskedCall, sameDecider } from './approvals.ts';

/** An approval with the names of its people. */
export interface NamedApproval {
  readonly approval: ApprovalRow;
  readonly userName: string;
  /** Null while nobody decided. */
  readonly deciderName: string | null;
}

/** Who looks, as they are at this moment. */
export interface ApprovalViewer {
  readonly userId: string;
  readonly orgId: string;
  readonly role: string;
  readonly groups: readonly string[];
}

/** An approval by id; null when the organisation has none. */
export async function findApproval(tx: Tx, orgId: string, id: string): Promise<NamedApproval | null> {
  const [row] = await named(tx)
    .where(and(eq(approvals.id, id), eq(approvals.orgId, orgId)))
    .limit(1);
  return row ?? null;
}

/** What was said about this very call and still stands: the open question, or a refusal within its time. */
export async function findStandingApproval(
  tx: Tx,
  asked: AskedCall,
  now: Date,
): Promise<NamedApproval | null> {
  const [row] = await named(tx)
    .where(
      and(
        sameDecider(asked),
        eq(approvals.callHash, asked.callHash),
        inArray(approvals.state, ['pending', 'denied']),
        gt(approvals.expiresAt, now),
      ),
    )
    .orderBy(desc(approvals.id))
    .limit(1);
  return row ?? null;
}

/** What was decided in a session about calls of the same shape, newest first. */
export async function listSameShape(
  tx: Tx,
  { id, sessionId, shapeHash, rule }: ApprovalRow,
  limit: number,
): Promise<NamedApproval[]> {
  return named(tx)
    .where(
      and(
        eq(approvals.sessionId, sessionId),
        eq(approvals.shapeHash, shapeHash),
        eq(approvals.rule, rule),
        ne(approvals.id, id),
        sql`${approvals.decidedAt} IS NOT NULL`,
      ),
    )
    .orderBy(desc(approvals.decidedAt))
    .limit(limit);
}

/** Which questions. */
export interface ApprovalFilter {
  /** Only those that wait. */
  readonly pending: boolean;
  /** Only those the viewer may decide; else those they made, too. */
  readonly mineToDecide: boolean;
}

/** Questions a person made or may decide, newest first, before an id. */
export async function listApprovals(
  tx: Tx,
  viewer: ApprovalViewer,
  { pending, mineToDecide }: ApprovalFilter,
  page: { readonly before: string | null; readonly limit: number; readonly now: Date },
): Promise<NamedApproval[]> {
  const decides = decidable(viewer);
  return named(tx)
    .where(
      and(
        eq(approvals.orgId, viewer.orgId),
        mineToDecide ? decides : or(eq(approvals.userId, viewer.userId), decides),
        pending ? and(eq(approvals.state, 'pending'), gt(approvals.expiresAt, page.now)) : undefined,
        page.before === null ? undefined : lt(approvals.id, page.before),
      ),
    )
    .orderBy(desc(approvals.id))
    .limit(page.limit);
}

/** The rule of `approvals/may-decide.ts`, said to the database; a test holds them together. */
function decidable({ userId, role, groups }: ApprovalViewer): SQL | undefined {
  const own = eq(approvals.userId, userId);
  const names = [role, ...groups];
  return or(
    and(isNull(approvals.approver), eq(approvals.fourEyes, false), own),
    and(inArray(approvals.approver, names), or(eq(approvals.fourEyes, false), ne(approvals.userId, userId))),
  );
}

function named(tx: Tx) {
  const deciders = alias(users, 'deciders');
  return tx
    .select({ approval: approvals, userName: users.name, deciderName: deciders.name })
    .from(approvals)
    .innerJoin(users, eq(users.id, approvals.userId))
    .leftJoin(deciders, eq(deciders.id, approvals.decidedBy))
    .$dynamic();
}
