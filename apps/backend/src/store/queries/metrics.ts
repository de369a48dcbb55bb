/**
 * Figures about everything that is stored, for the page of metrics.
 *
 * Reading them must stay cheap however much is stored: counts go along partial indexes and end at 100,000, ages are
 * those of the first row of an index, and of partitions the catalog tells. What is left grows with the organisations and their
 * sinks alone.
 */
import { type SQL, sql } from 'drizzle-orm';
import { holdClass, retentionClasses } from '../retention-classes.ts';
import type { Tx } from '../tx.ts';
import { listDueParts, overdueSeconds } from './partitions.ts';

const mostCounted = 100_000;
/** Of so many logs, those that changed last, the newest signed checkpoint is looked for, in so many checkpoints each. */
const [newestLogs, newestCheckpoints] = [20, 2_000];

/** What is counted. Ages in seconds; null: there is nothing to tell the age of. */
export interface StoreFigures {
  readonly unsequencedSegments: number;
  readonly unsequencedSeconds: number;
  readonly checkpointAgeSeconds: number | null;
  readonly rollupLagSegments: number;
  readonly rollupLagSeconds: number;
  readonly sinks: Readonly<Record<'active' | 'paused' | 'disabled', number>>;
  readonly sinkLagSegments: number;
  readonly sinkLagSeconds: number;
  readonly sinkDeadLetters: number;
  readonly webhookBacklog: number;
  readonly exportsRunning: number;
  readonly leasesLive: number;
  readonly revocationsWaiting: number;
  readonly sessionsLive: number;
  /** By retention class. */
  readonly payloadPartitions: Readonly<Record<string, number>>;
  readonly retentionLagSeconds: number;
}

/**
 * Reads them; role `system`.
 *
 * @param most Where counting ends: there are so many, or more.
 */
export async function readFigures(tx: Tx, now: Date, most: number = mostCounted): Promise<StoreFigures> {
  const payloadPartitions = await countPayloadPartitions(tx);
  const retentionLagSeconds = overdueSeconds(await listDueParts(tx, now), now);
  return { ...(await readRows(tx, now, most)), payloadPartitions, retentionLagSeconds };
}

/** Counts what a table has of something, up to the most. */
const countUpTo =
  (most: number) =>
  (table: string, condition: string): SQL =>
    sql`(SELECT count(*) FROM (SELECT 1 FROM ${sql.raw(table)} WHERE ${sql.raw(condition)} LIMIT ${most}) counted)`;

/** Of each log, from the newest checkpoint back to one that is signed; the oldest that was looked at when none is. */
const newestSigned = sql`(SELECT max(coalesce(
    (SELECT n.created_at FROM (SELECT created_at, note FROM audit_checkpoints c WHERE c.org_id = l.org_id
      ORDER BY size DESC LIMIT ${newestCheckpoints}) n WHERE n.note IS NOT NULL LIMIT 1),
    (SELECT min(n.created_at) FROM (SELECT created_at FROM audit_checkpoints c WHERE c.org_id = l.org_id
      ORDER BY size DESC LIMIT ${newestCheckpoints}) n)))
  FROM (SELECT org_id FROM audit_logs ORDER BY updated_at DESC LIMIT ${newestLogs}) l)`;

async function readRows(
  tx: Tx,
  now: Date,
  most: number,
): Promise<Omit<StoreFigures, 'payloadPartitions' | 'retentionLagSeconds'>> {
  const countOf = countUpTo(most);
  const ageOf = (instant: SQL) =>
    sql`greatest(0, extract(epoch FROM ${now.toISOString()}::timestamptz - ${instant}))::float8`;
  const { rows } = await tx.execute<Record<string, string | number | null>>(sql`
    SELECT w.waiting AS unsequenced, coalesce(${ageOf(sql`w.oldest`)}, 0) AS unsequenced_age,
      ${ageOf(newestSigned)} AS checkpoint_age,
      r.lag AS rollup_lag, coalesce(${ageOf(sql`least(r.oldest, w.oldest)`)}, 0) AS rollup_age,
      s.active, s.paused, s.disabled, s.lag AS sink_lag, coalesce(${ageOf(sql`s.oldest`)}, 0) AS sink_age,
      ${countOf('audit_sink_deliveries', "state = 'dead'")} AS dead,
      ${countOf('webhook_deliveries', "state = 'waiting'")} AS webhooks,
      ${countOf('audit_exports', "state = 'running'")} AS exports,
      ${countOf('leases', "state = 'active'")} AS leases,
      ${countOf('leases', "revocation = 'pending'")} AS revocations,
      ${countOf('sessions', "state = 'live'")} AS sessions
    FROM (SELECT count(*) AS waiting, min(accepted_at) AS oldest FROM
        (SELECT accepted_at FROM audit_segments WHERE leaf_index IS NULL LIMIT ${most}) waiting) w,
      (SELECT coalesce(sum(l.size - coalesce(p.next_leaf, 0)), 0) AS lag, min(g.accepted_at) AS oldest FROM audit_logs l
        LEFT JOIN audit_rollup_positions p ON p.org_id = l.org_id
        LEFT JOIN audit_segments g ON g.org_id = l.org_id AND g.leaf_index = coalesce(p.next_leaf, 0)) r,
      (SELECT count(*) FILTER (WHERE k.state = 'active') AS active, count(*) FILTER (WHERE k.state = 'paused') AS paused,
        count(*) FILTER (WHERE k.state = 'disabled') AS disabled,
        coalesce(max(l.size - k.next_leaf) FILTER (WHERE k.state = 'active'), 0) AS lag,
        min(g.accepted_at) FILTER (WHERE k.state = 'active') AS oldest
       FROM audit_sinks k LEFT JOIN audit_logs l ON l.org_id = k.org_id
       LEFT JOIN audit_segments g ON g.org_id = k.org_id AND g.leaf_index = k.next_leaf) s`);
  const row = rows[0] ?? {};
  const figure = (name: string): number => Number(row[name] ?? 0);
  return {
    ...{ unsequencedSegments: figure('unsequenced'), unsequencedSeconds: figure('unsequenced_age') },
    checkpointAgeSeconds: row.checkpoint_age == null ? null : figure('checkpoint_age'),
    ...{ rollupLagSegments: figure('rollup_lag'), rollupLagSeconds: figure('rollup_age') },
    sinks: { active: figure('active'), paused: figure('paused'), disabled: figure('disabled') },
    ...{ sinkLagSegments: Math.max(0, figure('sink_lag')), sinkLagSeconds: figure('sink_age') },
    ...{ sinkDeadLetters: figure('dead'), webhookBacklog: figure('webhooks') },
    ...{ exportsRunning: figure('exports'), leasesLive: figure('leases') },
    ...{ revocationsWaiting: figure('revocations'), sessionsLive: figure('sessions') },
  };
}

/** By retention class, also of those that have none. */
async function countPayloadPartitions(tx: Tx): Promise<Readonly<Record<string, number>>> {
  const { rows } = await tx.execute<{ table: string; parts: number }>(sql`
    SELECT c.relname AS table, count(*)::int AS parts FROM pg_inherits class JOIN pg_class c ON c.oid = class.inhrelid
      JOIN pg_inherits part ON part.inhparent = c.oid
    WHERE class.inhparent = to_regclass('audit_payloads') GROUP BY 1`);
  const counts = new Map(rows.map(({ table, parts }) => [table, parts]));
  const names = [...retentionClasses.map(({ name }) => name), holdClass];
  return Object.fromEntries(
    names.map((name) => [name, counts.get(`audit_payloads_${name.replaceAll('-', '_')}`) ?? 0]),
  );
}
