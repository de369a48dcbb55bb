import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { KontextError } from '@kontext/errors';
import { z } from 'zod';
import { defaultExportMib, defaultVolumeLimits, type VolumeLimits } from './limits.ts';

/**
 * Configuration of the backend, from the environment only, through one schema.
 *
 * This is the one file of the backend that reads environment variables. `docs/configuration.md` is printed from
 * {@link settings}, which is derived from the schema, so neither can drift.
 */

const text = z.string().trim().min(1);
const flag = z.enum(['0', '1', 'true', 'false']).transform((value) => value === '1' || value === 'true');

const perMinute = (fallback: number, what: string) =>
  z.coerce
    .number()
    .int()
    .min(0)
    .max(10_000_000)
    .default(fallback)
    .meta({
      description: `${what} of one person per minute and replica, 0 to 10000000; an organisation may have ten times as many. \`0\`: no limit.`,
      shownDefault: String(fallback),
    });

const schema = z.object({
  DATABASE_URL: text
    .regex(/^postgres(ql)?:\/\//, 'must begin with postgres:// or postgresql://')
    .optional()
    .meta({
      description: 'Postgres to store in. Without it an embedded database is used, which implies local mode.',
      shownDefault: 'embedded database',
    }),
  KONTEXT_DATA_DIR: text.refine(isAbsolute, 'must be an absolute path').optional().meta({
    description: 'Directory of the embedded database and, in local mode, of the key file. Mode 0700.',
    shownDefault: '$XDG_STATE_HOME/kontext/backend',
  }),
  KONTEXT_LISTEN: text.default('127.0.0.1:4180').meta({
    description:
      'Address and port to listen on, `host:port` or `[ipv6]:port`. Local mode accepts loopback only.',
  }),
  KONTEXT_PUBLIC_URL: text.optional().meta({
    description:
      'Origin under which clients reach the backend, without path. Required outside local mode, and https there.',
    shownDefault: 'in local mode: the listening address',
  }),
  KONTEXT_LOCAL: flag.optional().meta({
    description:
      '`1` switches local mode on: a local account, loopback http, migrations at start. Implied without DATABASE_URL.',
    shownDefault: '1 without DATABASE_URL, else 0',
  }),
  KONTEXT_TLS_CERT: text.optional().meta({
    description: 'Certificate chain file (PEM). Set together with KONTEXT_TLS_KEY, or leave TLS to a proxy.',
  }),
  KONTEXT_TLS_KEY: text.optional().meta({ description: 'Private key file (PEM) of KONTEXT_TLS_CERT.' }),
  KONTEXT_TRUSTED_PROXIES: text.optional().meta({
    description:
      'Comma-separated addresses or networks of reverse proxies whose X-Forwarded-For is believed. None by default.',
  }),
  KONTEXT_OUTBOUND_HOSTS: text.optional().meta({
    description:
      'Comma-separated hosts (`name`, `name:port` or an address) that the backend may call although their address is private: identity providers, token endpoints and upstreams inside your network. https only, as everywhere.',
  }),
  KONTEXT_KEK_FILE: text.optional().meta({
    description:
      'File with key-encryption keys of the vault. Outside local mode this or KONTEXT_KMS_KEYS is required (docs/keys.md).',
    shownDefault: 'in local mode: kek.json in `<data directory>-keys`, made at first start',
  }),
  KONTEXT_KMS_KEYS: text.optional().meta({
    description:
      'Comma-separated key-encryption keys of key services, the first used until `keys rotate`: `aws:<key ARN>`, ' +
      '`gcp:projects/…/cryptoKeys/…`, `vault:<mount>/<key>`. All of them, and those of KONTEXT_KEK_FILE, stay readable.',
  }),
  KONTEXT_VAULT_ADDR: text.optional().meta({
    description: 'URL of Vault or OpenBao, https or loopback. Required with a `vault:` key.',
  }),
  KONTEXT_VAULT_TOKEN_FILE: text.refine(isAbsolute, 'must be an absolute path').optional().meta({
    description:
      'File with the Vault token, read at every request, so an agent may renew it. Required with a `vault:` key.',
  }),
  KONTEXT_VAULT_NAMESPACE: text.optional().meta({ description: 'Vault namespace of the transit mount.' }),
  KONTEXT_LOST_SESSION_SECONDS: z.coerce.number().int().min(5).max(3600).default(90).meta({
    description:
      'Seconds without a heartbeat after which a session is lost and its leases end, 5 to 3600. Commands beat at a quarter of it.',
    shownDefault: '90',
  }),
  KONTEXT_RPC_PER_MINUTE: perMinute(defaultVolumeLimits.rpc, 'Calls'),
  KONTEXT_EXCHANGES_PER_MINUTE: perMinute(
    defaultVolumeLimits.exchange,
    'Token exchanges, resolves and renewals',
  ),
  KONTEXT_EVENTS_PER_MINUTE: perMinute(defaultVolumeLimits.events, 'Uploads of audit events'),
  KONTEXT_EXPORT_MIB: z.coerce
    .number()
    .int()
    .min(1)
    .max(1_048_576)
    .default(defaultExportMib)
    .meta({
      description:
        'Most MiB of audit exports that one organisation keeps at a time, 1 to 1048576; each export is kept for a day (docs/audit-export.md).',
      shownDefault: String(defaultExportMib),
    }),
  KONTEXT_LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info').meta({
    description: 'Least severe log line that is written: trace, debug, info, warn, error or silent.',
  }),
  KONTEXT_METRICS_TOKEN: text
    .regex(/^[\x21-\x7e]{20,}$/, 'must be at least 20 printable characters without spaces')
    .optional()
    .meta({
      description:
        'Bearer token, at least 20 characters, with which `GET /metrics` answers (docs/metrics.md). Without it that page is not there.',
    }),
  KONTEXT_METRICS_LISTEN: text.optional().meta({
    description:
      'Loopback address and port, `host:port`, on which `/metrics` is read without a token, for a collector on the same machine.',
  }),
  NODE_OPTIONS: text.optional().meta({
    description: 'Options of Node. Outside local mode those that dump memory or open a debugger are refused.',
  }),
  XDG_STATE_HOME: text.optional().meta({
    description: 'Base of the default data directory (XDG Base Directory Specification).',
    shownDefault: '~/.local/state',
  }),
});

