/** Ending leases: the one place that does it, whoever asks. Roles `app` and `system`. */
import { and, asc, eq, gt, ne, or, type SQL, sql } from 'drizzle-orm';
import { leases } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** A lease as stored. */
export type LeaseRow = typeof leases.$inferSelect;

/** Whose leases. `everything`: of the whole organisation. */
export type LeaseFilter =
  | { readonly leaseId: string }
  | { readonly sessionId: string }
  | { readonly connectionId: string }
  | { readonly userId: string }
  | { readonly agentId: string }
  | { readonly providerId: string }
  | { readonly provider: string }
  | { readonly everything: true };

/**
 * Ends leases by id with everything that hangs on them: what was exchanged from or delegated below one, what renewed it, and
 * what hangs on those it renewed, and what holds another part of the same made credential. What was made for a lease alone is
 * marked to be taken back at its provider, now.
 *
 * @param reason What `end_reason` will say, for example `session.ended`.
 * @returns Those it ended, oldest first; a lease that had ended before is not among them.
 */
export async function endLeases(
  tx: Tx,
  ids: readonly string[],
  reason: string,
  now: Date,
): Promise<LeaseRow[]> {
  if (ids.length === 0) return [];
  const tree = await lockTree(tx, ids);
  // A renewed one was left at its provider for whoever still held it; that is over, too.
  await tx
    .update(leases)
    .set({ revocationDueAt: now })
    .where(and(inTree(tree), eq(leases.revocation, 'pending'), gt(leases.revocationDueAt, now)));
  const ended = await tx
    .update(leases)
    .set({ state: 'ended', endedAt: now, endReason: reason, ...takeBack(now) })
    .where(and(inTree(tree), ne(leases.state, 'ended')))
    .returning();
  return ended.sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** Ends the live leases of a filter as {@link endLeases} does; its parameters and result. */
export async function endLeasesOf(
  tx: Tx,
  filter: LeaseFilter,
  reason: string,
  now: Date,
): Promise<LeaseRow[]> {
  // Also those that have ended and still wait at their provider.
  const open = or(ne(leases.state, 'ended'), eq(leases.revocation, 'pending'));
  // A lease by its id may have ended; what renewed it lives on.
  const where = 'leaseId' in filter ? matches(filter) : and(matches(filter), open);
  const rows = await tx.select({ id: leases.id }).from(leases).where(where);
  return endLeases(
    tx,
    rows.map(({ id }) => id),
    reason,
    now,
  );
}

/** What {@link endLeasesOf} would end, with all that hangs on it, oldest first; it locks them as that does. */
export async function findLeasesOf(tx: Tx, filter: LeaseFilter): Promise<LeaseRow[]> {
  const open = 'leaseId' in filter ? undefined : ne(leases.state, 'ended');
  const rows = await tx
    .select({ id: leases.id })
    .from(leases)
    .where(and(matches(filter), open));
  const tree = await lockTree(
    tx,
    rows.map(({ id }) => id),
  );
  return tx
    .select()
    .from(leases)
    .where(and(inTree(tree), ne(leases.state, 'ended')))
    .orderBy(asc(leases.id));
}

/** Whose lease it is; null when there is none. */
export async function findLeaseOwner(tx: Tx, id: string): Promise<string | null> {
  const [row] = await tx.select({ userId: leases.userId }).from(leases).where(eq(leases.id, id)).limit(1);
  return row?.userId ?? null;
}

/**
 * Ends leases whose credential was never handed out, and nothing else: what they were to renew lives on. What a mint may have
 * made under a planned name is taken back, also where that had been tried before the mint was over.
 */
export async function endUnissuedLeases(
  tx: Tx,
  ids: readonly string[],
  reason: string,
  now: Date,
): Promise<void> {
  if (ids.length === 0) return;
  await tx
    .update(leases)
    .set({
      state: 'ended',
      endedAt: sql`coalesce(${leases.endedAt}, ${now.toISOString()}::timestamptz)`,
      endReason: sql`coalesce(${leases.endReason}, ${reason})`,
      ...takeBack(now),
      // Whoever is taking it back already does not have the last word.
      revocationAttempts: 0,
    })
    .where(and(inTree(ids), isNotActive));
}

/** Ends leases whose provider clearly refused: under their planned name there is nothing to take back. */
export async function endUnmadeLeases(
  tx: Tx,
  ids: readonly string[],
  reason: string,
  now: Date,
): Promise<void> {
  if (ids.length === 0) return;
  await tx
    .update(leases)
    .set({ state: 'ended', endedAt: now, endReason: reason })
    .where(and(inTree(ids), eq(leases.state, 'pending')));
}

/**
 * Ends leases that others have taken over from. Whoever holds the old value keeps it until it expires: what was made for it is
 * taken back then, or when something ends the lease that took over.
 */
export async function endRenewedLeases(tx: Tx, ids: readonly string[], now: Date): Promise<void> {
  if (ids.length === 0) return;
  await tx
    .update(leases)
    .set({
      ...{ state: 'ended', endedAt: now, endReason: 'renewed' },
      ...takeBack(
        sql`coalesce(${leases.expiresAt}, ${leases.upstreamExpiresAt}, ${now.toISOString()}::timestamptz)`,
      ),
    })
    .where(and(inTree(ids), eq(leases.state, 'active')));
}

/** Change of a lease that ends: what was made for it alone waits to be taken back, as the columns were before. */
export const takeBack = (
  dueAt: Date | SQL,
): { revocation: SQL<LeaseRow['revocation']>; revocationDueAt: SQL<Date | null> } => {
  const due = dueAt instanceof Date ? sql`${dueAt.toISOString()}::timestamptz` : dueAt;
  const recallable = sql`(${leases.kind} = 'minted' OR ${leases.secretId} IS NOT NULL)`;
  return {
    revocation: sql`CASE WHEN ${recallable} THEN 'pending' ELSE ${leases.revocation} END`,
    revocationDueAt: sql`CASE WHEN ${recallable} THEN ${due} ELSE ${leases.revocationDueAt} END`,
  };
};

const isNotActive = ne(leases.state, 'active');
const inTree = (ids: readonly string[]) => sql`${leases.id} = ANY(${sql.param([...ids])}::text[])`;

/** The ids with everything that hangs on them, locked in one order, so that two who end the same leases do not block each other. */
async function lockTree(tx: Tx, ids: readonly string[]): Promise<string[]> {
  const { rows } = await tx.execute<{ id: string }>(sql`
    WITH RECURSIVE tree(id, renews, made) AS (
      SELECT id, renews_lease_id, planned_name FROM leases WHERE id = ANY(${sql.param([...ids])}::text[])
      UNION
      SELECT l.id, l.renews_lease_id, l.planned_name FROM tree t CROSS JOIN LATERAL (
        SELECT id, renews_lease_id, planned_name FROM leases WHERE parent_lease_id = t.id
        UNION ALL SELECT id, renews_lease_id, planned_name FROM leases WHERE renews_lease_id = t.id
        UNION ALL SELECT id, renews_lease_id, planned_name FROM leases WHERE id = t.renews
        UNION ALL SELECT id, renews_lease_id, planned_name FROM leases WHERE planned_name = t.made
      ) l
    )
    SELECT id FROM tree`);
  const found = rows.map(({ id }) => id);
  const locked = await tx
    .select({ id: leases.id })
    .from(leases)
    .where(inTree(found))
    .orderBy(asc(leases.id))
    .for('update');
  return locked.map(({ id }) => id);
}

function matches(filter: LeaseFilter): SQL | undefined {
  if ('leaseId' in filter) return eq(leases.id, filter.leaseId);
  if ('sessionId' in filter) return eq(leases.sessionId, filter.sessionId);
  if ('connectionId' in filter) return eq(leases.connectionId, filter.connectionId);
  if ('userId' in filter) return eq(leases.userId, filter.userId);
  if ('agentId' in filter) return eq(leases.agentId, filter.agentId);
  if ('providerId' in filter) return eq(leases.providerId, filter.providerId);
  if ('provider' in filter) return eq(leases.provider, filter.provider);
  return undefined;
}
