import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { KontextError, type RpcCode } from '@kontext/errors';
import { type ErrorDetail, ErrorDetailSchema } from '@kontext/protocol';

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
  const value = toErrorDetail(known.code, known.hint, known.details);
  return new ConnectError(known.message, codes[known.spec.rpcCode], undefined, [
    { desc: ErrorDetailSchema, value },
  ]);
}

/**
 * The typed detail of an error, by the wire names of its members (identity.md §3).
 *
 * @param members Extension members such as `connect_uri`; what the detail has no field for is left out.
 */
export function toErrorDetail(
  code: string,
  hint: string,
  members: Readonly<Record<string, unknown>>,
): ErrorDetail {
  const text = (name: string): string => String(members[name] ?? '');
  const number = (name: string): number => Number(members[name] ?? 0);
  return create(ErrorDetailSchema, {
    ...{ code, hint, oauthError: text('oauth_error'), failureReason: text('failure_reason') },
    ...{ connectUri: text('connect_uri'), connectExpiresIn: number('connect_expires_in') },
    ...{ retryAfterSeconds: number('retry_after_seconds'), scope: text('scope') },
    ...{ confirmUri: text('confirm_uri'), confirmationId: text('confirmation_id') },
    ...{ acrValues: text('acr_values'), maxAge: number('max_age'), policyId: text('policy_id') },
    ...{ providerId: text('provider_id'), providerName: text('provider_name') },
    ...{ authReqId: text('auth_req_id'), interval: number('interval') },
  });
}