/** One environment variable the backend reads, as documentation shows it. */
export interface Setting {
  readonly name: string;
  readonly meaning: string;
  /** What applies when the variable is unset; empty when nothing does. */
  readonly default: string;
}

/** Every environment variable the backend reads, in the order documentation lists them. */
export const settings: readonly Setting[] = Object.entries(schema.shape).map(([name, field]) => {
  const meta = (field.meta() ?? {}) as { description?: string; shownDefault?: string };
  const parsed = field.safeParse(undefined);
  const fallback = parsed.success && typeof parsed.data === 'string' ? parsed.data : '';
  return { name, meaning: meta.description ?? '', default: meta.shownDefault ?? fallback };
});

/** Checked configuration. */
export interface Config {
  /** Absent: embedded database in `dataDir`. */
  readonly databaseUrl: string | null;
  readonly dataDir: string;
  readonly listen: { readonly host: string; readonly port: number };
  /** Origin without trailing slash; audience of access tokens. The issuer is this plus `/oauth`. */
  readonly apiUrl: string;
  readonly local: boolean;
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | null;
  readonly trustedProxies: readonly string[];
  /** Hosts that may be called at private addresses too, in lower case, with or without port. */
  readonly outboundHosts: readonly string[];
  readonly kekFile: string | null;
  /** Ids of key-encryption keys in key services, each with its prefix; the first is preferred. */
  readonly kmsKeys: readonly string[];
  /** Null: no `vault:` key is among `kmsKeys`. */
  readonly vault: {
    readonly address: string;
    readonly tokenFile: string;
    readonly namespace: string | null;
  } | null;
  /** A session without heartbeat for so long is lost. */
  readonly lostSessionMs: number;
  readonly limits: VolumeLimits;
  /** Of exports that an organisation keeps at a time, together. */
  readonly exportMaxBytes: number;
  /** Who may read the metrics: with `token` on the main address, anybody on `listen`. */
  readonly metrics: {
    readonly token: string | null;
    readonly listen: { readonly host: string; readonly port: number } | null;
  };
  readonly logLevel: string;
  /** Node's own options, to look for ones that must not be. */
  readonly nodeOptions: string;
}

/**
 * Reads and checks the configuration.
 *
 * @param env Environment, by default that of the process. Empty values count as unset.
 * @throws KontextError `KX_CONFIG_INVALID` naming the variable and what is wrong with it.
 */
