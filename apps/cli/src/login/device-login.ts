import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { KontextError } from '@kontext/errors';
import { generateP256Jwk, type P256PrivateJwk } from '@kontext/oauth';
import { Secret } from '@kontext/redaction';
import * as client from 'openid-client';
import type { Context } from '../context.ts';
import { Interrupted } from '../interrupted.ts';
import { networkError } from '../rpc/network-error.ts';
import { cliVersion } from '../version.ts';
import { clientId } from './access-tokens.ts';
import { openBrowser } from './open-browser.ts';

/** What a finished device flow gives. */
export interface DeviceTokens {
  readonly accessToken: Secret;
  readonly expiresInSeconds: number;
  readonly refreshToken: Secret;
  /** Fresh private key both tokens are bound to. */
  readonly jwk: P256PrivateJwk;
}

/** How to run the device flow. */
export interface DeviceLoginOptions {
  /** False for `--no-browser`. */
  readonly browser: boolean;
  /** Default: that of `fetch`. */
  readonly fetch?: typeof fetch;
}

const scope = 'openid offline_access kontext';
/** Between attempts when the backend cannot be reached while a person is on the approval page. */
const retryMs = 2_000;

/**
 * Logs in by the device flow (RFC 8628), with tokens bound to a fresh ES256 key (RFC 9449 §5) and meant for the
 * backend alone (RFC 8707).
 *
 * URL and code are shown at once; a browser is opened only where there is a display. `slow_down` is honoured by
 * openid-client (RFC 8628 §3.5). The name of this machine travels in `User-Agent`, to be shown on the approval page.
 *
 * @throws KontextError `KX_LOGIN_DENIED`, `KX_DEVICE_CODE_EXPIRED`, `KX_BACKEND_UNREACHABLE`, `KX_TLS_FAILED`,
 *   `KX_NOT_A_BACKEND`.
 * @throws Interrupted on Ctrl-C.
 */
export async function deviceLogin(context: Context, options: DeviceLoginOptions): Promise<DeviceTokens> {
  const { config, terminal } = context;
  try {
    const server = await discover(context, options.fetch ?? fetch);
    const parameters = { scope, resource: config.apiUrl };
    const started = await client.initiateDeviceAuthorization(server, parameters);
    showCode(context, started, options.browser);
    const jwk = generateP256Jwk();
    const tokens = await pollUntilApproved(context, server, started, jwk);
    return { ...readTokens(config.issuer, tokens), jwk };
  } catch (error) {
    throw loginError(error, config.issuer, context.signal);
  } finally {
    terminal.status(null);
  }
}

async function discover(context: Context, send: typeof fetch) {
  const { issuer } = context.config;
  // The server's clock judges its own tokens; ours may be wrong, and each answer says by how much.
  const metadata: Partial<client.ClientMetadata> = {};
  const userAgent = `kontext/${cliVersion} (${hostname().slice(0, 255)})`;
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

function showCode(context: Context, started: client.DeviceAuthorizationResponse, browser: boolean): void {
  const { terminal, config } = context;
  const link = started.verification_uri_complete ?? started.verification_uri;
  terminal.say(`open ${started.verification_uri} and enter the code ${started.user_code}`);
  if (link !== started.verification_uri) terminal.say(`or open ${link} and compare the code`);
  if (browser && config.hasDisplay) openBrowser(link, config);
}

async function pollUntilApproved(
  context: Context,
  server: client.Configuration,
  started: client.DeviceAuthorizationResponse,
  jwk: P256PrivateJwk,
): Promise<client.TokenEndpointResponse> {
  const endsAt = performance.now() + started.expires_in * 1000;
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(started.expires_in * 1000)]);
  // openid-client looks at the signal every few seconds only; a person who pressed Ctrl-C does not wait.
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  const stopCountdown = startCountdown(context, endsAt);
  const DPoP = client.getDPoPHandle(server, await importKeyPair(jwk));
  try {
    for (;;) {
      try {
        const parameters = { resource: context.config.apiUrl };
        const poll = client.pollDeviceAuthorizationGrant(server, started, parameters, { DPoP, signal });
        return await Promise.race([poll, aborted]);
      } catch (error) {
        // A backend that restarts while a person approves has not refused anything.
        if (signal.aborted || !(isNetworkFailure(error) || statusOf(error) >= 500)) throw error;
        await sleep(retryMs, undefined, { signal });
      }
    }
  } finally {
    stopCountdown();
  }
}

