import { hostname } from 'node:os';
import { KontextError } from '@kontext/errors';
import type { P256PrivateJwk } from '@kontext/oauth';
import { Secret } from '@kontext/redaction';
import * as client from 'openid-client';
import { Interrupted } from '../interrupted.ts';
import { networkError } from '../rpc/network-error.ts';
import { cliVersion } from '../version.ts';
import { clientId } from './access-tokens.ts';

/** What a finished login gives, by whichever flow. */
export interface LoginTokens {
  readonly accessToken: Secret;
  readonly expiresInSeconds: number;
  readonly refreshToken: Secret;
  /** Fresh private key both tokens are bound to. */
  readonly jwk: P256PrivateJwk;
}

/** Scope of a login. */
export const loginScope = 'openid offline_access kontext';

/** What this machine is called in front of the person who approves. */
export const machineName = (): string => hostname().slice(0, 255);

/**
 * Finds the authorization server (RFC 8414), with the endpoints where ours has them.
 *
 * @param send Default that of `fetch`.
 */
export async function discoverServer(
  issuer: string,
  send: typeof fetch = fetch,
): Promise<client.Configuration> {
  // The server's clock judges its own tokens; ours may be wrong, and each answer says by how much.
  const metadata: Partial<client.ClientMetadata> = {};
  const userAgent = `kontext/${cliVersion} (${machineName()})`;
  const customFetch: client.CustomFetch = async (url, init) => {
    const answer = await send(url, {
      ...init,
      headers: { ...init.headers, 'user-agent': userAgent },
    } as RequestInit);
    const date = Date.parse(answer.headers.get('date') ?? '');
    if (!Number.isNaN(date)) metadata[client.clockSkew] = Math.round((date - Date.now()) / 1000);
    return answer;
  };
  // config.ts has refused plain http to anything but loopback.
  const execute = issuer.startsWith('http:') ? [client.allowInsecureRequests] : [];
  const server = await client.discovery(new URL(issuer), clientId, metadata, client.None(), {
    [client.customFetch]: customFetch,
    timeout: 10,
    execute,
  });
  const { token_endpoint: tokenEndpoint } = server.serverMetadata();
  if (tokenEndpoint !== `${issuer}/token`)
    throw notABackend(issuer, 'its token endpoint is not where ours is');
  return server;
}

/** What signs the proofs of a login (RFC 9449 §4). */
export async function dpopHandle(
  server: client.Configuration,
  jwk: P256PrivateJwk,
): Promise<client.DPoPHandle> {
  const { kty, crv, x, y } = jwk;
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
  const { subtle } = globalThis.crypto;
  return client.getDPoPHandle(server, {
    privateKey: await subtle.importKey('jwk', { ...jwk }, algorithm, false, ['sign']),
    publicKey: await subtle.importKey('jwk', { kty, crv, x, y }, algorithm, true, ['verify']),
  });
}

/** @throws KontextError `KX_NOT_A_BACKEND` when the tokens are not what a login needs. */
export function readTokens(
  issuer: string,
  tokens: client.TokenEndpointResponse,
  jwk: P256PrivateJwk,
): LoginTokens {
  if (tokens.refresh_token === undefined) throw notABackend(issuer, 'it gave no refresh token');
  // RFC 9449 §5: a server that did not bind the token answers with another type.
  if (tokens.token_type !== 'dpop') throw notABackend(issuer, 'it did not bind the token to our key');
  return {
    accessToken: new Secret(tokens.access_token),
    refreshToken: new Secret(tokens.refresh_token),
    expiresInSeconds: tokens.expires_in ?? 60,
    jwk,
  };
}

/** Turns what a login failed with into the error a person can act on. */
export function loginError(error: unknown, issuer: string, signal: AbortSignal): Error {
  if (signal.aborted) return new Interrupted();
  if (error instanceof KontextError) return error;
  if (error instanceof client.ResponseBodyError || error instanceof client.AuthorizationResponseError) {
    return refusal(error);
  }
  if (isTimeout(error))
    return new KontextError('KX_DEVICE_CODE_EXPIRED', 'the code was not approved in time');
  if (isNetworkFailure(error)) return networkError(error, issuer);
  if (statusOf(error) >= 500) {
    return new KontextError('KX_TEMPORARY', `${new URL(issuer).origin} cannot answer now`, {
      why: `it answered with status ${statusOf(error)}`,
      cause: error,
    });
  }
  const said = error instanceof Error ? error.message : 'no reason given';
  return notABackend(issuer, said, error);
}

/** RFC 8628 §3.5, RFC 6749 §5.2. */
function refusal(error: client.ResponseBodyError | client.AuthorizationResponseError): KontextError {
  const status = error instanceof client.ResponseBodyError ? error.status : 0;
  const details = { oauth_error: error.error, status };
  switch (error.error) {
    case 'access_denied':
      return new KontextError('KX_LOGIN_DENIED', 'the login was denied', { details });
    case 'expired_token':
    case 'invalid_grant':
      return new KontextError('KX_DEVICE_CODE_EXPIRED', 'the code was not approved in time', { details });
    default:
      if (status === 429) return new KontextError('KX_RATE_LIMITED', 'the backend asks to wait', { details });
      return new KontextError('KX_NOT_A_BACKEND', 'the backend refuses this command as a client', {
        why: `it answered ${error.error}: ${error.error_description ?? 'without description'}`,
        hint: 'check KONTEXT_API_URL, and update kontext',
        details,
      });
  }
}

/** Whether it may be gone a moment later: a backend that restarts while a person approves has not refused anything. */
export const isPassing = (error: unknown): boolean => isNetworkFailure(error) || statusOf(error) >= 500;

const isTimeout = (error: unknown): boolean =>
  error instanceof Error &&
  (error.name === 'TimeoutError' || ('code' in error && error.code === 'OAUTH_TIMEOUT'));

/** `fetch` reports everything below HTTP as a TypeError with a cause. */
const isNetworkFailure = (error: unknown): boolean =>
  error instanceof TypeError && error.cause !== undefined && error.message === 'fetch failed';

/** openid-client gives an answer it did not expect as the cause; 0 when there was none. */
const statusOf = (error: unknown): number =>
  error instanceof Error && error.cause instanceof Response ? error.cause.status : 0;

/** @param why What it does that ours does not. */
export const notABackend = (issuer: string, why: string, cause?: unknown) =>
  new KontextError('KX_NOT_A_BACKEND', `${new URL(issuer).origin} is not a kontext backend`, {
    why,
    ...(cause === undefined ? {} : { cause }),
  });
