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
import { KontextError } from '@kontext/errors';
import {
  allowInsecureRequests,
  buildAuthorizationUrl,
  type ClientAuth,
  ClientSecretBasic,
  ClientSecretPost,
  Configuration,
  type CustomFetchOptions,
  calculatePKCECodeChallenge,
  customFetch,
  genericGrantRequest,
  None,
  ResponseBodyError,
  tokenRevocation,
} from 'openid-client';
import { isLoopbackUrlHost } from './public-address.ts';
import { type SafeAnswer, type SafeFetch, unreachable } from './safe-fetch.ts';

/** A provider as its organisation described it. */
export interface OAuth2Provider {
  readonly name: string;
  readonly authorizationEndpoint: string;
  readonly tokenEndpoint: string;
  /** Empty: it has none. */
  readonly revocationEndpoint: string;
  readonly clientId: string;
  /** Empty with `none`. */
  readonly clientSecret: string;
  readonly clientAuth: 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt' | 'none';
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
}

/** What a client needs from outside. */
export interface OAuth2Deps {
  readonly fetch: SafeFetch;
  readonly nowMs: () => number;
}

/** Errors after which a refresh token never works again; the last three are what some use for `invalid_grant`. */
const terminalErrors: ReadonlySet<string> = new Set([
  'invalid_grant',
  'bad_refresh_token',
  'invalid_refresh_token',
  'token_revoked',
]);

/** What one call saw; the library does not pass these on. */
interface Observed {
  failure: KontextError | null;
  receivedAtMs: number;
  idToken: string | null;
}

/** Creates the client of a provider. Nothing is fetched yet. */
export function createOAuth2Client(provider: OAuth2Provider, deps: OAuth2Deps): OAuth2Client {
  const grant = async (type: string, parameters: Record<string, string>): Promise<IssuedTokens> => {
    const observed: Observed = { failure: null, receivedAtMs: deps.nowMs(), idToken: null };
    try {
      const answer = await genericGrantRequest(configure(provider, deps, observed), type, parameters);
      if (!usableToken.test(answer.access_token)) throw unusable(provider.name);
      const expiresIn =
        answer.expires_in === undefined ? undefined : Math.min(answer.expires_in, maxLifeSeconds);
      return {
        accessToken: answer.access_token,
        refreshToken: answer.refresh_token ?? null,
        receivedAtMs: observed.receivedAtMs,
        expiresAtMs: expiresIn === undefined ? null : observed.receivedAtMs + expiresIn * 1000,
        scopes: answer.scope === undefined ? null : splitScopes(answer.scope),
        account: observed.idToken === null ? null : readSubject(observed.idToken),
      };
    } catch (error) {
      throw observed.failure ?? judge(provider.name, error);
    }
  };
  return {
    authorizationUrl: async ({ redirectUri, state, codeVerifier, scopes }) =>
      buildAuthorizationUrl(configure(provider, deps, null), {
        redirect_uri: redirectUri,
        state,
        code_challenge: await calculatePKCECodeChallenge(codeVerifier),
        code_challenge_method: 'S256',
        ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') }),
      }).href,
    exchangeCode: (code, codeVerifier, redirectUri) =>
      grant('authorization_code', { code, code_verifier: codeVerifier, redirect_uri: redirectUri }).catch(
        (error: unknown) => {
          throw isReauth(error) ? refused(provider.name, 'invalid_grant') : error;
        },
      ),
    refresh: (refreshToken) => grant('refresh_token', { refresh_token: refreshToken }),
    revoke: async (token, hint) => {
      const observed: Observed = { failure: null, receivedAtMs: deps.nowMs(), idToken: null };
      try {
        await tokenRevocation(configure(provider, deps, observed), token, { token_type_hint: hint });
      } catch (error) {
        throw observed.failure ?? unreachable('answer', provider.name, describe(error));
      }
    },
  };
}

function configure(provider: OAuth2Provider, deps: OAuth2Deps, observed: Observed | null): Configuration {
  const { authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId } = provider;
  const config = new Configuration(
    {
      // Never compared: the answers that would carry an issuer are not used.
      issuer: new URL(tokenEndpoint).origin,
      authorization_endpoint: authorizationEndpoint,
      token_endpoint: tokenEndpoint,
      ...(revocationEndpoint === '' ? {} : { revocation_endpoint: revocationEndpoint }),
    },
    clientId,
    undefined,
    clientAuth(provider),
  );
  // Which plain http is allowed is decided by the safe fetch; here the library's own check is only made to agree.
  const endpoints = [authorizationEndpoint, tokenEndpoint, revocationEndpoint].filter((url) => url !== '');
  if (endpoints.some((url) => isLoopbackUrlHost(new URL(url).hostname))) allowInsecureRequests(config);
  config[customFetch] = (url, options) => fetchOnce(provider.name, deps, observed, url, options);
  return config;
}

