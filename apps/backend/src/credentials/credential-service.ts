import type { ExchangeHttpAnswer } from '@kontext/oauth';
import type { Caller } from '../caller.ts';
import { sweepLeases } from '../store/queries/issued-leases.ts';
import { type AttenuateInput, type AttenuatingCaller, attenuateCredential } from './attenuate-credential.ts';
import type { DelegatedToken } from './delegate-token.ts';
import { sessionOf, sourceOf } from './delegation-source.ts';
import { type ExchangeResult, exchangeCredentials } from './exchange-credentials.ts';
import type { ExchangeDeps } from './exchange-request.ts';
import { exchangeToken, type TokenRequest } from './exchange-token.ts';
import { type LeasePage, type LeaseQuery, listLeases } from './list-leases.ts';
import { type RenewInput, renewCredentials } from './renew-leases.ts';
import { type RevokeDeps, type RevokedLeases, type RevokeFilter, revokeLeases } from './revoke-leases.ts';
import { mintGraceMs } from './upstream-revocation.ts';
import type { SubjectDeps } from './verify-subject.ts';
import type { WantedCredential } from './wanted-credential.ts';

/** A batch over RPC. */
export interface ResolveInput {
  /** Empty: outside of any session. */
  readonly sessionId: string;
  readonly wanted: readonly WantedCredential[];
  readonly dryRun: boolean;
}

/** Credentials as their edges use them. What each function refuses is said where it is written. */
export interface CredentialService {
  resolve(caller: Caller, input: ResolveInput): Promise<ExchangeResult>;
  exchangeToken(request: TokenRequest): Promise<ExchangeHttpAnswer>;
  attenuate(caller: AttenuatingCaller, input: AttenuateInput): Promise<DelegatedToken>;
  listLeases(caller: Caller, query: LeaseQuery): Promise<LeasePage>;
  renew(caller: Caller, input: RenewInput): Promise<ExchangeResult>;
  revokeLeases(caller: Caller, filter: RevokeFilter, dryRun: boolean): Promise<RevokedLeases>;
  /** Ends leases that a crash left pending, and those whose time is over; run it every few seconds. */
  sweep(): Promise<void>;
}

/** A lease is pending for as long as its credential is fetched; after so long whoever made it is gone. */
const stalePendingMs = 5 * 60_000;

/** What credentials need. */
export type CredentialServiceDeps = ExchangeDeps & SubjectDeps & RevokeDeps;

/** Puts the credentials together. */
export function createCredentialService(deps: CredentialServiceDeps): CredentialService {
  return {
    resolve: (caller, { sessionId, wanted, dryRun }) =>
      exchangeCredentials(deps, {
        ...{ caller, sessionId: sessionOf(caller, sessionId || null), channel: 'inject', wanted, dryRun },
        source: caller.delegation ? sourceOf(caller.delegation) : null,
      }),
    attenuate: (caller, input) => attenuateCredential(deps, caller, input),
    exchangeToken: (request) => exchangeToken(deps, request),
    listLeases: (caller, query) => listLeases(deps.store, caller, query),
    renew: (caller, input) => renewCredentials(deps, caller, input),
    revokeLeases: (caller, filter, dryRun) => revokeLeases(deps, caller, filter, dryRun),
    sweep: async () => {
      const now = new Date(deps.nowMs());
      const pendingBefore = new Date(now.getTime() - stalePendingMs);
      const mintedBefore = new Date(now.getTime() - mintGraceMs);
      await deps.store.transaction({ role: 'system', orgId: null }, (tx) =>
        sweepLeases(tx, { pendingBefore, mintedBefore, now }),
      );
      deps.onLeasesEnded();
    },
  };
}
