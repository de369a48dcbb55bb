import { KontextError } from '@kontext/errors';
import { type Configuration, errors, type KoaContextWithOIDC, Provider } from 'oidc-provider';
import { apiScope } from '../../caller.ts';
import type { Logger } from '../../log.ts';
import type { UpstreamVerdict } from '../../login/federation/revalidate.ts';
import { absoluteSeconds, deviceAcr, idleSeconds, type Logins, loopbackAcr } from '../../login/logins.ts';
import type { OidcAdapters } from '../../login/oidc-adapter.ts';
import type { ServerKeys } from '../../login/server-keys.ts';
import { renderPage } from '../pages/layout.ts';
import { messagePage } from '../pages/message-page.ts';
import { mendAnswers } from './answers.ts';

/** The public client of the command line. */
export const cliClientId = 'kontext-cli';
/** Grant type URN of RFC 8693 §2.1. */
export const tokenExchangeGrant = 'urn:ietf:params:oauth:grant-type:token-exchange';
/** Grant type URN of RFC 8628 §3.4. */
export const deviceCodeGrant = 'urn:ietf:params:oauth:grant-type:device_code';

/** Where the authorization code of a loopback login goes; the port is free (RFC 8252 §7.3), the path is not. */
const loopbackRedirectUris = ['http://127.0.0.1/callback', 'http://[::1]/callback'];

/** Life of an access token: it outlives a revocation nowhere but at third parties (identity.md G5). */
export const accessTokenSeconds = 300;
/** A user code's life (identity.md §2). */
export const deviceCodeSeconds = 600;
/** A refresh token is replaced after so long: at 70 % of the time a login may be idle. */
const rotateAfterSeconds = 0.7 * idleSeconds;

/** Under it lie the pages of the authorization code flow; within `/oauth`, where its cookies go. */
export const interactionPath = '/oauth/interaction';

/** What the authorization server is made from. */
export interface OAuthParts {
  /** Our origin; audience of access tokens. The issuer is this plus `/oauth`. */
  readonly apiUrl: string;
  readonly keys: ServerKeys;
  readonly adapters: OidcAdapters;
  /** The organisation of a user who may log in; null for a disabled or unknown one. */
  readonly findMember: (userId: string) => Promise<{ readonly orgId: string } | null>;
  readonly logins: Pick<Logins, 'refusal'>;
  /** Whether the identity provider still vouches for a person; left out: nobody but us vouches for anybody. */
  readonly checkUpstream?: ((userId: string) => Promise<UpstreamVerdict>) | undefined;
  /** Whether token exchange will be registered: a client may not be allowed a grant that does not exist. */
  readonly withTokenExchange: boolean;
  readonly logger: Logger;
  readonly nowMs: () => number;
}

/** The issuer that belongs to an origin. */
export const issuerOf = (apiUrl: string): string => `${apiUrl}/oauth`;

/**
 * Creates the authorization server. Not yet reachable: `mountOAuth` puts it under `/oauth`.
 *
 * Its own pages are all replaced, implicit and hybrid responses are off (G9), and its device verification route is not
 * mounted: the approval page is ours (`../activate.ts`).
 */
export function createProvider(parts: OAuthParts): Provider {
  const provider = new Provider(issuerOf(parts.apiUrl), configure(parts));
  // Origin and address come from our configuration: mountOAuth overwrites the forwarding headers it then reads.
  provider.proxy = true;
  mendAnswers(provider, grantTypesOf(parts.withTokenExchange), parts.keys);
  provider.on('server_error', (_ctx, err) => parts.logger.error({ err }, 'the authorization server failed'));
  return provider;
}