export function loadConfig(env: Readonly<Record<string, string | undefined>> = process.env): Config {
  const present = Object.fromEntries(
    Object.entries(env).filter(([, value]) => value !== undefined && value !== ''),
  );
  const parsed = schema.safeParse(present);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw invalid(String(issue?.path[0] ?? 'configuration'), issue?.message ?? 'cannot be used');
  }
  const raw = parsed.data;
  const local = raw.KONTEXT_LOCAL ?? raw.DATABASE_URL === undefined;
  if (!local && raw.DATABASE_URL === undefined) {
    throw invalid('KONTEXT_LOCAL', 'the embedded database works in local mode only; set DATABASE_URL');
  }
  const tls = loadTls(raw.KONTEXT_TLS_CERT, raw.KONTEXT_TLS_KEY);
  const listen = parseListen(raw.KONTEXT_LISTEN);
  const kmsKeys = parseKmsKeys(raw.KONTEXT_KMS_KEYS ?? '');
  if (local && !isLoopbackHost(listen.host)) {
    throw invalid('KONTEXT_LISTEN', 'local mode listens on loopback only (127.0.0.1, [::1] or localhost)');
  }
  return {
    databaseUrl: raw.DATABASE_URL ?? null,
    dataDir: raw.KONTEXT_DATA_DIR ?? defaultDataDir(raw.XDG_STATE_HOME),
    listen,
    apiUrl: resolveApiUrl(raw.KONTEXT_PUBLIC_URL, local, listen, tls !== null),
    local,
    tls,
    trustedProxies: parseProxies(raw.KONTEXT_TRUSTED_PROXIES ?? ''),
    outboundHosts: parseHosts(raw.KONTEXT_OUTBOUND_HOSTS ?? ''),
    kekFile: raw.KONTEXT_KEK_FILE ?? null,
    kmsKeys,
    vault: kmsKeys.some((id) => id.startsWith('vault:')) ? loadVault(raw) : null,
    lostSessionMs: raw.KONTEXT_LOST_SESSION_SECONDS * 1000,
    limits: {
      rpc: raw.KONTEXT_RPC_PER_MINUTE,
      exchange: raw.KONTEXT_EXCHANGES_PER_MINUTE,
      events: raw.KONTEXT_EVENTS_PER_MINUTE,
    },
    exportMaxBytes: raw.KONTEXT_EXPORT_MIB * 1024 ** 2,
    metrics: {
      token: raw.KONTEXT_METRICS_TOKEN ?? null,
      listen: parseMetricsListen(raw.KONTEXT_METRICS_LISTEN),
    },
    logLevel: raw.KONTEXT_LOG_LEVEL,
    nodeOptions: raw.NODE_OPTIONS ?? '',
  };
}

/** Whether a host names this machine only: 127.0.0.0/8, ::1 or localhost. */
export function isLoopbackHost(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase();
  return bare === 'localhost' || bare === '::1' || (isIP(bare) === 4 && bare.startsWith('127.'));
}

function parseProxies(value: string): readonly string[] {
  const proxies = value
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean);
  for (const proxy of proxies) {
    const [, address = '', prefix = '0'] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(proxy) ?? [];
    const family = isIP(address);
    if (family === 0 || Number(prefix) > (family === 4 ? 32 : 128))
      throw invalid('KONTEXT_TRUSTED_PROXIES', `${proxy} is neither an address nor a network`);
  }
  return proxies;
}

/** Full names only: what an alias points to can change, and what was wrapped under the old key would not unwrap. */
const kmsKeyForms = [
  /^aws:arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key\/[A-Za-z0-9-]+$/,
  /^gcp:projects\/[^/\s]+\/locations\/[^/\s]+\/keyRings\/[^/\s]+\/cryptoKeys\/[^/\s]+$/,
  /^vault:[\w-]+(?:\/[\w-]+)*\/[\w-]+$/,
];

function parseKmsKeys(value: string): readonly string[] {
  const ids = value
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean);
  for (const id of ids) {
    if (!kmsKeyForms.some((form) => form.test(id))) {
      throw invalid(
        'KONTEXT_KMS_KEYS',
        `${id} is none of aws:<key ARN>, gcp:<crypto key name>, vault:<mount>/<key>`,
      );
    }
  }
  return [...new Set(ids)];
}

