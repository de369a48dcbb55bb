/**
 * Any OAuth 2.0 provider: authorization code with PKCE (RFC 6749 §4.1, RFC 7636), refresh (§6), revocation (RFC 7009).
 *
 * Failures are of three kinds, told apart by the error's code: the user must come again (`KX_CONNECTION_REAUTH_REQUIRED`),
 * the provider refused the connection (`KX_CONNECT_FAILED`), or it may work later (`KX_PROVIDER_UNREACHABLE`). No error
 * carries a cause or a body: what a token endpoint answers can hold a token.
 *
 * ID tokens are not verified, because a generic provider has no known issuer. The `sub` of one that came straight from the
 * token endpoint (OpenID Connect Core §3.1.3.7) tells two accounts apart, and decides nothing else.
 */
import {
  buildAuthorizationUrl,
  calculatePKCECodeChallenge,
  genericGrantRequest,
  ResponseBodyError,
  tokenRevocation,
} from 'openid-client';
import { parseObject, splitScopes } from './answer-members.ts';
import { configure, type OAuth2Provider, type Quirky } from './oauth2-configuration.ts';
import { describe, isReauth, judge, refused, unusable } from './oauth2-errors.ts';
import type { OAuth2Deps, Observed } from './oauth2-http.ts';
import { standardQuirks } from './quirks.ts';
import { deleteToken, revokeByItself } from './revoke-tokens.ts';
import { unreachable } from './safe-fetch.ts';
import { askWhoAmI, type Identity } from './who-am-i.ts';

/** Tokens of one grant. */
export interface GrantTokens {
  readonly accessToken: string;
  /** Null: there is none. */
  readonly refreshToken: string | null;
}

/** What a provider issued. */
export interface IssuedTokens {
  readonly accessToken: string;
  /** Null: it gave none, and on refresh that the old one stays. */
  readonly refreshToken: string | null;
  /** When the answer arrived, by our clock. */
  readonly receivedAtMs: number;
  /** Null: it did not say, which is unknown and not infinite. */
  readonly expiresAtMs: number | null;
  /** Null: as asked for (RFC 6749 §5.1). */
  readonly scopes: readonly string[] | null;
  /** Who approved, as far as the answer tells. */
  readonly account: string | null;
}

/** The two sides of the authorization request (RFC 6749 §4.1.1). */
export interface AuthorizationRequest {
  readonly redirectUri: string;
  readonly state: string;
  readonly codeVerifier: string;
  readonly scopes: readonly string[];
}

/** Talks to one provider. */
export interface OAuth2Client {
  /** Where the person is sent. */
  authorizationUrl(request: AuthorizationRequest): Promise<string>;
  /**
   * Redeems a code (RFC 6749 §4.1.3). The caller has compared `state`.
   *
   * @throws KontextError `KX_CONNECT_FAILED` when the provider refuses, `KX_PROVIDER_UNREACHABLE` when it may work later.
   */
  exchangeCode(code: string, codeVerifier: string, redirectUri: string): Promise<IssuedTokens>;
  /**
   * Gets a new access token (RFC 6749 §6).
   *
   * @throws KontextError `KX_CONNECTION_REAUTH_REQUIRED` when the grant is gone for good, else `KX_PROVIDER_UNREACHABLE`.
   */
  refresh(refreshToken: string): Promise<IssuedTokens>;
  /**
   * Revokes a token (RFC 7009 §2.1).
   *
   * @throws KontextError `KX_PROVIDER_UNREACHABLE` when that could not be done.
   */
  revoke(token: string, hint: 'refresh_token' | 'access_token'): Promise<void>;
  /** Whether the provider has a way to revoke. */
  readonly canRevoke: boolean;
  /**
   * Ends a grant the way the provider has for it, see `RevocationStyle`.
   *
   * @throws KontextError `KX_PROVIDER_UNREACHABLE` when that could not be done.
   */
  revokeGrant(tokens: GrantTokens): Promise<void>;
  /**
   * Whose token it is; null when kontext knows no way to ask.
   *
   * @throws KontextError `KX_PROVIDER_UNREACHABLE`.
   */
  whoAmI(accessToken: string): Promise<Identity | null>;
}

