/**
 * Our side of OpenID Connect: we are the relying party of an organisation's identity provider (openid-client 6).
 *
 * Checked by the library at every answer: `state`, `iss` of the authorization response (RFC 9207), PKCE (RFC 7636), and of the
 * ID token `iss`, `aud`, `azp`, `exp`, `iat`, `nonce`, `auth_time`, and its signature with the provider's keys. Every request
 * goes through the safe fetch; no text of a provider reaches a person or a log, only names of errors.
 */
import { createPrivateKey } from 'node:crypto';
import { KontextError } from '@kontext/errors';
import { Secret } from '@kontext/redaction';
import * as client from 'openid-client';
import { type SafeFetch, unreachable } from '../../providers/safe-fetch.ts';
import type { IdentityProviderRow } from '../../store/queries/identity-providers.ts';
import type { SigningJwk } from '../server-keys.ts';
import type { Claims } from './upstream-identity.ts';

/** How long metadata and keys of a provider are kept. */
const cacheMs = 3_600_000;
/** identity.md §5: token endpoints get 10 s. */
const timeoutSeconds = 10;

/** What of a provider is needed to talk to it. */
export type ProviderFacts = Pick<
  IdentityProviderRow,
  'id' | 'issuer' | 'clientId' | 'clientAuth' | 'clientSecretId' | 'scopes'
>;

/** One provider, with our secret there. */
export interface UpstreamClient {
  readonly provider: ProviderFacts;
  /** Null for `private_key_jwt` and `none`. */
  readonly secret: Secret | null;
}

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

