import type { Agent } from 'node:http';
import { KontextError } from '@kontext/errors';
import { createDpopProof, jwkThumbprint } from '@kontext/oauth';
import { Secret } from '@kontext/redaction';
import type { Config } from '../config.ts';
import { type Answer, request } from '../rpc/request.ts';
import { clockError } from '../rpc/server-clock.ts';
import { loadLogin } from './load-login.ts';
import { loginEnded } from './login-ended.ts';
import { encodeLogin, type Login } from './login-item.ts';
import { type SharedResult, withRefreshLock } from './refresh-lock.ts';
import type { SecretStore } from './secret-store.ts';

/** The public client every CLI is (RFC 6749 §2.1). */
export const clientId = 'kontext-cli';

/** Access tokens of the login, in memory only. */
export interface AccessTokens {
  readonly login: Login;
  /**
   * A token that lives at least 30 s longer, refreshed when needed.
   *
   * @param force Refresh also when the one at hand seems alive, because the backend refused it.
   * @throws KontextError `KX_LOGIN_EXPIRED`, `KX_LOGIN_REVOKED`, `KX_ACCOUNT_SUSPENDED`, `KX_ACCOUNT_NOT_VOUCHED` when the
   *   refresh token is not accepted any more.
   * @throws KontextError `KX_BACKEND_UNREACHABLE` and its kin; the login stays as it is.
   */
  get(force?: boolean): Promise<Secret>;
}

/** What access tokens are made from. */
export interface AccessTokensOptions {
  readonly config: Pick<Config, 'apiUrl' | 'stateDir'>;
  readonly login: Login;
  readonly store: SecretStore;
  readonly agent?: Agent;
  /** A token at hand already, right after a device login. */
  readonly first?: { readonly token: Secret; readonly expiresInSeconds: number };
}

const renewBeforeMs = 30_000;
/** Monotonic: the wall clock of this machine may be wrong, or be set while we run. */
const monotonicMs = () => performance.now();

/**
 * Makes the source of access tokens for one process. Refreshing happens once at a time, in this process and across
 * processes, and a rotated refresh token is stored before the new access token is used; where the keyring is gone by then, it
 * is kept in memory and stored as soon as that works again.
 */
export function createAccessTokens(options: AccessTokensOptions): AccessTokens {
  let { login } = options;
  let current = options.first ? keep(options.first.token, options.first.expiresInSeconds) : null;
  let running: Promise<Secret> | null = null;
  let isStored = true;
  const refresh = async () => {
    if (!isStored) isStored = await keepLogin(options, login);
    const renewed = await refreshLogin({ ...options, login, isStored });
    ({ login, isStored } = renewed);
    current = keep(renewed.token, renewed.expiresInSeconds);
    return renewed.token;
  };
  return {
    get login() {
      return login;
    },
    async get(force = false) {
      if (!force && current && current.expiresAtMs - renewBeforeMs > monotonicMs()) return current.token;
      running ??= refresh().finally(() => {
        running = null;
      });
      return running;
    },
  };
}

const keep = (token: Secret, expiresInSeconds: number) => ({
  token,
  expiresAtMs: monotonicMs() + expiresInSeconds * 1000,
});

interface RenewedLogin {
  readonly login: Login;
  readonly isStored: boolean;
  readonly token: Secret;
  readonly expiresInSeconds: number;
}

type Refreshing = AccessTokensOptions & { readonly isStored: boolean };

/** A session outlives its keyring: what cannot be stored now is tried again at the next refresh. @returns Whether it was. */
async function keepLogin({ config, store }: AccessTokensOptions, login: Login): Promise<boolean> {
  try {
    await store.set(config.apiUrl, encodeLogin(login));
    return true;
  } catch (error) {
    if (error instanceof KontextError) return false;
    throw error;
  }
}

function refreshLogin(options: Refreshing): Promise<RenewedLogin> {
  const { config } = options;
  return withRefreshLock(config.stateDir, config.apiUrl, sharing(options), async (hadToWait) => {
    const login = hadToWait ? await newest(options) : options.login;
    const answer = await requestRefresh(options, login);
    if (answer.json?.error !== 'invalid_grant') return saveRenewed(options, login, answer);
    // Another process may have rotated the token between our load and our lock.
    const stored = await newest(options);
    if (stored.refreshToken.reveal() === login.refreshToken.reveal()) throw loginEnded(answer);
    return saveRenewed(options, stored, await requestRefresh(options, stored));
  });
}

