import { KontextError } from '@kontext/errors';

/** The wire name of a refused proof or token: RFC 9449 §7.1, §8 and RFC 6750 §3.1. */
export type ChallengeError = 'invalid_dpop_proof' | 'invalid_token' | 'use_dpop_nonce';

/**
 * The error of a request whose proof or access token is not acceptable.
 *
 * @param section The rule that was broken, such as `RFC 9449 §4.3 check 8`; stands in `why`.
 * @param message What is wrong, lower case, without any part of the token.
 * @param failureReason Extension member that tells programs why; the same names as in a token exchange (identity.md §3).
 * @returns `KX_DPOP_NONCE_NEEDED` for `use_dpop_nonce`, else `KX_UNAUTHENTICATED`; `details.oauth_error` carries
 *   the wire name for a `WWW-Authenticate` header.
 */
export function unauthenticated(
  oauthError: ChallengeError,
  section: string,
  message: string,
  cause?: unknown,
  failureReason?: 'subject_token_expired' | 'subject_token_revoked',
): KontextError {
  const code = oauthError === 'use_dpop_nonce' ? 'KX_DPOP_NONCE_NEEDED' : 'KX_UNAUTHENTICATED';
  return new KontextError(code, message, {
    why: `${message} (${section})`,
    details: {
      oauth_error: oauthError,
      ...(failureReason === undefined ? {} : { failure_reason: failureReason }),
    },
    ...(cause === undefined ? {} : { cause }),
  });
}