/** Creates the client of a provider. Nothing is fetched yet. */
export function createOAuth2Client(given: OAuth2Provider, deps: OAuth2Deps): OAuth2Client {
  const provider: Quirky = { ...given, quirks: given.quirks ?? standardQuirks };
  const { name, quirks } = provider;
  const revoke: OAuth2Client['revoke'] = async (token, hint) => {
    const observed = nothingSeen(deps);
    try {
      const config = await configure(provider, deps, observed);
      await tokenRevocation(config, token, { token_type_hint: hint });
    } catch (error) {
      // RFC 7009 §2.2: a token that is invalid is as good as revoked; some say so with an error.
      if (error instanceof ResponseBodyError && error.error === 'invalid_token') return;
      throw observed.failure ?? unreachable('answer', name, describe(error));
    }
  };
  return {
    authorizationUrl: (request) => authorizationUrl(provider, deps, request),
    exchangeCode: (code, codeVerifier, redirectUri) =>
      grant(provider, deps, 'authorization_code', {
        code,
        code_verifier: codeVerifier,
        redirect_uri: redirectUri,
      }).catch((error: unknown) => {
        throw isReauth(error) ? refused(name, 'invalid_grant') : error;
      }),
    refresh: (refreshToken) => grant(provider, deps, 'refresh_token', { refresh_token: refreshToken }),
    revoke,
    canRevoke: canRevoke(provider),
    revokeGrant: (tokens) => revokeGrant(provider, deps, revoke, tokens),
    whoAmI: async (accessToken) =>
      quirks.whoAmI === null ? null : askWhoAmI(name, deps, quirks.whoAmI, accessToken),
  };
}

const nothingSeen = (deps: OAuth2Deps): Observed => ({
  ...{ failure: null, receivedAtMs: deps.nowMs(), idToken: null, account: null },
});

async function authorizationUrl(
  provider: Quirky,
  deps: OAuth2Deps,
  { redirectUri, state, codeVerifier, scopes }: AuthorizationRequest,
): Promise<string> {
  const { authorizeParameters, scopeParameter, scopeSeparator } = provider.quirks;
  const config = await configure({ ...provider, clientAuth: 'none' }, deps, nothingSeen(deps));
  return buildAuthorizationUrl(config, {
    ...authorizeParameters,
    redirect_uri: redirectUri,
    state,
    code_challenge: await calculatePKCECodeChallenge(codeVerifier),
    code_challenge_method: 'S256',
    ...(scopes.length === 0 ? {} : { [scopeParameter]: scopes.join(scopeSeparator) }),
  }).href;
}

/** One request to the token endpoint. */
async function grant(
  provider: Quirky,
  deps: OAuth2Deps,
  type: string,
  parameters: Record<string, string>,
): Promise<IssuedTokens> {
  const observed = nothingSeen(deps);
  try {
    const answer = await genericGrantRequest(await configure(provider, deps, observed), type, parameters);
    if (!usableToken.test(answer.access_token)) throw unusable(provider.name);
    // One that no later request could send would be stored and end the connection at its first refresh.
    if (!usableToken.test(answer.refresh_token ?? 'x')) throw unusable(provider.name);
    const expiresIn =
      answer.expires_in === undefined ? undefined : Math.min(answer.expires_in, maxLifeSeconds);
    return {
      accessToken: answer.access_token,
      refreshToken: answer.refresh_token ?? null,
      receivedAtMs: observed.receivedAtMs,
      expiresAtMs: expiresIn === undefined ? null : observed.receivedAtMs + expiresIn * 1000,
      scopes: answer.scope === undefined ? null : splitScopes(answer.scope),
      account: observed.account ?? (observed.idToken === null ? null : readSubject(observed.idToken)),
    };
  } catch (error) {
    throw observed.failure ?? judge(provider, error);
  }
}

const canRevoke = ({ quirks: { revocation, revocationUrl }, revocationEndpoint }: Quirky): boolean =>
  revocation !== 'none' && (revocation === 'delete-token' ? revocationUrl : revocationEndpoint) !== '';

async function revokeGrant(
  provider: Quirky,
  deps: OAuth2Deps,
  revoke: OAuth2Client['revoke'],
  { accessToken, refreshToken }: GrantTokens,
): Promise<void> {
  const { quirks, revocationEndpoint } = provider;
  if (!canRevoke(provider)) throw unreachable('answer', provider.name, 'it has no way to revoke');
  if (quirks.revocation === 'delete-token') {
    return deleteToken(deps, quirks.revocationUrl, { ...provider, accessToken });
  }
  if (quirks.revocation === 'bearer-post') {
    return revokeByItself(deps, revocationEndpoint, { ...provider, accessToken });
  }
  // RFC 7009 §2.1: revoking the refresh token also ends the access tokens of the grant.
  const isAccessToken = refreshToken === null || quirks.revocation === 'access-token';
  return isAccessToken ? revoke(accessToken, 'access_token') : revoke(refreshToken, 'refresh_token');
}

/** RFC 6749 §A.12, and no longer than an environment variable may be. */
const usableToken = /^[\x20-\x7e]{1,65536}$/;
/** Ten years: what is longer does not fit a date everywhere, and nobody means it. */
const maxLifeSeconds = 10 * 365 * 86_400;

function readSubject(idToken: string): string | null {
  const claims = parseObject(Buffer.from(idToken.split('.')[1] ?? '', 'base64url'));
  const { iss, sub } = claims ?? {};
  if (typeof iss !== 'string' || typeof sub !== 'string' || /\p{C}/u.test(iss + sub)) return null;
  return `${iss}#${sub}`.slice(0, 500);
}
