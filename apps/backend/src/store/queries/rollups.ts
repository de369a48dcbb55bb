/** Hourly roll-ups of the audit log: how they are counted, once each, and how they are asked. */
import { and, eq, gte, like, lt, ne, or, type SQL, sql } from 'drizzle-orm';
import { auditEvents, auditRollupPositions, auditRollups, users } from '../schema.ts';
import type { Tx } from '../tx.ts';
import { type Actors, escapeLike, findActors, signed } from './event-filter.ts';
import { type EventQuery, type FieldTerm, type QueryField, toInstant } from './event-query.ts';
import { eventsOfRun, oldestSegmentFrom, placesOf, readLogSegments } from './segment-events.ts';

/** Organisations whose log is longer than what is counted. Role `system`. */
export async function listUncountedLogs(tx: Tx, limit: number): Promise<string[]> {
  const { rows } = await tx.execute<{ org_id: string }>(sql`
    SELECT l.org_id FROM audit_logs l LEFT JOIN audit_rollup_positions p ON p.org_id = l.org_id
    WHERE l.size > coalesce(p.next_leaf, 0) ORDER BY l.org_id LIMIT ${limit}`);
  return rows.map(({ org_id: orgId }) => orgId);
}

/** Keeps every other runner from this organisation's roll-ups until the transaction ends. */
export async function lockRollups(tx: Tx, orgId: string): Promise<void> {
  await tx.execute(
    sql`SELECT pg_advisory_xact_lock(hashtextextended(${`kontext.audit-rollups ${orgId}`}, 0))`,
  );
}

/** What one transaction counts: so many segments, and not many more than so many events. */
const maxSegments = 1000;
const maxEvents = 20_000;

/**
 * Counts the next events of a log and moves its position. Counts and position change together or not at all, so each event is
 * counted once; call it with the lock held. Role `system`.
 *
 * @returns Events counted; 0: everything in the log is.
 */
export async function countNextLeaves(tx: Tx, orgId: string, now: Date): Promise<number> {
  const nextLeaf = await readPosition(tx, orgId);
  const taken = [];
  let events = 0;
  for (const segment of await readLogSegments(tx, orgId, nextLeaf, maxSegments)) {
    if (events >= maxEvents) break;
    taken.push(segment);
    events += segment.lastSeq - segment.firstSeq + 1;
  }
  const last = taken.at(-1);
  if (last === undefined) return 0;
  // The mode stands in the header alone; no text inside of it can spell this, its quotes would be escaped. Not by a regular
  // expression: that took longer than all the rest.
  const isMode = (mode: string) => sql`${auditEvents.header} LIKE ${`%"mode":"${mode}","occurredAt":%`}`;
  const mode = sql`CASE WHEN ${isMode('enforce')} THEN 'enforce' WHEN ${isMode('observe')} THEN 'observe' ELSE '' END`;
  await tx.execute(sql`
    INSERT INTO audit_rollups (org_id, hour, kind, user_id, agent, tool, decision, mode, count)
    SELECT ${orgId}, date_trunc('hour', ${auditEvents.receivedAt}, 'UTC'), ${auditEvents.kind},
      coalesce(${auditEvents.userId}, ''), coalesce(${auditEvents.agent}, ''), coalesce(${auditEvents.tool}, ''),
      coalesce(${auditEvents.decision}, ''), ${mode}, count(*)
    FROM (${placesOf(taken)}) run CROSS JOIN ${eventsOfRun}
    GROUP BY 2, 3, 4, 5, 6, 7, 8
    ORDER BY 2, 3, 4, 5, 6, 7, 8
    ON CONFLICT (org_id, hour, kind, user_id, agent, tool, decision, mode)
      DO UPDATE SET count = audit_rollups.count + excluded.count`);
  const until = new Date(Math.max(...taken.map(({ acceptedAt }) => acceptedAt.getTime()))).toISOString();
  await tx.execute(sql`
    INSERT INTO audit_rollup_positions AS p (org_id, next_leaf, counted_until, updated_at)
    VALUES (${orgId}, ${last.leafIndex + 1}, ${until}::timestamptz, ${now.toISOString()}::timestamptz)
    ON CONFLICT (org_id) DO UPDATE SET next_leaf = excluded.next_leaf, updated_at = excluded.updated_at,
      counted_until = greatest(p.counted_until, excluded.counted_until)`);
  return events;
}

