/** Where audit events are sent on to, what was sent, and the events of the log in its order. */
import { and, asc, desc, eq, gte, isNotNull, lt, lte, min, sql } from 'drizzle-orm';
import { auditLogs, auditSegments, auditSinkDeliveries, auditSinks, secrets } from '../schema.ts';
import type { Tx } from '../tx.ts';
import type { SecretRow } from './secrets.ts';

/** A sink as stored. */
export type SinkRow = typeof auditSinks.$inferSelect;
/** A message to a sink as stored. */
export type SinkDeliveryRow = typeof auditSinkDeliveries.$inferSelect;

/** A sink with its sealed key. */
export interface KeyedSink {
  readonly sink: SinkRow;
  readonly secret: SecretRow;
}

/** A sink and how far behind it is. */
export interface LaggingSink {
  readonly sink: SinkRow;
  readonly lagSegments: number;
  /** When the oldest segment that is not delivered was accepted; null when there is none. */
  readonly oldestAt: Date | null;
  /** Messages that were given up. */
  readonly dead: number;
}

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

/** Stores a sink and its sealed signing key. */
export async function insertSink(tx: Tx, row: SinkRow, secret: SecretRow): Promise<void> {
  await tx.insert(secrets).values(secret);
  await tx.insert(auditSinks).values(row);
}

/** Removes a sink with its deliveries and its signing key. */
export async function deleteSink(tx: Tx, orgId: string, id: string): Promise<SinkRow | null> {
  const [row] = await tx.delete(auditSinks).where(isSink(orgId, id)).returning();
  if (row !== undefined) await tx.delete(secrets).where(eq(secrets.id, row.secretId));
  return row ?? null;
}

/** A sink with its sealed key; null when the organisation has none of that id. Role `app`. */
export async function findKeyedSink(tx: Tx, orgId: string, id: string): Promise<KeyedSink | null> {
  const [row] = await tx
    .select({ sink: auditSinks, secret: secrets })
    .from(auditSinks)
    .innerJoin(secrets, eq(secrets.id, auditSinks.secretId))
    .where(isSink(orgId, id))
    .limit(1);
  return row ?? null;
}

/** A sink, locked until the transaction ends; null when the organisation has none of that id. */
export async function lockSink(tx: Tx, orgId: string, id: string): Promise<SinkRow | null> {
  const [row] = await tx.select().from(auditSinks).where(isSink(orgId, id)).for('update').limit(1);
  return row ?? null;
}

/** How many sinks the organisation has. */
export async function countSinks(tx: Tx, orgId: string): Promise<number> {
  return tx.$count(auditSinks, eq(auditSinks.orgId, orgId));
}

/** The organisation's sinks, oldest first; one of them when an id is given. Role `read`. */
export async function listSinks(tx: Tx, orgId: string, id?: string): Promise<LaggingSink[]> {
  const rows = await tx
    .select({
      sink: auditSinks,
      // Written out: within a subquery drizzle's bare names would mean the columns of its own table.
      size: sql<string>`coalesce((SELECT l.size FROM audit_logs l WHERE l.org_id = audit_sinks.org_id), 0)`,
      oldestAt: sql<Date | string | null>`(SELECT s.accepted_at FROM audit_segments s
        WHERE s.org_id = audit_sinks.org_id AND s.leaf_index = audit_sinks.next_leaf)`,
      dead: sql<string>`(SELECT count(*) FROM audit_sink_deliveries d
        WHERE d.sink_id = audit_sinks.id AND d.state = 'dead')`,
    })
    .from(auditSinks)
    .where(id === undefined ? eq(auditSinks.orgId, orgId) : isSink(orgId, id))
    .orderBy(asc(auditSinks.id));
  return rows.map(({ sink, size, oldestAt, dead }) => ({
    sink,
    lagSegments: Math.max(0, Number(size) - sink.nextLeaf),
    oldestAt: oldestAt === null ? null : new Date(oldestAt),
    dead: Number(dead),
  }));
}

