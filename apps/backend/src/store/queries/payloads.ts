/**
 * Payloads that are erased, held and let go; for role `erase` alone.
 *
 * Whoever uses these has locked the streams first (`lockStreamsOf`): an append has its stream's row locked too, so nothing is
 * stored between what was moved or erased and the end of the transaction.
 */
import { and, asc, eq, gt, inArray, isNotNull, type SQL, sql } from 'drizzle-orm';
import { holdClass } from '../retention-classes.ts';
import { auditEvents, auditHolds, auditStreams, users } from '../schema.ts';
import type { Tx } from '../tx.ts';
import { listStreamDays, type StreamRow } from './audit-streams.ts';

/** How many payloads are gone, and how many were left because they are held. */
export interface Erased {
  readonly erased: number;
  readonly held: number;
}

/** An event by its place, with what its header says it is. */
export interface PlacedEvent {
  readonly streamId: string;
  readonly seq: number;
  readonly partDay: string;
  readonly kind: string;
}

/**
 * Kinds that say what became of the record itself: what they say stays, so that nobody erases the trace of an erasure.
 * A `LIKE` pattern each.
 */
const recordOfRecords = ['payload.%', 'audit.%'] as const;

/** Whether events of a kind keep their payload whoever asks. */
export const isRecordOfRecords = (kind: string): boolean =>
  recordOfRecords.some((pattern) => kind.startsWith(pattern.slice(0, -1)));

/** Locks the streams of a session, or of the sessions of a user, in order of their ids, until the transaction ends. */
export async function lockStreamsOf(
  tx: Tx,
  whose: { readonly sessionId: string } | { readonly userId: string } | { readonly streamId: string },
  page: { readonly after: string; readonly limit: number } = { after: '', limit: 10 },
): Promise<StreamRow[]> {
  return tx
    .select()
    .from(auditStreams)
    .where(and(isOf(whose), gt(auditStreams.id, page.after)))
    .orderBy(asc(auditStreams.id))
    .limit(page.limit)
    .for('update');
}

function isOf(whose: Parameters<typeof lockStreamsOf>[1]): SQL | undefined {
  if ('streamId' in whose) return eq(auditStreams.id, whose.streamId);
  if ('sessionId' in whose) return eq(auditStreams.sessionId, whose.sessionId);
  return and(eq(auditStreams.userId, whose.userId), isNotNull(auditStreams.sessionId));
}

/** Days whose partitions hold payloads of a session, `YYYY-MM-DD`; none when there is no such session. */
export async function listPayloadDays(tx: Tx, sessionId: string): Promise<string[]> {
  const streams = await tx
    .select({ id: auditStreams.id })
    .from(auditStreams)
    .where(eq(auditStreams.sessionId, sessionId));
  const days = await listStreamDays(
    tx,
    streams.map(({ id }) => id),
  );
  return [...new Set(days.map(({ partDay }) => partDay))];
}

/** Whether the organisation has a user. */
export async function isUser(tx: Tx, userId: string): Promise<boolean> {
  const rows = await tx.select({ id: users.id }).from(users).where(eq(users.id, userId)).limit(1);
  return rows.length === 1;
}

/** An event by its place. */
export async function findPlacedEvent(tx: Tx, streamId: string, seq: number): Promise<PlacedEvent | null> {
  const { streamId: stream, seq: number, partDay, kind } = auditEvents;
  const days = await listStreamDays(tx, [streamId]);
  const day = days.findLast(({ firstSeq }) => firstSeq <= seq)?.partDay;
  if (day === undefined) return null;
  const [row] = await tx
    .select({ streamId: stream, seq: number, partDay, kind })
    .from(auditEvents)
    .where(and(eq(partDay, day), eq(stream, streamId), eq(number, seq)))
    .limit(1);
  return row ?? null;
}

/** Erases the payload of one event. */
export const eraseEventPayload = (tx: Tx, { streamId, seq, partDay }: PlacedEvent): Promise<Erased> =>
  eraseWhere(tx, sql`p.part_day = ${partDay}::date AND p.stream_id = ${streamId} AND p.seq = ${seq}::bigint`);

/** Erases the payloads of a whole stream. */
export async function eraseStreamPayloads(tx: Tx, streamId: string): Promise<Erased> {
  return eraseWhere(tx, await isIn(tx, streamId));
}

