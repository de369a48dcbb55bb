import { KontextError } from '@kontext/errors';
import { maxActDepth } from '@kontext/oauth';
import type { Caller } from '../caller.ts';
import { findLeaseOf } from '../store/queries/issued-leases.ts';
import type { LeaseRow } from '../store/queries/leases.ts';
import { type DelegatedToken, delegateToken } from './delegate-token.ts';
import { sessionOf } from './delegation-source.ts';
import { exchangeCredentials } from './exchange-credentials.ts';
import type { ExchangeDeps } from './exchange-request.ts';
import type { SubjectDeps } from './verify-subject.ts';

/** What is to be narrowed, and how far. */
export interface AttenuateInput {
  readonly sessionId: string;
  readonly leaseId: string;
  /** Empty: those of the lease. */
  readonly scopes: readonly string[];
  /** 0: as long as the lease may live. */
  readonly ttlSeconds: number;
}

/** Whose token asks; a delegation token is narrowed for the same client and key. */
export type AttenuatingCaller = Caller & { readonly clientId: string; readonly jkt: string };

/**
 * Gives out a credential of a live lease narrowed to fewer scopes and a shorter life, as a lease below it.
 *
 * A provider that makes credentials for one lease makes a narrower one; a token that was granted, and a static key, cannot be
 * narrowed: fewer scopes than they have are refused with `KX_SCOPE_EXCEEDED`, never answered with the wide one.
 *
 * @throws KontextError `KX_REQUEST_INVALID`; `KX_NOT_FOUND` for a lease that is not live, not of the session, or not the caller's;
 *   `KX_SCOPE_EXCEEDED` for scopes the lease does not have; `KX_EXCHANGE_REFUSED` for a ninth link of the chain. What the
 *   exchange refuses is an outcome.
 */
export async function attenuateCredential(
  deps: ExchangeDeps & SubjectDeps,
  caller: AttenuatingCaller,
  input: AttenuateInput,
): Promise<DelegatedToken> {
  const { scopes } = input;
  const ttlSeconds = readTtl(input.ttlSeconds);
  const sessionId = sessionOf(caller, input.sessionId || null);
  const lease = await loadLease(deps, caller, { ...input, sessionId });
  if (lease.kind === 'token')
    return delegateToken(deps, { caller, claims: caller, sessionId, scopes, ttlSeconds });
  checkDepth(lease);
  const wanted = scopes.length > 0 ? scopes : lease.scope;
  checkWithin(wanted, lease);
  const { provider, resource } = lease;
  const { outcomes, serverEventHash } = await exchangeCredentials(deps, {
    ...{ caller, sessionId, channel: 'inject', dryRun: false },
    source: {
      ...{ leaseId: lease.id, actor: caller.delegation?.act.sub ?? lease.agentId ?? '' },
      // What is asked for is the ceiling: a credential with more rights is refused.
      scopesLeftOf: () => (wanted.length > 0 ? wanted : 'all'),
      expiresAtMs: lease.expiresAt?.getTime() ?? null,
      wantedSeconds: ttlSeconds,
    },
    wanted: [{ provider, resource, scopes: wanted, delivery: 'inject' }],
  });
  const [outcome] = outcomes;
  if (outcome === undefined) throw new KontextError('KX_INTERNAL', 'the exchange has no outcome');
  return { outcome, serverEventHash };
}

function readTtl(ttlSeconds: number): number | null {
  if (ttlSeconds === 0) return null;
  if (ttlSeconds >= 1 && ttlSeconds <= 86_400) return ttlSeconds;
  throw new KontextError('KX_REQUEST_INVALID', 'ttl_seconds must be 1 to 86,400');
}

/** With a delegation token only its own lease, and what was exchanged from it, can be narrowed. */
async function loadLease(
  { store, nowMs }: ExchangeDeps,
  { userId, orgId, delegation }: Caller,
  { leaseId, sessionId }: { readonly leaseId: string; readonly sessionId: string | null },
): Promise<LeaseRow> {
  const lease = await store.transaction({ role: 'read', orgId }, (tx) =>
    findLeaseOf(tx, { leaseId, userId, below: delegation?.leaseId ?? null }),
  );
  const isLive =
    lease?.state === 'active' && (lease.expiresAt === null || lease.expiresAt.getTime() > nowMs());
  // A token of ours is narrowed by whoever holds it: its chain is in the token, not in the row.
  const isHeld = lease?.kind !== 'token' || lease.id === delegation?.leaseId;
  if (lease && isLive && isHeld && lease.sessionId === sessionId) return lease;
  throw new KontextError('KX_NOT_FOUND', 'there is no such live lease in the session, or it is not yours');
}

function checkDepth({ depth }: LeaseRow): void {
  if (depth < maxActDepth) return;
  throw new KontextError('KX_EXCHANGE_REFUSED', `the chain would be deeper than ${maxActDepth}`, {
    details: { oauth_error: 'invalid_request' },
  });
}

/** A lease without scopes is one whose rights nobody named: then the provider judges what is asked for. */
function checkWithin(wanted: readonly string[], { scope, kind }: LeaseRow): void {
  const excess = wanted.filter((one) => !scope.includes(one));
  if (excess.length === 0 || (scope.length === 0 && kind === 'minted')) return;
  throw new KontextError('KX_SCOPE_EXCEEDED', 'the scope is beyond that of the lease', {
    details: { oauth_error: 'invalid_scope', scope: excess.join(' ') },
  });
}