function configure(parts: OAuthParts): Configuration {
  // The library knows the keys of this moment, for ever.
  const known = parts.keys.signing.map((key) => ({ ...key }));
  const resourceServer = () => ({
    scope: apiScope,
    audience: parts.apiUrl,
    accessTokenTTL: accessTokenSeconds,
    accessTokenFormat: 'jwt' as const,
    jwt: { sign: { alg: 'ES256' as const, kid: newestKid(parts.keys, known) } },
  });
  return {
    adapter: parts.adapters.factory,
    clients: [cliClient(parts.withTokenExchange)],
    jwks: { keys: known },
    cookies: cookieNames(parts),
    scopes: ['openid', 'offline_access'],
    acrValues: [deviceAcr, loopbackAcr],
    // Shown on the page of a loopback login: what the terminal calls its machine, and where to log in. They decide nothing.
    extraParams: ['machine', 'organisation'],
    responseTypes: ['code'],
    clientAuthMethods: ['none'],
    pkce: { required: () => true },
    enabledJWA: { idTokenSigningAlgValues: ['ES256'], dPoPSigningAlgValues: ['ES256'] },
    features: {
      devInteractions: { enabled: false },
      deviceFlow: { enabled: true, charset: 'base-20', mask: '****-****', deviceInfo: describeDevice },
      dPoP: { enabled: true, nonceSecret: parts.keys.derive('oidc-dpop-nonce')[0] },
      pushedAuthorizationRequests: { enabled: true },
      // Whoever holds a token may end it; a public client cannot prove more (RFC 7009 §2.1).
      revocation: {
        enabled: true,
        allowedPolicy: (_ctx, client, token) => token.clientId === client.clientId,
      },
      rpInitiatedLogout: { enabled: false },
      userinfo: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_ctx, _client, oneOf) => oneOf ?? parts.apiUrl,
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx, resource) => {
          if (resource !== parts.apiUrl) throw new errors.InvalidTarget();
          return resourceServer();
        },
      },
    },
    clientBasedCORS: () => false,
    interactions: {
      url: (_ctx, { uid, params: { organisation } }) => {
        const page = new URL(`${parts.apiUrl}${interactionPath}/${uid}`);
        if (typeof organisation === 'string') page.searchParams.set('organisation', organisation);
        return page.href;
      },
    },
    // Every login is a grant of its own; one that exists is never taken for another terminal.
    loadExistingGrant: async (ctx) => {
      const grantId = ctx.oidc.result?.consent?.grantId;
      return grantId === undefined ? undefined : ctx.oidc.provider.Grant.find(grantId);
    },
    extraTokenClaims: (ctx, token) => claimsOf(parts, ctx, token as unknown as GrantedToken),
    findAccount: (_ctx, sub, token) => findAccount(parts, sub, token as GrantedToken | undefined),
    rotateRefreshToken: (ctx) => rotate(parts.adapters, ctx),
    renderError,
    ttl: {
      AccessToken: accessTokenSeconds,
      DeviceCode: deviceCodeSeconds,
      Grant: absoluteSeconds,
      IdToken: 300,
      Interaction: 600,
      Session: 600,
      RefreshToken: (_ctx, token) => {
        const ageSeconds =
          Math.floor(parts.nowMs() / 1000) - (token.iiat ?? Math.floor(parts.nowMs() / 1000));
        // How long it may lie idle is judged by the login, see `findAccount`.
        return Math.max(1, absoluteSeconds - ageSeconds);
      },
    },
  };
}

/**
 * The key to sign access tokens with: the active one, or after several rotations without a restart the newest that the library
 * knows; all of them are believed.
 */
function newestKid(keys: ServerKeys, known: readonly { readonly kid: string }[]): string | undefined {
  const kids = new Set(known.map(({ kid }) => kid));
  const [active, ...others] = keys.signing;
  if (active !== undefined && kids.has(active.kid)) return active.kid;
  return others.findLast(({ kid }) => kids.has(kid))?.kid;
}

const grantTypesOf = (withTokenExchange: boolean): string[] => [
  ...[deviceCodeGrant, 'authorization_code', 'refresh_token'],
  ...(withTokenExchange ? [tokenExchangeGrant] : []),
];

const cliClient = (withTokenExchange: boolean) => ({
  client_id: cliClientId,
  client_name: 'kontext command line',
  application_type: 'native' as const,
  token_endpoint_auth_method: 'none' as const,
  grant_types: grantTypesOf(withTokenExchange),
  response_types: ['code' as const],
  redirect_uris: loopbackRedirectUris,
  require_pushed_authorization_requests: true,
  scope: 'openid offline_access',
  id_token_signed_response_alg: 'ES256' as const,
  dpop_bound_access_tokens: true,
});

function cookieNames(parts: OAuthParts): NonNullable<Configuration['cookies']> {
  const options = { httpOnly: true, sameSite: 'lax', signed: true, path: '/oauth' } as const;
  return {
    keys: parts.keys.derive('oidc-cookies').map((key) => key.toString('base64url')),
    names: {
      session: 'kontext_oidc',
      interaction: 'kontext_oidc_interaction',
      resume: 'kontext_oidc_resume',
    },
    long: options,
    short: options,
  };
}

