/** What an export is made of: segments of a log in its order, with their streams and events. */
import { and, asc, eq, gte, inArray, isNotNull, lt, lte, type SQL, sql } from 'drizzle-orm';
import { auditEvents, auditSegments, auditStreams, users } from '../schema.ts';
import type { Tx } from '../tx.ts';
import { type EventRow, payloadOf } from './audit-events.ts';
import type { StreamRow } from './audit-streams.ts';
import { type EventFilter, everyCondition } from './event-filter.ts';
import { bigintColumn, dateColumn, textColumn } from './row-columns.ts';
import { isKeyed, keysOf } from './segment-events.ts';

/** A leaf of a log with what belongs to it. */
export interface ExportLeaf {
  readonly leaf: number;
  readonly stream: Pick<StreamRow, 'id' | 'kind' | 'orgId' | 'sessionId' | 'nonce'>;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly prev: Buffer;
  readonly head: Buffer;
  readonly partDay: string;
  /** Whether a later segment of the stream is among the leaves below the size. */
  readonly goesOn: boolean;
}

/** Which leaves are wanted. */
export interface LeafRange {
  readonly orgId: string;
  readonly from: number;
  /** Leaves of the log, exclusive. */
  readonly size: number;
  /** Null: of every stream. */
  readonly streamIds: readonly string[] | null;
  /** Accepted within; null: at any time. */
  readonly since?: Date | null;
  readonly until?: Date | null;
}

/** Segments in order of the log. @param limit Most of them. */
export async function readExportLeaves(tx: Tx, range: LeafRange, limit: number): Promise<ExportLeaf[]> {
  const { orgId, from, size, streamIds, since = null, until = null } = range;
  const goesOn = sql<boolean>`EXISTS (SELECT FROM audit_segments n WHERE n.stream_id = ${auditSegments.streamId}
    AND n.first_seq = ${auditSegments.lastSeq} + 1 AND n.leaf_index < ${size})`;
  const partDay = sql<string>`(SELECT d.part_day::text FROM audit_stream_days d WHERE d.stream_id = ${auditSegments.streamId}
    AND d.first_seq <= ${auditSegments.firstSeq} ORDER BY d.first_seq DESC LIMIT 1)`;
  const { firstSeq, lastSeq, prev, head } = auditSegments;
  const { id, kind, sessionId, nonce } = auditStreams;
  const rows = await tx
    .select({
      ...{ leaf: auditSegments.leafIndex, firstSeq, lastSeq, prev, head, partDay, goesOn },
      stream: { id, kind, sessionId, nonce, orgId: auditStreams.orgId },
    })
    .from(auditSegments)
    .innerJoin(auditStreams, eq(auditStreams.id, auditSegments.streamId))
    .where(
      and(
        ...[eq(auditSegments.orgId, orgId), isNotNull(auditSegments.leafIndex)],
        ...[gte(auditSegments.leafIndex, from), lt(auditSegments.leafIndex, size)],
        streamIds === null ? undefined : inArray(auditSegments.streamId, [...streamIds]),
        since === null ? undefined : gte(auditSegments.acceptedAt, since),
        until === null ? undefined : lte(auditSegments.acceptedAt, until),
      ),
    )
    .orderBy(asc(auditSegments.leafIndex))
    .limit(limit);
  return rows.map(({ leaf, ...row }) => ({ ...row, leaf: leaf ?? 0 }));
}

/** An event with what else a table for people shows. */
export interface ExportEvent extends Omit<EventRow, 'repository' | 'retentionClass'> {
  readonly agent: string | null;
  readonly toolUseId: string | null;
  readonly rule: string | null;
  readonly policyVersion: number | null;
  readonly occurredAt: Date;
}

type LeafRun = Pick<ExportLeaf, 'stream' | 'partDay' | 'firstSeq' | 'lastSeq'>;

