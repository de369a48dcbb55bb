/**
 * Every error kontext can show, in one table.
 *
 * `exitCode` is the process exit code of `kontext` (BSD sysexits where one fits); 2 is missing on purpose: it
 * belongs to `kontext hook` alone. `rpcCode` is the Connect code the backend answers with. `summary` is the
 * sentence of the documentation; `hint` is what to do next when the place that throws knows nothing better.
 */
import { type ErrorSpec, spec } from './error-spec.ts';
import { credentialErrors } from './table-credentials.ts';
import { identityErrors } from './table-identity.ts';

export type { ErrorSpec, RpcCode } from './error-spec.ts';

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
  KX_SESSION_DENIED: spec(
    77,
    'permission_denied',
    'policy forbids the session',
    'ask whoever owns the policy; `kontext policy history` says who published it',
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
  KX_LOCAL_PLACEHOLDER: spec(
    77,
    'failed_precondition',
    'a local session has no credentials',
    'leave --local out, or --strict to go on without them',
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
  KX_AGENT_TOO_OLD: spec(
    78,
    'failed_precondition',
    'hooks of this version of the agent let calls through when they fail, which enforcing cannot have',
    'update the agent; `kontext doctor` says which version is wanted',
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
  KX_SETUP_FAILED: spec(
    1,
    'failed_precondition',
    'the hooks of `kontext setup` cannot be set up or taken out',
    'check the file that is named, then run the command again',
  ),
  KX_DAEMON_FAILED: spec(
    1,
    'unavailable',
    'the daemon that answers the hooks of `kontext setup` cannot be started',
    'run `kontext doctor --hook`',
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
  KX_POLICY_BUSY: spec(
    75,
    'resource_exhausted',
    'as many policies are being evaluated as the backend has room for',
    'try again in a minute',
  ),
  KX_POLICY_SLOW: spec(
    65,
    'resource_exhausted',
    'the policy takes too long or too much memory to be evaluated',
    'leave out rules, and wildcards in `like`',
  ),
  KX_POLICY_UNREADABLE: spec(
    65,
    'invalid_argument',
    'the policy files cannot be read',
    'name .cedar files, or a directory that holds them',
  ),
  KX_POLICY_FILES_CHANGED: spec(
    1,
    'failed_precondition',
    'policy files on this machine would be overwritten',
    'look at them with `kontext policy diff`, then pass --force or choose another directory',
  ),
  KX_EXAMPLES_INVALID: spec(
    65,
    'invalid_argument',
    'a file of policy examples is malformed',
    'see the message for file, example and member',
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

  // audit and spool
  KX_AUDIT_GAP: spec(10, 'failed_precondition', 'an audit stream lacks events', 'see the report'),
  KX_BUNDLE_INVALID: spec(
    65,
    'invalid_argument',
    'the file is no audit bundle',
    'name a file that `kontext audit export` or `kontext start --local` wrote',
  ),
  KX_AUDIT_FORK: spec(11, 'aborted', 'a stored event came again with other bytes', 'see the report'),
  KX_AUDIT_SIGNATURE: spec(
    12,
    'failed_precondition',
    'a checkpoint of the audit log is not signed by the pinned key',
    'tell whoever runs the backend',
  ),
  KX_AUDIT_TRUNCATED: spec(
    13,
    'failed_precondition',
    'an audit stream ends before its head',
    'see the report',
  ),
  KX_AUDIT_UNPINNED: spec(
    14,
    'failed_precondition',
    'the audit log is signed by a key nobody vouches for here',
    'ask somebody you trust for the key (`kontext audit checkpoint` shows it), then pass it with `--key`',
  ),
  KX_EVENT_AMBIGUOUS: spec(
    1,
    'failed_precondition',
    'several audit events bear that id: who writes an event chooses it',
    'name the event by its stream and seq, or the session as a whole',
  ),
  KX_WATCH_LIMIT: spec(
    75,
    'resource_exhausted',
    'as many watches of audit events are open as there may be',
    'close one of them, such as a `kontext audit tail` or a page that follows events',
  ),
  KX_EXPORT_FAILED: spec(
    1,
    'failed_precondition',
    'an audit export was not made, or is not there any longer',
    'make another one with `kontext audit export`',
  ),
  KX_AUDIT_ALTERED: spec(
    15,
    'failed_precondition',
    'an audit event does not match its hash',
    'see the report',
  ),
  KX_QUERY_INVALID: spec(
    64,
    'invalid_argument',
    'a search of the audit log cannot be read',
    'see docs/audit-search.md',
  ),
  KX_EVENT_INVALID: spec(1, 'invalid_argument', 'an audit event is not well formed', 'update kontext'),
  KX_SPOOL_CORRUPT: spec(
    1,
    'internal',
    'a spool record cannot be read',
    'see the log; intact records are kept',
  ),
  ...identityErrors,
  ...credentialErrors,
} as const satisfies Record<string, ErrorSpec>;

/** Union of all codes, so that a `switch` over codes is checked by the compiler. */
export type ErrorCode = keyof typeof errorTable;
