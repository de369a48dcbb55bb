import { type ErrorSpec, spec } from './error-spec.ts';

/** Errors of logging in and of being allowed; part of the table. */
export const identityErrors = {
  // login
  KX_NOT_LOGGED_IN: spec(77, 'unauthenticated', 'nobody is logged in', 'run `kontext login`'),
  KX_LOGIN_EXPIRED: spec(
    77,
    'unauthenticated',
    'the login has expired or was revoked',
    'run `kontext login`',
  ),
  KX_LOGIN_REVOKED: spec(
    77,
    'unauthenticated',
    'the login was ended from elsewhere',
    'run `kontext login`; if nobody of yours ended it, tell an administrator',
  ),
  KX_ACCOUNT_SUSPENDED: spec(
    77,
    'unauthenticated',
    'an administrator suspended the account',
    'ask an administrator of the organisation',
  ),
  KX_ACCOUNT_NOT_VOUCHED: spec(
    77,
    'unauthenticated',
    'the identity provider does not vouch for the account any more',
    'ask whoever runs the identity provider, then run `kontext login`',
  ),
  KX_LOGIN_NOT_FINISHED: spec(
    77,
    'unauthenticated',
    'the login was not finished in the browser in time',
    'run `kontext login` again',
  ),
  KX_LOGIN_ANSWER_INVALID: spec(
    77,
    'unauthenticated',
    'an answer came to the terminal that does not belong to its login',
    'run `kontext login` again; if it happens again, another program interferes',
  ),
  KX_LOOPBACK_FAILED: spec(
    1,
    'internal',
    'the terminal cannot listen for the answer of the browser',
    'run `kontext login` without --loopback',
  ),
  KX_SERVER_KEY_CHANGED: spec(
    77,
    'failed_precondition',
    'the backend signs policy with another key than before',
    'ask whoever runs the backend; if the change is meant, run `kontext logout`, then `kontext login`',
  ),
  KX_LOGIN_DENIED: spec(
    77,
    'permission_denied',
    'the login was denied on the approval page',
    'run `kontext login` again if that was a mistake',
  ),
  KX_DEVICE_CODE_EXPIRED: spec(
    77,
    'unauthenticated',
    'the device code expired before it was approved',
    'run `kontext login` again',
  ),
  KX_LOGIN_OTHER_ACCOUNT: spec(
    77,
    'failed_precondition',
    'another account logged in than before',
    'run `kontext logout` first, or log in as the first account',
  ),
  KX_KEYRING_UNAVAILABLE: spec(
    78,
    'failed_precondition',
    'the OS keyring cannot be used',
    'unlock or start the keyring, or accept a file with `kontext login --insecure-storage`',
  ),
  KX_KEYRING_LOCKED: spec(
    78,
    'failed_precondition',
    'the OS keyring is locked',
    'unlock the keyring, then run the command again',
  ),
  KX_KEYRING_ITEM_INVALID: spec(
    78,
    'failed_precondition',
    'the login in the keyring cannot be read',
    'run `kontext logout`, then `kontext login`',
  ),
  KX_FEDERATED_LOGIN_FAILED: spec(
    77,
    'permission_denied',
    'the login at the identity provider did not succeed',
    'go back to your terminal and start again',
  ),
  KX_NOT_A_MEMBER: spec(
    77,
    'permission_denied',
    'the organisation does not know whoever logged in',
    'ask an administrator for an invitation',
  ),
  KX_INVITATION_INVALID: spec(
    77,
    'failed_precondition',
    'the invitation does not work',
    'ask whoever invited you for another one',
  ),
  KX_IDENTITY_PROVIDER_INVALID: spec(
    64,
    'invalid_argument',
    'the identity provider cannot be used as described',
    'see docs/login.md',
  ),

  // authorization at the API
  KX_UNAUTHENTICATED: spec(
    77,
    'unauthenticated',
    'the request carries no valid access token',
    'run `kontext login`',
  ),
  KX_FORBIDDEN: spec(
    77,
    'permission_denied',
    'the role of the user does not allow it',
    'ask an administrator',
  ),
  KX_LAST_OWNER: spec(
    1,
    'failed_precondition',
    'an organisation keeps an owner who can log in',
    'make somebody else an owner first',
  ),
  KX_CONFIRMATION_NEEDED: spec(
    77,
    'unauthenticated',
    'a person has to confirm the action in a browser, freshly logged in',
    'open the link, log in, confirm, and send the same request again with the confirmation',
  ),
  KX_CONFIRMATION_DENIED: spec(
    77,
    'permission_denied',
    'the action was denied on the confirmation page',
    'run the command again if that was a mistake',
  ),
  KX_CONFIRMATION_EXPIRED: spec(
    77,
    'permission_denied',
    'the confirmation came too late',
    'run the command again, and confirm within 10 minutes',
  ),
  KX_CONFIRMATION_INVALID: spec(
    77,
    'permission_denied',
    'the confirmation does not fit the request',
    'run the command again to be asked anew',
  ),
  KX_DPOP_NONCE_NEEDED: spec(
    75,
    'unauthenticated',
    'the proof must carry a nonce of the server',
    'repeat the request with the nonce of the answer',
  ),
  KX_REQUEST_INVALID: spec(
    64,
    'invalid_argument',
    'a field of the request cannot be used',
    'see the message',
  ),
  KX_NOT_FOUND: spec(1, 'not_found', 'there is no such thing, or it is not yours', 'check the id'),
} as const satisfies Record<string, ErrorSpec>;
