/** Events by the segments they came in: the way along the log, which is a total order that nothing enters late. */
import { and, asc, eq, gte, inArray, isNull, or, type SQL, sql } from 'drizzle-orm';
import { auditEvents, auditSegments, auditStreamDays, auditStreams } from '../schema.ts';
import type { Tx } from '../tx.ts';
import { type EventRow, payloadOf, selectEvents } from './audit-events.ts';
import type { StreamFilter } from './audit-streams.ts';
import { bigintColumn, textColumn } from './row-columns.ts';

/** Some events of a stream that follow each other. */
export interface EventRun {
  readonly streamId: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
}

/** A segment on its way; `leafIndex` null: not in the log yet. */
export interface LogSegment extends EventRun {
  readonly leafIndex: number | null;
  readonly acceptedAt: Date;
}

const segmentColumns = {
  streamId: auditSegments.streamId,
  firstSeq: auditSegments.firstSeq,
  lastSeq: auditSegments.lastSeq,
  leafIndex: auditSegments.leafIndex,
  acceptedAt: auditSegments.acceptedAt,
};

/** Segments from a leaf on, in the order of the log; those that wait are left out. */
export async function readLogSegments(
  tx: Tx,
  orgId: string,
  fromLeaf: number,
  limit: number,
): Promise<(LogSegment & { readonly leafIndex: number })[]> {
  const rows = await tx
    .select(segmentColumns)
    .from(auditSegments)
    .where(and(eq(auditSegments.orgId, orgId), gte(auditSegments.leafIndex, fromLeaf)))
    .orderBy(asc(auditSegments.leafIndex))
    .limit(limit);
  return rows.map((row) => ({ ...row, leafIndex: row.leafIndex ?? 0 }));
}

/**
 * Segments from a leaf on and then those that wait, in one statement: a segment that enters the log meanwhile is seen once.
 *
 * @param page.sent Up to which seq events of some streams are known: waiting segments of theirs up to there are left out.
 * @param page.hasRoom False: only those in the log.
 */
export async function readNewSegments(
  tx: Tx,
  { orgId, fromLeaf, ...filter }: StreamFilter & { readonly orgId: string; readonly fromLeaf: number },
  page: { readonly sent: ReadonlyMap<string, number>; readonly hasRoom: boolean; readonly limit: number },
): Promise<LogSegment[]> {
  const { sent, hasRoom, limit } = page;
  const known = sql`unnest(${textColumn([...sent.keys()])}, ${bigintColumn([...sent.values()])}) AS w(stream_id, seq)`;
  const isKnown = sql`EXISTS (SELECT FROM ${known}
    WHERE w.stream_id = ${auditSegments.streamId} AND w.seq >= ${auditSegments.lastSeq})`;
  const isVisible = sql`EXISTS (SELECT FROM ${auditStreams} WHERE ${and(
    eq(auditStreams.id, auditSegments.streamId),
    filter.sessionId === null ? undefined : eq(auditStreams.sessionId, filter.sessionId),
    filter.userId === null ? undefined : eq(auditStreams.userId, filter.userId),
  )})`;
  return tx
    .select(segmentColumns)
    .from(auditSegments)
    .where(
      and(
        eq(auditSegments.orgId, orgId),
        or(
          gte(auditSegments.leafIndex, fromLeaf),
          !hasRoom
            ? undefined
            : and(isNull(auditSegments.leafIndex), sent.size === 0 ? undefined : sql`NOT ${isKnown}`),
        ),
        filter.sessionId === null && filter.userId === null ? undefined : isVisible,
      ),
    )
    .orderBy(
      sql`${auditSegments.leafIndex} ASC NULLS LAST`,
      asc(auditSegments.streamId),
      asc(auditSegments.firstSeq),
    )
    .limit(limit);
}

/** Of some streams, those with a segment at or after a leaf, or one that waits. */
export async function listStreamsFrom(
  tx: Tx,
  orgId: string,
  fromLeaf: number,
  streamIds: readonly string[],
): Promise<Set<string>> {
  const rows = await tx
    .selectDistinct({ streamId: auditSegments.streamId })
    .from(auditSegments)
    .where(
      and(
        eq(auditSegments.orgId, orgId),
        or(gte(auditSegments.leafIndex, fromLeaf), isNull(auditSegments.leafIndex)),
        sql`${auditSegments.streamId} = ANY(${sql.param([...streamIds])}::text[])`,
      ),
    );
  return new Set(rows.map(({ streamId }) => streamId));
}

