import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { bundleEntry } from '../bundle-entry.ts';
import type { FaultMode } from './faults.ts';
import type { UpstreamOptions, UpstreamStats } from './upstream-app.ts';

/** Options of {@link startUpstream}; client id and secret are made up when absent. */
export interface StartUpstreamOptions extends Partial<UpstreamOptions> {
  /** Built entry to run; default: the source bundled on the spot, or `upstream.js` beside a built caller. */
  readonly entryFile?: string;
}

/** The running stand-in upstream, a process of its own on loopback. */
export interface Upstream {
  /** Issuer and base of everything, without trailing slash. */
  readonly url: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly authorizationEndpoint: string;
  readonly tokenEndpoint: string;
  readonly revocationEndpoint: string;
  /** `GET` with `Authorization: Bearer …` answers `{ sub, scope, client_id }`, or 401. */
  readonly apiUrl: string;
  readonly pid: number;
  stats(): Promise<UpstreamStats>;
  /** Every token value issued since the start: what a test searches for where it must not be. */
  issuedTokens(): Promise<{
    readonly accessTokens: readonly string[];
    readonly refreshTokens: readonly string[];
  }>;
  /** Misbehave on the token endpoint (default), the API, or everywhere, `count` times (default: until told otherwise). */
  setFault(
    mode: FaultMode,
    options?: { readonly on?: 'token' | 'api' | 'all'; readonly count?: number },
  ): Promise<void>;
  /** Ends every grant and token, as a user does on the provider's security page. */
  revokeAll(): Promise<void>;
  /** Replaces the client's redirect URIs. */
  setRedirectUris(redirectUris: readonly string[]): Promise<void>;
  /** Changes who approves from now on, or how long new access tokens live. */
  setSettings(settings: {
    readonly account?: string;
    readonly accessTokenTtlSeconds?: number;
  }): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts the stand-in upstream provider: `oidc-provider` that approves by itself, with rotating single-use refresh
 * tokens, where a refresh ends the access token before it.
 *
 * Scopes: `openid offline_access read write admin`. A refresh token is always issued.
 *
 * @throws Error with the child's last words when it does not come up.
 */
export async function startUpstream(options: StartUpstreamOptions = {}): Promise<Upstream> {
  const { entryFile, ...given } = options;
  const settings: UpstreamOptions = {
    clientId: 'kontext-test-client',
    clientSecret: randomBytes(24).toString('hex'),
    redirectUris: ['http://127.0.0.1:4180/connect/callback'],
    ...given,
  };
  const entry = entryFile ?? (await findEntry());
  const child = spawn(process.execPath, [entry, JSON.stringify(settings)], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const url = await readUrl(child);
  const call = (path: string, body: unknown = {}) => callControl(url, path, body);
  return {
    url,
    clientId: settings.clientId,
    clientSecret: settings.clientSecret,
    authorizationEndpoint: `${url}/auth`,
    tokenEndpoint: `${url}/token`,
    revocationEndpoint: `${url}/token/revocation`,
    apiUrl: `${url}/api/me`,
    pid: child.pid ?? 0,
    stats: async () => (await call('state')).stats,
    issuedTokens: async () => (await call('state')).issued,
    setFault: async (mode, { on = 'token', count } = {}) => {
      await call('fault', { mode, on, ...(count === undefined ? {} : { remaining: count }) });
    },
    revokeAll: async () => void (await call('revoke-all')),
    setRedirectUris: async (redirectUris) => void (await call('client', { redirectUris })),
    setSettings: async (changes) => void (await call('settings', changes)),
    stop: () => stopChild(child),
  };
}

/** From source the entry is bundled on the spot; a built caller (or a chunk of it) has the built one beside or above itself. */
async function findEntry(): Promise<string> {
  const source = new URL('./main.ts', import.meta.url);
  if (existsSync(source)) return bundleEntry(source, 'upstream');
  const built = ['./upstream.js', '../upstream.js'].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  const entry = built.find((path) => existsSync(path));
  if (entry === undefined) throw new Error('no built upstream.js found: run `npm run build`');
  return entry;
}

interface ControlState {
  readonly stats: UpstreamStats;
  readonly issued: { readonly accessTokens: readonly string[]; readonly refreshTokens: readonly string[] };
}

async function callControl(url: string, path: string, body: unknown): Promise<ControlState> {
  const response = await fetch(`${url}/control/${path}`, { method: 'POST', body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`the upstream's control endpoint ${path} answered ${response.status}`);
  return (await response.json()) as ControlState;
}

/** Waits for the line that says where it listens; the child's error output is drained and kept for the message. */
function readUrl(child: ChildProcess): Promise<string> {
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) return Promise.reject(new Error('the upstream has no pipes'));
  return new Promise((resolve, reject) => {
    let words = '';
    stderr.on('data', (chunk: Buffer) => {
      words = (words + chunk.toString('utf8')).slice(-2000);
    });
    child.on('error', reject);
    child.on('exit', (code) =>
      reject(new Error(`the upstream ended with ${code} before it listened: ${words}`)),
    );
    createInterface({ input: stdout }).on('line', (line) => {
      if (line.startsWith('{')) resolve((JSON.parse(line) as { url: string }).url);
    });
  });
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}
