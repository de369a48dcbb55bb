/** Figures about everything that is stored, for the page of metrics. */
import { sql } from 'drizzle-orm';
import type { Tx } from '../tx.ts';

/** What is counted. Ages in seconds; null: there is nothing to tell the age of. */
export interface StoreFigures {
  readonly unsequencedSegments: number;
  readonly unsequencedSeconds: number;
  readonly checkpointAgeSeconds: number | null;
  readonly rollupLagSegments: number;
  readonly sinks: Readonly<Record<'active' | 'paused' | 'disabled', number>>;
  readonly sinkLagSegments: number;
  readonly sinkLagSeconds: number;
  readonly sinkDeadLetters: number;
  readonly webhookBacklog: number;
  readonly exportsRunning: number;
  readonly leasesLive: number;
  readonly revocationsWaiting: number;
  readonly sessionsLive: number;
}

/** Reads them in one statement; role `system`. */
export async function readFigures(tx: Tx, now: Date): Promise<StoreFigures> {
  const at = sql`${now.toISOString()}::timestamptz`;
  const ageOf = (instant: ReturnType<typeof sql>) =>
    sql`greatest(0, extract(epoch FROM ${at} - ${instant}))::float8`;
  const { rows } = await tx.execute<Record<string, string | number | null>>(sql`
    SELECT w.waiting AS unsequenced, coalesce(${ageOf(sql`w.oldest`)}, 0) AS unsequenced_age,
      (SELECT ${ageOf(sql`max(created_at)`)} FROM audit_checkpoints WHERE note IS NOT NULL) AS checkpoint_age,
      (SELECT coalesce(sum(l.size - coalesce(p.next_leaf, 0)), 0) FROM audit_logs l
        LEFT JOIN audit_rollup_positions p ON p.org_id = l.org_id) AS rollup_lag,
      s.active, s.paused, s.disabled, s.lag AS sink_lag, coalesce(${ageOf(sql`s.oldest`)}, 0) AS sink_age,
      (SELECT count(*) FROM audit_sink_deliveries WHERE state = 'dead') AS dead,
      (SELECT count(*) FROM webhook_deliveries WHERE state = 'waiting') AS webhooks,
      (SELECT count(*) FROM audit_exports WHERE state = 'running') AS exports,
      (SELECT count(*) FROM leases WHERE state = 'active') AS leases,
      (SELECT count(*) FROM leases WHERE revocation = 'pending') AS revocations,
      (SELECT count(*) FROM sessions WHERE state = 'live') AS sessions
    FROM (SELECT count(*) AS waiting, min(accepted_at) AS oldest FROM audit_segments WHERE leaf_index IS NULL) w,
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
    rollupLagSegments: figure('rollup_lag'),
    sinks: { active: figure('active'), paused: figure('paused'), disabled: figure('disabled') },
    ...{ sinkLagSegments: Math.max(0, figure('sink_lag')), sinkLagSeconds: figure('sink_age') },
    ...{ sinkDeadLetters: figure('dead'), webhookBacklog: figure('webhooks') },
    ...{ exportsRunning: figure('exports'), leasesLive: figure('leases') },
    ...{ revocationsWaiting: figure('revocations'), sessionsLive: figure('sessions') },
  };
}