async function readPosition(tx: Tx, orgId: string): Promise<number> {
  const [row] = await tx
    .select({ nextLeaf: auditRollupPositions.nextLeaf })
    .from(auditRollupPositions)
    .where(eq(auditRollupPositions.orgId, orgId))
    .limit(1);
  return row?.nextLeaf ?? 0;
}

/** Everything accepted before it is counted. @param now What holds when nothing waits. */
export async function readCountedUntil(tx: Tx, orgId: string, now: Date): Promise<Date> {
  return (await oldestSegmentFrom(tx, orgId, await readPosition(tx, orgId))) ?? now;
}

/** Fields that roll-ups are counted by, as a query names them and as facets do. */
const columnOf = {
  actor: auditRollups.userId,
  agent: auditRollups.agent,
  decision: auditRollups.decision,
  kind: auditRollups.kind,
  mode: auditRollups.mode,
  tool: auditRollups.tool,
} as const satisfies Partial<Record<QueryField, unknown>>;

/** A field of a query that roll-ups can answer. */
export type RollupField = keyof typeof columnOf;

/** @param field A field of a query, or `text`. */
export const isRollupField = (field: string): field is RollupField => Object.hasOwn(columnOf, field);

/** A query over roll-ups made ready. */
export type RollupFilter = SQL | undefined;

const hourMs = 3_600_000;

/**
 * What a query means over roll-ups. Hours count whole: `since` goes back to the beginning of its hour, `until` on to its end.
 * Terms that roll-ups do not know count for nothing: the caller has refused them.
 */
export async function prepareRollupFilter(
  tx: Tx,
  query: EventQuery,
  orgId: string,
  nowMs: number,
): Promise<RollupFilter> {
  const actors = await findActors(tx, query, orgId);
  const groups = new Map<RollupField, SQL[]>();
  const conditions: SQL[] = [];
  for (const term of query.terms) {
    if (term.field === 'text' || !isRollupField(term.field)) continue;
    const condition = conditionOf(term, term.field, actors);
    if (term.negated) conditions.push(signed(condition, true));
    else groups.set(term.field, [...(groups.get(term.field) ?? []), condition]);
  }
  const hourAt = (ms: number) => new Date(ms * hourMs);
  const since = query.since && hourAt(Math.floor(toInstant(query.since, nowMs).getTime() / hourMs));
  const until = query.until && hourAt(Math.ceil(toInstant(query.until, nowMs).getTime() / hourMs));
  return and(
    eq(auditRollups.orgId, orgId),
    since === null ? undefined : gte(auditRollups.hour, since),
    until === null ? undefined : lt(auditRollups.hour, until),
    ...[...groups.values()].map((group) => or(...group)),
    ...conditions,
  );
}

function conditionOf(term: FieldTerm, field: RollupField, actors: Actors): SQL {
  if (field === 'actor') {
    const ids = [...(actors.get(term) ?? [])];
    return sql`${auditRollups.userId} = ANY(${sql.param(ids)}::text[])`;
  }
  const column = columnOf[field];
  const matches = term.prefix ? like(column, `${escapeLike(term.value)}%`) : eq(column, term.value);
  return and(ne(column, ''), matches) ?? matches;
}

/** How often a value occurs. */
export interface ValueCount {
  readonly value: string;
  /** What a user is shown by; empty for other fields. */
  readonly label: string;
  readonly count: number;
}

/**
 * The most frequent values of each field, in one read of the roll-ups: first of every combination of values that occurs, which
 * are few beside the hours, then of each value alone. Events without a value of a field are left out of that field.
 *
 * @param fields At least one, each once. @param limit Values of each field.
 */