/** Kept with a device code, shown on the approval page; both values come from outside. */
function describeDevice(ctx: KoaContextWithOIDC): { ip: string; ua: string } {
  return { ip: ctx.ip, ua: ctx.get('user-agent').slice(0, 512) };
}

interface GrantedToken {
  readonly kind?: string;
  readonly accountId?: string;
  readonly grantId?: string;
}

/** How the person was there (RFC 9068 §2.2.1). */
type Authentication = { readonly acr?: string; readonly auth_time?: number };

/** What an access token is issued for carries it: a code, a device code, or the refresh token that kept it. */
function authenticationOf(ctx: KoaContextWithOIDC): Authentication {
  const { RefreshToken, AuthorizationCode, DeviceCode } = ctx.oidc.entities;
  const source = RefreshToken ?? AuthorizationCode ?? DeviceCode;
  return {
    ...(source?.acr === undefined ? {} : { acr: source.acr }),
    ...(source?.authTime === undefined ? {} : { auth_time: source.authTime }),
  };
}

/** The account was looked up for this very request where the grant needs one. */
async function claimsOf(
  parts: OAuthParts,
  ctx: KoaContextWithOIDC,
  { accountId, grantId }: GrantedToken,
): Promise<{ org: string; gid: string } & Authentication> {
  const account = ctx.oidc.account;
  const isKnown = accountId !== undefined && account?.accountId === accountId;
  const known = isKnown && typeof account?.orgId === 'string' ? { orgId: account.orgId } : null;
  const member = known ?? (accountId === undefined ? null : await parts.findMember(accountId));
  if (!member || grantId === undefined) throw new errors.InvalidGrant('the account is not available');
  return { org: member.orgId, gid: grantId, ...authenticationOf(ctx) };
}

/** @param token What new tokens are wanted for; nothing while a person is still on our pages. */
async function findAccount(parts: OAuthParts, sub: string, token: GrantedToken | undefined) {
  const { grantId } = token ?? {};
  if (grantId !== undefined && (await parts.logins.refusal(grantId)) !== null) return undefined;
  if (token?.kind === 'RefreshToken' && !(await isVouchedFor(parts, sub))) return undefined;
  const member = await parts.findMember(sub);
  if (member === null) return undefined;
  return { accountId: sub, orgId: member.orgId, claims: () => ({ sub }) };
}

/** @throws OIDCProviderError `temporarily_unavailable` when the identity provider has to be asked and does not answer. */
async function isVouchedFor({ checkUpstream }: OAuthParts, userId: string): Promise<boolean> {
  const verdict = (await checkUpstream?.(userId)) ?? 'valid';
  if (verdict !== 'unreachable') return verdict === 'valid';
  const error = new errors.OIDCProviderError(503, 'temporarily_unavailable');
  // Else the library says `server_error` for whatever is not the client's fault.
  error.expose = true;
  error.error_description = 'the identity provider does not answer, and has to vouch for the account now';
  throw error;
}

/** Whether a refresh token is old enough to be replaced. */
export const isRotationDue = (token: { readonly iat?: number }): boolean =>
  // The library's clock, which also wrote `iat`.
  Math.floor(Date.now() / 1000) - (token.iat ?? 0) >= rotateAfterSeconds;

/**
 * Whether this refresh replaces the token: when that is due, when less than its absolute life is used up, and when no
 * parallel request does it already (identity.md G2). The losers get the winner's successor (`device-flow.ts`).
 */
async function rotate(adapters: OidcAdapters, ctx: KoaContextWithOIDC): Promise<boolean> {
  const token = ctx.oidc.entities.RefreshToken;
  if (!token || !isRotationDue(token) || token.totalLifetime() >= absoluteSeconds) return false;
  return adapters.claimRotation(token.jti);
}

const renderError: NonNullable<Configuration['renderError']> = (ctx, out) => {
  const error = new KontextError('KX_REQUEST_INVALID', out.error_description ?? out.error);
  ctx.type = 'html';
  ctx.body = renderPage(
    messagePage({
      title: 'That did not work',
      text: `${error.message} (${out.error})`,
      next: 'go back to your terminal and start again',
    }),
  );
};
