/** Events of the audit log: the one statement that stores them, and how they are read. */
import { and, asc, between, eq, inArray, sql } from 'drizzle-orm';
import { holdClass, standardClass } from '../retention-classes.ts';
import { auditEvents, auditPayloads, auditStreams, sessions, users } from '../schema.ts';
import type { Tx } from '../tx.ts';
import { dayOf, listStreamDays, type StreamRow } from './audit-streams.ts';

/** An event to store; what is null stays null. */
export interface NewEvent {
  readonly seq: number;
  readonly header: string;
  readonly chain: Uint8Array;
  readonly payload: string | null;
  readonly salt: Uint8Array | null;
  readonly eventId: string;
  readonly kind: string;
  readonly sessionId: string | null;
  readonly userId: string | null;
  readonly agent: string | null;
  readonly tool: string | null;
  readonly toolUseId: string | null;
  readonly decision: string | null;
  readonly rule: string | null;
  readonly policyVersion: number | null;
  /** RFC 3339. */
  readonly occurredAt: string;
}

/** An event as read, with the columns that were derived from its header. */
export interface EventRow {
  readonly streamId: string;
  readonly seq: number;
  readonly header: string;
  readonly payload: string | null;
  readonly salt: Buffer | null;
  readonly chain: Buffer;
  readonly receivedAt: Date;
  readonly eventId: string;
  readonly kind: string;
  readonly sessionId: string | null;
  readonly userId: string | null;
  readonly tool: string | null;
  readonly decision: string | null;
  readonly userName: string | null;
  readonly late: boolean;
  /** Of the session, as its command said it; null outside of sessions. */
  readonly repository: string | null;
  /** Null without payload. */
  readonly retentionClass: string | null;
}

/** A segment of a stream is closed when it is this old; the next event goes to the partition of its own day. */
const segmentMs = 86_400_000;

/**
 * Stores events, hands them in as a segment of the log and moves the head, in one statement, if the head is still the one in
 * `stream`.
 *
 * The events must continue it: seq by seq, chain by chain; the caller has checked that.
 *
 * @param eventHash Hash of the last event.
 * @returns False when another batch was faster; nothing was stored.
 */
export async function appendEvents(
  tx: Tx,
  stream: StreamRow,
  events: readonly NewEvent[],
  { eventHash, late, now }: { readonly eventHash: Buffer; readonly late: boolean; readonly now: Date },
): Promise<boolean> {
  const last = events.at(-1);
  if (last === undefined) return true;
  const at = sql`${now.toISOString()}::timestamptz`;
  // The first event begins the first segment.
  const rotates = stream.headSeq === 0 || now.getTime() - stream.partStartedAt.getTime() >= segmentMs;
  const partDay = rotates ? dayOf(now) : stream.partDay;
  const newSegment = sql`, part_day = ${partDay}::date, part_started_at = ${at}`;
  const { rows } = await tx.execute(sql`
    WITH moved AS (
      UPDATE audit_streams SET head_seq = ${last.seq}, head_hash = ${bytes(last.chain)},
        head_event_hash = ${bytes(eventHash)}, updated_at = ${at}${rotates ? newSegment : sql``}
      WHERE id = ${stream.id} AND head_seq = ${stream.headSeq} AND head_hash = ${bytes(stream.headHash)}
      RETURNING held)
    ${rotates ? insertDay(stream, partDay) : sql``}
    , stored AS (${insertHeaders(stream, partDay, events, at, late)})
    , segment AS (INSERT INTO audit_segments (org_id, stream_id, first_seq, last_seq, prev, head, accepted_at)
      SELECT ${stream.orgId}, ${stream.id}, ${stream.headSeq + 1}, ${last.seq}, ${bytes(stream.headHash)}, ${bytes(last.chain)},
        ${at} ${ifMoved})
    ${events.some((event) => event.payload !== null) ? insertPayloads(stream, partDay, events) : sql``}
    SELECT 1 FROM moved`);
  return rows.length === 1;
}

const bytes = (value: Uint8Array) => sql`decode(${Buffer.from(value).toString('hex')}, 'hex')`;
const ifMoved = sql`WHERE EXISTS (SELECT FROM moved)`;

