/** What hangs together: who consented to which connection, what was issued from it, and what was done with that. */
import { and, asc, between, desc, eq, inArray, isNull, sql } from 'drizzle-orm';
import {
  approvals,
  auditEvents,
  auditRefs,
  auditStreams,
  connections,
  leases,
  logins,
  providers,
  sessions,
  users,
} from '../schema.ts';
import type { Tx } from '../tx.ts';
import type { EventPlace } from './audit-events.ts';
import { dayOf } from './audit-streams.ts';

/** Writes what events are about, beside them. The day is that of the stream, which has just taken the events. */
export async function insertRefs(
  tx: Tx,
  { orgId, streamId, now }: { readonly orgId: string; readonly streamId: string; readonly now: Date },
  refs: readonly { readonly ref: string; readonly seq: number }[],
): Promise<void> {
  if (refs.length === 0) return;
  const texts = (values: readonly (string | number)[]) => sql`${sql.param(values.map(String))}::text[]`;
  await tx.execute(sql`
    INSERT INTO audit_refs (org_id, ref, stream_id, seq, part_day, received_at)
    SELECT ${orgId}, r.ref, s.id, r.seq::bigint, s.part_day, ${now.toISOString()}::timestamptz
    FROM unnest(${texts(refs.map(({ ref }) => ref))}, ${texts(refs.map(({ seq }) => seq))}) AS r(ref, seq)
    JOIN audit_streams s ON s.id = ${streamId}`);
}

/** A lease as the tree shows it. */
export type LineageLease = Pick<
  typeof leases.$inferSelect,
  | 'id'
  | 'kind'
  | 'parentLeaseId'
  | 'sessionId'
  | 'connectionId'
  | 'provider'
  | 'resource'
  | 'userId'
  | 'createdAt'
  | 'state'
>;

/** Which leases; one of them. */
export type LeaseQuery = Partial<
  Record<'ids' | 'sessionIds' | 'connectionIds' | 'parentIds', readonly string[]>
>;

/** Leases, oldest first. */
export async function findLineageLeases(tx: Tx, query: LeaseQuery, limit: number): Promise<LineageLease[]> {
  const { ids, sessionIds, connectionIds, parentIds } = query;
  const { id, kind, parentLeaseId, sessionId, connectionId, provider, resource, userId, createdAt, state } =
    leases;
  return tx
    .select({
      id,
      kind,
      parentLeaseId,
      sessionId,
      connectionId,
      provider,
      resource,
      userId,
      createdAt,
      state,
    })
    .from(leases)
    .where(
      and(
        ids && inArray(id, [...ids]),
        sessionIds && inArray(sessionId, [...sessionIds]),
        connectionIds && inArray(connectionId, [...connectionIds]),
        parentIds && inArray(parentLeaseId, [...parentIds]),
      ),
    )
    .orderBy(desc(id))
    .limit(limit);
}

/** A connection as the tree shows it. */
export interface LineageConnection {
  readonly id: string;
  readonly userId: string | null;
  readonly name: string;
  readonly account: string | null;
  readonly provider: string;
  readonly createdAt: Date;
}

/** Connections by id. */
export async function findLineageConnections(tx: Tx, ids: readonly string[]): Promise<LineageConnection[]> {
  const { id, userId, name, account, createdAt } = connections;
  return tx
    .select({ id, userId, name, account, createdAt, provider: providers.name })
    .from(connections)
    .innerJoin(providers, eq(providers.id, connections.providerId))
    .where(inArray(id, [...ids]));
}

/** A session as the tree shows it. */
export type LineageSession = Pick<
  typeof sessions.$inferSelect,
  'id' | 'userId' | 'agent' | 'hostname' | 'startedAt' | 'repository' | 'loginGrantId'
>;

/** Sessions by id. */
export async function findLineageSessions(tx: Tx, ids: readonly string[]): Promise<LineageSession[]> {
  const { id, userId, agent, hostname, startedAt, repository, loginGrantId } = sessions;
  return tx
    .select({ id, userId, agent, hostname, startedAt, repository, loginGrantId })
    .from(sessions)
    .where(inArray(id, [...ids]));
}

/** An approval as the tree shows it. */
export type LineageApproval = Pick<
  typeof approvals.$inferSelect,
  | 'id'
  | 'sessionId'
  | 'tool'
  | 'toolUseId'
  | 'state'
  | 'decidedBy'
  | 'decisionReason'
  | 'decidedAt'
  | 'createdAt'
  | 'userId'
>;

/** Approvals by id, or of sessions; oldest first. */
export async function findLineageApprovals(
  tx: Tx,
  query: { readonly id?: string; readonly sessionIds?: readonly string[] },
  limit: number,
): Promise<LineageApproval[]> {
  const { id, sessionId, tool, toolUseId, state, createdAt, userId } = approvals;
  const { decidedBy, decisionReason, decidedAt } = approvals;
  const decided = { decidedBy, decisionReason, decidedAt };
  return tx
    .select({ id, sessionId, tool, toolUseId, state, createdAt, userId, ...decided })
    .from(approvals)
    .where(
      and(
        query.id === undefined ? undefined : eq(id, query.id),
        query.sessionIds === undefined ? undefined : inArray(sessionId, [...query.sessionIds]),
      ),
    )
    .orderBy(asc(id))
    .limit(limit);
}

