/** Leases as they are handed out: stored pending, activated, held, renewed, swept; role `app`, the sweep as `system`. */
import { and, asc, eq, getTableColumns, inArray, lt, lte, or, sql } from 'drizzle-orm';
import { connections, leases } from '../schema.ts';
import type { Tx } from '../tx.ts';
import { type LeaseRow, takeBack } from './leases.ts';
import { insertSecret, type SecretRow } from './secrets.ts';

/** A lease that is held active: whoever ends it waits until the transaction is over. Null when it is not active. */
export async function holdLease(tx: Tx, id: string): Promise<LeaseRow | null> {
  const [row] = await tx
    .select()
    .from(leases)
    .where(and(eq(leases.id, id), eq(leases.state, 'active')))
    .limit(1)
    .for('share');
  return row ?? null;
}

/**
 * A lease of a user by id.
 *
 * @param below Only when it is this lease, or was exchanged from it; null: any.
 */
export async function findLeaseOf(
  tx: Tx,
  key: { readonly leaseId: string; readonly userId: string; readonly below: string | null },
): Promise<LeaseRow | null> {
  const isBelow = sql`EXISTS (
    WITH RECURSIVE chain AS (
      SELECT id, parent_lease_id FROM leases WHERE id = ${key.leaseId}
      UNION ALL SELECT p.id, p.parent_lease_id FROM leases p JOIN chain c ON p.id = c.parent_lease_id)
    SELECT FROM chain WHERE id = ${key.below})`;
  const where = and(eq(leases.id, key.leaseId), eq(leases.userId, key.userId));
  const [row] = await tx
    .select()
    .from(leases)
    .where(key.below === null ? where : and(where, isBelow))
    .limit(1);
  return row ?? null;
}

/** Columns of a lease, as the type names them and as the database does. */
const leaseColumns = Object.entries(getTableColumns(leases)).map(([key, { name }]) => [key, name] as const);

/** Stores leases, as one parameter: a row has more than thirty columns, and a batch may have 10,000 rows. */
export async function insertLeases(tx: Tx, rows: readonly LeaseRow[]): Promise<void> {
  if (rows.length === 0) return;
  const named = rows.map((row) =>
    Object.fromEntries(leaseColumns.map(([key, name]) => [name, row[key as keyof LeaseRow]])),
  );
  await tx.execute(
    sql`INSERT INTO leases SELECT * FROM jsonb_populate_recordset(NULL::leases, ${JSON.stringify(named)}::jsonb)`,
  );
}

/** Ends of a lease that say nothing against a successor: time went by, or the command was away. */
export const renewableEnds: readonly string[] = ['expired', 'session.lost', 'renewed'];

/** What became known of a lease when its credential was there. */
export interface LeaseActivation {
  readonly id: string;
  readonly upstreamExpiresAt: Date | null;
  readonly expiresAt: Date | null;
  /** As the provider really gave it; no scope holds a blank (RFC 6749 §3.3). */
  readonly scope: readonly string[];
}

/**
 * Activates pending leases whose connection still stands, and the lease they take over from was not revoked. A lease that was
 * ended meanwhile (its session ended, its connection was revoked) stays ended.
 *
 * @returns Ids of those that are active now.
 */
export async function activateLeases(
  tx: Tx,
  activations: readonly LeaseActivation[],
  now: Date,
): Promise<Set<string>> {
  if (activations.length === 0) return new Set();
  const column = (pick: (activation: LeaseActivation) => string | null) =>
    sql`${sql.param(activations.map(pick))}::text[]`;
  const ids = activations.map(({ id }) => id);
  // In the order in which others end them, so that neither blocks the other. With those they take over from: who revokes one
  // of them right now is waited for.
  const touched = sql`${leases.id} = ANY(${sql.param(ids)}::text[]) OR ${leases.id} IN (
    SELECT n.renews_lease_id FROM leases n WHERE n.id = ANY(${sql.param(ids)}::text[]))`;
  await tx.select({ id: leases.id }).from(leases).where(touched).orderBy(asc(leases.id)).for('update');
  const { rows } = await tx.execute<{ id: string }>(sql`
    UPDATE leases SET state = 'active', activated_at = ${now.toISOString()}::timestamptz,
      upstream_expires_at = a.upstream::timestamptz, expires_at = a.expires::timestamptz,
      scope = string_to_array(a.scope, ' ')
    FROM unnest(${column((a) => a.id)}, ${column((a) => a.upstreamExpiresAt?.toISOString() ?? null)},
      ${column((a) => a.expiresAt?.toISOString() ?? null)}, ${column((a) => a.scope.join(' '))})
      AS a(id, upstream, expires, scope)
    WHERE leases.id = a.id AND leases.state = 'pending'
      AND EXISTS (SELECT FROM connections c WHERE c.id = leases.connection_id AND c.state <> 'revoked')
      AND NOT EXISTS (SELECT FROM leases old WHERE old.id = leases.renews_lease_id AND old.state = 'ended'
        AND NOT coalesce(old.end_reason, '') = ANY(${sql.param([...renewableEnds])}::text[]))
    RETURNING leases.id`);
  return new Set(rows.map(({ id }) => id));
}

