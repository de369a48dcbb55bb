/** How events are stored: one statement. */
import { sql } from 'drizzle-orm';
import { holdClass, standardClass } from '../retention-classes.ts';
import type { Tx } from '../tx.ts';
import { dayOf, type StreamRow } from './audit-streams.ts';

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

/** On which terms events are stored. */
interface AppendTerms {
  /** Hash of the last event. */
  readonly eventHash: Buffer;
  readonly late: boolean;
  readonly now: Date;
  /** Only if the session is live and gave a sign of life since then; null: whatever it is. */
  readonly liveSince?: Date | null;
}

/** A segment of a stream is closed when it is this old; the next event goes to the partition of its own day. */
const segmentMs = 86_400_000;

/**
 * Stores events, hands them in as a segment of the log and moves the head, in one statement, if the head is still the one in
 * `stream`.
 *
 * The events must continue it: seq by seq, chain by chain; the caller has checked that.
 *
 * @returns False when another batch was faster, or the session is not live; nothing was stored.
 */
export async function appendEvents(
  tx: Tx,
  stream: StreamRow,
  events: readonly NewEvent[],
  { eventHash, late, now, liveSince = null }: AppendTerms,
): Promise<boolean> {
  const last = events.at(-1);
  if (last === undefined) return true;
  const at = sql`${now.toISOString()}::timestamptz`;
  const rotates = beginsSegment(stream, now);
  const partDay = rotates ? dayOf(now) : stream.partDay;
  const newSegment = sql`, part_day = ${partDay}::date, part_started_at = ${at}`;
  const { rows } = await tx.execute(sql`
    WITH moved AS (
      UPDATE audit_streams SET head_seq = ${last.seq}, head_hash = ${bytes(last.chain)},
        head_event_hash = ${bytes(eventHash)}, updated_at = ${at}${rotates ? newSegment : sql``}
      WHERE id = ${stream.id} AND head_seq = ${stream.headSeq} AND head_hash = ${bytes(stream.headHash)}
        ${liveSince === null ? sql`` : ifLive(stream, liveSince)}
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

/** Whether the next event begins a new segment; the first event begins the first. */
export const beginsSegment = ({ headSeq, partStartedAt }: StreamRow, now: Date): boolean =>
  headSeq === 0 || now.getTime() - partStartedAt.getTime() >= segmentMs;

const ifLive = ({ sessionId }: StreamRow, since: Date) => sql`AND EXISTS (SELECT FROM sessions
  WHERE id = ${sessionId} AND state = 'live' AND last_heartbeat_at >= ${since.toISOString()}::timestamptz)`;

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
