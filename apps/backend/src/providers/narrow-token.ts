import { KontextError } from '@kontext/errors';
import { isObject, memberAt, parseObject } from './answer-members.ts';
import { type OAuth2Deps, send } from './oauth2-http.ts';
import { basicAuthorization, type TokenToRevoke } from './revoke-tokens.ts';
import { unreachable } from './safe-fetch.ts';
import type { OAuth2Settings } from './settings.ts';

/** What a narrower token may still do. */
export type Narrowing = NonNullable<OAuth2Settings['narrow']>;

/** A token made from another one. */
export interface NarrowedToken {
  readonly accessToken: string;
  /** Null: the provider did not say. */
  readonly expiresAtMs: number | null;
  /** Whether the provider says that it may do more than was asked for: it must not be handed out. */
  readonly isWider: boolean;
}

const levels: ReadonlySet<string> = new Set(['read', 'write', 'admin']);
const rank: Readonly<Record<string, number>> = { read: 1, write: 2, admin: 3 };

/**
 * Narrows by the scopes a placeholder names, each `permission:level` as in `contents:read`.
 *
 * @returns The narrowing with these permissions alone.
 * @throws KontextError `KX_SCOPE_EXCEEDED` for a scope of another shape, or beyond what the settings allow.
 */
export function narrowByScopes(narrowing: Narrowing, scopes: readonly string[]): Narrowing {
  if (scopes.length === 0) return narrowing;
  const permissions = Object.fromEntries(
    scopes.map((scope): [string, 'read' | 'write' | 'admin'] => {
      const [, name = '', level = ''] = /^([a-z_]{1,64}):([a-z]+)$/.exec(scope) ?? [];
      const most = narrowing.permissions === undefined ? 'admin' : narrowing.permissions[name];
      if (!levels.has(level) || most === undefined || (rank[level] ?? 9) > (rank[most] ?? 0)) {
        throw new KontextError(
          'KX_SCOPE_EXCEEDED',
          `${scope.slice(0, 256)} is more than the provider is set to give`,
          {
            hint: 'ask for a permission and a level, for example contents:read',
          },
        );
      }
      return [name, level as 'read' | 'write' | 'admin'];
    }),
  );
  return { ...narrowing, permissions };
}

/**
 * Makes a user's token for some repositories and permissions alone (GitHub: "create a scoped access token").
 *
 * @param url The provider's `narrowUrl`.
 * @throws KontextError `KX_CONNECTION_REAUTH_REQUIRED` when the token is not known any more, `KX_SCOPE_EXCEEDED` when the
 *   provider refuses the narrowing, else `KX_PROVIDER_UNREACHABLE`.
 */
export async function narrowToken(
  deps: OAuth2Deps,
  url: string,
  { name, clientId, clientSecret, accessToken }: TokenToRevoke,
  narrowing: Narrowing,
): Promise<NarrowedToken> {
  const { status, body } = await send(name, deps, url, {
    method: 'POST',
    headers: {
      ...{ accept: 'application/json', 'content-type': 'application/json', 'user-agent': 'kontext' },
      authorization: basicAuthorization(clientId, clientSecret),
    },
    body: JSON.stringify({ access_token: accessToken, ...narrowing }),
  });
  if (status === 404) {
    throw new KontextError('KX_CONNECTION_REAUTH_REQUIRED', `${name} wants the user to log in again`, {
      why: 'it does not know the access token',
    });
  }
  if (status === 403 || status === 422) {
    throw new KontextError('KX_SCOPE_EXCEEDED', `${name} does not give what the placeholder asks for`, {
      why: `it answered ${status}`,
    });
  }
  const answer = parseObject(body);
  const token = answer?.token;
  const isUsable = typeof token === 'string' && /^[\x20-\x7e]{1,65536}$/.test(token);
  if (status !== 200 || !isUsable || token === accessToken) {
    throw unreachable('answer', name, 'its answer cannot be used');
  }
  const expiresAtMs = typeof answer?.expires_at === 'string' ? Date.parse(answer.expires_at) : Number.NaN;
  return {
    accessToken: token,
    expiresAtMs: Number.isNaN(expiresAtMs) ? null : expiresAtMs,
    isWider: isWider(answer?.installation, narrowing),
  };
}

/** What the answer does not say is as it was asked for. Every token may read metadata. */
function isWider(installation: unknown, { permissions: asked, repositories }: Narrowing): boolean {
  if (repositories !== undefined && memberAt(installation, 'repository_selection') === 'all') return true;
  const given = memberAt(installation, 'permissions');
  if (asked === undefined || !isObject(given)) return false;
  return Object.entries(given).some(([name, level]) => {
    const bound = (Object.hasOwn(asked, name) && asked[name]) || (name === 'metadata' ? 'read' : '');
    return (rank[String(level)] ?? 9) > (rank[bound] ?? 0);
  });
}
