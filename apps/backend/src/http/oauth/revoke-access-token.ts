import type { KoaContextWithOIDC, Provider } from 'oidc-provider';

/**
 * Lets `/oauth/token/revocation` end access tokens (RFC 7009): the library knows none that are JWTs, and says
 * `unsupported_token_type`. Client and parameters were checked by it before.
 *
 * @param revoke Ends a token of that client; a token that is none is passed over (§2.2).
 */
export function addAccessTokenRevocation(
  provider: Provider,
  revoke: (token: string, clientId: string) => Promise<void>,
): void {
  provider.use(async (ctx: KoaContextWithOIDC, next: () => Promise<unknown>) => {
    await next();
    if (ctx.oidc?.route !== 'revocation') return;
    const body = ctx.body as { readonly error?: unknown } | string | undefined;
    const { Client: client } = ctx.oidc.entities;
    const token = ctx.oidc.params?.token;
    if (typeof body !== 'object' || body.error !== 'unsupported_token_type') return;
    if (client === undefined || typeof token !== 'string') return;
    await revoke(token, client.clientId);
    ctx.status = 200;
    ctx.body = '';
  });
}
