import { Secret } from '@kontext/redaction';
import { SignJWT } from 'jose';
import { z } from 'zod';
import { loadClientKey } from '../client-key.ts';
import type { SafeRequest } from '../safe-fetch.ts';
import { badAnswer, mintRefused, parseBody, usableToken, whyTransient } from './judge-answer.ts';
import type { Minted, Minter, MinterDeps, MintRequest, RevokeOutcome, RevokeRequest } from './minter.ts';
import { pickEntry } from './pick-entry.ts';
import { type GithubAppSettings, githubAppSettings, githubLevels } from './settings.ts';

type Level = (typeof githubLevels)[number];
type Permissions = Readonly<Record<string, Level>>;

/** GitHub decides: it is an hour. We take the token back when the lease ends before. */
const lifeSeconds = 3600;
const defaultApi = 'https://api.github.com';

/**
 * Installation tokens of a GitHub App, narrowed to a set of repositories and to permissions, which scopes spell
 * `contents:read`. The app proves itself by a JWT of at most 10 minutes, which begins a minute ago: clocks differ.
 */
export function createGithubAppMinter(deps: MinterDeps): Minter {
  return {
    target: ({ settings }, resource) => {
      const { base, field, entry } = pickEntry(read(settings).sets, resource, []);
      const scopes = Object.entries(entry.permissions).flatMap(([name, level]) =>
        githubLevels.slice(0, rank(level) + 1).map((one) => `${name}:${one}`),
      );
      return { base, field, scopes, ttlSeconds: { min: 60, max: lifeSeconds } };
    },
    plan: (leaseId) => leaseId,
    mint: (request) => mint(deps, request),
    revoke: (request) => revoke(deps, request),
  };
}

const read = (settings: string): GithubAppSettings => githubAppSettings.parse(JSON.parse(settings));
const rank = (level: Level): number => githubLevels.indexOf(level);
const apiOf = ({ api = defaultApi }: GithubAppSettings): string => api.replace(/\/+$/, '');

const answerShape = z.looseObject({
  token: z.string().regex(usableToken),
  expires_at: z.iso.datetime({ offset: true }),
  permissions: z.record(z.string(), z.enum(githubLevels)).optional(),
  repository_selection: z.string().optional(),
});

async function mint(deps: MinterDeps, request: MintRequest): Promise<Minted> {
  const { provider, providerSecret, target, scopes } = request;
  const settings = read(provider.settings);
  const { entry } = pickEntry(settings.sets, target.base, []);
  const permissions = scopes.length === 0 ? entry.permissions : permissionsOf(scopes);
  const body = { permissions, ...(entry.repositories ? { repositories: entry.repositories } : {}) };
  const url = `${apiOf(settings)}/app/installations/${settings.installation}/access_tokens`;
  const jwt = await signAppJwt(settings.app, providerSecret, deps.nowMs());
  const answer = await deps.fetch(url, {
    ...requestOf(jwt, 'POST'),
    ...{ body: JSON.stringify(body) },
  });
  const { name } = provider;
  const transient = whyTransient(name, answer);
  if (transient !== null) throw transient;
  if (answer.status >= 400 && answer.status < 500)
    throw mintRefused(name, refusals[answer.status] ?? 'it said no');
  const made = answer.status === 201 ? answerShape.safeParse(parseBody(answer.body)) : null;
  if (!made?.success) throw badAnswer(name, 'its answer is not that of GitHub');
  const token = new Secret(made.data.token);
  const given = made.data.permissions ?? permissions;
  const isEverywhere = entry.repositories !== undefined && made.data.repository_selection === 'all';
  if (isEverywhere || isBeyond(given, permissions)) {
    await revokeToken(deps, apiOf(settings), token).catch(() => undefined);
    throw mintRefused(name, 'the token may do more than was asked for');
  }
  return {
    ...{ values: new Map([['', token]]), keep: token, expiresAt: new Date(made.data.expires_at) },
    scopes: Object.entries(permissions).map(([permission, level]) => `${permission}:${level}`),
  };
}

/** The highest level that is asked for, by permission. */
function permissionsOf(scopes: readonly string[]): Permissions {
  const all = new Map<string, Level>();
  for (const scope of scopes) {
    const [name = '', level = 'read'] = scope.split(':') as [string, Level];
    const known = all.get(name);
    if (known === undefined || rank(level) > rank(known)) all.set(name, level);
  }
  return Object.fromEntries(all);
}

/** Every installation token may read metadata, whatever was asked for. */
const isBeyond = (given: Permissions, asked: Permissions): boolean =>
  Object.entries(given).some(([name, level]) => {
    const bound = asked[name] ?? (name === 'metadata' ? 'read' : null);
    return bound === null || rank(level) > rank(bound);
  });

const refusals: Readonly<Record<number, string>> = {
  401: 'the app id and the private key do not belong together',
  403: 'the installation is suspended',
  404: 'the app has no such installation',
  422: 'the installation does not have a repository or permission that the set names',
};

async function signAppJwt(app: string, secret: Secret | null, nowMs: number): Promise<string> {
  const { key, alg } = await loadClientKey(secret?.reveal() ?? '');
  const now = Math.floor(nowMs / 1000);
  return new SignJWT({ iss: app, iat: now - 60, exp: now + 540 }).setProtectedHeader({ alg }).sign(key);
}

const requestOf = (bearer: string, method: SafeRequest['method']): SafeRequest => ({
  method,
  headers: {
    ...{ accept: 'application/vnd.github+json', 'x-github-api-version': '2022-11-28' },
    ...{ authorization: `Bearer ${bearer}`, 'user-agent': 'kontext', 'content-type': 'application/json' },
  },
});

async function revoke(deps: MinterDeps, { provider, kept }: RevokeRequest): Promise<RevokeOutcome> {
  // A crash came between GitHub's answer and our commit: nobody has the token, and nobody can name it.
  if (kept === null) return 'gone';
  return revokeToken(deps, apiOf(read(provider.settings)), kept);
}

async function revokeToken(deps: MinterDeps, api: string, token: Secret): Promise<RevokeOutcome> {
  const answer = await deps.fetch(`${api}/installation/token`, requestOf(token.reveal(), 'DELETE'));
  if (answer.status === 204) return 'revoked';
  if (answer.status === 401) return 'gone';
  throw whyTransient('GitHub', answer) ?? badAnswer('GitHub', `it answered ${answer.status}`);
}
