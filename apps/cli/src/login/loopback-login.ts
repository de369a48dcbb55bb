import { KontextError } from '@kontext/errors';
import { generateP256Jwk } from '@kontext/oauth';
import * as client from 'openid-client';
import type { Context } from '../context.ts';
import {
  discoverServer,
  dpopHandle,
  type LoginTokens,
  loginError,
  loginScope,
  machineName,
  readTokens,
} from './authorization-server.ts';
import { startCountdown } from './countdown.ts';
import type { DeviceLoginOptions } from './device-login.ts';
import { type LoopbackListener, listenForAnswer } from './loopback-listener.ts';
import { openBrowser } from './open-browser.ts';

/** How to run the flow. */
export interface LoopbackLoginOptions extends DeviceLoginOptions {
  /** Longest wait for the person; default 10 minutes. */
  readonly timeoutMs?: number;
}

const defaultTimeoutMs = 600_000;

/**
 * Logs in by the authorization code flow on this machine (RFC 8252), with PKCE S256 (RFC 7636), a pushed request (RFC 9126)
 * and tokens bound to a fresh key from that request on (RFC 9449 §10). State and issuer of the answer (RFC 9207) are compared
 * before anything is sent.
 *
 * @throws KontextError `KX_LOGIN_DENIED`, `KX_LOGIN_NOT_FINISHED`, `KX_LOGIN_ANSWER_INVALID`, `KX_LOOPBACK_FAILED`,
 *   `KX_BACKEND_UNREACHABLE`, `KX_TLS_FAILED`, `KX_NOT_A_BACKEND`.
 * @throws Interrupted on Ctrl-C.
 */
export async function loopbackLogin(context: Context, options: LoopbackLoginOptions): Promise<LoginTokens> {
  const { config, signal } = context;
  const expectedState = client.randomState();
  let listener: LoopbackListener | undefined;
  try {
    const server = await discoverServer(config.issuer, options.fetch);
    listener = await listenForAnswer((answer) => problemOf(answer, expectedState, config.issuer));
    const jwk = generateP256Jwk();
    const DPoP = await dpopHandle(server, jwk);
    const verifier = client.randomPKCECodeVerifier();
    const link = await client.buildAuthorizationUrlWithPAR(
      server,
      {
        redirect_uri: listener.redirectUri,
        scope: loginScope,
        resource: config.apiUrl,
        // Without it no refresh token (OpenID Connect Core §11), and the person is asked in any case.
        prompt: 'consent',
        state: expectedState,
        machine: machineName(),
        code_challenge: await client.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        ...(options.org === undefined ? {} : { organisation: options.org }),
      },
      { DPoP },
    );
    showLink(context, link.href, options);
    const answer = await waitForAnswer(context, listener, options.timeoutMs ?? defaultTimeoutMs);
    const checks = { pkceCodeVerifier: verifier, expectedState };
    const parameters = { resource: config.apiUrl };
    const tokens = await client.authorizationCodeGrant(server, answer, checks, parameters, { DPoP });
    return readTokens(config.issuer, tokens, jwk);
  } catch (error) {
    throw loginError(error, config.issuer, signal);
  } finally {
    listener?.close();
  }
}

/** Compared here already, so that the browser is told; openid-client compares again. Nothing of it is shown. */
function problemOf({ searchParams }: URL, state: string, issuer: string): string | null {
  const only = (name: string) => (searchParams.getAll(name).length === 1 ? searchParams.get(name) : null);
  if (only('state') !== state) return 'its state is not the one that was sent';
  if (only('iss') !== issuer) return 'it does not come from the backend (RFC 9207)';
  return only('code') === null && only('error') === null ? 'it holds neither a code nor an error' : null;
}

function showLink({ config, terminal }: Context, link: string, { browser }: LoopbackLoginOptions): void {
  terminal.say(`open ${link}`);
  terminal.say('in a browser on this machine, within a minute');
  if (browser && config.hasDisplay) openBrowser(link, config);
}

async function waitForAnswer(context: Context, listener: LoopbackListener, timeoutMs: number): Promise<URL> {
  const { signal } = context;
  const stopCountdown = startCountdown(context, 'waiting for the browser', performance.now() + timeoutMs);
  let timer: NodeJS.Timeout | undefined;
  let giveUp: () => void = () => undefined;
  const gone = new Promise<never>((_, reject) => {
    giveUp = () => reject(signal.reason);
    timer = setTimeout(() => reject(notFinished()), timeoutMs);
    signal.addEventListener('abort', giveUp, { once: true });
    if (signal.aborted) giveUp();
  });
  try {
    return await Promise.race([listener.answer, gone]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', giveUp);
    stopCountdown();
  }
}

const notFinished = (): KontextError =>
  new KontextError('KX_LOGIN_NOT_FINISHED', 'the login was not finished in the browser', {
    why: 'the browser did not come back within the time',
  });
