import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { KontextError, type RpcCode } from '@kontext/errors';
import { ErrorDetailSchema } from '@kontext/protocol';

const codes: Readonly<Record<RpcCode, Code>> = {
  invalid_argument: Code.InvalidArgument,
  not_found: Code.NotFound,
  already_exists: Code.AlreadyExists,
  permission_denied: Code.PermissionDenied,
  resource_exhausted: Code.ResourceExhausted,
  failed_precondition: Code.FailedPrecondition,
  aborted: Code.Aborted,
  unavailable: Code.Unavailable,
  internal: Code.Internal,
  unauthenticated: Code.Unauthenticated,
  deadline_exceeded: Code.DeadlineExceeded,
};

/**
 * The error as it goes over the wire: the table's code, our message, one typed detail.
 *
 * @param error A `ConnectError` passes as it is (bad input found by the runtime); anything but a `KontextError` becomes
 *   `KX_INTERNAL` without its text, which could hold a secret.
 */
export function toConnectError(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error;
  const known = error instanceof KontextError ? error : new KontextError('KX_INTERNAL', 'unexpected failure');
  const text = (name: string): string => String(known.details[name] ?? '');
  const number = (name: string): number => Number(known.details[name] ?? 0);
  const detail = create(ErrorDetailSchema, {
    code: known.code,
    hint: known.hint,
    oauthError: text('oauth_error'),
    failureReason: text('failure_reason'),
    connectUri: text('connect_uri'),
    connectExpiresIn: number('connect_expires_in'),
    retryAfterSeconds: number('retry_after_seconds'),
    confirmUri: text('confirm_uri'),
    confirmationId: text('confirmation_id'),
    acrValues: text('acr_values'),
    maxAge: number('max_age'),
    scope: text('scope'),
    policyId: text('policy_id'),
    providerId: text('provider_id'),
    providerName: text('provider_name'),
    authReqId: text('auth_req_id'),
    interval: number('interval'),
  });
  return new ConnectError(known.message, codes[known.spec.rpcCode], undefined, [
    { desc: ErrorDetailSchema, value: detail },
  ]);
}
