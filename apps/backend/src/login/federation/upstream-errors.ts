/** What the failures of an identity provider are to us; of its answers only names of errors get into ours. */
import { KontextError } from '@kontext/errors';
import * as client from 'openid-client';
import { unreachable } from '../../providers/safe-fetch.ts';

/** Errors after which asking again is in vain (RFC 6749 §5.2, OIDC Core §3.1.2.6). */
const finalErrors: ReadonlySet<string> = new Set([
  'invalid_grant',
  'access_denied',
  'login_required',
  'interaction_required',
  'consent_required',
  'account_selection_required',
]);

/** Whether a refresh was refused for good. */
export const isFinal = (error: unknown): boolean =>
  error instanceof client.ResponseBodyError && finalErrors.has(error.error);

/** Turns what the library throws into ours; `cause` is left out: an answer can hold a token. */
export function asLoginError(error: unknown, issuer: string): KontextError {
  const known = findKnown(error);
  if (known !== null) return known;
  if (error instanceof client.AuthorizationResponseError || error instanceof client.ResponseBodyError) {
    if (/^(server_error|temporarily_unavailable)$/.test(error.error)) {
      return unreachable('status', new URL(issuer).hostname, `it answered ${error.error}`);
    }
    const name = /^[a-z_]{1,40}$/.test(error.error) ? error.error : 'an error';
    return failed(`it answered ${name}`);
  }
  return failed(`its answer is not acceptable (${codeOf(error)})`);
}

/** The error of a login that came to nothing. */
export const failed = (why: string): KontextError =>
  new KontextError('KX_FEDERATED_LOGIN_FAILED', 'the identity provider did not log anybody in', { why });

/** The error of a provider that cannot be used as described. */
export const invalidProvider = (issuer: string, why: string): KontextError =>
  new KontextError('KX_IDENTITY_PROVIDER_INVALID', `the identity provider ${issuer} cannot be used`, { why });

/** Our own error in what the library threw: it wraps what its fetch throws. Null when there is none. */
export function findKnown(error: unknown): KontextError | null {
  let one = error;
  for (let depth = 0; depth < 5 && one instanceof Error; depth += 1) {
    if (one instanceof KontextError) return one;
    one = one.cause;
  }
  return null;
}

/** A stable name of what the library found wrong. */
export const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown';
