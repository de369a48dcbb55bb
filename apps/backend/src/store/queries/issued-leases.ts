/** What handing out credentials asks and stores; role `app`, the sweep as `system`. */
import { and, asc, desc, eq, inArray, isNull, lt, lte, ne, or, sql } from 'drizzle-orm';
import { agentProviders, agents, connections, leases, providers, sessions } from '../schema.ts';
import type { Tx } from '../tx.ts';
import type { ConnectionRow } from './connections.ts';
import { type LeaseRow, takeBack } from './leases.ts';
import type { ProviderRow } from './providers.ts';

/** A provider with whether the agent may use it. */
export interface ProviderFact {
  readonly provider: ProviderRow;
  readonly attached: boolean;
}

/** A session that is held live: whoever ends it waits until the transaction is over. */
export async function holdSession(tx: Tx, id: string): Promise<typeof sessions.$inferSelect | null> {
  const [row] = await tx.select().from(sessions).where(eq(sessions.id, id)).limit(1).for('share');
  return row ?? null;
}

/** A registered agent by id. */
export async function findAgentById(tx: Tx, id: string): Promise<typeof agents.$inferSelect | null> {
  const [row] = await tx.select().from(agents).where(eq(agents.id, id)).limit(1);
  return row ?? null;
}

/** Providers by name. */
export async function findProviderFacts(
  tx: Tx,
  orgId: string,
  agentId: string,
  names: readonly string[],
): Promise<Map<string, ProviderFact>> {
  const rows = await tx
    .select({ provider: providers, attached: sql<boolean>`${agentProviders.agentId} IS NOT NULL` })
    .from(providers)
    .leftJoin(
      agentProviders,
      and(eq(agentProviders.providerId, providers.id), eq(agentProviders.agentId, agentId)),
    )
    .where(and(eq(providers.orgId, orgId), sql`${providers.name} = ANY(${sql.param([...names])}::text[])`));
  return new Map(rows.map((row) => [row.provider.name, row]));
}

/** Names of all providers, for a hint; at most 200. */
export async function listProviderNames(tx: Tx, orgId: string): Promise<string[]> {
  const rows = await tx
    .select({ name: providers.name })
    .from(providers)
    .where(eq(providers.orgId, orgId))
    .orderBy(asc(providers.name))
    .limit(200);
  return rows.map(({ name }) => name);
}

/** Connections of some providers that a user could use, not revoked. */
export async function findUsableConnections(
  tx: Tx,
  userId: string,
  providerIds: readonly string[],
): Promise<ConnectionRow[]> {
  return tx
    .select()
    .from(connections)
    .where(
      and(
        sql`${connections.providerId} = ANY(${sql.param([...providerIds])}::text[])`,
        or(eq(connections.userId, userId), isNull(connections.userId)),
        ne(connections.state, 'revoked'),
      ),
    )
    .orderBy(asc(connections.name));
}

/** Rows per statement: a row has more than 20 parameters, a statement at most 65,535. */
const chunk = 1000;

/** Stores leases. */
export async function insertLeases(tx: Tx, rows: readonly LeaseRow[]): Promise<void> {
  for (let i = 0; i < rows.length; i += chunk) await tx.insert(leases).values(rows.slice(i, i + chunk));
}

/** What became known of a lease when its credential was there. */
export interface LeaseActivation {
  readonly id: string;
  readonly upstreamExpiresAt: Date | null;
  readonly expiresAt: Date | null;
}

/**
 * Activates pending leases whose connection still stands. A lease that was ended meanwhile (its session ended, its
 * connection was revoked) stays ended.
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
  // In the order in which others end them, so that neither blocks the other.
  const pending = sql`${leases.id} = ANY(${sql.param(ids)}::text[])`;
  await tx.select({ id: leases.id }).from(leases).where(pending).orderBy(asc(leases.id)).for('update');
  const { rows } = await tx.execute<{ id: string }>(sql`
    UPDATE leases SET state = 'active', activated_at = ${now.toISOString()}::timestamptz,
      upstream_expires_at = a.upstream::timestamptz, expires_at = a.expires::timestamptz
    FROM unnest(${column((a) => a.id)}, ${column((a) => a.upstreamExpiresAt?.toISOString() ?? null)},
      ${column((a) => a.expiresAt?.toISOString() ?? null)}) AS a(id, upstream, expires)
    WHERE leases.id = a.id AND leases.state = 'pending'
      AND EXISTS (SELECT FROM connections c WHERE c.id = leases.connection_id AND c.state <> 'revoked')
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

/** Leases of a user, newest first, before an id; of one session or of all. */
export async function listLeases(
  tx: Tx,
  filter: { readonly userId: string | null; readonly sessionId: string | null },
  page: { readonly before: string | null; readonly limit: number },
): Promise<LeaseRow[]> {
  return tx
    .select()
    .from(leases)
    .where(
      and(
        filter.userId === null ? undefined : eq(leases.userId, filter.userId),
        filter.sessionId === null ? undefined : eq(leases.sessionId, filter.sessionId),
        page.before === null ? undefined : lt(leases.id, page.before),
      ),
    )
    .orderBy(desc(leases.id))
    .limit(page.limit);
}

/**
 * Ends leases that a crash left pending, and active ones whose time is over; role `system`.
 *
 * @returns How many of each.
 */
export async function sweepLeases(
  tx: Tx,
  { pendingBefore, now }: { readonly pendingBefore: Date; readonly now: Date },
): Promise<{ stale: number; expired: number }> {
  const stale = await tx
    .update(leases)
    .set({ state: 'ended', endedAt: now, endReason: 'stale', ...takeBack(now) })
    .where(and(eq(leases.state, 'pending'), lt(leases.createdAt, pendingBefore)))
    .returning({ id: leases.id });
  const expired = await tx
    .update(leases)
    .set({ state: 'ended', endedAt: now, endReason: 'expired', ...takeBack(now) })
    .where(and(eq(leases.state, 'active'), lte(leases.expiresAt, now)))
    .returning({ id: leases.id });
  return { stale: stale.length, expired: expired.length };
}
