import { createHash, createHmac, randomBytes } from 'node:crypto';
import { KontextError } from '@kontext/errors';
import type { Secret } from '@kontext/redaction';
import { appendServerEvent } from '../../audit/append-server-event.ts';
import { findIdentity, findSecretById, replaceRefreshSecret } from '../../store/queries/identities.ts';
import {
  consumeFederatedLogin,
  findLoginProvider,
  findProviderByCallback,
  insertFederatedLogin,
  type LoginProvider,
} from '../../store/queries/identity-providers.ts';
import { isUniqueViolation } from '../../store/store-errors.ts';
import { browserLoginSeconds, federatedAcr, type NewBrowserLogin } from '../browser-sessions.ts';
import { type RateLimit, refuseBeyond } from '../rate-limiter.ts';
import { type Admission, admitIdentity } from './admit-identity.ts';
import { type FederationDeps, loginCallbackUrl, systemScope } from './deps.ts';
import { parseIdentity, type UpstreamIdentity } from './upstream-identity.ts';
import { openUpstream, sealRefreshToken } from './upstream-secrets.ts';

/** Time to log in at the provider. */
const loginMs = 10 * 60_000;
/** Logins begun by one address. */
const loginStarts: RateLimit = { name: 'federated-login', limit: 60, windowSeconds: 60 };

/** Where a login is to go, and from where. */
export interface LoginStart {
  readonly identityProviderId: string;
  /** Secret of the browser; the answer counts in this browser alone. */
  readonly browserId: string;
  readonly address: string;
  /** A path of ours; the caller checked that. */
  readonly returnTo: string;
  /** Longest the person's login there may be ago; null: as long as a browser login lives. */
  readonly maxAgeSeconds: number | null;
  readonly invitationId: string | null;
}

/** What came back. */
export interface LoginAnswer {
  readonly callbackId: string;
  readonly browserId: string;
  readonly address: string;
  /** Query string as received: what stands in it twice has to be seen. */
  readonly query: string;
}

/** Somebody who is logged in now. */
export interface FinishedLogin {
  readonly login: NewBrowserLogin;
  readonly returnTo: string;
}

/**
 * Begins a login at an identity provider.
 *
 * @returns Where to send the browser.
 * @throws KontextError `KX_NOT_FOUND`, `KX_RATE_LIMITED`, `KX_PROVIDER_UNREACHABLE`, `KX_IDENTITY_PROVIDER_INVALID`.
 */
export async function beginLogin(deps: FederationDeps, start: LoginStart): Promise<string> {
  const verdict = await deps.limiter.count(loginStarts, start.address);
  refuseBeyond(verdict, 'too many logins were begun from this address');
  const found = await deps.store.transaction(systemScope, (tx) =>
    findLoginProvider(tx, start.identityProviderId),
  );
  if (found === null || found.provider.disabledAt !== null) throw unknownProvider();
  const { provider } = found;
  const maxAgeSeconds = Math.min(start.maxAgeSeconds ?? browserLoginSeconds, browserLoginSeconds);
  // Its last part says how fresh the login has to be: the stored hash covers it, so nobody can change it on the way.
  const state = `${randomBytes(32).toString('base64url')}.${maxAgeSeconds}`;
  const nonce = randomBytes(32).toString('base64url');
  const url = await deps.relyingParty.authorizationUrl(await openUpstream(deps.kms, found), {
    redirectUri: loginCallbackUrl(deps.apiUrl, provider.callbackId),
    ...{ state, nonce, maxAgeSeconds, verifier: verifierOf(deps, state) },
  });
  const now = new Date(deps.nowMs());
  await deps.store.transaction(systemScope, (tx) =>
    insertFederatedLogin(tx, {
      stateHash: hash('state', state),
      orgId: provider.orgId,
      identityProviderId: provider.id,
      browserHash: hash('browser', start.browserId),
      nonce,
      // Made again from the state when it is needed: nothing to keep.
      verifierSecretId: null,
      returnTo: start.returnTo,
      invitationId: start.invitationId,
      createdAt: now,
      expiresAt: new Date(now.getTime() + loginMs),
      consumedAt: null,
    }),
  );
  return url;
}

/**
 * Takes the answer of an identity provider, once, in the browser that began the login, at the callback of that provider.
 *
 * @throws KontextError `KX_FEDERATED_LOGIN_FAILED`, `KX_NOT_A_MEMBER`, `KX_INVITATION_INVALID`, `KX_PROVIDER_UNREACHABLE`.
 */
