import { setTimeout as sleep } from 'node:timers/promises';
import { generateP256Jwk, type P256PrivateJwk } from '@kontext/oauth';
import * as client from 'openid-client';
import type { Context } from '../context.ts';
import {
  discoverServer,
  dpopHandle,
  isPassing,
  type LoginTokens,
  loginError,
  loginScope,
  readTokens,
} from './authorization-server.ts';
import { startCountdown } from './countdown.ts';
import { openBrowser } from './open-browser.ts';

/** How to run the device flow. */
export interface DeviceLoginOptions {
  /** False for `--no-browser`. */
  readonly browser: boolean;
  /** Short name of the organisation to log in to; the login page begins there. */
  readonly org?: string | undefined;
  /** Default: that of `fetch`. */
  readonly fetch?: typeof fetch;
}

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
export async function deviceLogin(context: Context, options: DeviceLoginOptions): Promise<LoginTokens> {
  const { config, terminal } = context;
  try {
    const server = await discoverServer(config.issuer, options.fetch);
    const parameters = { scope: loginScope, resource: config.apiUrl };
    const started = await client.initiateDeviceAuthorization(server, parameters);
    showCode(context, started, options);
    const jwk = generateP256Jwk();
    const tokens = await pollUntilApproved(context, server, started, jwk);
    return readTokens(config.issuer, tokens, jwk);
  } catch (error) {
    throw loginError(error, config.issuer, context.signal);
  } finally {
    terminal.status(null);
  }
}

function showCode(
  context: Context,
  started: client.DeviceAuthorizationResponse,
  { browser, org }: DeviceLoginOptions,
): void {
  const { terminal, config } = context;
  const link = withOrg(started.verification_uri_complete ?? started.verification_uri, org);
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
  const stopCountdown = startCountdown(context, 'waiting for approval', endsAt);
  const DPoP = await dpopHandle(server, jwk);
  try {
    for (;;) {
      try {
        const parameters = { resource: context.config.apiUrl };
        const poll = client.pollDeviceAuthorizationGrant(server, started, parameters, { DPoP, signal });
        return await Promise.race([poll, aborted]);
      } catch (error) {
        // A backend that restarts while a person approves has not refused anything.
        if (signal.aborted || !isPassing(error)) throw error;
        await sleep(retryMs, undefined, { signal });
      }
    }
  } finally {
    stopCountdown();
  }
}

/** A hint for the login page: it decides nothing. */
function withOrg(link: string, org: string | undefined): string {
  if (org === undefined) return link;
  const url = new URL(link);
  url.searchParams.set('organisation', org);
  return url.href;
}
