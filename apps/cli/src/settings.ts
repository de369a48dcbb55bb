/** One setting a person can change, as documentation shows it. */
export interface Setting {
  /** Environment variable. */
  readonly name: string;
  readonly meaning: string;
  /** Unit of a number, else null. */
  readonly unit: 'milliseconds' | null;
  /** What applies when it is set nowhere; empty when nothing does. */
  readonly default: string;
  /** Key in the user file `config.json`, null where the file may not set it. */
  readonly fileKey: string | null;
  /** Whether a project file may set it too. */
  readonly project: boolean;
}

const setting = (
  name: string,
  meaning: string,
  fallback = '',
  more: Partial<Pick<Setting, 'unit' | 'fileKey' | 'project'>> = {},
): Setting => ({ name, meaning, default: fallback, unit: null, fileKey: null, project: false, ...more });

/** Every setting of the command, in the order documentation lists them. */
export const settings: readonly Setting[] = [
  setting(
    'KONTEXT_API_URL',
    'URL of the backend. Plain http is accepted for loopback only.',
    'http://127.0.0.1:4180',
    { fileKey: 'api-url' },
  ),
  setting('KONTEXT_ISSUER', 'Issuer of the login.', '$KONTEXT_API_URL/oauth', { fileKey: 'issuer' }),
  setting('KONTEXT_ENV_FILE', 'Env template.', '.env.kontext', { fileKey: 'env-file', project: true }),
  setting('KONTEXT_AGENT', 'Agent that `kontext start` runs.', 'claude', { fileKey: 'agent', project: true }),
  setting(
    'KONTEXT_MODE',
    '`observe` or `enforce`; it may only raise what the organisation set.',
    'what the organisation set',
    { fileKey: 'mode' },
  ),
  setting(
    'KONTEXT_LOGIN_STORE',
    'Where the login is kept: `keyring`, or `file` (a plain file, announced on every use).',
    'keyring; file after `kontext login --insecure-storage`',
    { fileKey: 'login-store' },
  ),
  setting(
    'KONTEXT_HOOK_TIMEOUT_MS',
    'Longest time a hook waits for its decision, 100 to 3600000.',
    'chosen per agent',
    { unit: 'milliseconds', fileKey: 'hook-timeout-ms' },
  ),
  setting('KONTEXT_NO_INPUT', '`1`: never ask; fail with exit code 77 instead.', '0'),
  setting(
    'KONTEXT_CONFIG_DIR',
    'Directory of `config.json` and of the rules of this machine, `policy/*.cedar`.',
    '$XDG_CONFIG_HOME/kontext',
  ),
  setting('KONTEXT_LOG', '`debug` writes a log file; secrets are never in it.', 'off'),
  setting('KONTEXT_LOG_FILE', 'The log file.', '$XDG_STATE_HOME/kontext/kontext.log'),
  setting('XDG_CONFIG_HOME', 'Base of the configuration directory.', '~/.config'),
  setting(
    'XDG_STATE_HOME',
    'Base of the state directory: trust, locks, spool, kept policy, records of local sessions.',
    '~/.local/state',
  ),
  setting(
    'XDG_RUNTIME_DIR',
    'Base of the directory of sockets.',
    'a private directory in the state directory',
  ),
  setting('NO_COLOR', 'Any value: no colours.'),
  setting('FORCE_COLOR', 'Any value but `0`: colours also without a terminal.'),
  setting('CI', 'Any value but `0` or `false`: never ask.'),
  setting('BROWSER', 'Program that opens a URL.', 'that of the desktop'),
  setting('DISPLAY, WAYLAND_DISPLAY', 'A display exists: links are opened in the browser.'),
  setting('NODE_EXTRA_CA_CERTS', 'More certificate authorities to trust, a PEM file. Read by Node itself.'),
];
