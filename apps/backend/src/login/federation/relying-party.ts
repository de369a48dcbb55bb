/**
 * Our side of OpenID Connect: we are the relying party of an organisation's identity provider (openid-client 6).
 *
 * Checked by the library at every answer: `state`, `iss` of the authorization response (RFC 9207), PKCE (RFC 7636), and of the
 * ID token `iss`, `aud`, `azp`, `exp`, `iat`, `nonce`, `auth_time`, and its signature with the provider's keys. Every request
 * goes through the safe fetch; no text of a provider reaches a person or a log, only names of errors.
 */
import { Secret } from '@kontext/redaction';
import * as client from 'openid-client';
import { discover, type RelyingPartyParts } from './discover-upstream.ts';
import type { UpstreamClient } from './upstream-client.ts';
import { asLoginError, failed, isFinal } from './upstream-errors.ts';
import type { Claims } from './upstream-identity.ts';

/** How long metadata and keys of a provider are kept. */
const cacheMs = 3_600_000;

/** A login on its way. */
export interface LoginRequest {
  readonly redirectUri: string;
  readonly state: string;
  readonly nonce: string;
  /** PKCE code verifier (RFC 7636 §4.1). */
  readonly verifier: string;
  /** Longest the person's login there may be ago; `auth_time` is demanded and checked (OIDC Core §3.1.2.1). */
  readonly maxAgeSeconds: number;
}

/** What a login or a refresh gave. */
export interface UpstreamTokens {
  /** Verified; null where a refresh gave neither ID token nor userinfo. */
  readonly claims: Claims | null;
  readonly refreshToken: Secret | null;
}

/** What became of a refresh. */
export type UpstreamRefresh =
  | { readonly state: 'valid'; readonly tokens: UpstreamTokens }
  /** The provider refuses it for good: revoked, or the account is disabled. */
  | { readonly state: 'gone' }
  /** No answer, or one that says nothing of the account. */
  | { readonly state: 'unreachable' };

/** The relying party. */
export interface RelyingParty {
  /**
   * Loads the provider's metadata and checks them; never from the cache.
   *
   * @throws KontextError `KX_IDENTITY_PROVIDER_INVALID`, `KX_PROVIDER_UNREACHABLE`.
   */
  inspect(upstream: UpstreamClient): Promise<client.ServerMetadata>;
  /** Metadata, at most an hour old; errors as of `inspect`. */
  metadata(upstream: UpstreamClient): Promise<client.ServerMetadata>;
  /** Where to send the browser. */
  authorizationUrl(upstream: UpstreamClient, request: LoginRequest): Promise<string>;
  /**
   * Takes the provider's answer.
   *
   * @param query Query string of the callback, as received.
   * @throws KontextError `KX_FEDERATED_LOGIN_FAILED`, `KX_PROVIDER_UNREACHABLE`.
   */
  redeem(upstream: UpstreamClient, request: LoginRequest, query: string): Promise<UpstreamTokens>;
  /** Asks with a refresh token whether the account is still good. */
  refresh(upstream: UpstreamClient, refreshToken: Secret, sub: string): Promise<UpstreamRefresh>;
}

interface Cached {
  readonly configuration: client.Configuration;
  readonly untilMs: number;
}

/** Creates the relying party; one per process, it keeps metadata and keys of providers. */
export function createRelyingParty(parts: RelyingPartyParts): RelyingParty {
  const cache = new Map<string, Cached>();
  const load = async (upstream: UpstreamClient): Promise<client.Configuration> => {
    const { id, issuer, clientId, clientSecretId } = upstream.provider;
    const key = JSON.stringify([id, issuer, clientId, clientSecretId]);
    const known = cache.get(key);
    if (known && known.untilMs > parts.nowMs()) return known.configuration;
    const configuration = await discover(parts, upstream);
    cache.set(key, { configuration, untilMs: parts.nowMs() + cacheMs });
    return configuration;
  };
  return {
    inspect: async (upstream) => (await discover(parts, upstream)).serverMetadata(),
    metadata: async (upstream) => (await load(upstream)).serverMetadata(),
    authorizationUrl: async (upstream, request) => {
      const configuration = await load(upstream);
      const url = client.buildAuthorizationUrl(configuration, {
        redirect_uri: request.redirectUri,
        scope: scopeOf(upstream.provider.scopes, configuration.serverMetadata().scopes_supported),
        state: request.state,
        nonce: request.nonce,
        code_challenge: await client.calculatePKCECodeChallenge(request.verifier),
        code_challenge_method: 'S256',
        max_age: String(request.maxAgeSeconds),
        // Asked for a fresh login, the person shall do something: a session that renews itself in silence is none.
        ...(request.maxAgeSeconds <= freshSeconds ? { prompt: 'login' } : {}),
      });
      return url.href;
    },
    redeem: async (upstream, request, query) => {
      try {
        const configuration = await load(upstream);
        const url = new URL(request.redirectUri);
        url.search = query;
        const tokens = await client.authorizationCodeGrant(configuration, url, {
          pkceCodeVerifier: request.verifier,
          expectedState: request.state,
          expectedNonce: request.nonce,
          maxAge: request.maxAgeSeconds,
          idTokenExpected: true,
        });
        const claims = tokens.claims();
        if (claims === undefined) throw failed('its answer has no ID token');
        return await complete(configuration, tokens, claims, claims.sub);
      } catch (error) {
        throw asLoginError(error, upstream.provider.issuer);
      }
    },
    refresh: async (upstream, refreshToken, sub) => {
      try {
        const configuration = await load(upstream);
        const tokens = await client.refreshTokenGrant(configuration, refreshToken.reveal());
        const claims = tokens.claims() ?? null;
        // OIDC Core §12.2: the ID token of a refresh names the same person.
        if (claims !== null && claims.sub !== sub) return { state: 'gone' };
        return { state: 'valid', tokens: await complete(configuration, tokens, claims, sub) };
      } catch (error) {
        return { state: isFinal(error) ? 'gone' : 'unreachable' };
      }
    },
  };
}

/** A login that must not be older is one that a person confirms something with. */
const freshSeconds = 300;

/** The scopes of the setting, else what we use of what the provider offers. */
function scopeOf(configured: readonly string[], offered: readonly string[] | undefined): string {
  if (configured.length > 0) return [...new Set(['openid', ...configured])].join(' ');
  const optional = ['email', 'profile', 'offline_access', 'groups'];
  return ['openid', ...optional.filter((scope) => (offered ?? ['email', 'profile']).includes(scope))].join(
    ' ',
  );
}

/** Adds what the userinfo endpoint says, where there is one; the ID token wins. */
async function complete(
  configuration: client.Configuration,
  tokens: Awaited<ReturnType<typeof client.refreshTokenGrant>>,
  claims: Claims | null,
  sub: string,
): Promise<UpstreamTokens> {
  const hasUserinfo = configuration.serverMetadata().userinfo_endpoint !== undefined;
  const more: Claims = hasUserinfo ? await client.fetchUserInfo(configuration, tokens.access_token, sub) : {};
  const { issuer: iss } = configuration.serverMetadata();
  return {
    claims: claims === null && !hasUserinfo ? null : { iss, ...more, ...claims },
    refreshToken: tokens.refresh_token === undefined ? null : new Secret(tokens.refresh_token),
  };
}
