import { type ErrorSpec, spec } from './error-spec.ts';

/** Errors of providers, connections, credentials and the vault; part of the table. */
export const credentialErrors = {
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
  KX_APPROVAL_RULE: spec(
    1,
    'failed_precondition',
    'no rule asks for this approval',
    'start the session again, so that it decides by the newest policy',
  ),
  KX_APPROVAL_OVER: spec(
    1,
    'failed_precondition',
    'there is nothing to decide any more',
    'list what waits with `kontext requests ls`',
  ),
  KX_APPROVAL_OPEN: spec(
    77,
    'failed_precondition',
    'a person has to decide this in a browser',
    'open the link, and decide there',
  ),
  KX_WEBHOOK_INVALID: spec(
    1,
    'invalid_argument',
    'the webhook cannot be used',
    'run `kontext webhooks add --help`',
  ),
  KX_SINK_INVALID: spec(1, 'invalid_argument', 'the sink cannot be used', 'run `kontext sinks --help`'),
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
} as const satisfies Record<string, ErrorSpec>;