/** Notes when connections were last used. A row that a refresh holds is left alone: the mark is not worth a wait. */
export async function touchConnections(tx: Tx, ids: readonly string[], now: Date): Promise<void> {
  if (ids.length === 0) return;
  const free = tx
    .select({ id: connections.id })
    .from(connections)
    .where(sql`${connections.id} = ANY(${sql.param([...ids])}::text[])`)
    .for('update', { skipLocked: true });
  await tx.update(connections).set({ lastUsedAt: now }).where(inArray(connections.id, free));
}

/** A lease that is to be renewed, and the one that took over from it meanwhile: itself where none did. */
export interface RenewableLease {
  readonly askedId: string;
  readonly newest: LeaseRow;
}

/**
 * The newest lease of each chain of renewals, by an earlier one of it: whoever missed the answer to a renewal asks with the
 * lease it knows. A successor that is pending or was never handed out does not count. Locked against being ended.
 */
export async function holdRenewable(
  tx: Tx,
  sessionId: string,
  ids: readonly string[],
): Promise<RenewableLease[]> {
  const { rows } = await tx.execute<{ asked: string; id: string }>(sql`
    WITH RECURSIVE chain(asked, id, step) AS (
      SELECT id, id, 0 FROM leases WHERE id = ANY(${sql.param([...ids])}::text[]) AND session_id = ${sessionId}
      UNION ALL
      SELECT c.asked, l.id, c.step + 1 FROM chain c JOIN leases l ON l.renews_lease_id = c.id
        AND l.activated_at IS NOT NULL AND l.session_id = ${sessionId}
    )
    SELECT DISTINCT ON (asked) asked, id FROM chain ORDER BY asked, step DESC, id DESC`);
  const newest = await tx
    .select()
    .from(leases)
    .where(sql`${leases.id} = ANY(${sql.param(rows.map(({ id }) => id))}::text[])`)
    .orderBy(asc(leases.id))
    .for('share');
  const byId = new Map(newest.map((row) => [row.id, row]));
  return rows.flatMap(({ asked, id }) => {
    const row = byId.get(id);
    return row === undefined ? [] : [{ askedId: asked, newest: row }];
  });
}

/** From when on a pending lease was left by a crash: minted ones sooner, because what was made may be in use. */
export interface StaleBefore {
  readonly pendingBefore: Date;
  readonly mintedBefore: Date;
  readonly now: Date;
}

/**
 * Ends leases that a crash left pending, and active ones whose time is over; role `system`. What a mint may have made is
 * marked to be taken back.
 *
 * @returns How many of each.
 */
export async function sweepLeases(
  tx: Tx,
  { pendingBefore, mintedBefore, now }: StaleBefore,
): Promise<{ stale: number; expired: number }> {
  const isStale = or(
    lt(leases.createdAt, pendingBefore),
    and(eq(leases.kind, 'minted'), lt(leases.createdAt, mintedBefore)),
  );
  const stale = await tx
    .update(leases)
    .set({ state: 'ended', endedAt: now, endReason: 'stale', ...takeBack(now) })
    .where(and(eq(leases.state, 'pending'), isStale))
    .returning({ id: leases.id });
  const expired = await tx
    .update(leases)
    .set({ state: 'ended', endedAt: now, endReason: 'expired', ...takeBack(now) })
    .where(and(eq(leases.state, 'active'), lte(leases.expiresAt, now)))
    .returning({ id: leases.id });
  return { stale: stale.length, expired: expired.length };
}

/** Keeps with leases what taking them back needs, whatever became of the leases meanwhile. */
export async function keepSecrets(
  tx: Tx,
  kept: readonly { readonly leaseId: string; readonly secret: SecretRow }[],
): Promise<void> {
  for (const { leaseId, secret } of kept) {
    await insertSecret(tx, secret);
    await tx.update(leases).set({ secretId: secret.id }).where(eq(leases.id, leaseId));
  }
}