export async function countValues(
  tx: Tx,
  filter: RollupFilter,
  fields: readonly RollupField[],
  limit: number,
): Promise<ReadonlyMap<RollupField, readonly ValueCount[]>> {
  const names = fields.map((field) => sql.identifier(field));
  const columns = fields.map((field, at) => sql`${columnOf[field]} AS ${names[at]}`);
  const each = sql.join(names, sql`, `);
  const { rows } = await tx.execute<{ field: RollupField; value: string; count: string }>(sql`
    WITH combined AS (
      SELECT ${sql.join(columns, sql`, `)}, sum(${auditRollups.count}) AS count FROM ${auditRollups} WHERE ${filter}
      GROUP BY ${sql.join(
        fields.map((field) => sql`${columnOf[field]}`),
        sql`, `,
      )}),
    counted AS (
      SELECT CASE ${sql.join(fields.map(whenGroupedBy), sql` `)} END AS field, coalesce(${each}) AS value, sum(count) AS count
      FROM combined GROUP BY GROUPING SETS (${sql.join(
        names.map((name) => sql`(${name})`),
        sql`, `,
      )})),
    ranked AS (
      SELECT *, row_number() OVER (PARTITION BY field ORDER BY count DESC, value) AS n FROM counted WHERE value <> '')
    SELECT field, value, count::text FROM ranked WHERE n <= ${limit} ORDER BY field, n`);
  const people = await namesOf(
    tx,
    rows.flatMap(({ field, value }) => (field === 'actor' ? [value] : [])),
  );
  const valuesOf = (field: RollupField): ValueCount[] =>
    rows
      .filter((row) => row.field === field)
      .map(({ value, count }) => ({
        ...{ value, count: Number(count) },
        label: field === 'actor' ? (people.get(value) ?? '') : '',
      }));
  return new Map(fields.map((field) => [field, valuesOf(field)]));
}

/** Of which field a row of the grouping sets is; the name is one of ours. */
const whenGroupedBy = (field: RollupField): SQL =>
  sql`WHEN grouping(${sql.identifier(field)}) = 0 THEN ${sql.raw(`'${field}'`)}`;

async function namesOf(tx: Tx, ids: readonly string[]): Promise<ReadonlyMap<string, string>> {
  if (ids.length === 0) return new Map();
  const rows = await tx
    .select({ id: users.id, name: users.name })
    .from(users)
    .where(sql`${users.id} = ANY(${sql.param([...ids])}::text[])`);
  return new Map(rows.map(({ id, name }) => [id, name]));
}

/** Events of a span of time. */
export interface BucketCount {
  readonly start: Date;
  readonly count: number;
  readonly denied: number;
  readonly asked: number;
}

/** Counts by spans of time, in order; spans without an event are left out. */
export async function countOverTime(
  tx: Tx,
  filter: RollupFilter,
  bucketSeconds: number,
  limit: number,
): Promise<BucketCount[]> {
  const sumOf = (decision: string) =>
    sql`sum(${auditRollups.count}) FILTER (WHERE ${auditRollups.decision} = ${decision})`;
  // By the hour first: the arithmetic of spans is done once for each hour, and not for each row.
  const { rows } = await tx.execute<{ start: string; count: string; denied: string; asked: string }>(sql`
    SELECT ((floor(extract(epoch FROM hour) / ${bucketSeconds}::int) * ${bucketSeconds}::int)::bigint)::text AS start,
      sum(count)::text AS count, coalesce(sum(denied), 0)::text AS denied, coalesce(sum(asked), 0)::text AS asked
    FROM (
      SELECT ${auditRollups.hour}, sum(${auditRollups.count}) AS count, ${sumOf('deny')} AS denied, ${sumOf('ask')} AS asked
      FROM ${auditRollups} WHERE ${filter} GROUP BY ${auditRollups.hour}) hours
    GROUP BY 1 ORDER BY min(hour) LIMIT ${limit}`);
  return rows.map((row) => ({
    start: new Date(Number(row.start) * 1000),
    ...{ count: Number(row.count), denied: Number(row.denied), asked: Number(row.asked) },
  }));
}
