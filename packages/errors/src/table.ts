/**
 * Every error kontext can show, in one table.
 *
 * `exitCode` is the process exit code of `kontext` (BSD sysexits where one fits); 2 is missing on purpose: it
 * belongs to `kontext hook` alone. `rpcCode` is the Connect code the backend answers with. `summary` is the
 * sentence of the documentation; `hint` is what to do next when the place that throws knows nothing better.
 */
export interface ErrorSpec {
  readonly summary: string;
  readonly exitCode: 1 | 64 | 65 | 69 | 75 | 77 | 78 | 126 | 127 | 10 | 11 | 13 | 15;
  readonly rpcCode: RpcCode;
  readonly hint: string;
}

/** The Connect error codes the table uses (https://connectrpc.com/docs/protocol#error-codes). */
export type RpcCode =
  | 'invalid_argument'
  | 'not_found'
  | 'already_exists'
  | 'permission_denied'
  | 'resource_exhausted'
  | 'failed_precondition'
  | 'aborted'
  | 'unavailable'
  | 'internal'
  | 'unauthenticated'
  | 'deadline_exceeded';

const spec = (
  exitCode: ErrorSpec['exitCode'],
  rpcCode: RpcCode,
  summary: string,
  hint: string,
): ErrorSpec => ({ exitCode, rpcCode, summary, hint });

