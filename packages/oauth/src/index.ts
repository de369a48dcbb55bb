/** OAuth messages, one file per RFC: each step is made here and checked here, without I/O. */
export {
  type AccessTokenClaims,
  type AccessTokenVerification,
  type ActClaim,
  verifyAccessToken,
} from './access-token.ts';
export {
  type ConnectionFact,
  decideExchange,
  type ExchangeFacts,
  type ExchangeGranted,
  leaseSeconds,
  type ProviderFact,
  refuseDisconnected,
  refuseUpstreamDown,
  type SubjectFact,
} from './decide-exchange.ts';
export {
  createDpopProof,
  type DpopProofInput,
  type DpopVerification,
  type VerifiedDpopProof,
  verifyDpopProof,
} from './dpop.ts';
export { createNonceIssuer, type NonceIssuer } from './dpop-nonce.ts';
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
export {
  accessTokenType,
  type ExchangeErrorName,
  type ExchangeHttpAnswer,
  type ExchangeParams,
  type ExchangeRefusal,
  encodeExchangeError,
  encodeExchangeResponse,
  type FailureReason,
  type IssuedToken,
  parseTokenExchangeRequest,
  refusalOf,
  staticKeyTokenType,
  type TokenExchangeRequest,
  tokenExchangeGrantType,
} from './token-exchange.ts';
export { type ChallengeError, unauthenticated } from './unauthenticated.ts';
