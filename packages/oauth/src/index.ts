/** OAuth messages, one file per RFC: each step is made here and checked here, without I/O. */
export {
  type AccessTokenClaims,
  type AccessTokenVerification,
  type ActClaim,
  maxActDepth,
  verifyAccessToken,
} from './access-token.ts';
export { decideExchange, type ExchangeGranted } from './decide-exchange.ts';
export {
  type CredentialScope,
  type DelegationClaims,
  type DelegationFacts,
  type DelegationGranted,
  decideDelegation,
  depthOf,
  maxDelegationSeconds,
  parseCredentialScope,
  scopesLeftOf,
  signDelegationToken,
} from './delegation.ts';
export {
  createDpopProof,
  type DpopProofInput,
  type DpopVerification,
  type VerifiedDpopProof,
  verifyDpopProof,
} from './dpop.ts';
export { createNonceIssuer, type NonceIssuer } from './dpop-nonce.ts';
export type {
  ActorFact,
  ApprovalFact,
  ConnectionFact,
  ExchangeCeilings,
  ExchangedKind,
  ExchangeFacts,
  ExchangeParties,
  ProviderFact,
  SubjectFact,
} from './exchange-facts.ts';
export { leaseCap, leaseSeconds } from './lease-time.ts';
export {
  generateP256Jwk,
  isP256PublicJwk,
  jwkThumbprint,
  type P256PrivateJwk,
  type P256PublicJwk,
} from './p256-jwk.ts';
export {
  type SnapshotClaims,
  type SnapshotVerification,
  signSnapshot,
  verifySnapshot,
} from './policy-snapshot.ts';
export { refuseParties } from './refuse-parties.ts';
export { refuseDisconnected, refuseUpstreamDown } from './refuse-upstream.ts';
export {
  accessTokenType,
  defaultRetryAfterSeconds,
  type ExchangeErrorName,
  type ExchangeHttpAnswer,
  type ExchangeParams,
  type ExchangeRefusal,
  type ExchangeTarget,
  encodeExchangeError,
  encodeExchangeResponse,
  type FailureReason,
  type IssuedToken,
  parseTokenExchangeRequest,
  refusal,
  refusalOf,
  staticKeyTokenType,
  type TokenExchangeRequest,
  tokenExchangeGrantType,
} from './token-exchange.ts';
export { type ChallengeError, unauthenticated } from './unauthenticated.ts';