/** What may be claimed at once, and of whom nothing. */
export interface SinkClaim {
  readonly limit: number;
  readonly perOrg: number;
  readonly busy: { readonly orgIds: readonly string[]; readonly targetIds: readonly string[] };
}

/**
 * Takes sinks that have something to send and are due, so that no other replica works on them until `untilAt`; role `system`.
 */
export async function claimSinks(
  tx: Tx,
  now: Date,
  untilAt: Date,
  { limit, perOrg, busy }: SinkClaim,
): Promise<SinkRow[]> {
  const at = sql`${now.toISOString()}::timestamptz`;
  const texts = (ids: readonly string[]) => sql`${sql.param([...ids])}::text[]`;
  const fair = sql`SELECT id FROM (
    SELECT s.id, s.due_at, row_number() OVER (PARTITION BY s.org_id ORDER BY s.due_at, s.id) AS of_org
    FROM audit_sinks s
    WHERE s.state = 'active' AND s.due_at <= ${at} AND (s.claimed_until IS NULL OR s.claimed_until <= ${at})
      AND s.org_id <> ALL(${texts(busy.orgIds)}) AND s.id <> ALL(${texts(busy.targetIds)})
      AND (s.next_leaf < (SELECT l.size FROM audit_logs l WHERE l.org_id = s.org_id)
        OR EXISTS (SELECT FROM audit_sink_deliveries d WHERE d.sink_id = s.id AND d.state = 'dead' AND d.due_at <= ${at}))) AS due
    WHERE of_org <= ${perOrg} ORDER BY due_at LIMIT ${limit}`;
  const unclaimed = sql`(claimed_until IS NULL OR claimed_until <= ${at})`;
  const locked = tx
    .select({ id: auditSinks.id })
    .from(auditSinks)
    .where(sql`${auditSinks.id} = ANY(ARRAY(${fair})) AND ${unclaimed}`)
    .for('update', { skipLocked: true });
  return tx
    .update(auditSinks)
    .set({ claimedUntil: untilAt })
    .where(sql`${auditSinks.id} = ANY(ARRAY(${locked}))`)
    .returning();
}

/**
 * Changes a sink that is still claimed until `claimedUntil`, and so by whoever claimed it then.
 *
 * @returns False when somebody else has it now, or it is gone.
 */
export async function updateClaimed(
  tx: Tx,
  { id, claimedUntil }: Pick<SinkRow, 'id' | 'claimedUntil'>,
  change: Partial<SinkRow>,
): Promise<boolean> {
  if (claimedUntil === null) return false;
  const rows = await tx
    .update(auditSinks)
    .set(change)
    .where(and(eq(auditSinks.id, id), eq(auditSinks.claimedUntil, claimedUntil)))
    .returning({ id: auditSinks.id });
  return rows.length === 1;
}

/** Changes a sink, whoever has claimed it. */
export async function updateSink(tx: Tx, id: string, change: Partial<SinkRow>): Promise<void> {
  await tx.update(auditSinks).set(change).where(eq(auditSinks.id, id));
}

/** Moves a sink on from a place, if it still stands there. */
export async function advanceSink(tx: Tx, id: string, from: LogPlace, to: LogPlace): Promise<boolean> {
  const rows = await tx
    .update(auditSinks)
    .set({ nextLeaf: to.leaf, nextSeq: to.seq })
    .where(and(eq(auditSinks.id, id), eq(auditSinks.nextLeaf, from.leaf), eq(auditSinks.nextSeq, from.seq)))
    .returning({ id: auditSinks.id });
  return rows.length === 1;
}

/** The message that is being sent; null when there is none. */
export async function findOpenDelivery(tx: Tx, sinkId: string): Promise<SinkDeliveryRow | null> {
  const [row] = await tx.select().from(auditSinkDeliveries).where(isOpen(sinkId)).limit(1);
  return row ?? null;
}

