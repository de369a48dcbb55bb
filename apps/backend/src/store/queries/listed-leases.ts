/** Leases as they are shown, with the names of their people and agents; role `app`. */
import { and, asc, desc, eq, lt, ne, sql } from 'drizzle-orm';
import { agents, leases, providers, users } from '../schema.ts';
import type { Tx } from '../tx.ts';
import type { LeaseRow } from './leases.ts';
import type { ProviderRow } from './providers.ts';

/** A lease as it is shown. */
export interface ListedLease {
  readonly lease: LeaseRow;
  /** Name the user is shown by. */
  readonly userName: string;
  /** Name of the registered agent; null when it is gone. */
  readonly agent: string | null;
  /** The provider as it is now; null when it was removed. */
  readonly provider: Pick<ProviderRow, 'kind' | 'revocationEndpoint' | 'settings'> | null;
}

/** Which leases to list; null does not narrow. */
export interface LeaseListFilter {
  readonly userId: string | null;
  readonly sessionId: string | null;
  readonly provider: string | null;
  /** Leave out those that ended. */
  readonly live: boolean;
}

/** Leases, newest first, before an id. */
export async function listLeases(
  tx: Tx,
  filter: LeaseListFilter,
  page: { readonly before: string | null; readonly limit: number },
): Promise<ListedLease[]> {
  return listed(tx)
    .where(
      and(
        filter.userId === null ? undefined : eq(leases.userId, filter.userId),
        filter.sessionId === null ? undefined : eq(leases.sessionId, filter.sessionId),
        filter.provider === null ? undefined : eq(leases.provider, filter.provider),
        filter.live ? ne(leases.state, 'ended') : undefined,
        page.before === null ? undefined : lt(leases.id, page.before),
      ),
    )
    .orderBy(desc(leases.id))
    .limit(page.limit);
}

/** Leases by id as they are shown, oldest first. */
export async function describeLeases(tx: Tx, ids: readonly string[]): Promise<ListedLease[]> {
  return listed(tx)
    .where(sql`${leases.id} = ANY(${sql.param([...ids])}::text[])`)
    .orderBy(asc(leases.id));
}

const listed = (tx: Tx) =>
  tx
    .select({
      lease: leases,
      userName: users.name,
      agent: agents.name,
      provider: {
        kind: providers.kind,
        revocationEndpoint: providers.revocationEndpoint,
        settings: providers.settings,
      },
    })
    .from(leases)
    .innerJoin(users, and(eq(users.id, leases.userId), eq(users.orgId, leases.orgId)))
    .leftJoin(agents, eq(agents.id, leases.agentId))
    .leftJoin(providers, eq(providers.id, leases.providerId))
    .$dynamic();
