/**
 * OpenID Connect Back-Channel Logout 1.0: an identity provider tells us that a session or a person is logged out there. The
 * logout token is checked as §2.6 says; anything wrong with it is one answer, `invalid_request` (§2.8).
 */
import { createHash } from 'node:crypto';
import { KontextError } from '@kontext/errors';
import { createLocalJWKSet, type JSONWebKeySet, type JWTPayload, jwtVerify } from 'jose';
import type { SafeFetch } from '../../providers/safe-fetch.ts';
import { recordProof } from '../../store/queries/callers.ts';
import { findIdentity } from '../../store/queries/identities.ts';
import { findProviderByCallback, type LoginProvider } from '../../store/queries/identity-providers.ts';
import { endLogins, type LoginFilter } from '../end-logins.ts';
import { type FederationDeps, systemScope } from './deps.ts';
import { openUpstream } from './upstream-secrets.ts';

const logoutEvent = 'http://schemas.openid.net/event/backchannel-logout';
/** Asymmetric ones only: a key that we share with the provider proves nothing to us alone. */
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
/** How old a logout token may be; its id is remembered for longer. */
const maxAgeSeconds = 300;
const memorySeconds = 900;
const keysMs = 600_000;
/** Keys are fetched again for an unknown one, not more often than that. */
const keysPauseMs = 30_000;

/** Takes logout tokens. */
export interface BackchannelLogout {
  /**
   * Ends what a logout token names.
   *
   * @param callbackId Of the provider's own logout URL.
   * @returns How many logins ended; 0 is an answer too.
   * @throws KontextError `KX_REQUEST_INVALID` when the token is not acceptable, `KX_PROVIDER_UNREACHABLE` when it cannot be checked now.
   */
  accept(callbackId: string, logoutToken: string): Promise<number>;
}

interface Keys {
  readonly set: JSONWebKeySet;
  readonly fetchedAtMs: number;
}

/** Creates it; one per process, it keeps the keys of providers. */
export function createBackchannelLogout(deps: FederationDeps, fetch: SafeFetch): BackchannelLogout {
  const cache = new Map<string, Keys>();
  const load = async (found: LoginProvider, again: boolean): Promise<JSONWebKeySet> => {
    const known = cache.get(found.provider.id);
    const ageMs = deps.nowMs() - (known?.fetchedAtMs ?? 0);
    if (known && ageMs < (again ? keysPauseMs : keysMs)) return known.set;
    const { jwks_uri } = await deps.relyingParty.metadata(await openUpstream(deps.kms, found));
    const set = parseKeys(await fetch(jwks_uri ?? '', { method: 'GET' }));
    cache.set(found.provider.id, { set, fetchedAtMs: deps.nowMs() });
    return set;
  };
  return {
    accept: async (callbackId, logoutToken) => {
      const found = await deps.store.transaction(systemScope, (tx) => findProviderByCallback(tx, callbackId));
      if (found === null) throw refused('no identity provider has this address');
      const claims =
        (await verify(found, logoutToken, await load(found, false))) ??
        (await verify(found, logoutToken, await load(found, true)));
      if (claims === null) throw refused('its signature or one of its claims is wrong');
      return end(deps, found, checkClaims(claims));
    },
  };
}

/** Signature, `iss`, `aud`, `iat`, `exp`, `typ`; null when one of them is wrong. */
async function verify(
  { provider }: LoginProvider,
  token: string,
  keys: JSONWebKeySet,
): Promise<JWTPayload | null> {
  try {
    const { payload, protectedHeader } = await jwtVerify(token, createLocalJWKSet(keys), {
      algorithms,
      issuer: provider.issuer,
      audience: provider.clientId,
      requiredClaims: ['iat', 'jti', 'events'],
      maxTokenAge: maxAgeSeconds,
      clockTolerance: 30,
    });
    const { typ } = protectedHeader;
    return typ === undefined || /^(?:application\/)?(?:logout\+jwt|jwt)$/i.test(typ) ? payload : null;
  } catch {
    return null;
  }
}

/** What a logout token is about. */
interface LogoutClaims {
  readonly iss: string;
  readonly jti: string;
  readonly sub: string | null;
  readonly sid: string | null;
}

/** §2.6, steps 4 to 6. */
function checkClaims(claims: JWTPayload): LogoutClaims {
  const { iss = '', jti, sub, sid, events } = claims;
  const isLogout =
    typeof events === 'object' &&
    events !== null &&
    Object.hasOwn(events, logoutEvent) &&
    isObject((events as Record<string, unknown>)[logoutEvent]);
  if (!isLogout) throw refused('it is about another event');
  if ('nonce' in claims) throw refused('it has a nonce: it is an ID token');
  if (typeof jti !== 'string' || jti === '' || jti.length > 500) throw refused('it has no id');
  const [subject, session] = [textOrNull(sub), textOrNull(sid)];
  if (subject === null && session === null) throw refused('it names neither a person nor a session');
  return { iss, jti, sub: subject, sid: session };
}

async function end(deps: FederationDeps, { provider }: LoginProvider, claims: LogoutClaims): Promise<number> {
  const now = new Date(deps.nowMs());
  const { orgId, id: identityProviderId } = provider;
  const jti = createHash('sha256')
    .update(JSON.stringify(['logout', provider.id, claims.jti]))
    .digest('base64url');
  const logins = await deps.store.transaction(systemScope, async (tx) => {
    const isNew = await recordProof(tx, jti, new Date(now.getTime() + memorySeconds * 1000));
    if (!isNew) throw refused('it was used before');
    const identity = claims.sub === null ? null : await findIdentity(tx, claims.iss, claims.sub);
    // A person we never saw, or of another organisation: there is nothing to end.
    if (claims.sub !== null && identity?.orgId !== orgId) return 0;
    const filter: LoginFilter = {
      ...(identity === null ? {} : { userId: identity.userId }),
      ...(claims.sid === null ? {} : { identityProviderId, upstreamSid: claims.sid }),
    };
    return (await endLogins(tx, orgId, filter, 'upstream_logout', now)).logins;
  });
  deps.appended.notify(orgId);
  return logins;
}

function parseKeys({ status, body }: Awaited<ReturnType<SafeFetch>>): JSONWebKeySet {
  try {
    const parsed: unknown = JSON.parse(body.toString('utf8'));
    if (status === 200 && isObject(parsed) && Array.isArray((parsed as { keys?: unknown }).keys))
      return parsed as unknown as JSONWebKeySet;
  } catch {
    // answered below
  }
  throw new KontextError('KX_PROVIDER_UNREACHABLE', 'the keys of the identity provider cannot be read', {
    why: 'its answer is no key set (RFC 7517 §5)',
  });
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null;

const textOrNull = (value: unknown): string | null =>
  typeof value === 'string' && value !== '' ? value : null;

const refused = (why: string): KontextError =>
  new KontextError('KX_REQUEST_INVALID', 'the logout token is not acceptable', { why });