function clientAuth({ clientAuth: method, clientSecret }: OAuth2Provider): ClientAuth {
  if (method === 'client_secret_basic') return ClientSecretBasic(clientSecret);
  return method === 'client_secret_post' ? ClientSecretPost(clientSecret) : None();
}

/** One request of the library, sent safely; remembers what the library would not tell. */
async function fetchOnce(
  name: string,
  deps: OAuth2Deps,
  observed: Observed | null,
  url: string,
  options: CustomFetchOptions,
): Promise<Response> {
  try {
    const answer = await deps.fetch(url, {
      method: 'POST',
      headers: options.headers,
      body: String(options.body ?? ''),
    });
    if (observed) observed.receivedAtMs = deps.nowMs();
    if (answer.status >= 500 || answer.status === 429) throw busy(name, answer);
    return normalise(answer, observed);
  } catch (error) {
    if (observed && error instanceof KontextError) observed.failure = error;
    throw error;
  }
}

function busy(name: string, { status, headers }: SafeAnswer): KontextError {
  const seconds = Number(headers['retry-after']);
  const retryAfter = Number.isInteger(seconds) && seconds > 0 ? Math.min(seconds, 3600) : undefined;
  return unreachable('status', name, `it answered ${status}`, retryAfter);
}

/**
 * Two habits are evened out: an error sent with status 200 becomes one with 400, and an ID token is set aside before the
 * library would compare its issuer with one we do not know.
 */
function normalise({ status, headers, body }: SafeAnswer, observed: Observed | null): Response {
  const type = { 'content-type': headers['content-type'] ?? '' };
  const json = parseObject(body);
  if (json === null)
    return new Response(status === 204 ? null : new Uint8Array(body), { status, headers: type });
  const { id_token: idToken, ...rest } = json;
  if (observed && typeof idToken === 'string') observed.idToken = idToken;
  const isError = status === 200 && typeof rest.error === 'string' && rest.access_token === undefined;
  return new Response(JSON.stringify(rest), { status: isError ? 400 : status, headers: type });
}

function parseObject(body: Buffer): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}

function judge(name: string, error: unknown): KontextError {
  if (error instanceof KontextError) return error;
  if (!(error instanceof ResponseBodyError)) return unusable(name);
  if (terminalErrors.has(error.error)) {
    return new KontextError('KX_CONNECTION_REAUTH_REQUIRED', `${name} wants the user to log in again`, {
      why: `it answered ${printable(error.error)}`,
      details: { provider_error: printable(error.error) },
    });
  }
  return refused(name, error.error);
}

const unusable = (name: string): KontextError => unreachable('answer', name, 'its answer cannot be used');

const refused = (name: string, oauthError: string): KontextError =>
  new KontextError('KX_CONNECT_FAILED', `${name} refused the request`, {
    why: `it answered ${printable(oauthError)}`,
    details: { provider_error: printable(oauthError) },
  });

const isReauth = (error: unknown): boolean =>
  error instanceof KontextError && error.code === 'KX_CONNECTION_REAUTH_REQUIRED';

const describe = (error: unknown): string =>
  error instanceof ResponseBodyError ? `it answered ${printable(error.error)}` : 'its answer cannot be used';

/** RFC 6749 §5.2: the characters an error name has. Anything else came to be shown, not to be read. */
const printable = (text: string): string => text.replace(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, '?').slice(0, 100);

/** RFC 6749 §A.12, and no longer than an environment variable may be. */
const usableToken = /^[\x20-\x7e]{1,65536}$/;
/** Ten years: what is longer does not fit a date everywhere, and nobody means it. */
const maxLifeSeconds = 10 * 365 * 86_400;

/** As many scopes as a provider can be added with, each as RFC 6749 §3.3 says; a database cannot store every text. */
const maxScopes = 100;
const scopeToken = /^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/;

/** Spaces by the standard, commas by habit. What is no scope is left out: it must not cost the tokens beside it. */
const splitScopes = (scope: string): string[] =>
  scope
    .split(/[ ,]+/)
    .filter((part) => scopeToken.test(part))
    .slice(0, maxScopes);

function readSubject(idToken: string): string | null {
  const claims = parseObject(Buffer.from(idToken.split('.')[1] ?? '', 'base64url'));
  const { iss, sub } = claims ?? {};
  if (typeof iss !== 'string' || typeof sub !== 'string' || /\p{C}/u.test(iss + sub)) return null;
  return `${iss}#${sub}`.slice(0, 500);
}
