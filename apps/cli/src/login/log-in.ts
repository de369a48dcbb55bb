import { KontextError } from '@kontext/errors';
import type { Context } from '../context.ts';
import { type Backend, type FreshLogin, openBackend } from '../rpc/open-backend.ts';
import type { LoginTokens } from './authorization-server.ts';
import type { DeviceLoginOptions } from './device-login.ts';
import { encodeLogin, type Login, parseLogin } from './login-item.ts';
import { openSecretStore } from './open-secret-store.ts';
import { revokeToken } from './revoke-token.ts';
import type { SecretStore } from './secret-store.ts';

/** How to log in. */
export interface LogInOptions extends DeviceLoginOptions {
  /** By a browser on this machine that leads back here, instead of a code; default false. */
  readonly loopback?: boolean | undefined;
}

/**
 * Logs in: proves the store first, runs the device flow or the loopback flow, asks the backend who that was, pins what it says, and
 * stores the login.
 *
 * @returns The backend as the new login sees it; the caller closes it.
 * @throws KontextError `KX_LOGIN_OTHER_ACCOUNT` when another account is logged in; its login stays, the new one is revoked.
 * @throws KontextError `KX_SERVER_KEY_CHANGED` when the backend signs policy with another key than at the stored login.
 * @throws KontextError `KX_KEYRING_UNAVAILABLE`, `KX_KEYRING_LOCKED`, and what the flow throws.
 */
export async function logIn(context: Context, options: LogInOptions): Promise<Backend> {
  const { config, terminal } = context;
  const store = openSecretStore(config, terminal);
  // Before a person walks through the approval for nothing.
  await store.probe();
  const earlier = await readEarlier(config.apiUrl, store);
  const tokens = await runFlow(context, options);
  const first = { token: tokens.accessToken, expiresInSeconds: tokens.expiresInSeconds };
  const known = await identify(context, draftLogin(config.issuer, tokens), store, first);
  const surprise = earlier && compareWithEarlier(earlier, known);
  if (surprise) {
    await revokeToken(known, tokens.refreshToken);
    throw surprise;
  }
  await store.set(config.apiUrl, encodeLogin(known));
  terminal.note(`logged in as ${known.name}; the login is kept in ${store.location}`);
  return openBackend({ config, terminal, fresh: { login: known, store, first } });
}

async function runFlow(
  context: Context,
  { loopback = false, ...options }: LogInOptions,
): Promise<LoginTokens> {
  if (loopback) return (await import('./loopback-login.ts')).loopbackLogin(context, options);
  return (await import('./device-login.ts')).deviceLogin(context, options);
}

/** What must not change by itself between two logins at one backend; null when nothing did. */
function compareWithEarlier(earlier: Login, now: Login): KontextError | null {
  if (earlier.sub !== now.sub || earlier.org !== now.org) return otherAccount(earlier, now);
  if (earlier.logKey !== undefined && earlier.logKey !== now.logKey) return otherLogKey(earlier, now);
  if (earlier.policyKey === now.policyKey) return null;
  return new KontextError('KX_SERVER_KEY_CHANGED', 'the backend signs policy with another key than before', {
    why: `pinned at the last login: ${earlier.policyKey}, now: ${now.policyKey}`,
  });
}

const maxLogKeyLength = 300;

const otherLogKey = (earlier: Login, now: Login) =>
  new KontextError('KX_SERVER_KEY_CHANGED', 'the backend signs its audit log with another key than before', {
    why: `pinned at the last login: ${earlier.logKey}, now: ${now.logKey ?? 'none'}`,
  });

/** Asks the backend who logged in, and pins the keys that sign its policy and its audit log. */
async function identify(
  { config, terminal, signal }: Context,
  login: Login,
  store: SecretStore,
  first: NonNullable<FreshLogin['first']>,
): Promise<Login> {
  const backend = await openBackend({ config, terminal, fresh: { login, store, first } });
  try {
    const clients = await backend.connect();
    const caller = await clients.organisation.getCaller({}, { signal });
    const { userId: sub, userName: name, orgId: org, policyKeyThumbprint: policyKey } = caller;
    const { auditLogKey: logKey } = caller;
    // A host of such a name fills a keyring's item; then the first use pins the key.
    const isPinned = logKey !== '' && logKey.length <= maxLogKeyLength;
    return { ...login, sub, name, org, policyKey, ...(isPinned ? { logKey } : {}) };
  } finally {
    backend.close();
  }
}

/** An unreadable earlier login says nothing about its account and is replaced. */
async function readEarlier(apiUrl: string, store: SecretStore): Promise<Login | null> {
  const text = await store.get(apiUrl);
  try {
    return text === null ? null : parseLogin(text);
  } catch {
    return null;
  }
}

const draftLogin = (iss: string, { refreshToken, jwk }: LoginTokens): Login => ({
  refreshToken,
  jwk,
  iss,
  sub: '',
  name: '',
  org: '',
  policyKey: '',
});

const otherAccount = (earlier: Login, now: Login) =>
  new KontextError('KX_LOGIN_OTHER_ACCOUNT', `${now.name} logged in, but ${earlier.name} is logged in here`, {
    why: `the stored login is ${earlier.name} (${earlier.sub}, ${earlier.org}), the new one ${now.name} (${now.sub}, ${now.org})`,
    hint: `run \`kontext logout\` first to change to ${now.name}, or log in as ${earlier.name}`,
  });