function insertDay(stream: StreamRow, partDay: string) {
  return sql`, day AS (INSERT INTO audit_stream_days (org_id, stream_id, first_seq, part_day)
    SELECT ${stream.orgId}, ${stream.id}, ${stream.headSeq + 1}, ${partDay}::date ${ifMoved})`;
}

function insertHeaders(
  stream: StreamRow,
  partDay: string,
  events: readonly NewEvent[],
  at: ReturnType<typeof sql>,
  late: boolean,
) {
  const texts = (pick: (event: NewEvent) => string | number | null) =>
    sql`${sql.param(events.map((event) => pick(event)?.toString() ?? null))}::text[]`;
  return sql`
    INSERT INTO audit_events (part_day, stream_id, org_id, received_at, late, seq, event_id, kind, session_id, user_id, agent,
      tool, tool_use_id, decision, rule, policy_version, occurred_at, header, chain)
    SELECT ${partDay}::date, ${stream.id}, ${stream.orgId}, ${at}, ${late}::boolean, e.seq::bigint, e.event_id, e.kind,
      e.session_id, e.user_id, e.agent, e.tool, e.tool_use_id, e.decision, e.rule, e.policy_version::bigint,
      e.occurred_at::timestamptz, e.header, decode(e.chain, 'hex')
    FROM unnest(${texts((e) => e.seq)}, ${texts((e) => e.eventId)}, ${texts((e) => e.kind)}, ${texts((e) => e.sessionId)},
      ${texts((e) => e.userId)}, ${texts((e) => e.agent)}, ${texts((e) => e.tool)}, ${texts((e) => e.toolUseId)},
      ${texts((e) => e.decision)}, ${texts((e) => e.rule)}, ${texts((e) => e.policyVersion)}, ${texts((e) => e.occurredAt)},
      ${texts((e) => e.header)}, ${texts((e) => hex(e.chain))})
      AS e(seq, event_id, kind, session_id, user_id, agent, tool, tool_use_id, decision, rule, policy_version, occurred_at,
        header, chain)
    ${ifMoved}`;
}

function insertPayloads(stream: StreamRow, partDay: string, events: readonly NewEvent[]) {
  const kept = events.filter((event) => event.payload !== null);
  const texts = (pick: (event: NewEvent) => string | null) => sql`${sql.param(kept.map(pick))}::text[]`;
  return sql`, kept AS (
    INSERT INTO audit_payloads (retention_class, part_day, stream_id, org_id, seq, salt, payload)
    SELECT ${retentionClassFor(stream)}, ${partDay}::date, ${stream.id}, ${stream.orgId}, p.seq::bigint, decode(p.salt, 'hex'),
      p.payload
    FROM moved, unnest(${texts((e) => String(e.seq))}, ${texts((e) => hex(e.salt ?? Buffer.alloc(0)))},
      ${texts((e) => e.payload)}) AS p(seq, salt, payload))`;
}

/**
 * `held` is that of the row just updated, not of when the statement began: whoever sets a hold has that row locked. What the
 * organisation did itself (members, policies, what was erased and why) is kept whatever its setting.
 */
const retentionClassFor = ({ kind, orgId }: StreamRow) =>
  kind === 'admin'
    ? sql`${standardClass}`
    : sql`CASE WHEN moved.held THEN ${holdClass} ELSE coalesce(
        (SELECT retention_class FROM audit_settings WHERE org_id = ${orgId}), ${standardClass}) END`;

const hex = (value: Uint8Array): string => Buffer.from(value).toString('hex');

/** Where an event stands. */
export interface EventPlace {
  readonly streamId: string;
  readonly seq: number;
  /** `YYYY-MM-DD`: the partition it is in. */
  readonly partDay: string;
}

/**
 * Where events stand that bear an id; in no order. Of each partition of the days one place of one index is looked at.
 *
 * @param owner Only those of this person's sessions, and of the organisation's own stream those about them; null: all.
 * @param days First and last day of the partitions, `YYYY-MM-DD`. Every partition of a statement takes locks, whatever is in
 *   it, so they must be few.
 */
