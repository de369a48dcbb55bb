/**
 * A stand-in for GitHub's REST API as far as installations of an app go: it verifies the app's JWT as GitHub does, knows which
 * repositories and permissions the installation has, and answers with GitHub's statuses and bodies.
 * https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app
 */
import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, verify } from 'node:crypto';
import { type GivenAnswer, type HeardRequest, listen } from './listen.ts';

/** What the next calls meet. `rate limit`: 403 with `Retry-After`; `generous`: more than was asked for; `everywhere`: for all repositories. */
export type GithubTrouble =
  | 'none'
  | 'rate limit'
  | 'suspended'
  | 'down'
  | 'garbage'
  | 'generous'
  | 'everywhere';

/** A token as it was made. */
export interface GithubToken {
  readonly token: string;
  /** Null: all of the installation. */
  readonly repositories: readonly string[] | null;
  readonly permissions: Readonly<Record<string, string>>;
}

/** See the top of this file. */
export interface GithubAppStandIn {
  readonly url: string;
  readonly app: string;
  readonly installation: number;
  /** PKCS#1, as GitHub hands it out. */
  readonly privateKey: string;
  /** Tokens that live. */
  readonly tokens: ReadonlyMap<string, GithubToken>;
  trouble: GithubTrouble;
  close(): Promise<void>;
}

const levels = ['read', 'write', 'admin'];
const granted: Readonly<Record<string, string>> = { contents: 'write', issues: 'write', metadata: 'read' };
const owned: readonly string[] = ['api', 'web', 'secrets'];

/** Starts it with an app that may write contents and issues in the repositories `api`, `web` and `secrets`. */
export async function startGithubApp(): Promise<GithubAppStandIn> {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const tokens = new Map<string, GithubToken>();
  const state = { app: 'Iv23liStandIn', installation: 4711, tokens, trouble: 'none' as GithubTrouble };
  const server = await listen((request) => answer(state, publicKey, request));
  return Object.assign(state, {
    url: server.url,
    close: server.close,
    privateKey: String(privateKey.export({ type: 'pkcs1', format: 'pem' })),
  });
}

interface State {
  readonly app: string;
  readonly installation: number;
  readonly tokens: Map<string, GithubToken>;
  trouble: GithubTrouble;
}

const json = (status: number, body: object, headers: Record<string, string> = {}): GivenAnswer => ({
  status,
  headers: { 'content-type': 'application/json; charset=utf-8', ...headers },
  body: JSON.stringify(body),
});

function answer(state: State, key: KeyObject, request: HeardRequest): GivenAnswer {
  const { headers, method, path } = request;
  if (state.trouble === 'down') return { status: 502, body: '<html>Bad Gateway</html>' };
  if (state.trouble === 'garbage') return { status: 201, body: '{"token": ["ghs_1"]}' };
  if (state.trouble === 'rate limit') {
    return json(
      403,
      { message: 'You have exceeded a secondary rate limit' },
      { 'retry-after': '60', 'x-ratelimit-remaining': '0' },
    );
  }
  if (!headers['user-agent']) return { status: 403, body: 'Request forbidden by administrative rules.' };
  if (headers.accept !== 'application/vnd.github+json')
    return json(415, { message: 'Unsupported Media Type' });
  const bearer = /^Bearer (\S+)$/.exec(headers.authorization ?? '')?.[1] ?? '';
  if (method === 'DELETE' && path === '/installation/token') {
    return state.tokens.delete(bearer) ? { status: 204 } : json(401, { message: 'Bad credentials' });
  }
  const id = /^\/app\/installations\/(\d+)\/access_tokens$/.exec(path)?.[1];
  if (method !== 'POST' || id === undefined) return json(404, { message: 'Not Found' });
  const complaint = whyBadJwt(state.app, key, bearer);
  if (complaint !== null) return json(401, { message: complaint });
  if (Number(id) !== state.installation) return json(404, { message: 'Not Found' });
  if (state.trouble === 'suspended') return json(403, { message: 'This installation has been suspended' });
  return makeToken(state, request.body);
}

/** What GitHub says about a JWT it does not take; null for one it does. */
function whyBadJwt(app: string, key: KeyObject, jwt: string): string | null {
  const [head = '', payload = '', signature = ''] = jwt.split('.');
  const undecodable = 'A JSON web token could not be decoded';
  try {
    const { alg } = JSON.parse(Buffer.from(head, 'base64url').toString());
    const signed = Buffer.from(`${head}.${payload}`);
    const isSigned = verify(
      'RSA-SHA256',
      signed,
      createPublicKey(key.export({ type: 'spki', format: 'pem' })),
      Buffer.from(signature, 'base64url'),
    );
    if (alg !== 'RS256' || !isSigned) return undecodable;
    const { iss, iat, exp } = JSON.parse(Buffer.from(payload, 'base64url').toString());
    const now = Date.now() / 1000;
    if (iss !== app) return "'Issuer' claim ('iss') must be an app's id or client id";
    if (!Number.isInteger(iat) || iat > now)
      return "'Issued at' claim ('iat') must be an Integer representing a time in the past";
    if (!Number.isInteger(exp) || exp <= now) return "'Expiration time' claim ('exp') must be in the future";
    if (exp > now + 600) return "'Expiration time' claim ('exp') is too far in the future";
    return null;
  } catch {
    return undecodable;
  }
}

function makeToken(state: State, body: string): GivenAnswer {
  const asked = JSON.parse(body || '{}') as { repositories?: string[]; permissions?: Record<string, string> };
  if (asked.repositories?.some((name) => !owned.includes(name))) {
    return json(422, {
      message:
        'There is at least one repository that does not exist or is not accessible to the parent installation.',
    });
  }
  const wanted = asked.permissions ?? granted;
  const rank = (level: string | undefined) => levels.indexOf(level ?? '');
  if (Object.entries(wanted).some(([name, level]) => rank(level) < 0 || rank(level) > rank(granted[name]))) {
    return json(422, { message: 'The permissions requested are not granted to this installation.' });
  }
  const permissions =
    state.trouble === 'generous' ? { ...wanted, secrets: 'write' } : { ...wanted, metadata: 'read' };
  // Newer tokens are long and have dots in them; nothing may count on the 40 characters of old.
  const token = `ghs_${state.app}_${randomBytes(180).toString('base64url')}.${randomBytes(64).toString('base64url')}`;
  const repositories = state.trouble === 'everywhere' ? null : (asked.repositories ?? null);
  state.tokens.set(token, { token, repositories, permissions });
  const expires_at = `${new Date(Date.now() + 3_600_000).toISOString().slice(0, 19)}Z`;
  const repository_selection = repositories === null ? 'all' : 'selected';
  return json(201, { token, expires_at, permissions, repository_selection });
}
