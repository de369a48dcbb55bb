/**
 * Searches of the audit log, newest first.
 *
 * - Order and cursor are `(received_at, stream_id, seq)`, descending. An index gives `received_at`; the rest is sorted among equals.
 * - What no index answers is looked at row by row, in chunks and up to a budget: a page may end before it is full.
 * - A page goes back in windows of time that grow, so that a list of the newest events opens few partitions.
 */
import { and, desc, eq, gte, inArray, lt, lte, or, type SQL, sql } from 'drizzle-orm';
import { auditEvents, auditStreams } from '../schema.ts';
import type { Tx } from '../tx.ts';
import { type EventRow, selectEvents } from './audit-events.ts';
import { type EventFilter, inStreamOf, receivedIn } from './event-filter.ts';

/** Where an event stands in the order of a search. */
export interface SearchPlace {
  readonly receivedAt: Date;
  readonly streamId: string;
  readonly seq: number;
}

/** An event that was found. */
export interface FoundPlace extends SearchPlace {
  readonly partDay: string;
}

/** What one page found. */
export interface SearchPage {
  readonly places: readonly FoundPlace[];
  /** Where to go on; null: everything was searched. */
  readonly next: SearchPlace | null;
}

/** How much a page looks at. */
export interface SearchBudget {
  /** Most rows of one statement when payloads are searched, and otherwise. */
  readonly textChunk: number;
  readonly chunk: number;
  /** How many such chunks a page looks at in all. */
  readonly chunks: number;
  /** No further chunk is begun after it. */
  readonly untilMs: number;
  readonly nowMs: () => number;
}

const dayMs = 86_400_000;
/** Days that the windows reach back, the last without end. */
const windowDays = [1, 7, 30, 120];

/** Finds a page of events. @param wanted 1 to 200. */
export async function findEvents(
  tx: Tx,
  filter: EventFilter,
  from: SearchPlace | null,
  wanted: number,
  budget: SearchBudget,
): Promise<SearchPage> {
  const places: FoundPlace[] = [];
  const top = from?.receivedAt ?? filter.until ?? new Date(filter.scope.nowMs + dayMs);
  let before = from;
  let size = firstChunk(filter, budget);
  let rowsLeft = largestChunk(filter, budget) * budget.chunks;
  for (const since of windowsOf(top, filter)) {
    for (let isDone = false; !isDone; ) {
      const room = wanted + 1 - places.length;
      const scan = await scanChunk(tx, filter, { since, before }, room, size ?? room);
      places.push(...scan.found);
      if (places.length > wanted)
        return { places: places.slice(0, wanted), next: places[wanted - 1] ?? null };
      isDone = scan.last === null;
      before = scan.last ?? before;
      rowsLeft -= isDone ? 0 : (size ?? 0);
      if (!isDone && (rowsLeft <= 0 || budget.nowMs() >= budget.untilMs)) return { places, next: before };
      size = size && Math.min(2 * size, largestChunk(filter, budget));
    }
    if (since === null || (filter.since !== null && since <= filter.since)) break;
    // No stream has this id: what stands behind is what was received before the window.
    before = { receivedAt: since, streamId: '', seq: 0 };
    if (budget.nowMs() >= budget.untilMs) return { places, next: before };
  }
  return { places, next: null };
}

const largestChunk = ({ text }: EventFilter, { chunk, textChunk }: SearchBudget): number =>
  text === undefined ? chunk : textChunk;

/** Begun small, for what is found often; null: an index answers everything, and no row is looked at in vain. */
const firstChunk = (filter: EventFilter, budget: SearchBudget): number | null =>
  filter.rest === undefined && filter.text === undefined ? null : Math.ceil(largestChunk(filter, budget) / 8);

/** Where each window begins, newest first; null: at the first event there is. */
function windowsOf(top: Date, { since, streamIds }: EventFilter): (Date | null)[] {
  // Named streams bring their own time.
  if (streamIds !== null) return [since];
  const starts = windowDays.map((days) => new Date(top.getTime() - days * dayMs));
  const inside = starts.filter((start) => since === null || start > since);
  return [...inside, since];
}

interface Range {
  readonly since: Date | null;
  readonly before: SearchPlace | null;
}

/** Everything of a range was received before it. */
const upperOf = ({ until }: EventFilter, { before }: Range): Date | null =>
  before === null ? until : new Date(before.receivedAt.getTime() + 1);

interface Scan {
  readonly found: readonly FoundPlace[];
  /** Where a full chunk ended; null: there is nothing more in the range. */
  readonly last: SearchPlace | null;
}

