import { KontextError } from '@kontext/errors';
import { Secret } from '@kontext/redaction';
import { type TokenTest, testToken } from '../providers/try-token.ts';
import { type ConnectionOfProvider, findOpenable } from '../store/queries/connections.ts';
import type { ConnectionDeps } from './deps.ts';
import type { FreshTokens } from './fresh-tokens.ts';
import { openKey } from './token-set.ts';

/**
 * Tries a connection: an OAuth token is refreshed when it has to be, and the provider is asked whose the credential is. It
 * is handed out to nobody.
 *
 * @param found A connection the caller may see.
 * @returns Also for one that does not work, with the reason in words.
 */
export async function testConnection(
  deps: ConnectionDeps & { readonly tokens: FreshTokens },
  { connection, provider }: ConnectionOfProvider,
): Promise<TokenTest> {
  try {
    if (provider.kind === 'oauth2') {
      const { accessToken } = await deps.tokens.get(connection.orgId, connection.id);
      return await testToken(provider, deps, new Secret(accessToken));
    }
    if (provider.kind !== 'static')
      return answer(true, 'its credentials are made when asked for; none was made');
    const key = await openStored(deps, connection);
    return key === null ? answer(false, 'no key is stored') : await testToken(provider, deps, key);
  } catch (error) {
    if (error instanceof KontextError) return answer(false, `${error.message}: ${error.why}`);
    throw error;
  }
}

async function openStored(
  { store, kms }: ConnectionDeps,
  { id, orgId }: ConnectionOfProvider['connection'],
): Promise<Secret | null> {
  const found = await store.transaction({ role: 'app', orgId }, (tx) => findOpenable(tx, id, false));
  if (found === null || found.secret === null) return null;
  return new Secret(await openKey(kms, found.connection, found.secret));
}

const answer = (works: boolean, message: string): TokenTest => ({
  ...{ works, message, account: null, scopes: null },
});