/** Segments as `w`, in their order. */
const runsOf = (leaves: readonly LeafRun[]): SQL =>
  sql`unnest(${dateColumn(leaves.map(({ partDay }) => partDay))}, ${textColumn(leaves.map(({ stream }) => stream.id))},
    ${bigintColumn(leaves.map(({ firstSeq }) => firstSeq))}, ${bigintColumn(leaves.map(({ lastSeq }) => lastSeq))})
    WITH ORDINALITY AS w(part_day, stream_id, first_seq, last_seq, at)`;

/** Bytes of the payloads of some segments, in their order. Told by what is stored, without reading the texts. */
export async function measurePayloads(tx: Tx, leaves: readonly LeafRun[]): Promise<number[]> {
  if (leaves.length === 0) return [];
  const { rows } = await tx.execute<{ bytes: string }>(sql`
    SELECT coalesce(sum(octet_length(p.payload)), 0)::text AS bytes
    FROM ${runsOf(leaves)} LEFT JOIN LATERAL (SELECT payload FROM audit_payloads o WHERE o.part_day = w.part_day
      AND o.stream_id = w.stream_id AND o.seq BETWEEN w.first_seq AND w.last_seq OFFSET 0) p ON true
    GROUP BY w.at ORDER BY w.at`);
  return rows.map(({ bytes }) => Number(bytes));
}

/**
 * Events of some segments, in their order.
 *
 * @param filter Only those of a query; null: all.
 * @param payloads Also read payloads and salts.
 */
export async function readLeafEvents(
  tx: Tx,
  leaves: readonly LeafRun[],
  filter: EventFilter | null,
  payloads: boolean,
): Promise<ExportEvent[]> {
  if (leaves.length === 0) return [];
  const wanted = keysOf(sql`SELECT * FROM ${runsOf(leaves)}`);
  const its = payloadOf(tx);
  return tx
    .select({
      ...eventColumns,
      payload: payloads ? its.payload : sql<string | null>`NULL::text`,
      salt: payloads ? its.salt : sql<Buffer | null>`NULL::bytea`,
      userName: users.name,
    })
    .from(wanted)
    .innerJoin(auditEvents, isKeyed)
    .leftJoin(users, eq(users.id, auditEvents.userId))
    .leftJoinLateral(its, payloads ? sql`true` : sql`false`)
    .where(filter === null ? undefined : everyCondition(filter))
    .orderBy(sql`key.at`, asc(auditEvents.seq));
}

const eventColumns = {
  streamId: auditEvents.streamId,
  seq: auditEvents.seq,
  header: auditEvents.header,
  chain: auditEvents.chain,
  receivedAt: auditEvents.receivedAt,
  occurredAt: auditEvents.occurredAt,
  eventId: auditEvents.eventId,
  kind: auditEvents.kind,
  sessionId: auditEvents.sessionId,
  userId: auditEvents.userId,
  agent: auditEvents.agent,
  tool: auditEvents.tool,
  toolUseId: auditEvents.toolUseId,
  decision: auditEvents.decision,
  rule: auditEvents.rule,
  policyVersion: auditEvents.policyVersion,
  late: auditEvents.late,
};

/** Streams of the sessions with an event that a filter finds, and the organisation's own. @param limit Most sessions. */
export async function findMatchingStreams(
  tx: Tx,
  orgId: string,
  filter: EventFilter,
  limit: number,
): Promise<{ readonly streamIds: readonly string[]; readonly isClipped: boolean }> {
  const found = await tx
    .selectDistinct({ sessionId: auditEvents.sessionId })
    .from(auditEvents)
    .where(and(everyCondition(filter), isNotNull(auditEvents.sessionId)))
    .limit(limit + 1);
  const sessionIds = found.flatMap(({ sessionId }) => sessionId ?? []);
  const rows = await tx
    .select({ id: auditStreams.id })
    .from(auditStreams)
    .where(and(eq(auditStreams.orgId, orgId), inArray(auditStreams.sessionId, sessionIds.slice(0, limit))));
  const admin = await tx
    .select({ id: auditStreams.id })
    .from(auditStreams)
    .where(and(eq(auditStreams.orgId, orgId), eq(auditStreams.kind, 'admin')));
  return { streamIds: [...rows, ...admin].map(({ id }) => id), isClipped: sessionIds.length > limit };
}
