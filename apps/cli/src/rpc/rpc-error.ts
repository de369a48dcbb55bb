import { Code, ConnectError } from '@connectrpc/connect';
import { isErrorCode, KontextError } from '@kontext/errors';
import { type ErrorDetail, ErrorDetailSchema } from '@kontext/protocol';
import { Interrupted } from '../interrupted.ts';
import { networkError } from './network-error.ts';
import { clockError, maxSkewMs, type ServerClock } from './server-clock.ts';

/**
 * Turns what a call failed with into the error a person can act on.
 *
 * An error with our typed detail keeps its code and message. Anything else did not come from a backend's handler:
 * the network, a proxy, or another program that happens to listen there.
 *
 * @param apiUrl Where the call went, to be named.
 * @param clock A refusal by a backend whose clock is far from ours has that reason, whatever it says.
 */
export function rpcError(error: unknown, apiUrl: string, clock?: Readonly<ServerClock>): Error {
  const failure = ConnectError.from(error);
  // Connect wraps what an interceptor threw.
  if (failure.cause instanceof KontextError || failure.cause instanceof Interrupted) return failure.cause;
  const detail = errorDetail(failure);
  if (detail && isErrorCode(detail.code)) {
    const isRefusal = detail.code === 'KX_UNAUTHENTICATED' || detail.code === 'KX_DPOP_NONCE_NEEDED';
    const skewMs = clock?.skewMs ?? 0;
    if (isRefusal && Math.abs(skewMs) > maxSkewMs) return clockError(skewMs, error);
    return new KontextError(detail.code, failure.rawMessage, {
      ...(detail.hint === '' ? {} : { hint: detail.hint }),
      details: detailFacts(detail),
      cause: error,
    });
  }
  return foreignError(failure, apiUrl);
}

/** Our typed detail on a Connect error, when it carries one. */
export const errorDetail = (error: ConnectError): ErrorDetail | undefined =>
  error.findDetails(ErrorDetailSchema)[0];

/** The members of a detail that are set, for programs. */
export function detailFacts(detail: ErrorDetail): Record<string, string | number> {
  const facts: Record<string, string | number> = {};
  if (detail.oauthError) facts.oauth_error = detail.oauthError;
  if (detail.failureReason) facts.failure_reason = detail.failureReason;
  if (detail.connectUri) facts.connect_uri = detail.connectUri;
  if (detail.retryAfterSeconds) facts.retry_after_seconds = detail.retryAfterSeconds;
  if (detail.confirmUri) facts.confirm_uri = detail.confirmUri;
  if (detail.confirmationId) facts.confirmation_id = detail.confirmationId;
  return facts;
}

function foreignError(failure: ConnectError, apiUrl: string): Error {
  const { origin } = new URL(apiUrl);
  const made = (code: ConstructorParameters<typeof KontextError>[0], message: string, why: string) =>
    new KontextError(code, message, { why, cause: failure });
  if (failure.cause !== undefined && failure.code !== Code.Canceled) return networkError(failure, apiUrl);
  switch (failure.code) {
    case Code.Canceled:
      return new Interrupted();
    case Code.DeadlineExceeded:
      return made('KX_BACKEND_UNREACHABLE', `no answer from ${origin}`, 'no answer came in time');
    case Code.ResourceExhausted:
      return made('KX_RATE_LIMITED', 'the backend asks to wait', failure.rawMessage);
    case Code.Unavailable:
    case Code.Aborted:
      return made('KX_TEMPORARY', `${origin} cannot answer now`, failure.rawMessage);
    case Code.Internal:
    case Code.DataLoss:
      return made('KX_INTERNAL', 'the backend failed', failure.rawMessage);
    default:
      return made(
        'KX_NOT_A_BACKEND',
        `${origin} does not answer as a kontext backend`,
        // An empty message is what Connect makes of a method it does not know.
        failure.rawMessage || 'it does not know this call; it may be of another version',
      );
  }
}