function loadVault(raw: z.infer<typeof schema>): Config['vault'] {
  const { KONTEXT_VAULT_ADDR: address, KONTEXT_VAULT_TOKEN_FILE: tokenFile } = raw;
  if (address === undefined) throw invalid('KONTEXT_VAULT_ADDR', 'is required with a vault: key');
  if (tokenFile === undefined) throw invalid('KONTEXT_VAULT_TOKEN_FILE', 'is required with a vault: key');
  const url = URL.canParse(address) ? new URL(address) : null;
  const isSafe = url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopbackHost(url.hostname));
  if (!url || !isSafe || url.search !== '' || url.hash !== '' || url.username !== '') {
    throw invalid(
      'KONTEXT_VAULT_ADDR',
      'must be an https URL (or http on loopback) without user, query or fragment',
    );
  }
  return {
    address: url.href.replace(/\/+$/, ''),
    tokenFile,
    namespace: raw.KONTEXT_VAULT_NAMESPACE ?? null,
  };
}

function parseHosts(value: string): readonly string[] {
  const hosts = value
    .split(',')
    .map((part) => part.trim().toLowerCase())
    .filter(Boolean);
  for (const host of hosts) {
    const url = URL.canParse(`https://${host}`) ? new URL(`https://${host}`) : null;
    // Port 443 is the one a URL leaves out.
    if (url === null || (url.host !== host && `${url.host}:443` !== host))
      throw invalid('KONTEXT_OUTBOUND_HOSTS', `${host} is not a host, or host:port`);
  }
  return hosts;
}

function parseMetricsListen(value: string | undefined): Config['metrics']['listen'] {
  if (value === undefined) return null;
  const listen = parseListen(value, 'KONTEXT_METRICS_LISTEN');
  if (!isLoopbackHost(listen.host)) throw invalid('KONTEXT_METRICS_LISTEN', 'must be a loopback address');
  return listen;
}

function parseListen(value: string, name = 'KONTEXT_LISTEN'): Config['listen'] {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(value);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) throw invalid(name, 'must be host:port or [ipv6]:port');
  return { host: match[1] ?? match[2] ?? '', port };
}

function resolveApiUrl(
  value: string | undefined,
  local: boolean,
  listen: Config['listen'],
  tls: boolean,
): string {
  if (value === undefined) {
    if (!local) throw invalid('KONTEXT_PUBLIC_URL', 'is required outside local mode');
    if (listen.port === 0) throw invalid('KONTEXT_LISTEN', 'port 0 needs KONTEXT_PUBLIC_URL');
    const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host;
    return new URL(`${tls ? 'https' : 'http'}://${host}:${listen.port}`).origin;
  }
  const url = URL.canParse(value) ? new URL(value) : null;
  if (!url || !/^https?:$/.test(url.protocol))
    throw invalid('KONTEXT_PUBLIC_URL', 'must be an http or https URL');
  if (url.href !== `${url.origin}/`) {
    throw invalid('KONTEXT_PUBLIC_URL', 'must be an origin: no path, query, fragment or user');
  }
  if (url.protocol === 'http:' && !local) {
    throw invalid('KONTEXT_PUBLIC_URL', 'must be https (plain http is for local mode)');
  }
  // A tunnel to a public name would put the local account, which one passcode opens, before everybody.
  if (local && !isLoopbackHost(url.hostname)) {
    throw invalid('KONTEXT_PUBLIC_URL', 'must be a loopback address in local mode');
  }
  return url.origin;
}

function loadTls(certPath: string | undefined, keyPath: string | undefined): Config['tls'] {
  if (certPath === undefined && keyPath === undefined) return null;
  if (certPath === undefined) throw invalid('KONTEXT_TLS_CERT', 'is missing while KONTEXT_TLS_KEY is set');
  if (keyPath === undefined) throw invalid('KONTEXT_TLS_KEY', 'is missing while KONTEXT_TLS_CERT is set');
  const tls = { cert: readPem('KONTEXT_TLS_CERT', certPath), key: readPem('KONTEXT_TLS_KEY', keyPath) };
  try {
    createSecureContext(tls);
  } catch (cause) {
    throw invalid(
      'KONTEXT_TLS_CERT',
      'it and KONTEXT_TLS_KEY are not a certificate and its key (PEM)',
      cause,
    );
  }
  return tls;
}

function readPem(name: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw invalid(name, `the file ${path} cannot be read`, cause);
  }
}

const defaultDataDir = (stateHome: string | undefined): string =>
  join(
    stateHome !== undefined && isAbsolute(stateHome) ? stateHome : join(homedir(), '.local', 'state'),
    'kontext',
    'backend',
  );

const invalid = (name: string, why: string, cause?: unknown): KontextError =>
  new KontextError('KX_CONFIG_INVALID', `${name} cannot be used`, {
    why: why.charAt(0).toLowerCase() + why.slice(1),
    hint: `set ${name} right; docs/configuration.md describes it`,
    ...(cause === undefined ? {} : { cause }),
  });
