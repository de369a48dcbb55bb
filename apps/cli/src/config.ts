/**
 * Configuration of the command. The one file that reads the environment.
 *
 * Precedence: flag, environment, project file (env file and agent only), user file, default. A project file comes
 * with a cloned repository, so it can never say where the backend is, where the login is kept, or what is enforced.
 */
import { isIP } from 'node:net';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { KontextError } from '@kontext/errors';
import { readAtMost } from './read-at-most.ts';
import { settings } from './settings.ts';

export { settings } from './settings.ts';

/** What the command line may override; undefined means the flag was not given. */
export interface Flags {
  readonly apiUrl?: string | undefined;
  readonly envFile?: string | undefined;
  readonly agent?: string | undefined;
  readonly mode?: string | undefined;
  readonly insecureStorage?: boolean | undefined;
  /** False for `--no-input`. */
  readonly input?: boolean | undefined;
  /** True for `--color`, false for `--no-color`. */
  readonly color?: boolean | undefined;
  readonly quiet?: boolean | undefined;
  /** False for `--no-browser`. */
  readonly browser?: boolean | undefined;
  /** True for `--wait-confirmation`. */
  readonly waitConfirmation?: boolean | undefined;
  /** All words of the command line, to be shown again. */
  readonly args?: readonly string[] | undefined;
}

/** Checked configuration. Directories are named, not made. */
export interface Config {
  /** Origin and path of the backend, without trailing slash. */
  readonly apiUrl: string;
  readonly issuer: string;
  /** Absolute path of the env template. */
  readonly envFile: string;
  /** Directory whose project file chose the env template; null when a person did, or nobody. */
  readonly envFileProject: string | null;
  readonly agent: string;
  /** Mode asked for; null leaves it to the organisation. */
  readonly mode: 'observe' | 'enforce' | null;
  /** Null: a file when one was chosen at login, else the keyring. */
  readonly loginStore: 'keyring' | 'file' | null;
  /** Null leaves it to the hook server. */
  readonly hookTimeoutMs: number | null;
  readonly configDir: string;
  readonly stateDir: string;
  /** Directory for sockets; still to be checked for owner and mode by whoever makes one. */
  readonly runtimeDir: string;
  /** False when nobody may be asked: `--no-input`, CI, or an agent runs us. */
  readonly mayAsk: boolean;
  /** Null: colours where the stream is a terminal. */
  readonly color: boolean | null;
  readonly quiet: boolean;
  /** Whether links are opened in a browser: there is a display, and no `--no-browser`. */
  readonly hasDisplay: boolean;
  readonly browser: string | null;
  /** Without a terminal: wait for a confirmation in the browser instead of failing. */
  readonly waitConfirmation: boolean;
  /** Words of the command line, after `kontext`. */
  readonly args: readonly string[];
  /** The session we run inside, when an agent calls us. */
  readonly sessionId: string | null;
  /** Socket of the session we run inside; null outside, and inside `kontext run`. */
  readonly socketPath: string | null;
  /** Null: no log is written. */
  readonly logFile: string | null;
  readonly cwd: string;
  /** The environment as we got it, for children. */
  readonly environment: Readonly<Record<string, string>>;
}

type Values = Readonly<Record<string, string | undefined>>;

/** Variables by which coding agents mark the programs they run. */
const agentMarks = ['CLAUDECODE', 'CODEX_SANDBOX', 'GEMINI_CLI', 'OPENCODE', 'KONTEXT_SESSION_ID'];

/**
 * Reads and checks the configuration.
 *
 * @param env Environment, by default that of the process. Empty values count as unset.
 * @throws KontextError `KX_CONFIG_INVALID` naming the setting and what is wrong with it.
 * @throws KontextError `KX_INSECURE_URL` when a URL is plain http and not loopback.
 */
export function loadConfig(flags: Flags = {}, env: Values = process.env, cwd = process.cwd()): Config {
  const environment = presentOnly(env);
  const directories = resolveDirectories(environment);
  const project = readSettingsFile(join(cwd, '.kontext.json'), (s) => s.project);
  const user = readSettingsFile(join(directories.configDir, 'config.json'), () => true);
  const pick = (name: string, flag?: string): string | undefined =>
    flag ?? (environment[name] || undefined) ?? project.get(name) ?? user.get(name);
  const apiUrl = parseBackendUrl('KONTEXT_API_URL', pick('KONTEXT_API_URL', flags.apiUrl) ?? defaultApiUrl);
  return {
    apiUrl,
    issuer: parseBackendUrl('KONTEXT_ISSUER', pick('KONTEXT_ISSUER') ?? `${apiUrl}/oauth`),
    envFile: resolve(cwd, pick('KONTEXT_ENV_FILE', flags.envFile) ?? '.env.kontext'),
    envFileProject:
      !flags.envFile && !environment.KONTEXT_ENV_FILE && project.has('KONTEXT_ENV_FILE') ? cwd : null,
    agent: pick('KONTEXT_AGENT', flags.agent) ?? 'claude',
    mode: oneOf('KONTEXT_MODE', pick('KONTEXT_MODE', flags.mode), ['observe', 'enforce']),
    loginStore: flags.insecureStorage
      ? 'file'
      : oneOf('KONTEXT_LOGIN_STORE', pick('KONTEXT_LOGIN_STORE'), ['keyring', 'file']),
    hookTimeoutMs: wholeNumber('KONTEXT_HOOK_TIMEOUT_MS', pick('KONTEXT_HOOK_TIMEOUT_MS'), 100, 3_600_000),
    ...directories,
    ...readSurroundings(flags, environment, directories.stateDir),
    cwd,
    environment,
  };
}

const defaultApiUrl = 'http://127.0.0.1:4180';