/** Erases what the organisation's own stream says of what a user did, but not what they did to the record itself. */
export async function eraseAdminPayloads(tx: Tx, streamId: string, userId: string): Promise<Erased> {
  const kept = recordOfRecords.map((pattern) => sql`e.kind NOT LIKE ${pattern}`);
  return eraseWhere(
    tx,
    sql`${await isIn(tx, streamId)} AND EXISTS (SELECT FROM audit_events e
      WHERE e.part_day = p.part_day AND e.stream_id = p.stream_id AND e.seq = p.seq AND e.user_id = ${userId}
        AND ${sql.join(kept, sql` AND `)})`,
  );
}

/** Of one stream, in the partitions it has rows in. */
async function isIn(tx: Tx, streamId: string): Promise<SQL> {
  const days = await listStreamDays(tx, [streamId]);
  const partDays = [...new Set(days.map(({ partDay }) => partDay))].map((day) => sql`${day}::date`);
  if (partDays.length === 0) return sql`false`;
  return sql`p.stream_id = ${streamId} AND p.part_day IN (${sql.join(partDays, sql`, `)})`;
}

async function eraseWhere(tx: Tx, condition: SQL): Promise<Erased> {
  const { rows } = await tx.execute<{ erased: number; held: number }>(sql`
    WITH gone AS (DELETE FROM audit_payloads p WHERE ${condition} AND p.retention_class <> ${holdClass} RETURNING 1)
    SELECT (SELECT count(*)::int FROM gone) AS erased,
      (SELECT count(*)::int FROM audit_payloads p WHERE ${condition} AND p.retention_class = ${holdClass}) AS held`);
  return rows[0] ?? { erased: 0, held: 0 };
}

/**
 * Erases the texts of what was asked about calls of sessions that are over; questions that are open, and those of held
 * sessions, stay.
 */
export async function eraseQuestions(tx: Tx, sessionIds: readonly string[]): Promise<number> {
  const { rows } = await tx.execute<{ erased: number }>(sql`
    WITH gone AS (UPDATE approvals a SET part = '(erased)', call = '{}' FROM sessions s
      WHERE a.session_id = ANY(${sql.param([...sessionIds])}::text[]) AND s.id = a.session_id AND s.state <> 'live'
        AND a.state <> 'pending' AND a.call <> '{}'
        AND NOT EXISTS (SELECT FROM audit_holds h WHERE h.session_id = a.session_id)
      RETURNING 1)
    SELECT count(*)::int AS erased FROM gone`);
  return rows[0]?.erased ?? 0;
}

/**
 * Holds a session's payloads, or ends that: what is appended from now on, and the note why. The rows are moved apart.
 *
 * @returns False when it was so before.
 */
export async function markHeld(
  tx: Tx,
  hold: typeof auditHolds.$inferInsert,
  streamIds: readonly string[],
  held: boolean,
): Promise<boolean> {
  const changed = held
    ? await tx.insert(auditHolds).values(hold).onConflictDoNothing().returning()
    : await tx.delete(auditHolds).where(eq(auditHolds.sessionId, hold.sessionId)).returning();
  if (changed.length === 0) return false;
  await tx
    .update(auditStreams)
    .set({ held })
    .where(inArray(auditStreams.id, [...streamIds]));
  return true;
}

/**
 * Moves the payloads of a stream to a class.
 *
 * @param dueUntil Those of this day and before are erased instead: in their new class they would be dropped at once.
 * @returns How many were moved, and how many erased.
 */
export async function movePayloads(
  tx: Tx,
  streamId: string,
  to: { readonly retentionClass: string; readonly dueUntil: string | null },
): Promise<{ readonly moved: number; readonly erased: number }> {
  const isOfIt = await isIn(tx, streamId);
  const due = to.dueUntil === null ? sql`false` : sql`p.part_day <= ${to.dueUntil}::date`;
  const { rows } = await tx.execute<{ moved: number; erased: number }>(sql`
    WITH gone AS (DELETE FROM audit_payloads p WHERE ${isOfIt} AND ${due} RETURNING 1),
    moved AS (UPDATE audit_payloads p SET retention_class = ${to.retentionClass}
      WHERE ${isOfIt} AND NOT (${due}) AND p.retention_class <> ${to.retentionClass} RETURNING 1)
    SELECT (SELECT count(*)::int FROM moved) AS moved, (SELECT count(*)::int FROM gone) AS erased`);
  return rows[0] ?? { moved: 0, erased: 0 };
}
