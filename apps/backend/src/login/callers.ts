import { createHash } from 'node:crypto';
import {
  type CallerRow,
  denyToken,
  readTokenIsLive,
  recordProof,
  recordProofAndReadCaller,
  type TokenKey,
} from '../store/queries/callers.ts';
import type { Store } from '../store/store.ts';
import { hashOidcId } from './oidc-adapter.ts';

/** Seconds for which a proof is remembered: longer than a nonce and the `iat` window live together. */
const proofMemorySeconds = 360;

/** What a verified token says about itself. */
export interface TokenClaim {
  readonly userId: string;
  readonly grantId: string;
  readonly jti: string;
  /** Whether it says who acts: then it has a lease. */
  readonly delegated: boolean;
}

/** Who a request claims to be, after its token and proof were verified. */
export interface CallerClaim extends TokenClaim {
  readonly orgId: string;
  readonly jkt: string;
  readonly proofId: string;
}

/** What the store says about a claim. */
export type CallerFacts = CallerRow;

/** Answers what a verified token cannot know: revoked, disabled, no longer a member, seen before. */
export interface Callers {
  /** Remembers the proof and reads the facts, in one statement; null when the user is not a member of the organisation. */
  load(claim: CallerClaim): Promise<CallerFacts | null>;
  /** Remembers a proof; false when it was seen before (RFC 9449 §11.1). */
  recordProof(jkt: string, proofId: string): Promise<boolean>;
  /**
   * Whether a token still counts: false at once after a logout, after its own revocation, and when the session, agent or lease
   * it was delegated by has ended.
   */
  isTokenLive(claim: TokenClaim): Promise<boolean>;
  /** Puts an access token on the deny-list for the rest of its life (RFC 7009). */
  denyToken(token: {
    readonly jti: string;
    readonly orgId: string;
    readonly expiresAtMs: number;
  }): Promise<void>;
}

const scope = { role: 'system', orgId: null } as const;

/** Creates the lookup. */
export function createCallers(store: Store, nowMs: () => number): Callers {
  // A jti is unique per key: one client must not be able to use up another's.
  const hashProof = (jkt: string, proofId: string): string =>
    createHash('sha256').update(`${jkt}:${proofId}`).digest('base64url');
  const proofExpiry = (): Date => new Date(nowMs() + proofMemorySeconds * 1000);
  return {
    load: (claim) =>
      store.single(scope, (tx) =>
        recordProofAndReadCaller(tx, {
          userId: claim.userId,
          orgId: claim.orgId,
          grantIdHash: hashOidcId('Grant', claim.grantId),
          token: keyOf(claim),
          proofHash: hashProof(claim.jkt, claim.proofId),
          proofExpiresAt: proofExpiry(),
          now: new Date(nowMs()),
        }),
      ),
    recordProof: (jkt, proofId) =>
      store.single(scope, (tx) => recordProof(tx, hashProof(jkt, proofId), proofExpiry())),
    isTokenLive: (claim) =>
      store.single(scope, (tx) =>
        readTokenIsLive(
          tx,
          hashOidcId('Grant', claim.grantId),
          claim.userId,
          keyOf(claim),
          new Date(nowMs()),
        ),
      ),
    denyToken: ({ jti, orgId, expiresAtMs }) =>
      store.single(scope, (tx) => denyToken(tx, deniedKeyOf(jti), orgId, new Date(expiresAtMs))),
  };
}

/** Only a hash: the list is no list of tokens. */
const deniedKeyOf = (jti: string): string => `jti:${createHash('sha256').update(jti).digest('base64url')}`;

const keyOf = ({ jti, delegated }: TokenClaim): TokenKey => ({
  deniedKey: deniedKeyOf(jti),
  leaseJti: delegated ? jti : null,
});