/** What the environment says about people, screens and agents around us. */
function readSurroundings(flags: Flags, env: Readonly<Record<string, string>>, stateDir: string) {
  const isOn = (name: string) => !['', '0', 'false', undefined].includes(env[name]?.toLowerCase());
  const inAgent = agentMarks.some((name) => isOn(name));
  const debug = oneOf('KONTEXT_LOG', env.KONTEXT_LOG || undefined, ['off', 'debug']) === 'debug';
  return {
    mayAsk: flags.input !== false && !isOn('KONTEXT_NO_INPUT') && !isOn('CI') && !inAgent,
    color: flags.color ?? readColor(env),
    quiet: flags.quiet ?? false,
    hasDisplay:
      flags.browser !== false &&
      (process.platform === 'darwin' || Boolean(env.DISPLAY || env.WAYLAND_DISPLAY)),
    waitConfirmation: flags.waitConfirmation ?? false,
    args: flags.args ?? [],
    browser: env.BROWSER || null,
    sessionId: env.KONTEXT_SESSION_ID || null,
    socketPath: env.KONTEXT_SOCKET || null,
    logFile: debug ? env.KONTEXT_LOG_FILE || join(stateDir, 'kontext.log') : null,
  };
}

/**
 * What the environment says about colours, also where the rest of it could not be read.
 *
 * @returns Null: colours where the stream is a terminal.
 */
export function readColor(env: Values = process.env): boolean | null {
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR && env.FORCE_COLOR !== '0') return true;
  return env.TERM === 'dumb' ? false : null;
}

/** XDG Base Directory Specification: relative values are invalid and ignored. */
function resolveDirectories(env: Readonly<Record<string, string>>) {
  const home = env.HOME || homedir();
  const base = (name: string, fallback: string) => {
    const value = env[name] ?? '';
    return join(isAbsolute(value) ? value : fallback, 'kontext');
  };
  const stateDir = base('XDG_STATE_HOME', join(home, '.local', 'state'));
  const runtime = env.XDG_RUNTIME_DIR ?? '';
  return {
    configDir: env.KONTEXT_CONFIG_DIR
      ? resolve(env.KONTEXT_CONFIG_DIR)
      : base('XDG_CONFIG_HOME', join(home, '.config')),
    stateDir,
    runtimeDir: isAbsolute(runtime) ? join(runtime, 'kontext') : join(stateDir, 'run'),
  };
}

/** Reads a JSON file of settings: key → string. A missing file is empty; an unknown or forbidden key is an error. */
function readSettingsFile(
  path: string,
  mayHold: (s: (typeof settings)[number]) => boolean,
): Map<string, string> {
  const values = new Map<string, string>();
  const text = readIfPresent(path);
  if (text === null) return values;
  for (const [key, value] of Object.entries(parseObject(path, text))) {
    const known = settings.find((s) => s.fileKey === key);
    if (!known || !mayHold(known)) {
      const why = known ? `a project file may not set ${key}` : `${key} is not a setting`;
      throw new KontextError('KX_CONFIG_INVALID', `${path} cannot be used`, {
        why,
        hint: `remove ${key} from ${path}`,
      });
    }
    if (typeof value !== 'string' && typeof value !== 'number') {
      throw new KontextError('KX_CONFIG_INVALID', `${path} cannot be used`, {
        why: `${key} is not a string`,
      });
    }
    values.set(known.name, String(value));
  }
  return values;
}

/** Text of a settings file that is cut here is no JSON any more. */
const maxSettingsBytes = 65_536;

function readIfPresent(path: string): string | null {
  try {
    return readAtMost(path, maxSettingsBytes).toString('utf8');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && (cause.code === 'ENOENT' || cause.code === 'ENOTDIR'))
      return null;
    throw new KontextError('KX_CONFIG_INVALID', `${path} cannot be read`, { cause });
  }
}

function parseObject(path: string, text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch (cause) {
    throw new KontextError('KX_CONFIG_INVALID', `${path} cannot be used`, { why: 'it is not JSON', cause });
  }
  throw new KontextError('KX_CONFIG_INVALID', `${path} cannot be used`, { why: 'it is not a JSON object' });
}

/** A URL we may send a token to, without trailing slash. */
function parseBackendUrl(name: string, value: string): string {
  if (!URL.canParse(value)) throw invalid(name, `${value} is not a URL`);
  const url = new URL(value);
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw invalid(name, 'it must begin with https://');
  if (url.username || url.password || url.search || url.hash) {
    throw invalid(name, 'it may not hold a user, a query or a fragment');
  }
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
    throw new KontextError('KX_INSECURE_URL', `${url.origin} would send tokens unencrypted`);
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}

/** Whether a host names this machine only: 127.0.0.0/8, ::1 or localhost. */
function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase();
  return bare === 'localhost' || bare === '::1' || (isIP(bare) === 4 && bare.startsWith('127.'));
}

function oneOf<T extends string>(name: string, value: string | undefined, known: readonly T[]): T | null {
  if (value === undefined) return null;
  const found = known.find((k) => k === value);
  if (found === undefined) throw invalid(name, `it must be ${known.join(' or ')}`);
  return found;
}

function wholeNumber(name: string, value: string | undefined, min: number, max: number): number | null {
  if (value === undefined) return null;
  const number = /^\d+$/.test(value) ? Number(value) : Number.NaN;
  if (!(number >= min && number <= max))
    throw invalid(name, `it must be a whole number from ${min} to ${max}`);
  return number;
}

const invalid = (name: string, why: string) =>
  new KontextError('KX_CONFIG_INVALID', `${name} cannot be used`, { why });

function presentOnly(env: Values): Record<string, string> {
  const present: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) if (value !== undefined) present[name] = value;
  return present;
}