function startCountdown({ terminal }: Context, endsAt: number): () => void {
  const show = () => {
    const left = Math.max(0, Math.ceil((endsAt - performance.now()) / 1000));
    terminal.status(
      `waiting for approval, ${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')} left`,
    );
  };
  show();
  const timer = setInterval(show, 1000);
  return () => {
    clearInterval(timer);
    terminal.status(null);
  };
}

async function importKeyPair(jwk: P256PrivateJwk): Promise<client.CryptoKeyPair> {
  const { kty, crv, x, y } = jwk;
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
  const { subtle } = globalThis.crypto;
  return {
    privateKey: await subtle.importKey('jwk', { ...jwk }, algorithm, false, ['sign']),
    publicKey: await subtle.importKey('jwk', { kty, crv, x, y }, algorithm, true, ['verify']),
  };
}

function readTokens(issuer: string, tokens: client.TokenEndpointResponse) {
  if (tokens.refresh_token === undefined) throw notABackend(issuer, 'it gave no refresh token');
  // RFC 9449 §5: a server that did not bind the token answers with another type.
  if (tokens.token_type !== 'dpop') throw notABackend(issuer, 'it did not bind the token to our key');
  return {
    accessToken: new Secret(tokens.access_token),
    refreshToken: new Secret(tokens.refresh_token),
    expiresInSeconds: tokens.expires_in ?? 60,
  };
}

function loginError(error: unknown, issuer: string, signal: AbortSignal): Error {
  if (signal.aborted) return new Interrupted();
  if (error instanceof KontextError) return error;
  if (error instanceof client.ResponseBodyError) return refusal(error);
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
function refusal(error: client.ResponseBodyError): KontextError {
  const details = { oauth_error: error.error, status: error.status };
  switch (error.error) {
    case 'access_denied':
      return new KontextError('KX_LOGIN_DENIED', 'the login was denied', { details });
    case 'expired_token':
    case 'invalid_grant':
      return new KontextError('KX_DEVICE_CODE_EXPIRED', 'the code was not approved in time', { details });
    default:
      if (error.status === 429)
        return new KontextError('KX_RATE_LIMITED', 'the backend asks to wait', { details });
      return new KontextError('KX_NOT_A_BACKEND', 'the backend refuses this command as a client', {
        why: `it answered ${error.error}: ${error.error_description ?? 'without description'}`,
        hint: 'check KONTEXT_API_URL, and update kontext',
        details,
      });
  }
}

const isTimeout = (error: unknown): boolean =>
  error instanceof Error &&
  (error.name === 'TimeoutError' || ('code' in error && error.code === 'OAUTH_TIMEOUT'));

/** `fetch` reports everything below HTTP as a TypeError with a cause. */
const isNetworkFailure = (error: unknown): boolean =>
  error instanceof TypeError && error.cause !== undefined && error.message === 'fetch failed';

/** openid-client gives an answer it did not expect as the cause; 0 when there was none. */
const statusOf = (error: unknown): number =>
  error instanceof Error && error.cause instanceof Response ? error.cause.status : 0;

const notABackend = (issuer: string, why: string, cause?: unknown) =>
  new KontextError('KX_NOT_A_BACKEND', `${new URL(issuer).origin} is not a kontext backend`, {
    why,
    ...(cause === undefined ? {} : { cause }),
  });