/** Stable codes. Add, never rename: programs match on them. */
export const errorTable = {
  // the command line and its configuration
  KX_INTERNAL: spec(
    1,
    'internal',
    'kontext met a state it did not expect',
    'run again with KONTEXT_LOG=debug and report the log',
  ),
  KX_USAGE: spec(64, 'invalid_argument', 'the command line is wrong', 'run `kontext --help`'),
  KX_CONFIG_INVALID: spec(
    78,
    'invalid_argument',
    'a setting has a value that cannot be used',
    'see docs/configuration.md',
  ),
  KX_BACKEND_NOT_INSTALLED: spec(
    78,
    'failed_precondition',
    'the kontext-backend executable was not found',
    'run `npm install -g @kontext/backend`',
  ),
  KX_INSECURE_URL: spec(
    78,
    'invalid_argument',
    'the backend URL is plain http and not loopback',
    'use an https URL',
  ),
  KX_INPUT_NEEDED: spec(
    77,
    'failed_precondition',
    'a person has to answer, and there is no terminal to ask on',
    'run the command in a terminal',
  ),

  // the backend as seen from outside
  KX_BACKEND_UNREACHABLE: spec(
    69,
    'unavailable',
    'no backend answers at the configured URL',
    'start one with `kontext serve`, or set KONTEXT_API_URL',
  ),
  KX_TLS_FAILED: spec(
    69,
    'unavailable',
    'the TLS connection to the backend could not be trusted',
    'check the certificate, or set NODE_EXTRA_CA_CERTS',
  ),
  KX_NOT_A_BACKEND: spec(
    69,
    'unavailable',
    'something answers at the URL, but it is not a kontext backend',
    'check KONTEXT_API_URL',
  ),
  KX_TEMPORARY: spec(75, 'unavailable', 'the request failed for now', 'try again in a moment'),
  KX_RATE_LIMITED: spec(75, 'resource_exhausted', 'too many requests', 'wait and try again'),
  KX_CLOCK_SKEW: spec(
    78,
    'unauthenticated',
    'the clock of this machine differs too much from the backend',
    'set the clock, for example with `timedatectl set-ntp true`',
  ),

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

  // the env template
  KX_TEMPLATE_MISSING: spec(
    65,
    'invalid_argument',
    'there is no env template',
    'create .env.kontext, for example from .env.kontext.example',
  ),
  KX_TEMPLATE_UNREADABLE: spec(
    65,
    'invalid_argument',
    'the env template cannot be read',
    'check the file and its permissions',
  ),
  KX_TEMPLATE_NOT_UTF8: spec(
    65,
    'invalid_argument',
    'the env template is not valid UTF-8',
    'save the file as UTF-8',
  ),
  KX_TEMPLATE_TOO_LARGE: spec(
    65,
    'invalid_argument',
    'the env template is beyond a limit',
    'keep it under 1 MiB, 10,000 entries and 64 KiB per value',
  ),
  KX_TEMPLATE_SYNTAX: spec(
    65,
    'invalid_argument',
    'a line of the env template cannot be understood',
    'fix the line, for example `NAME={{kontext:github}}`',
  ),
  KX_TEMPLATE_PLACEHOLDER: spec(
    65,
    'invalid_argument',
    'a placeholder is malformed',
    'write it as {{kontext:provider/resource?scope=a+b}}',
  ),
  KX_TEMPLATE_REFUSED_NAME: spec(
    65,
    'invalid_argument',
    'the env template sets a variable it may not set',
    'remove the line; set it outside the template if you need it',
  ),
  KX_TEMPLATE_DUPLICATE: spec(
    65,
    'invalid_argument',
    'a variable is set twice; the last one wins',
    'remove one of the lines',
  ),
  KX_TEMPLATE_UNTRUSTED: spec(
    77,
    'failed_precondition',
    'the env template has not been trusted yet',
    'look at it, then run `kontext trust` or pass --trust',
  ),

  // providers, connections, credentials
  KX_PROVIDER_UNKNOWN: spec(
    77,
    'not_found',
    'the organisation has no such provider',
    'put a static key with `kontext secrets put <provider>`, or add an OAuth service with `kontext providers add`',
  ),
  KX_PROVIDER_EXISTS: spec(
    64,
    'already_exists',
    'a provider of that name exists',
    'choose another name, or remove it with `kontext providers rm`',
  ),
  KX_PROVIDER_IN_USE: spec(
    1,
    'failed_precondition',
    'the provider still has connections',
    'revoke them, or pass --force',
  ),
  KX_PROVIDER_INVALID: spec(
    64,
    'invalid_argument',
    'the provider description cannot be used',
    'see `kontext providers add --help`',
  ),
  KX_PROVIDER_NOT_ATTACHED: spec(
    77,
    'permission_denied',
    'the provider is not attached to this agent',
    'ask an administrator to attach it',
  ),
  KX_PROVIDER_UNREACHABLE: spec(
    75,
    'unavailable',
    'the provider did not answer in time',
    'try again in a moment',
  ),
  KX_CONNECTION_MISSING: spec(
    77,
    'failed_precondition',
    'the provider is not connected',
    'run `kontext connect <provider>`',
  ),
  KX_CONNECTION_AMBIGUOUS: spec(
    77,
    'failed_precondition',
    'several connections fit the placeholder',
    'name one: {{kontext:provider/name}}',
  ),
  KX_CONNECTION_REAUTH_REQUIRED: spec(
    77,
    'failed_precondition',
    'the provider wants the user to log in again',
    'run `kontext connect <provider>`',
  ),
  KX_CONNECTION_NOT_FOUND: spec(
    1,
    'not_found',
    'there is no such connection',
    'run `kontext connections ls`',
  ),
  KX_CONNECT_LINK_EXPIRED: spec(
    77,
    'failed_precondition',
    'the connect link expired or was used',
    'run `kontext connect <provider>` again',
  ),
  KX_CONNECT_FAILED: spec(
    77,
    'failed_precondition',
    'the provider refused the connection',
    'run `kontext connect <provider>` again',
  ),
  KX_RESOURCE_UNKNOWN: spec(
    65,
    'not_found',
    'the placeholder names something the provider does not have',
    'see `kontext providers ls`',
  ),
  KX_MINT_REFUSED: spec(
    77,
    'failed_precondition',
    'the provider refused to make a credential',
    'ask whoever set the provider up; see docs/minted-credentials.md',
  ),
  KX_DELIVERY_UNSUPPORTED: spec(
    65,
    'invalid_argument',
    'broker delivery is not built yet',
    'remove delivery=broker from the placeholder',
  ),
  KX_SCOPE_EXCEEDED: spec(
    77,
    'permission_denied',
    'more scope was asked for than the connection has',
    'ask for less, or reconnect with the scope',
  ),
  KX_LOGIN_TOO_OLD: spec(
    77,
    'failed_precondition',
    'the provider wants a fresher login',
    'run `kontext login` again',
  ),
  KX_APPROVAL_PENDING: spec(
    75,
    'failed_precondition',
    'a person has to approve the use of the provider',
    'open the link, approve, and try again',
  ),
  KX_POLICY_DENIED: spec(77, 'permission_denied', 'policy forbids it', 'ask whoever owns the policy'),
  KX_EXCHANGE_REFUSED: spec(
    1,
    'invalid_argument',
    'the token exchange request is not acceptable',
    'see the error description',
  ),
  KX_SUBJECT_INVALID: spec(
    77,
    'unauthenticated',
    'the subject token is expired, revoked or not ours',
    'run `kontext login`',
  ),
  KX_SECRET_INVALID: spec(
    64,
    'invalid_argument',
    'the secret is empty or larger than 64 KiB',
    'give the value on standard input',
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

  // sessions and agents
  KX_SESSION_ENDED: spec(
    1,
    'failed_precondition',
    'the session has ended',
    'start a new one with `kontext start`',
  ),
  KX_RENEWAL_WITHHELD: spec(
    77,
    'failed_precondition',
    'the session gets no renewed credentials',
    'end the session and start a new one with `kontext start`',
  ),
  KX_LEASE_ENDED: spec(
    77,
    'failed_precondition',
    'the lease was ended and cannot be renewed',
    'start a new session with `kontext start`',
  ),
  KX_NOTHING_TO_RENEW: spec(
    1,
    'failed_precondition',
    'the credential has no successor: it lives as long as it lives',
    'nothing has to be done',
  ),
  KX_SESSION_NESTED: spec(
    64,
    'failed_precondition',
    'the command may not run inside a session',
    'run it in a terminal outside the agent',
  ),
  KX_SESSION_REFUSED: spec(
    77,
    'permission_denied',
    'the command changes what people and agents may do',
    'run it in a terminal outside the agent',
  ),
  KX_OFFLINE_UNSUPPORTED: spec(
    64,
    'failed_precondition',
    'starting without the backend is not built yet',
    'leave --offline out',
  ),
  KX_AGENT_UNKNOWN: spec(64, 'invalid_argument', 'kontext does not know that agent', 'use --agent claude'),
  KX_AGENT_DISABLED: spec(
    77,
    'permission_denied',
    'an administrator disabled the agent',
    'ask an administrator to enable it again',
  ),
  KX_AGENT_NOT_FOUND: spec(127, 'not_found', 'the agent is not installed', 'install it, or put it on PATH'),
  KX_AGENT_NOT_EXECUTABLE: spec(
    126,
    'permission_denied',
    'the agent cannot be executed',
    'check its file permissions',
  ),
  KX_AGENT_FLAG_REFUSED: spec(
    64,
    'invalid_argument',
    'that agent flag switches the hooks off, or takes the agent out of the session',
    'leave the flag out',
  ),
  KX_AGENT_SETTINGS_INVALID: spec(
    64,
    'invalid_argument',
    'the settings given to the agent cannot be read',
    'fix the file or the JSON after --settings',
  ),
  KX_SOCKET_FAILED: spec(1, 'internal', 'the hook socket cannot be made', 'check the runtime directory'),
  KX_CREDENTIAL_NOT_IN_SESSION: spec(
    77,
    'not_found',
    'the session holds no such credential',
    'add its placeholder to the env template and start again',
  ),
  KX_NO_SESSION: spec(
    64,
    'failed_precondition',
    'the command works inside a session only',
    'run it from an agent that `kontext start` runs',
  ),
  KX_CREDENTIAL_KIND_REFUSED: spec(
    1,
    'failed_precondition',
    'the hook socket does not hand out credentials yet',
    'read the value from the environment variable that the env template names',
  ),
  KX_HOOK_INPUT: spec(1, 'invalid_argument', 'the hook input cannot be read', 'update the agent or kontext'),

  // policy
  KX_POLICY_INVALID: spec(
    65,
    'invalid_argument',
    'the policy cannot be parsed',
    'see the message for line and column',
  ),
  KX_SNAPSHOT_INVALID: spec(
    1,
    'failed_precondition',
    'the policy snapshot is not signed by the pinned key, or was changed',
    'run `kontext logout`, then `kontext login`, if the backend changed its key',
  ),
  KX_SNAPSHOT_ROLLBACK: spec(
    1,
    'failed_precondition',
    'the policy snapshot is older than one seen before',
    'tell whoever runs the backend',
  ),

  // vault and store
  KX_VAULT_OPEN: spec(
    1,
    'internal',
    'a sealed secret cannot be opened',
    'check the key-encryption key; the record or its context was changed',
  ),
  KX_KEK_MISSING: spec(
    78,
    'failed_precondition',
    'the key-encryption key is missing or unreadable',
    'set KONTEXT_KEK_FILE or restore the key file',
  ),
  KX_KMS_UNAVAILABLE: spec(
    75,
    'unavailable',
    'the key service does not answer',
    'try again in a moment; if it stays, check the key service',
  ),
  KX_KMS_REFUSED: spec(
    78,
    'failed_precondition',
    'the key service refuses the key or the login of the backend',
    'check the rights of the backend at the key service, and that the key is enabled; docs/keys.md lists them',
  ),
  KX_STORE_SCHEMA_OLD: spec(
    78,
    'failed_precondition',
    'the database schema is older than this backend',
    'run `kontext-backend migrate`',
  ),
  KX_STORE_UNREACHABLE: spec(
    69,
    'unavailable',
    'the database does not answer',
    'check DATABASE_URL and the server',
  ),
  KX_STORE_LOCKED: spec(
    75,
    'unavailable',
    'another backend uses the embedded database',
    'stop the other process, or set another KONTEXT_DATA_DIR',
  ),

  // audit and spool
  KX_AUDIT_GAP: spec(10, 'failed_precondition', 'an audit stream lacks events', 'see the report'),
  KX_AUDIT_FORK: spec(11, 'aborted', 'a stored event came again with other bytes', 'see the report'),
  KX_AUDIT_TRUNCATED: spec(
    13,
    'failed_precondition',
    'an audit stream ends before its head',
    'see the report',
  ),
  KX_AUDIT_ALTERED: spec(
    15,
    'failed_precondition',
    'an audit event does not match its hash',
    'see the report',
  ),
  KX_EVENT_INVALID: spec(1, 'invalid_argument', 'an audit event is not well formed', 'update kontext'),
  KX_SPOOL_CORRUPT: spec(
    1,
    'internal',
    'a spool record cannot be read',
    'see the log; intact records are kept',
  ),
} as const satisfies Record<string, ErrorSpec>;

/** Union of all codes, so that a `switch` over codes is checked by the compiler. */
export type ErrorCode = keyof typeof errorTable;
