/** What hangs together: who consented to which connection, what was issued from it, and what was done with that. */
import { and, asc, between, desc, eq, inArray, isNull, lte, sql } from 'drizzle-orm';
import {
  approvals,
  auditEvents,
  auditRefs,
  auditStreams,
  connections,
  leases,
  providers,
  sessions,
  users,
} from '../schema.ts';
import type { Tx } from '../tx.ts';
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
  'id' | 'userId' | 'agent' | 'hostname' | 'startedAt' | 'repository'
>;

/** Sessions by id. */
export async function findLineageSessions(tx: Tx, ids: readonly string[]): Promise<LineageSession[]> {
  const { id, userId, agent, hostname, startedAt, repository } = sessions;
  return tx
    .select({ id, userId, agent, hostname, startedAt, repository })
    .from(sessions)
    .where(inArray(id, [...ids]));
}

/** An approval as the tree shows it. */
export type LineageApproval = Pick<
  typeof approvals.$inferSelect,
  'id' | 'sessionId' | 'tool' | 'toolUseId' | 'state' | 'decidedBy' | 'decidedAt' | 'createdAt' | 'userId'
>;

/** Approvals by id, or of sessions; oldest first. */
export async function findLineageApprovals(
  tx: Tx,
  query: { readonly id?: string; readonly sessionIds?: readonly string[] },
  limit: number,
): Promise<LineageApproval[]> {
  const { id, sessionId, tool, toolUseId, state, decidedBy, decidedAt, createdAt, userId } = approvals;
  return tx
    .select({ id, sessionId, tool, toolUseId, state, decidedBy, decidedAt, createdAt, userId })
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
  kind: auditEvents.kind,
  userId: auditEvents.userId,
  sessionId: auditEvents.sessionId,
  tool: auditEvents.tool,
  toolUseId: auditEvents.toolUseId,
  decision: auditEvents.decision,
  header: auditEvents.header,
  receivedAt: auditEvents.receivedAt,
};

/** Events of some kinds that are about something, newest first. */
export async function findEventsAbout(
  tx: Tx,
  { orgId, ref, kinds }: { readonly orgId: string; readonly ref: string; readonly kinds: readonly string[] },
  limit: number,
): Promise<LineageEvent[]> {
  return tx
    .select(eventColumns)
    .from(auditRefs)
    .innerJoin(
      auditEvents,
      and(
        eq(auditEvents.partDay, auditRefs.partDay),
        eq(auditEvents.streamId, auditRefs.streamId),
        eq(auditEvents.seq, auditRefs.seq),
      ),
    )
    .where(and(eq(auditRefs.orgId, orgId), eq(auditRefs.ref, ref), inArray(auditEvents.kind, [...kinds])))
    .orderBy(desc(auditRefs.receivedAt))
    .limit(limit);
}

/** One event by its place. */
export async function findLineageEvent(tx: Tx, streamId: string, seq: number): Promise<LineageEvent | null> {
  const [row] = await tx
    .select(eventColumns)
    .from(auditEvents)
    .where(and(eq(auditEvents.streamId, streamId), eq(auditEvents.seq, seq)))
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

/** The login of a person before an instant; null when none is stored. */
export async function findLoginBefore(
  tx: Tx,
  orgId: string,
  userId: string,
  at: Date,
): Promise<LineageEvent | null> {
  const [row] = await tx
    .select(eventColumns)
    .from(auditEvents)
    .where(
      and(
        ...[eq(auditEvents.orgId, orgId), eq(auditEvents.userId, userId), isNull(auditEvents.sessionId)],
        ...[eq(auditEvents.kind, 'login.succeeded'), lte(auditEvents.receivedAt, at)],
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