/** Days of the partitions that some runs lie in, `YYYY-MM-DD`. With them a statement is about those partitions and no others. */
export async function daysOfRuns(tx: Tx, runs: readonly EventRun[]): Promise<string[]> {
  if (runs.length === 0) return [];
  const { rows } = await tx.execute<{ day: string }>(
    sql`SELECT DISTINCT to_char(run.part_day, 'YYYY-MM-DD') AS day FROM (${placesOf(runs)}) run`,
  );
  return rows.map(({ day }) => day);
}

/**
 * Bytes of header and payload of each event of some runs: run by run, and in each by seq.
 *
 * @param days {@link daysOfRuns}.
 */
export async function measureRuns(
  tx: Tx,
  runs: readonly EventRun[],
  days: readonly string[],
): Promise<number[]> {
  if (runs.length === 0) return [];
  const its = payloadOf(tx, days);
  const rows = await tx
    .select({
      bytes: sql<number>`octet_length(${auditEvents.header}) + coalesce(octet_length(${its.payload}), 0)`,
    })
    .from(auditEvents)
    .leftJoinLateral(its, sql`true`)
    .innerJoin(keysOf(placesOf(runs)), isKeyed)
    .where(inArray(auditEvents.partDay, [...days]))
    .orderBy(sql`key.at`, asc(auditEvents.seq));
  return rows.map(({ bytes }) => Number(bytes));
}

/**
 * The events of some runs: run by run, and in each by seq.
 *
 * @param days {@link daysOfRuns}.
 */
export async function readRuns(
  tx: Tx,
  runs: readonly EventRun[],
  days: readonly string[],
): Promise<EventRow[]> {
  if (runs.length === 0) return [];
  return selectEvents(tx, days)
    .innerJoin(keysOf(placesOf(runs)), isKeyed)
    .where(inArray(auditEvents.partDay, [...days]))
    .orderBy(sql`key.at`, asc(auditEvents.seq));
}

/**
 * The events of what {@link placesOf} names as `run`, to be joined on `true`; they are named `audit_events`.
 *
 * Fenced, and not joined: for a join the planner takes day and stream from the index and looks at each event of the stream for
 * whether it is in the run.
 */
export const eventsOfRun: SQL = sql`LATERAL (SELECT * FROM audit_events e WHERE e.part_day = run.part_day
  AND e.stream_id = run.stream_id AND e.seq BETWEEN run.first_seq AND run.last_seq OFFSET 0) audit_events`;

/** Of each event of some places its key, and in `at` which of them it is at. @param places As {@link placesOf} makes them. */
export const keysOf = (places: SQL): SQL => sql`(
  SELECT run.at, audit_events.part_day, audit_events.stream_id, audit_events.seq
  FROM (${places}) run CROSS JOIN ${eventsOfRun}) key`;

/** An event of {@link keysOf}. */
export const isKeyed: SQL = sql`${auditEvents.partDay} = key.part_day AND ${auditEvents.streamId} = key.stream_id
  AND ${auditEvents.seq} = key.seq`;

/** Runs with the day each part of them is stored under, so that one partition is read for each. */
export const placesOf = (runs: readonly EventRun[]): SQL => sql`
  SELECT w.at, w.stream_id, w.first_seq, w.last_seq, d.part_day
  FROM unnest(${textColumn(runs.map(({ streamId }) => streamId))}, ${bigintColumn(runs.map(({ firstSeq }) => firstSeq))},
    ${bigintColumn(runs.map(({ lastSeq }) => lastSeq))}) WITH ORDINALITY AS w(stream_id, first_seq, last_seq, at)
  JOIN ${auditStreamDays} d ON d.stream_id = w.stream_id AND d.first_seq <= w.last_seq
    AND NOT EXISTS (SELECT FROM ${auditStreamDays} later WHERE later.stream_id = w.stream_id
      AND later.first_seq > d.first_seq AND later.first_seq <= w.first_seq)`;

/** When the oldest segment was accepted that is not before a leaf; null: there is none. */
export async function oldestSegmentFrom(tx: Tx, orgId: string, fromLeaf: number): Promise<Date | null> {
  const [row] = await tx
    .select({ at: sql<string | null>`min(${auditSegments.acceptedAt})` })
    .from(auditSegments)
    .where(
      and(
        eq(auditSegments.orgId, orgId),
        or(gte(auditSegments.leafIndex, fromLeaf), isNull(auditSegments.leafIndex)),
      ),
    );
  return row?.at ? new Date(row.at) : null;
}

/** How long the log was at the newest checkpoint made before an instant. */
export async function findLogSizeAt(tx: Tx, orgId: string, at: Date): Promise<number> {
  const { rows } = await tx.execute<{ size: string }>(sql`
    SELECT size::text FROM audit_checkpoints WHERE org_id = ${orgId} AND created_at < ${at.toISOString()}::timestamptz
    ORDER BY size DESC LIMIT 1`);
  return Number(rows[0]?.size ?? 0);
}
