import { createHash } from 'node:crypto';
import { readGrantIsLive, recordProof, recordProofAndReadCaller } from '../store/queries/callers.ts';
import type { Store } from '../store/store.ts';
import { hashOidcId } from './oidc-adapter.ts';

/** Seconds for which a proof is remembered: longer than a nonce and the `iat` window live together. */
const proofMemorySeconds = 360;

/** Who a request claims to be, after its token and proof were verified. */
export interface CallerClaim {
  readonly userId: string;
  readonly orgId: string;
  readonly grantId: string;
  readonly jkt: string;
  readonly proofId: string;
}

/** What the store says about a claim. */
export interface CallerFacts {
  readonly proofIsNew: boolean;
  readonly grantIsLive: boolean;
  readonly userName: string;
  readonly userDisabled: boolean;
  readonly orgName: string;
  readonly role: string;
  readonly groups: readonly string[];
}

/** Answers what a verified token cannot know: revoked, disabled, no longer a member, seen before. */
export interface Callers {
  /** Remembers the proof and reads the facts, in one statement; null when the user is not a member of the organisation. */
  load(claim: CallerClaim): Promise<CallerFacts | null>;
  /** Remembers a proof; false when it was seen before (RFC 9449 §11.1). */
  recordProof(jkt: string, proofId: string): Promise<boolean>;
  /** Whether the grant exists and its user may log in: false at once after a logout. */
  isGrantLive(grantId: string, userId: string): Promise<boolean>;
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
      store.transaction(scope, (tx) =>
        recordProofAndReadCaller(tx, {
          userId: claim.userId,
          orgId: claim.orgId,
          grantIdHash: hashOidcId('Grant', claim.grantId),
          proofHash: hashProof(claim.jkt, claim.proofId),
          proofExpiresAt: proofExpiry(),
          now: new Date(nowMs()),
        }),
      ),
    recordProof: (jkt, proofId) =>
      store.transaction(scope, (tx) => recordProof(tx, hashProof(jkt, proofId), proofExpiry())),
    isGrantLive: (grantId, userId) =>
      store.transaction(scope, (tx) =>
        readGrantIsLive(tx, hashOidcId('Grant', grantId), userId, new Date(nowMs())),
      ),
  };
}