export async function finishLogin(deps: FederationDeps, answer: LoginAnswer): Promise<FinishedLogin> {
  const state = new URLSearchParams(answer.query).getAll('state');
  const [found, begun] = await takeBegun(deps, answer, state.length === 1 ? (state[0] ?? '') : '');
  const { provider } = found;
  try {
    const text = state[0] ?? '';
    const maxAgeSeconds = Number(text.slice(text.lastIndexOf('.') + 1));
    const request = {
      redirectUri: loginCallbackUrl(deps.apiUrl, provider.callbackId),
      ...{ state: text, nonce: begun.nonce, maxAgeSeconds, verifier: verifierOf(deps, text) },
    };
    const upstream = await openUpstream(deps.kms, found);
    const { claims, refreshToken } = await deps.relyingParty.redeem(upstream, request, answer.query);
    const identity = parseIdentity(claims ?? {}, provider.groupsClaim);
    const userId = await admit(deps, { provider, identity, invitationId: begun.invitationId }, refreshToken);
    await record(deps, found, answer, userId, null);
    const login = describeLogin(deps, found, identity, userId);
    return { login, returnTo: begun.returnTo };
  } catch (error) {
    await record(deps, found, answer, null, error instanceof KontextError ? error : null);
    throw error;
  }
}

async function takeBegun(deps: FederationDeps, answer: LoginAnswer, state: string) {
  const now = new Date(deps.nowMs());
  return deps.store.transaction(systemScope, async (tx) => {
    const found = await findProviderByCallback(tx, answer.callbackId);
    if (found === null || found.provider.disabledAt !== null) throw unknownProvider();
    const key = { stateHash: hash('state', state), browserHash: hash('browser', answer.browserId) };
    const begun = await consumeFederatedLogin(tx, { ...key, identityProviderId: found.provider.id }, now);
    if (begun === null) {
      throw new KontextError('KX_FEDERATED_LOGIN_FAILED', 'this login was not begun here', {
        why: 'it was begun in another browser or at another identity provider, was used already, or took more than 10 min',
      });
    }
    return [found, begun] as const;
  });
}

/** Admits the identity and stores what its provider can be asked with again. Two first logins at once: the second finds the first. */
async function admit(
  deps: FederationDeps,
  admission: Admission,
  refreshToken: Secret | null,
  isRetry = false,
): Promise<string> {
  const { iss, sub } = admission.identity;
  const { orgId } = admission.provider;
  const before = await deps.store.transaction(systemScope, async (tx) => {
    const known = await findIdentity(tx, iss, sub);
    return known?.refreshSecretId == null ? null : findSecretById(tx, known.refreshSecretId);
  });
  const now = new Date(deps.nowMs());
  const sealed =
    refreshToken && (await sealRefreshToken(deps.kms, { iss, sub, orgId }, refreshToken, before, now));
  try {
    const userId = await deps.store.transaction(systemScope, async (tx) => {
      const admitted = await admitIdentity(tx, admission, now);
      await replaceRefreshSecret(tx, { iss, sub }, undefined, sealed);
      return admitted;
    });
    deps.appended.notify(orgId);
    return userId;
  } catch (error) {
    if (isRetry || !isUniqueViolation(error)) throw error;
    return admit(deps, admission, refreshToken, true);
  }
}

function describeLogin(
  deps: FederationDeps,
  { provider }: LoginProvider,
  { authAtMs, sid }: UpstreamIdentity,
  userId: string,
): NewBrowserLogin {
  return {
    userId,
    orgId: provider.orgId,
    // A clock that is ahead must not make a login fresher than now.
    loggedInAtMs: Math.min(authAtMs ?? 0, deps.nowMs()),
    acr: federatedAcr,
    identityProviderId: provider.id,
    upstreamSid: sid,
  };
}

/** Writes how it went to the admin stream; a failure of that is logged and changes nothing. */
async function record(
  deps: FederationDeps,
  { provider }: LoginProvider,
  { address }: LoginAnswer,
  userId: string | null,
  error: KontextError | null,
): Promise<void> {
  const reason = userId === null ? (error?.code ?? 'KX_INTERNAL') : null;
  const facts = { client: 'browser', machine: null, address, reason, identityProvider: provider.name };
  const kind = userId === null ? 'login.failed' : 'login.succeeded';
  try {
    const { orgId } = provider;
    await deps.store.transaction({ role: 'app', orgId }, (tx) =>
      appendServerEvent(
        tx,
        { orgId, sessionId: null },
        { kind, user: userId, facts },
        new Date(deps.nowMs()),
      ),
    );
    deps.appended.notify(orgId);
  } catch (err) {
    deps.logger.error({ err, kind }, 'a login event could not be recorded');
  }
}

const hash = (purpose: string, text: string): string =>
  createHash('sha256').update(`kontext-federated-${purpose}-v1:${text}`).digest('base64url');

const verifierOf = ({ verifierKey }: FederationDeps, state: string): string =>
  createHmac('sha256', verifierKey).update(`kontext-pkce-v1:${state}`).digest('base64url');

const unknownProvider = (): KontextError =>
  new KontextError('KX_NOT_FOUND', 'there is no such identity provider', {
    why: 'it was removed, or the address is not complete',
    hint: 'begin the login again',
  });