/** Looks at one chunk. Rows come in order from an index or a sort; the number of a row says where the chunk ended. */
async function scanChunk(
  tx: Tx,
  filter: EventFilter,
  range: Range,
  room: number,
  size: number,
): Promise<Scan> {
  const text = filter.text?.(range.since, upperOf(filter, range));
  const matches = and(filter.rest, text) ?? sql`true`;
  const { rows } = await tx.execute<{
    part_day: string;
    stream_id: string;
    seq: string;
    received_ms: string;
    n: string;
    matches: boolean;
  }>(sql`
    SELECT part_day::text, stream_id, seq::text, (extract(epoch FROM received_at) * 1000)::bigint::text AS received_ms,
      n::text, matches
    FROM (
      SELECT audit_events.*, (${matches}) IS TRUE AS matches
      FROM (SELECT e.*, row_number() OVER () AS n FROM (${source(filter, range, size)}) e) audit_events
    ) looked
    WHERE matches OR n = ${size}
    ORDER BY ${order} LIMIT ${room + 1}`);
  const places = rows.map((row) => ({
    place: {
      ...{ partDay: row.part_day, streamId: row.stream_id, seq: Number(row.seq) },
      receivedAt: new Date(Number(row.received_ms)),
    },
    isLast: Number(row.n) === size,
    matches: row.matches,
  }));
  const found = places.filter((one) => one.matches).map(({ place }) => place);
  const last = places.find(({ isLast }) => isLast)?.place ?? null;
  return { found: found.slice(0, room), last };
}

const order = sql`received_at DESC NULLS LAST, stream_id DESC, seq DESC`;

/** The rows of a chunk, in order. */
function source(filter: EventFilter, range: Range, size: number): SQL {
  const { since, before } = range;
  const { indexed, streamIds, scope } = filter;
  const upper = upperOf(filter, range);
  const inRange = and(indexed, receivedIn(since, upper), before === null ? undefined : isBehind(before));
  if (streamIds !== null) {
    // The fence keeps the planner from walking the whole organisation in order of time to find a stream's rows.
    return sql`SELECT * FROM (SELECT ${columns} FROM ${auditEvents} WHERE ${inRange} OFFSET 0) fenced
      ORDER BY ${order} LIMIT ${size}`;
  }
  if (scope.userId === null) return select(inRange, size);
  // What others did in a member's sessions, which the index by user does not know: approvals, revocations.
  const others = sql`${auditEvents.userId} IS DISTINCT FROM ${scope.userId} AND ${auditEvents.streamId} IN
    (SELECT ${auditStreams.id} FROM ${auditStreams} WHERE ${and(
      eq(auditStreams.orgId, scope.orgId),
      eq(auditStreams.userId, scope.userId),
      since === null ? undefined : gte(auditStreams.updatedAt, new Date(since.getTime() - dayMs)),
    )})`;
  const own = and(inRange, eq(auditEvents.userId, scope.userId), inStreamOf(scope.userId));
  return sql`SELECT * FROM (
      SELECT * FROM (${select(own, size)}) own
      UNION ALL SELECT * FROM (SELECT ${columns} FROM ${auditEvents} WHERE ${and(inRange, others)} OFFSET 0) others
    ) visible ORDER BY ${order} LIMIT ${size}`;
}

const select = (condition: SQL | undefined, size: number): SQL =>
  sql`SELECT ${columns} FROM ${auditEvents} WHERE ${condition} ORDER BY ${order} LIMIT ${size}`;

const columns = sql.raw(
  'part_day, stream_id, seq, org_id, kind, session_id, user_id, agent, tool, decision, rule, received_at, header',
);

/** Bounded by the instant first, which is what the index is by. */
const isBehind = ({ receivedAt, streamId, seq }: SearchPlace): SQL | undefined =>
  and(
    lte(auditEvents.receivedAt, receivedAt),
    or(
      lt(auditEvents.receivedAt, receivedAt),
      lt(auditEvents.streamId, streamId),
      and(eq(auditEvents.streamId, streamId), lt(auditEvents.seq, seq)),
    ),
  );

/** The events at some places, in their order. @param places At most 200. */
export async function readEventsAt(tx: Tx, places: readonly FoundPlace[]): Promise<EventRow[]> {
  if (places.length === 0) return [];
  const keys = places.map(
    ({ partDay, streamId, seq }) => sql`(${partDay}::date, ${streamId}::text, ${seq}::bigint)`,
  );
  const days = [...new Set(places.map(({ partDay }) => partDay))];
  return selectEvents(tx, days)
    .where(
      and(
        inArray(auditEvents.partDay, days),
        sql`(${auditEvents.partDay}, ${auditEvents.streamId}, ${auditEvents.seq}) IN (${sql.join(keys, sql`, `)})`,
      ),
    )
    .orderBy(desc(auditEvents.receivedAt), desc(auditEvents.streamId), desc(auditEvents.seq));
}
