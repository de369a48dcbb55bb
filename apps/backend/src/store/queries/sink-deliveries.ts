/** Messages to sinks: the one that is being sent, those that were given up, and what became of each. */
import { and, asc, desc, eq, lt, lte, sql } from 'drizzle-orm';
import { auditSinkDeliveries } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** A message to a sink as stored. */
export type SinkDeliveryRow = typeof auditSinkDeliveries.$inferSelect;

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
const isOpen = (sinkId: string) =>
  and(eq(auditSinkDeliveries.sinkId, sinkId), eq(auditSinkDeliveries.state, 'failed'));
const isDead = (sinkId: string) =>
  and(eq(auditSinkDeliveries.sinkId, sinkId), eq(auditSinkDeliveries.state, 'dead'));