/** Access tokens go to processes that wait for one; a rotated refresh token they find in the store, when they need it. */
function sharing({ login, isStored }: Refreshing): SharedResult<RenewedLogin> {
  const key = jwkThumbprint(login.jwk);
  return {
    encode: ({ token, expiresInSeconds }) =>
      JSON.stringify({ v: 1, key, token: token.reveal(), expiresInSeconds }),
    decode: (text) => {
      const shared = parseShared(text);
      if (shared?.key !== key) return null;
      return { login, isStored, token: new Secret(shared.token), expiresInSeconds: shared.expiresInSeconds };
    },
  };
}

interface Shared {
  /** Thumbprint of the key the token is bound to: with another login it is of no use. */
  readonly key: string;
  readonly token: string;
  readonly expiresInSeconds: number;
}

function parseShared(text: string): Shared | null {
  try {
    const { v, key, token, expiresInSeconds } = JSON.parse(text) as Record<string, unknown>;
    const isOurs = v === 1 && typeof key === 'string' && typeof token === 'string';
    return isOurs && typeof expiresInSeconds === 'number' ? { key, token, expiresInSeconds } : null;
  } catch {
    return null;
  }
}

/**
 * The login as another process may have stored it meanwhile. A keyring that got locked or lost in the middle of a session, and
 * a login that was wiped, leave the one at hand: whether that is still good, the backend knows.
 */
async function newest({ config, store, login }: AccessTokensOptions): Promise<Login> {
  try {
    return await loadLogin(config, store);
  } catch (error) {
    if (error instanceof KontextError) return login;
    throw error;
  }
}

/** RFC 6749 §6 with a DPoP proof (RFC 9449 §5); repeated once when the server asks for its nonce (§8). */
async function requestRefresh(options: AccessTokensOptions, login: Login): Promise<Answer> {
  // Our backend is its own authorization server, so its endpoint is known; discovery would cost a round trip.
  const url = `${login.iss}/token`;
  const post = async (nonce?: string) =>
    request({
      method: 'POST',
      url,
      ...(options.agent ? { agent: options.agent } : {}),
      headers: {
        DPoP: await createDpopProof({ key: login.jwk, htm: 'POST', htu: url, nowMs: Date.now(), nonce }),
      },
      form: {
        grant_type: 'refresh_token',
        client_id: clientId,
        refresh_token: login.refreshToken.reveal(),
        resource: options.config.apiUrl,
      },
    });
  const answer = await post();
  const nonce = answer.headers['dpop-nonce'];
  const needsNonce = answer.json?.error === 'use_dpop_nonce' && typeof nonce === 'string';
  return needsNonce ? post(nonce) : answer;
}

async function saveRenewed(options: Refreshing, login: Login, answer: Answer): Promise<RenewedLogin> {
  const { access_token: token, expires_in: expiresIn, refresh_token: rotated } = checkAnswer(login, answer);
  const renewed =
    typeof rotated === 'string' && rotated !== login.refreshToken.reveal()
      ? { ...login, refreshToken: new Secret(rotated) }
      : login;
  return {
    login: renewed,
    isStored: renewed === login ? options.isStored : await keepLogin(options, renewed),
    token: new Secret(String(token)),
    expiresInSeconds: typeof expiresIn === 'number' ? expiresIn : 60,
  };
}

/** RFC 6749 §5.1 and §5.2. Only `invalid_grant` means that the login is over. */
function checkAnswer(login: Login, answer: Answer): Readonly<Record<string, unknown>> {
  const { status, json } = answer;
  if (status === 200 && typeof json?.access_token === 'string') return json;
  const error = json?.error;
  if (error === 'invalid_grant') throw loginEnded(answer);
  if (error === 'invalid_dpop_proof' || error === 'use_dpop_nonce') throw refusedProof(answer);
  const details = { status, ...(typeof error === 'string' ? { oauth_error: error } : {}) };
  if (status === 429) throw new KontextError('KX_RATE_LIMITED', 'the backend asks to wait', { details });
  if (status >= 500) {
    throw new KontextError('KX_TEMPORARY', 'the backend could not refresh the login', {
      why: `it answered with status ${status}`,
      details,
    });
  }
  if (typeof error !== 'string') {
    throw new KontextError('KX_NOT_A_BACKEND', `${new URL(login.iss).origin} is not a kontext backend`, {
      why: `its token endpoint answered with status ${status}`,
      details,
    });
  }
  throw new KontextError('KX_LOGIN_EXPIRED', 'the login was refused', {
    why: `the backend answered ${error}`,
    details,
  });
}

/** Our proofs are well formed; what can be wrong with one is its time (RFC 9449 §4.3 check 11). */
function refusedProof({ headers }: Answer): KontextError {
  return clockError(typeof headers.date === 'string' ? Date.parse(headers.date) - Date.now() : 0);
}
