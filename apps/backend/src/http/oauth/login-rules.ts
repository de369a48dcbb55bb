import type { KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { Logger } from '../../log.ts';
import type { LoginEndReason } from '../../login/end-logins.ts';
import type { LoginRefusal, Logins } from '../../login/logins.ts';

/** What a person reads when their login does not go on; the terminal says it in its own words, by `failure_reason`. */
const descriptions: Readonly<Record<LoginRefusal, string>> = {
  login_idle: 'the login was not used for 30 days',
  login_expired: 'the login is older than 90 days',
  login_revoked: 'the login was revoked',
  login_reused: 'a refresh token that had been replaced was used again, so the login was revoked',
  account_suspended: 'the account was suspended by an administrator',
  identity_provider_logout: 'the identity provider ended the session',
  identity_provider_disabled: 'the identity provider does not vouch for the account any more',
  identity_provider_login_required: 'the login at the identity provider is too old; log in again',
  identity_provider_removed: 'the organisation removed the identity provider',
};

/**
 * Keeps our rows of logins and the library's grants in step, as middleware around it:
 *
 * - a refresh notes that the login is used; one that is refused says why in `failure_reason` (the library drops members it
 *   does not know, identity.md G7);
 * - a refresh token that comes again after its grace ends the login, and so does the revocation endpoint (RFC 7009 §2.1):
 *   sessions and leases end with it.
 */
export function addLoginRules(provider: Provider, parts: LoginRulesParts): void {
  provider.use(async (ctx: KoaContextWithOIDC, next: () => Promise<unknown>) => {
    await next();
    const route = ctx.oidc?.route;
    const token = ctx.oidc?.entities?.RefreshToken;
    if (route === 'revocation' && ctx.status === 200) await end(parts, token?.grantId, 'logout');
    if (route === 'token' && ctx.oidc.params?.grant_type === 'refresh_token') await afterRefresh(ctx, parts);
  });
}

/** What the rules need. */
export interface LoginRulesParts {
  readonly logins: Logins;
  readonly logger: Logger;
}

async function afterRefresh(ctx: KoaContextWithOIDC, parts: LoginRulesParts): Promise<void> {
  const body = ctx.body as Record<string, unknown> | undefined;
  const token = ctx.oidc.entities.RefreshToken;
  if (body?.error === undefined) {
    if (token?.grantId !== undefined) await parts.logins.touch(token.grantId);
    return;
  }
  if (body.error !== 'invalid_grant') return;
  if (token?.consumed) await end(parts, token.grantId, 'reused');
  const reason = await parts.logins.explain(String(ctx.oidc.params?.refresh_token));
  if (reason === null) return;
  ctx.body = { ...body, error_description: descriptions[reason], failure_reason: reason };
}

/** The library has destroyed the grant by now: what is left to do must not turn its answer into a failure. */
async function end(
  { logins, logger }: LoginRulesParts,
  grantId: string | undefined,
  reason: LoginEndReason,
): Promise<void> {
  if (grantId === undefined) return;
  try {
    await logins.end(grantId, reason);
  } catch (err) {
    logger.error({ err, reason }, 'what hangs on a login could not be ended');
  }
}
