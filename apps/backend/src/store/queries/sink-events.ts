/** The events of the log in its order, as a sink gets them; role `read`. */
import { and, asc, eq, gte, isNotNull, min, sql } from 'drizzle-orm';
import { auditLogs, auditSegments } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** A place in the log: a leaf, and a seq in its segment; seq 0 is its beginning. */
export interface LogPlace {
  readonly leaf: number;
  readonly seq: number;
}

/** An event of the log as a sink gets it. */
export interface SinkEventRow {
  readonly leaf: number;
  /** Last seq of its segment. */
  readonly segmentEnd: number;
  readonly streamId: string;
  readonly seq: number;
  readonly eventId: string;
  readonly kind: string;
  readonly receivedAt: Date;
  readonly header: string;
  /** Hex. */
  readonly chain: string;
  readonly payload: string | null;
  /** Hex. */
  readonly salt: string | null;
}

/** Which events are wanted of a stretch of the log. */
export interface SinkRange {
  readonly from: LogPlace;
  /** Leaves before this one. */
  readonly untilLeaf: number;
  /** Kinds, `*` at the end of one matches what follows; empty: all. */
  readonly kinds: readonly string[];
  readonly payloads: boolean;
  readonly maxEvents: number;
  /** Bytes of headers and payloads after which nothing more is read; one event is always read. */
  readonly maxBytes: number;
}

/** How many leaves the log of an organisation has. Role `read`. */
export async function countLeaves(tx: Tx, orgId: string): Promise<number> {
  const [row] = await tx.select({ size: auditLogs.size }).from(auditLogs).where(eq(auditLogs.orgId, orgId));
  return row?.size ?? 0;
}

/** The first leaf that was accepted at or after an instant; null when there is none. Role `read`. */
export async function findLeafSince(tx: Tx, orgId: string, since: Date): Promise<number | null> {
  const [row] = await tx
    .select({ leaf: min(auditSegments.leafIndex) })
    .from(auditSegments)
    .where(
      and(
        ...[eq(auditSegments.orgId, orgId), isNotNull(auditSegments.leafIndex)],
        gte(auditSegments.acceptedAt, since),
      ),
    );
  return row?.leaf ?? null;
}

/** Most segments looked at for one message. */
const maxSegments = 500;

/**
 * Where a stretch of the log ends that holds so many events, or a segment's more: the leaf after its last one. Role `read`.
 *
 * @returns `fromLeaf` when the log ends there.
 */
export async function findStretchEnd(
  tx: Tx,
  orgId: string,
  fromLeaf: number,
  wantedEvents: number,
): Promise<number> {
  const rows = await tx
    .select({
      leaf: auditSegments.leafIndex,
      events: sql<string>`${auditSegments.lastSeq} - ${auditSegments.firstSeq} + 1`,
    })
    .from(auditSegments)
    .where(and(eq(auditSegments.orgId, orgId), gte(auditSegments.leafIndex, fromLeaf)))
    .orderBy(asc(auditSegments.leafIndex))
    .limit(maxSegments);
  let [end, events] = [fromLeaf, 0];
  for (const row of rows) {
    if (events >= wantedEvents) break;
    // A log has no gaps; were there one, what comes after it would wait for it.
    if (row.leaf !== end) break;
    end += 1;
    events += Number(row.events);
  }
  return end;
}

/** Events of a stretch of the log, in its order. Role `read`. */
export async function readSinkEvents(tx: Tx, orgId: string, range: SinkRange): Promise<SinkEventRow[]> {
  const { from, untilLeaf, kinds, payloads, maxEvents, maxBytes } = range;
  const patterns = kinds.map((kind) => kind.replace(/[\\%_]/g, '\\$&').replace(/\*$/, '%'));
  const wanted = patterns.length === 0 ? sql`` : sql`AND e.kind LIKE ANY(${sql.param(patterns)}::text[])`;
  const kept = payloads
    ? sql`LEFT JOIN LATERAL (SELECT payload, salt FROM audit_payloads o
        WHERE o.part_day = e.part_day AND o.stream_id = e.stream_id AND o.seq = e.seq LIMIT 1) p ON true`
    : sql``;
  const size = payloads
    ? sql`octet_length(e.header) + coalesce(octet_length(p.payload), 0)`
    : sql`octet_length(e.header)`;
  const { rows } = await tx.execute<RawEvent>(sql`
    SELECT * FROM (
      SELECT s.leaf_index, s.last_seq, e.stream_id, e.seq, e.event_id, e.kind, e.received_at, e.header,
        encode(e.chain, 'hex') AS chain,
        ${payloads ? sql`p.payload, encode(p.salt, 'hex') AS salt` : sql`NULL AS payload, NULL AS salt`},
        sum(${size}) OVER (ORDER BY s.leaf_index, e.seq) - (${size}) AS before
      FROM audit_segments s
      CROSS JOIN LATERAL (SELECT d.part_day FROM audit_stream_days d
        WHERE d.stream_id = s.stream_id AND d.first_seq <= s.first_seq ORDER BY d.first_seq DESC LIMIT 1) d
      CROSS JOIN LATERAL (SELECT * FROM audit_events o WHERE o.part_day = d.part_day AND o.stream_id = s.stream_id
        AND o.seq BETWEEN s.first_seq AND s.last_seq OFFSET 0) e
      ${kept}
      WHERE s.org_id = ${orgId} AND s.leaf_index >= ${from.leaf} AND s.leaf_index < ${untilLeaf}
        AND (s.leaf_index > ${from.leaf} OR e.seq >= ${from.seq}) ${wanted}
      ORDER BY s.leaf_index, e.seq LIMIT ${maxEvents}) AS found
    WHERE before < ${maxBytes} ORDER BY leaf_index, seq`);
  return rows.map(toEvent);
}

interface RawEvent extends Record<string, unknown> {
  readonly leaf_index: string | number;
  readonly last_seq: string | number;
  readonly stream_id: string;
  readonly seq: string | number;
  readonly event_id: string;
  readonly kind: string;
  readonly received_at: Date | string;
  readonly header: string;
  readonly chain: string;
  readonly payload: string | null;
  readonly salt: string | null;
}

const toEvent = (row: RawEvent): SinkEventRow => ({
  leaf: Number(row.leaf_index),
  segmentEnd: Number(row.last_seq),
  streamId: row.stream_id,
  seq: Number(row.seq),
  eventId: row.event_id,
  kind: row.kind,
  receivedAt: new Date(row.received_at),
  header: row.header,
  chain: row.chain,
  payload: row.payload,
  salt: row.salt,
});
