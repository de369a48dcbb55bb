import { isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { Caller } from '../caller.ts';
import { listLeases as listLeaseRows } from '../store/queries/issued-leases.ts';
import type { LeaseRow } from '../store/queries/leases.ts';
import type { Store } from '../store/store.ts';

/** Which leases. */
export interface LeaseQuery {
  /** Empty: of all sessions. */
  readonly sessionId: string;
  /** 1 to 200; 0 means 50. */
  readonly pageSize: number;
  /** Empty: from the newest. */
  readonly cursor: string;
}

/** A page; `next` is null on the last one. */
export interface LeasePage {
  readonly leases: readonly LeaseRow[];
  readonly next: string | null;
}

/**
 * Lists the caller's own leases, newest first.
 *
 * @throws KontextError `KX_REQUEST_INVALID`.
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
  const filter = { userId: caller.userId, sessionId: query.sessionId || null };
  const leases = await store.transaction({ role: 'read', orgId: caller.orgId }, (tx) =>
    listLeaseRows(tx, filter, { before: query.cursor || null, limit }),
  );
  return { leases, next: leases.length < limit ? null : (leases.at(-1)?.id ?? null) };
}
