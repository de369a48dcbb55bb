import type { KoaContextWithOIDC, Provider } from 'oidc-provider';
import { apiScope } from '../../caller.ts';
import type { ServerKeys } from '../../login/server-keys.ts';

/**
 * Puts right what the library answers and we cannot configure, as middleware around it:
 *
 * - the metadata name the scope of our API, and no grant type that no client may use (RFC 8414 §2: what is supported);
 * - a client that may not use a grant type hears `unauthorized_client` (RFC 6749 §5.2), not `invalid_request`;
 * - the key set is the one of now (RFC 7517 §5): the library's is that of its start.
 *
 * @param grantTypes Grant types that some client may use.
 */
export function mendAnswers(
  provider: Provider,
  grantTypes: readonly string[],
  keys: Pick<ServerKeys, 'publicJwks'>,
): void {
  provider.use(async (ctx: KoaContextWithOIDC, next: () => Promise<unknown>) => {
    await next();
    const body = ctx.body as Record<string, unknown> | undefined;
    if (typeof body !== 'object' || body === null) return;
    if (ctx.oidc?.route === 'discovery') {
      body.grant_types_supported = grantTypes;
      body.scopes_supported = [...(body.scopes_supported as string[]), apiScope];
    }
    if (ctx.oidc?.route === 'jwks') ctx.body = keys.publicJwks;
    const asked = ctx.oidc?.params?.grant_type;
    const client = ctx.oidc?.entities?.Client;
    if (ctx.oidc?.route !== 'token' || body.error !== 'invalid_request' || !client) return;
    if (!client.grantTypeAllowed(String(asked)) && body.error_description === notAllowed) {
      body.error = 'unauthorized_client';
    }
  });
}

/** How the library says it; the same error name stands for much else. */
const notAllowed = 'requested grant type is not allowed for this client';