export async function findEventPlaces(
  tx: Tx,
  {
    orgId,
    owner,
    eventId,
  }: { readonly orgId: string; readonly owner: string | null; readonly eventId: string },
  days: { readonly first: string; readonly last: string },
  limit: number,
): Promise<(EventPlace & { readonly receivedAt: Date })[]> {
  const { streamId, seq, partDay, receivedAt } = auditEvents;
  return tx
    .select({ streamId, seq, partDay, receivedAt })
    .from(auditEvents)
    .innerJoin(auditStreams, eq(auditStreams.id, streamId))
    .where(
      and(
        ...[between(partDay, days.first, days.last), eq(auditEvents.orgId, orgId)],
        eq(auditEvents.eventId, eventId),
        owner === null ? undefined : sql`coalesce(${auditStreams.userId}, ${auditEvents.userId}) = ${owner}`,
      ),
    )
    .limit(limit);
}

/** Stored chain values of some seqs of a stream. */
export async function readChains(
  tx: Tx,
  streamId: string,
  fromSeq: number,
  toSeq: number,
): Promise<Map<number, Buffer>> {
  const found = new Map<number, Buffer>();
  for (const part of await partsOf(tx, streamId, fromSeq, toSeq)) {
    const rows = await tx
      .select({ seq: auditEvents.seq, chain: auditEvents.chain })
      .from(auditEvents)
      .where(inPart(streamId, part));
    for (const row of rows) found.set(row.seq, row.chain);
  }
  return found;
}

/**
 * Events of a stream in order of seq, with their payloads where these are kept.
 *
 * @param limit Most events wanted, 1 to 1,000.
 */
export async function readEvents(
  tx: Tx,
  streamId: string,
  fromSeq: number,
  limit: number,
): Promise<EventRow[]> {
  const found: EventRow[] = [];
  for (const part of await partsOf(tx, streamId, fromSeq, fromSeq + limit - 1)) {
    const rows = await selectEvents(tx).where(inPart(streamId, part)).orderBy(asc(auditEvents.seq));
    found.push(...rows);
  }
  return found;
}

interface Part {
  readonly partDay: string;
  readonly fromSeq: number;
  readonly toSeq: number;
}

/** Where seqs of a stream lie: one partition a day, so that each read goes down one index. */
async function partsOf(tx: Tx, streamId: string, fromSeq: number, toSeq: number): Promise<Part[]> {
  const days = await listStreamDays(tx, [streamId]);
  return days
    .map((day, index) => ({
      partDay: day.partDay,
      fromSeq: Math.max(day.firstSeq, fromSeq),
      toSeq: Math.min((days[index + 1]?.firstSeq ?? Number.MAX_SAFE_INTEGER) - 1, toSeq),
    }))
    .filter((part) => part.fromSeq <= part.toSeq);
}

const inPart = (streamId: string, part: Part) =>
  and(
    eq(auditEvents.partDay, part.partDay),
    eq(auditEvents.streamId, streamId),
    between(auditEvents.seq, part.fromSeq, part.toSeq),
  );

/** Joins an event with its payload; there is none when it was never recorded, or was erased. */
export const isItsPayload = and(
  eq(auditPayloads.partDay, auditEvents.partDay),
  eq(auditPayloads.streamId, auditEvents.streamId),
  eq(auditPayloads.seq, auditEvents.seq),
);

const eventColumns = {
  streamId: auditEvents.streamId,
  seq: auditEvents.seq,
  header: auditEvents.header,
  payload: auditPayloads.payload,
  salt: auditPayloads.salt,
  chain: auditEvents.chain,
  receivedAt: auditEvents.receivedAt,
  eventId: auditEvents.eventId,
  kind: auditEvents.kind,
  sessionId: auditEvents.sessionId,
  userId: auditEvents.userId,
  tool: auditEvents.tool,
  decision: auditEvents.decision,
  userName: users.name,
  late: auditEvents.late,
  repository: sessions.repository,
  retentionClass: auditPayloads.retentionClass,
};

/**
 * Selects events as they are read, with what belongs to them; add which and in which order.
 *
 * @param days Days of the partitions they are in, `YYYY-MM-DD`, when the events are not chosen by one: else their payloads are
 *   looked for in, and locks taken of, every partition there is.
 */
export const selectEvents = (tx: Tx, days?: readonly string[]) =>
  tx
    .select(eventColumns)
    .from(auditEvents)
    .leftJoin(auditPayloads, and(isItsPayload, days && inArray(auditPayloads.partDay, [...days])))
    .leftJoin(users, eq(users.id, auditEvents.userId))
    .leftJoin(sessions, eq(sessions.id, auditEvents.sessionId))
    .$dynamic();