/** An event as the tree shows it. */
export interface LineageEvent {
  readonly eventId: string;
  readonly streamId: string;
  readonly seq: number;
  readonly kind: string;
  readonly userId: string | null;
  readonly sessionId: string | null;
  readonly tool: string | null;
  readonly toolUseId: string | null;
  readonly decision: string | null;
  readonly header: string;
  readonly receivedAt: Date;
}

const eventColumns = {
  eventId: auditEvents.eventId,
  streamId: auditEvents.streamId,
  seq: auditEvents.seq,
  kind: auditEvents.kind,
  userId: auditEvents.userId,
  sessionId: auditEvents.sessionId,
  tool: auditEvents.tool,
  toolUseId: auditEvents.toolUseId,
  decision: auditEvents.decision,
  header: auditEvents.header,
  receivedAt: auditEvents.receivedAt,
};

/** What is done to a connection once it is there is recorded now and then; what is done with it, in sessions. */
const maxRefs = 20;

/** The newest event of some kinds in the organisation's own stream that is about something; null when there is none. */
export async function findEventAbout(
  tx: Tx,
  { orgId, ref, kinds }: { readonly orgId: string; readonly ref: string; readonly kinds: readonly string[] },
): Promise<LineageEvent | null> {
  const { streamId, seq, partDay } = auditRefs;
  const places = await tx
    .select({ streamId, seq, partDay })
    .from(auditRefs)
    .innerJoin(auditStreams, eq(auditStreams.id, streamId))
    .where(
      and(
        eq(auditStreams.orgId, orgId),
        eq(auditStreams.kind, 'admin'),
        eq(auditRefs.orgId, orgId),
        eq(auditRefs.ref, ref),
      ),
    )
    .orderBy(desc(seq))
    .limit(maxRefs);
  // One at a time, each in a partition that is named: a join would take the locks of all partitions there are.
  for (const place of places) {
    const event = await findLineageEvent(tx, place);
    if (event !== null && kinds.includes(event.kind)) return event;
  }
  return null;
}

/** One event by its place. */
export async function findLineageEvent(
  tx: Tx,
  { streamId, seq, partDay }: EventPlace,
): Promise<LineageEvent | null> {
  const [row] = await tx
    .select(eventColumns)
    .from(auditEvents)
    .where(
      and(eq(auditEvents.partDay, partDay), eq(auditEvents.streamId, streamId), eq(auditEvents.seq, seq)),
    )
    .limit(1);
  return row ?? null;
}

/** Calls that were decided in the sessions, in order. @param limit Most of them. */
export async function findSessionCalls(
  tx: Tx,
  sessionIds: readonly string[],
  limit: number,
): Promise<LineageEvent[]> {
  const streams = await tx
    .select()
    .from(auditStreams)
    .where(and(inArray(auditStreams.sessionId, [...sessionIds]), eq(auditStreams.kind, 'client')));
  const found: LineageEvent[] = [];
  for (const stream of streams) {
    const rows = await tx
      .select(eventColumns)
      .from(auditEvents)
      .where(
        and(
          between(auditEvents.partDay, dayOf(stream.createdAt), stream.partDay),
          eq(auditEvents.streamId, stream.id),
          eq(auditEvents.kind, 'tool_call.decided'),
        ),
      )
      .orderBy(asc(auditEvents.partDay), asc(auditEvents.seq))
      .limit(limit - found.length);
    found.push(...rows);
    if (found.length >= limit) break;
  }
  return found;
}

const minuteMs = 60_000;
const dayMs = 1440 * minuteMs;

/**
 * The login by which a session was opened; null when none is stored.
 *
 * It was recorded when somebody approved it in the browser, which is minutes before its first token was asked for.
 *
 * @param session.grantIdHash Key of the login; one that is not there is looked for on the day before the session.
 */
export async function findLoginOf(
  tx: Tx,
  orgId: string,
  session: Pick<LineageSession, 'userId' | 'startedAt'> & { readonly grantIdHash: string },
): Promise<LineageEvent | null> {
  const [login] = await tx
    .select({ at: logins.createdAt })
    .from(logins)
    .where(and(eq(logins.orgId, orgId), eq(logins.grantIdHash, session.grantIdHash)))
    .limit(1);
  const until = login?.at ?? session.startedAt;
  const from = new Date(until.getTime() - (login === undefined ? dayMs : 30 * minuteMs));
  const [row] = await tx
    .select(eventColumns)
    .from(auditEvents)
    .where(
      and(
        // A partition has what was received until the end of the day after its own.
        between(auditEvents.partDay, dayOf(new Date(from.getTime() - 2 * dayMs)), dayOf(until)),
        ...[
          eq(auditEvents.orgId, orgId),
          eq(auditEvents.userId, session.userId),
          isNull(auditEvents.sessionId),
        ],
        ...[eq(auditEvents.kind, 'login.succeeded'), between(auditEvents.receivedAt, from, until)],
      ),
    )
    .orderBy(desc(auditEvents.receivedAt))
    .limit(1);
  return row ?? null;
}

/** Names of people by id. */
export async function findUserNames(tx: Tx, ids: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const rows = await tx
    .select({ id: users.id, name: users.name })
    .from(users)
    .where(inArray(users.id, [...ids]));
  return new Map(rows.map(({ id, name }) => [id, name]));
}
