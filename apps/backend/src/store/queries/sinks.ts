/** Where audit events are sent on to, and how far each has come. */
import { and, asc, eq, sql } from 'drizzle-orm';
import { auditSinks, secrets } from '../schema.ts';
import type { Tx } from '../tx.ts';
import type { SecretRow } from './secrets.ts';
import type { LogPlace } from './sink-events.ts';

/** A sink as stored. */
export type SinkRow = typeof auditSinks.$inferSelect;

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

const isSink = (orgId: string, id: string) => and(eq(auditSinks.id, id), eq(auditSinks.orgId, orgId));
