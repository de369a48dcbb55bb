/** Streams of the audit log: heads, owners, days. */
import { and, asc, desc, eq, inArray, lt, type SQL } from 'drizzle-orm';
import { auditStreamDays, auditStreams, sessions } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** A stream as stored. */
export type StreamRow = typeof auditStreams.$inferSelect;

/** A stream to make; it is empty, so its head is the first link. */
export type NewStream = Pick<
  StreamRow,
  'id' | 'orgId' | 'kind' | 'sessionId' | 'userId' | 'nonce' | 'headHash'
> & { readonly now: Date };

/** A client stream with what decides whether a batch may still come. */
export interface ClientStreamRow {
  readonly stream: StreamRow;
  readonly session: Pick<typeof sessions.$inferSelect, 'state' | 'endedAt' | 'lastHeartbeatAt'>;
}

/** Makes empty streams. */
export async function insertStreams(tx: Tx, streams: readonly NewStream[]): Promise<StreamRow[]> {
  const values = streams.map(({ now, ...stream }) => ({
    ...stream,
    ...{ partStartedAt: now, createdAt: now, updatedAt: now, partDay: dayOf(now) },
  }));
  return tx.insert(auditStreams).values(values).returning();
}

/** A stream by id. */
export async function findStream(tx: Tx, streamId: string): Promise<StreamRow | null> {
  const [row] = await tx.select().from(auditStreams).where(eq(auditStreams.id, streamId)).limit(1);
  return row ?? null;
}

/** A client stream and its session. */
export async function findClientStream(tx: Tx, streamId: string): Promise<ClientStreamRow | null> {
  const [row] = await tx
    .select({
      stream: auditStreams,
      session: {
        state: sessions.state,
        endedAt: sessions.endedAt,
        lastHeartbeatAt: sessions.lastHeartbeatAt,
      },
    })
    .from(auditStreams)
    .innerJoin(sessions, eq(sessions.id, auditStreams.sessionId))
    .where(and(eq(auditStreams.id, streamId), eq(auditStreams.kind, 'client')))
    .limit(1);
  return row ?? null;
}

/**
 * The stream the backend writes: that of a session, or with null the organisation's. Its row stays locked until the
 * transaction ends, so that its order is the order of commits.
 */
export async function lockServerStream(
  tx: Tx,
  orgId: string,
  sessionId: string | null,
): Promise<StreamRow | null> {
  const which =
    sessionId === null
      ? eq(auditStreams.kind, 'admin')
      : and(eq(auditStreams.sessionId, sessionId), eq(auditStreams.kind, 'server'));
  const [row] = await tx
    .select()
    .from(auditStreams)
    .where(and(eq(auditStreams.orgId, orgId), which))
    .limit(1)
    .for('update');
  return row ?? null;
}

/** Which streams are wanted; null means any. */
export interface StreamFilter {
  readonly sessionId: string | null;
  /** Owner of the session; admin streams have none. */
  readonly userId: string | null;
}

/** Streams, newest first, before an id. */
export async function listStreams(
  tx: Tx,
  filter: StreamFilter,
  page: { readonly before: string | null; readonly limit: number },
): Promise<StreamRow[]> {
  const before = page.before === null ? undefined : lt(auditStreams.id, page.before);
  return tx
    .select()
    .from(auditStreams)
    .where(and(matching(filter), before))
    .orderBy(desc(auditStreams.id))
    .limit(page.limit);
}

/** The days of some streams with the first seq of each, in order. */
export async function listStreamDays(
  tx: Tx,
  streamIds: readonly string[],
): Promise<(typeof auditStreamDays.$inferSelect)[]> {
  return tx
    .select()
    .from(auditStreamDays)
    .where(inArray(auditStreamDays.streamId, [...streamIds]))
    .orderBy(asc(auditStreamDays.streamId), asc(auditStreamDays.firstSeq));
}

/** UTC day of an instant, `YYYY-MM-DD`. */
export const dayOf = (at: Date): string => at.toISOString().slice(0, 10);

function matching({ sessionId, userId }: StreamFilter): SQL | undefined {
  return and(
    sessionId === null ? undefined : eq(auditStreams.sessionId, sessionId),
    userId === null ? undefined : eq(auditStreams.userId, userId),
  );
}
