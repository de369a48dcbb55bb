import { isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { type Caller, seesOrganisation } from '../caller.ts';
import { type ListedLease, listLeases as listLeaseRows } from '../store/queries/listed-leases.ts';
import type { Store } from '../store/store.ts';

/** Which leases. */
export interface LeaseQuery {
  /** Empty: of all sessions. */
  readonly sessionId: string;
  /** 1 to 200; 0 means 50. */
  readonly pageSize: number;
  /** Empty: from the newest. */
  readonly cursor: string;
  /** Those of everybody in the organisation. */
  readonly everybody: boolean;
  /** Leave out those that ended. */
  readonly live: boolean;
  /** Empty: of all providers. */
  readonly provider: string;
}

/** A page; `next` is null on the last one. */
export interface LeasePage {
  readonly leases: readonly ListedLease[];
  readonly next: string | null;
}

/**
 * Lists leases, newest first: the caller's own, or those of everybody.
 *
 * @throws KontextError `KX_REQUEST_INVALID`; `KX_FORBIDDEN` when the caller may not see those of others.
 */
export async function listLeases(store: Store, caller: Caller, query: LeaseQuery): Promise<LeasePage> {
  const limit = query.pageSize === 0 ? 50 : query.pageSize;
  if (limit < 1 || limit > 200) throw new KontextError('KX_REQUEST_INVALID', 'page_size must be 1 to 200');
  if (query.cursor !== '' && !isId('lea', query.cursor)) {
    throw new KontextError('KX_REQUEST_INVALID', 'page_token is not one of ours');
  }
  if (query.sessionId !== '' && !isId('ses', query.sessionId)) {
    throw new KontextError('KX_REQUEST_INVALID', 'session_id is not one of ours');
  }
  if (query.everybody && !seesOrganisation(caller)) {
    throw new KontextError('KX_FORBIDDEN', 'only overseers may see the leases of others', {
      why: `your role is ${caller.role}`,
    });
  }
  const filter = {
    userId: query.everybody ? null : caller.userId,
    sessionId: query.sessionId || null,
    provider: query.provider || null,
    live: query.live,
  };
  const leases = await store.transaction({ role: 'read', orgId: caller.orgId }, (tx) =>
    listLeaseRows(tx, filter, { before: query.cursor || null, limit }),
  );
  return { leases, next: leases.length < limit ? null : (leases.at(-1)?.lease.id ?? null) };
}
