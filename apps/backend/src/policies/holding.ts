import { findHoldings, type HoldingRow } from '../store/queries/policies.ts';
import type { Tx } from '../store/tx.ts';

/** What holds for one member. */
export interface Holding {
  /** Newest publication of the organisation, for whomever: what a snapshot may never go back in. */
  readonly seq: number;
  readonly version: number;
  /** Hash of the version. */
  readonly hash: string;
  /** The group it was published for; empty: everybody. */
  readonly group: string;
  readonly mode: 'observe' | 'enforce';
  readonly staleRule: 'deny_sensitive' | 'deny_all';
  /** Of the member, at this moment; empty for somebody who is none. */
  readonly role: string;
  readonly groups: readonly string[];
}

/**
 * What holds for a member now; null when the organisation has no policy.
 *
 * Who is in groups with publications of their own gets the newest of these, else that of everybody. Of several groups the
 * strictest mode counts, and the strictest rule for a stale snapshot: nobody gets out of a group's enforcement by another group.
 */
export async function loadHolding(tx: Tx, orgId: string, userId: string): Promise<Holding | null> {
  return chooseHolding(await findHoldings(tx, orgId, userId));
}

function chooseHolding(rows: readonly HoldingRow[]): Holding | null {
  const ofGroups = rows.filter(({ groupName }) => groupName !== '').sort((a, b) => b.seq - a.seq);
  const candidates = ofGroups.length > 0 ? ofGroups : rows;
  const [chosen] = candidates;
  if (chosen === undefined) return null;
  const { headSeq, version, hash, groupName, role, groups } = chosen;
  return {
    ...{ seq: headSeq, version, hash, group: groupName, role: role ?? '', groups: groups ?? [] },
    mode: candidates.some(({ mode }) => mode === 'enforce') ? 'enforce' : 'observe',
    staleRule: candidates.some(({ staleRule }) => staleRule === 'deny_all') ? 'deny_all' : 'deny_sensitive',
  };
}
