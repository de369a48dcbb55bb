import { type ErrorCode, KontextError } from '@kontext/errors';
import type { Answer } from '../rpc/request.ts';

interface End {
  readonly code: ErrorCode;
  readonly message: string;
  readonly why: string;
  readonly hint?: string;
}

/** What `failure_reason` of the token endpoint's `invalid_grant` means to a person. */
const ends: ReadonlyMap<string, End> = new Map<string, End>([
  [
    'login_idle',
    { code: 'KX_LOGIN_EXPIRED', message: 'the login has expired', why: 'it was not used for 30 days' },
  ],
  ['login_expired', { code: 'KX_LOGIN_EXPIRED', message: 'the login has expired', why: 'it is 90 days old' }],
  [
    'login_revoked',
    {
      code: 'KX_LOGIN_REVOKED',
      message: 'the login was revoked',
      why: 'somebody logged it out from elsewhere',
    },
  ],
  [
    'login_reused',
    {
      ...{ code: 'KX_LOGIN_REVOKED', message: 'the login was revoked' },
      why: 'a token of it that had been replaced was used again, here or on a copy of this machine',
    },
  ],
  [
    'account_suspended',
    {
      ...{ code: 'KX_ACCOUNT_SUSPENDED', message: 'the account is suspended' },
      why: 'an administrator of the organisation took its access',
    },
  ],
  [
    'identity_provider_logout',
    {
      ...{ code: 'KX_LOGIN_REVOKED', message: 'the login was revoked' },
      why: 'the identity provider ended the session it was made with',
      hint: 'run `kontext login`',
    },
  ],
  [
    'identity_provider_disabled',
    {
      ...{ code: 'KX_ACCOUNT_NOT_VOUCHED', message: 'the identity provider refuses the account' },
      why: 'it does not vouch for it any more',
    },
  ],
  [
    'identity_provider_removed',
    {
      ...{ code: 'KX_LOGIN_REVOKED', message: 'the login was revoked' },
      why: 'the organisation does not log in through that identity provider any more',
      hint: 'run `kontext login`',
    },
  ],
]);

/** The error of a login that is over, by what the backend says of it (RFC 6749 §5.2 `invalid_grant`). */
export function loginEnded({ status, json }: Answer): KontextError {
  const reason = typeof json?.failure_reason === 'string' ? json.failure_reason : '';
  const details = {
    status,
    oauth_error: 'invalid_grant',
    ...(reason === '' ? {} : { failure_reason: reason }),
  };
  const end = ends.get(reason);
  if (end === undefined) {
    return new KontextError('KX_LOGIN_EXPIRED', 'the login has expired or was revoked', { details });
  }
  const { code, message, why, hint } = end;
  return new KontextError(code, message, { why, details, ...(hint === undefined ? {} : { hint }) });
}
