import { KontextError } from '@kontext/errors';
import { type AccessTokenClaims, verifyAccessToken } from '@kontext/oauth';
import { endLeaseOfToken } from '../store/queries/callers.ts';
import type { Store } from '../store/store.ts';
import type { Callers } from './callers.ts';
import type { ServerKeys } from './server-keys.ts';

/** What revoking needs. */
export interface RevokeTokenDeps {
  readonly apiUrl: string;
  readonly issuer: string;
  readonly keys: Pick<ServerKeys, 'publicJwks'>;
  readonly callers: Pick<Callers, 'denyToken'>;
  readonly store: Store;
  readonly nowMs: () => number;
}

/**
 * Ends an access token of ours before its time (RFC 7009 §2.1): at once at every replica, and with a delegation token all that
 * was exchanged from it. Whoever holds a token may end it. The login behind it stays.
 *
 * A token that is not ours, of another client, or over, is no error (§2.2): nothing happens.
 */
export async function revokeAccessToken(
  deps: RevokeTokenDeps,
  token: string,
  clientId: string,
): Promise<void> {
  const claims = await readToken(deps, token);
  if (claims?.clientId !== clientId) return;
  const { jti, org: orgId, exp, act } = claims;
  await deps.callers.denyToken({ jti, orgId, expiresAtMs: exp * 1000 });
  if (act === undefined) return;
  await deps.store.transaction({ role: 'app', orgId }, (tx) =>
    endLeaseOfToken(tx, jti, 'token_revoked', new Date(deps.nowMs())),
  );
}

async function readToken(deps: RevokeTokenDeps, token: string): Promise<AccessTokenClaims | null> {
  const { apiUrl: audience, issuer, keys } = deps;
  try {
    return await verifyAccessToken({ token, issuer, audience, jwks: keys.publicJwks, nowMs: deps.nowMs() });
  } catch (error) {
    if (error instanceof KontextError) return null;
    throw error;
  }
}