/** The oldest message that was given up and is to be sent again now; null when there is none. */
export async function findDueDeadLetter(tx: Tx, sinkId: string, now: Date): Promise<SinkDeliveryRow | null> {
  const [row] = await tx
    .select()
    .from(auditSinkDeliveries)
    .where(and(isDead(sinkId), lte(auditSinkDeliveries.dueAt, now)))
    .orderBy(asc(auditSinkDeliveries.firstLeaf), asc(auditSinkDeliveries.firstSeq))
    .limit(1);
  return row ?? null;
}

/** Stores a message before it is sent. */
export async function insertSinkDelivery(tx: Tx, row: SinkDeliveryRow): Promise<void> {
  await tx.insert(auditSinkDeliveries).values(row);
}

/** Says what became of an attempt. @returns False when the message is in another state by now, or gone. */
export async function settleSinkDelivery(
  tx: Tx,
  { id, state }: Pick<SinkDeliveryRow, 'id' | 'state'>,
  change: Partial<SinkDeliveryRow>,
): Promise<boolean> {
  const rows = await tx
    .update(auditSinkDeliveries)
    .set(change)
    .where(and(eq(auditSinkDeliveries.id, id), eq(auditSinkDeliveries.state, state)))
    .returning({ id: auditSinkDeliveries.id });
  return rows.length === 1;
}

/** Drops the message that is being sent: its events are sent again with others. */
export async function dropOpenDelivery(tx: Tx, sinkId: string): Promise<void> {
  await tx.delete(auditSinkDeliveries).where(isOpen(sinkId));
}

/** Lets the attempts of the message that is being sent begin anew. */
export async function renewOpenDelivery(tx: Tx, sinkId: string, now: Date): Promise<void> {
  await tx.update(auditSinkDeliveries).set({ attempts: 0, firstAt: now }).where(isOpen(sinkId));
}

/** Makes every message that was given up due. @returns How many segments these are of. */
export async function requeueDeadLetters(tx: Tx, sinkId: string, now: Date): Promise<number> {
  const rows = await tx
    .update(auditSinkDeliveries)
    .set({ dueAt: now, attempts: 0, firstAt: now })
    .where(isDead(sinkId))
    .returning({ firstLeaf: auditSinkDeliveries.firstLeaf, lastLeaf: auditSinkDeliveries.lastLeaf });
  return rows.reduce((sum, { firstLeaf, lastLeaf }) => sum + lastLeaf - firstLeaf + 1, 0);
}

/** Messages of a sink, newest first. Those whose first attempt is still to come are left out. */
export async function listSinkDeliveries(
  tx: Tx,
  sinkId: string,
  {
    state,
    before,
    limit,
  }: {
    readonly state: SinkDeliveryRow['state'] | null;
    readonly before: string | null;
    readonly limit: number;
  },
): Promise<SinkDeliveryRow[]> {
  return tx
    .select()
    .from(auditSinkDeliveries)
    .where(
      and(
        eq(auditSinkDeliveries.sinkId, sinkId),
        sql`(${auditSinkDeliveries.attempts} > 0 OR ${auditSinkDeliveries.dueAt} IS NOT NULL)`,
        state === null ? undefined : eq(auditSinkDeliveries.state, state),
        before === null ? undefined : lt(auditSinkDeliveries.id, before),
      ),
    )
    .orderBy(desc(auditSinkDeliveries.id))
    .limit(limit);
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

const isSink = (orgId: string, id: string) => and(eq(auditSinks.id, id), eq(auditSinks.orgId, orgId));
const isOpen = (sinkId: string) =>
  and(eq(auditSinkDeliveries.sinkId, sinkId), eq(auditSinkDeliveries.state, 'failed'));
const isDead = (sinkId: string) =>
  and(eq(auditSinkDeliveries.sinkId, sinkId), eq(auditSinkDeliveries.state, 'dead'));
