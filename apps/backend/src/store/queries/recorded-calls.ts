/** Recorded decisions of tool calls, as replay and explain read them. */
import { and, desc, eq, gte, lt, lte, or, type SQL, sql } from 'drizzle-orm';
import { auditEvents, memberships, users } from '../schema.ts';
import type { Tx } from '../tx.ts';
import { type EventPlace, payloadOf } from './audit-events.ts';
import { dayOf } from './audit-streams.ts';

/** A decided call; `payload` is null when none was recorded, or it was erased. */
export interface RecordedCall {
  readonly eventId: string;
  readonly streamId: string;
  readonly seq: number;
  readonly sessionId: string | null;
  readonly userId: string | null;
  readonly userName: string | null;
  readonly tool: string | null;
  readonly decision: string | null;
  readonly rule: string | null;
  readonly policyVersion: number | null;
  readonly receivedAt: Date;
  readonly occurredAt: Date;
  readonly header: string;
  readonly payload: string | null;
}

/** Where the next page begins: behind this call. */
export type RecordedCursor = Pick<RecordedCall, 'receivedAt' | 'streamId' | 'seq'>;

const columns = {
  eventId: auditEvents.eventId,
  streamId: auditEvents.streamId,
  seq: auditEvents.seq,
  sessionId: auditEvents.sessionId,
  userId: auditEvents.userId,
  userName: users.name,
  tool: auditEvents.tool,
  decision: auditEvents.decision,
  rule: auditEvents.rule,
  policyVersion: auditEvents.policyVersion,
  receivedAt: auditEvents.receivedAt,
  occurredAt: auditEvents.occurredAt,
  header: auditEvents.header,
};

const decided = (tx: Tx, days?: readonly string[]) => {
  const its = payloadOf(tx, days);
  return tx
    .select({ ...columns, payload: its.payload })
    .from(auditEvents)
    .leftJoinLateral(its, sql`true`)
    .leftJoin(users, and(eq(users.orgId, auditEvents.orgId), eq(users.id, auditEvents.userId)));
};

const isDecidedCall = (orgId: string): SQL | undefined =>
  and(eq(auditEvents.orgId, orgId), eq(auditEvents.kind, 'tool_call.decided'));

const dayMs = 86_400_000;

/** A segment begins at most a day before what it holds is received; another one for clocks of replicas. */
const partsSince = (since: Date): SQL =>
  gte(auditEvents.partDay, dayOf(new Date(since.getTime() - 2 * dayMs)));

/**
 * Decided calls of an organisation, newest first.
 *
 * @param query.group Only of members of this group, as it is now; empty: of everybody.
 */
export async function listRecordedCalls(
  tx: Tx,
  orgId: string,
  query: { readonly since: Date; readonly group: string },
  page: { readonly before: RecordedCursor | null; readonly limit: number },
): Promise<RecordedCall[]> {
  const inGroup = sql`${auditEvents.userId} IN (SELECT ${memberships.userId} FROM ${memberships}
    WHERE ${memberships.orgId} = ${orgId} AND ${query.group} = ANY(${memberships.groups}))`;
  return decided(tx)
    .where(
      and(
        isDecidedCall(orgId),
        gte(auditEvents.receivedAt, query.since),
        partsSince(query.since),
        query.group === '' ? undefined : inGroup,
        page.before === null ? undefined : isBehind(page.before),
      ),
    )
    .orderBy(
      sql`${auditEvents.receivedAt} DESC NULLS LAST`,
      desc(auditEvents.streamId),
      desc(auditEvents.seq),
    )
    .limit(page.limit);
}

/** Bounded by the instant first, which is what the index is by. */
const isBehind = ({ receivedAt, streamId, seq }: RecordedCursor): SQL | undefined =>
  and(
    lte(auditEvents.receivedAt, receivedAt),
    or(
      lt(auditEvents.receivedAt, receivedAt),
      lt(auditEvents.streamId, streamId),
      and(eq(auditEvents.streamId, streamId), lt(auditEvents.seq, seq)),
    ),
  );

/**
 * The decided call at a place; null when there is none, or it is not of that user.
 *
 * @param userId Only of this user; null: of everybody.
 */
export async function findRecordedCall(
  tx: Tx,
  { partDay, streamId, seq }: EventPlace,
  userId: string | null,
): Promise<RecordedCall | null> {
  const [row] = await decided(tx, [partDay])
    .where(
      and(
        ...[eq(auditEvents.partDay, partDay), eq(auditEvents.streamId, streamId), eq(auditEvents.seq, seq)],
        eq(auditEvents.kind, 'tool_call.decided'),
        userId === null ? undefined : eq(auditEvents.userId, userId),
      ),
    )
    .limit(1);
  return row ?? null;
}