/** What the relying party is made from. */
export interface RelyingPartyParts {
  readonly fetch: SafeFetch;
  /** Local mode: a provider on loopback may speak plain http. */
  readonly local: boolean;
  /** Signs client assertions (`private_key_jwt`); the public half stands in our JWKS. */
  readonly signingKey: SigningJwk;
  readonly nowMs: () => number;
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

async function discover(parts: RelyingPartyParts, upstream: UpstreamClient): Promise<client.Configuration> {
  const { issuer, clientId } = upstream.provider;
  try {
    const configuration = await client.discovery(
      new URL(issuer),
      clientId,
      // Clocks of two machines differ.
      { [client.clockTolerance]: 30 },
      clientAuthOf(upstream, parts.signingKey),
      {
        [client.customFetch]: asFetch(parts.fetch),
        timeout: timeoutSeconds,
        execute: [
          client.enableNonRepudiationChecks,
          ...(parts.local && issuer.startsWith('http:') ? [client.allowInsecureRequests] : []),
        ],
      },
    );
    checkMetadata(configuration.serverMetadata(), upstream.provider, parts.local);
    return configuration;
  } catch (error) {
    const known = findKnown(error);
    if (known !== null) throw known;
    throw invalidProvider(issuer, `its metadata cannot be used (${codeOf(error)})`);
  }
}

/** @throws KontextError `KX_IDENTITY_PROVIDER_INVALID`. */
function checkMetadata(
  metadata: client.ServerMetadata,
  { issuer, clientAuth }: ProviderFacts,
  local: boolean,
): void {
  // OIDC Discovery §4.3: exactly; the library compares normalised URLs.
  if (metadata.issuer !== issuer) throw invalidProvider(issuer, 'its metadata name another issuer');
  const { authorization_endpoint, token_endpoint, jwks_uri, userinfo_endpoint } = metadata;
  const wanted = { authorization_endpoint, token_endpoint, jwks_uri };
  for (const [name, value] of Object.entries(wanted)) {
    if (value === undefined) throw invalidProvider(issuer, `its metadata have no ${name}`);
  }
  for (const [name, value] of Object.entries({ ...wanted, userinfo_endpoint })) {
    if (value !== undefined && !isUsableUrl(value, local)) {
      throw invalidProvider(issuer, `its ${name} is not an https URL`);
    }
  }
  const methods = metadata.token_endpoint_auth_methods_supported;
  if (methods !== undefined && !methods.includes(clientAuth)) {
    throw invalidProvider(issuer, `it does not support the client authentication ${clientAuth}`);
  }
}

/** Whether a URL is https, or in local mode http. Where it leads is judged at connect time. */
export function isUsableUrl(text: string, local: boolean): boolean {
  const url = URL.canParse(text) ? new URL(text) : null;
  return url?.protocol === 'https:' || (local && url?.protocol === 'http:');
}

/** The library's client authentication, where the secret is revealed for one request at a time. */
function clientAuthOf({ provider, secret }: UpstreamClient, key: SigningJwk): client.ClientAuth {
  switch (provider.clientAuth) {
    case 'none':
      return client.None();
    case 'private_key_jwt':
      return privateKeyAuth(key);
    case 'client_secret_basic':
      return (as, metadata, body, headers) =>
        client.ClientSecretBasic(reveal(secret))(as, metadata, body, headers);
    case 'client_secret_post':
      return (as, metadata, body, headers) =>
        client.ClientSecretPost(reveal(secret))(as, metadata, body, headers);
  }
}

function privateKeyAuth({ kid, alg: _alg, use: _use, ...jwk }: SigningJwk): client.ClientAuth {
  const pkcs8 = createPrivateKey({ key: { ...jwk }, format: 'jwk' }).export({ type: 'pkcs8', format: 'der' });
  const importing = crypto.subtle.importKey('pkcs8', pkcs8, { name: 'ECDSA', namedCurve: 'P-256' }, false, [
    'sign',
  ]);
  return async (as, metadata, body, headers) =>
    client.PrivateKeyJwt({ key: await importing, kid })(as, metadata, body, headers);
}

function reveal(secret: Secret | null): string {
  if (secret === null)
    throw new KontextError('KX_INTERNAL', 'an identity provider has lost its client secret');
  return secret.reveal();
}

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

/** The safe fetch in the shape the library calls. */
const asFetch =
  (fetch: SafeFetch): client.CustomFetch =>
  async (url, { method, headers, body }) => {
    const answer = await fetch(url, {
      method: method === 'POST' ? 'POST' : 'GET',
      headers,
      ...(body === undefined || body === null ? {} : { body: String(body) }),
      timeoutMs: timeoutSeconds * 1000,
    });
    const isEmpty = answer.status === 204 || answer.status === 205;
    const { status } = answer;
    return new Response(isEmpty ? null : new Uint8Array(answer.body), { status, headers: answer.headers });
  };

/** Errors after which asking again is in vain (RFC 6749 §5.2, OIDC Core §3.1.2.6). */
const finalErrors: ReadonlySet<string> = new Set([
  'invalid_grant',
  'access_denied',
  'login_required',
  'interaction_required',
  'consent_required',
  'account_selection_required',
]);

const isFinal = (error: unknown): boolean =>
  error instanceof client.ResponseBodyError && finalErrors.has(error.error);

/** Turns what the library throws into ours; `cause` is left out: an answer can hold a token. */
function asLoginError(error: unknown, issuer: string): KontextError {
  const known = findKnown(error);
  if (known !== null) return known;
  if (error instanceof client.AuthorizationResponseError || error instanceof client.ResponseBodyError) {
    if (/^(server_error|temporarily_unavailable)$/.test(error.error)) {
      return unreachable('status', new URL(issuer).hostname, `it answered ${error.error}`);
    }
    const name = /^[a-z_]{1,40}$/.test(error.error) ? error.error : 'an error';
    return failed(`it answered ${name}`);
  }
  return failed(`its answer is not acceptable (${codeOf(error)})`);
}

const failed = (why: string): KontextError =>
  new KontextError('KX_FEDERATED_LOGIN_FAILED', 'the identity provider did not log anybody in', { why });

/** The error of a provider that cannot be used as described. */
export const invalidProvider = (issuer: string, why: string): KontextError =>
  new KontextError('KX_IDENTITY_PROVIDER_INVALID', `the identity provider ${issuer} cannot be used`, { why });

/** The library wraps what its fetch throws. */
function findKnown(error: unknown): KontextError | null {
  let one = error;
  for (let depth = 0; depth < 5 && one instanceof Error; depth += 1) {
    if (one instanceof KontextError) return one;
    one = one.cause;
  }
  return null;
}

/** A stable name of what the library found wrong. */
const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown';
