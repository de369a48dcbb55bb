/** Which of the three kinds of failure, see `oauth2.ts`, an answer of a provider is. */
import { KontextError } from '@kontext/errors';
import { ResponseBodyError } from 'openid-client';
import { errorName } from './answer-members.ts';
import type { Quirky } from './oauth2-configuration.ts';
import { unreachable } from './safe-fetch.ts';

/** Errors after which a refresh token never works again; the last three are what some use for `invalid_grant`. */
const terminalErrors: ReadonlySet<string> = new Set([
  'invalid_grant',
  'bad_refresh_token',
  'invalid_refresh_token',
  'token_revoked',
]);

/** Errors that pass; the first two are of RFC 6749 §4.1.2.1, the others come with status 200. */
const transientErrors: ReadonlySet<string> = new Set([
  ...['temporarily_unavailable', 'server_error', 'internal_error', 'fatal_error'],
  ...['service_unavailable', 'request_timeout', 'ratelimited', 'rate_limited', 'slow_down'],
]);

/** The failure as we name it; an error of ours stays as it is. */
export function judge({ name, quirks }: Quirky, error: unknown): KontextError {
  if (error instanceof KontextError) return error;
  if (!(error instanceof ResponseBodyError)) return unusable(name);
  if (transientErrors.has(error.error)) return unreachable('answer', name, describe(error));
  if (terminalErrors.has(error.error) || quirks.terminalErrors.includes(error.error)) {
    return new KontextError('KX_CONNECTION_REAUTH_REQUIRED', `${name} wants the user to log in again`, {
      why: `it answered ${errorName(error.error)}`,
      details: { provider_error: errorName(error.error) },
    });
  }
  return refused(name, error.error);
}

/** It may work later: the answer made no sense. */
export const unusable = (name: string): KontextError =>
  unreachable('answer', name, 'its answer cannot be used');

/** The provider refused the request with an error of RFC 6749 §5.2, or one of its own. */
export const refused = (name: string, oauthError: string): KontextError =>
  new KontextError('KX_CONNECT_FAILED', `${name} refused the request`, {
    why: `it answered ${errorName(oauthError)}`,
    details: { provider_error: errorName(oauthError) },
  });

/** Whether the user must come again. */
export const isReauth = (error: unknown): boolean =>
  error instanceof KontextError && error.code === 'KX_CONNECTION_REAUTH_REQUIRED';

/** What was wrong with an answer, without anything of its body but the error's name. */
export const describe = (error: unknown): string =>
  error instanceof ResponseBodyError ? `it answered ${errorName(error.error)}` : 'its answer cannot be used';
