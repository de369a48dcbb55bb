/** OAuth messages, one file per RFC: each step is made here and checked here, without I/O. */
export {
  type AccessTokenClaims,
  type AccessTokenVerification,
  type ActClaim,
  verifyAccessToken,
} from './access-token.ts';
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
export { type ChallengeError, unauthenticated } from './unauthenticated.ts';
