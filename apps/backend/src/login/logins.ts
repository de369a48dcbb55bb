import {
  findGrantOfRefreshToken,
  findLoginStanding,
  insertLogin,
  type LoginStanding,
  touchLogin,
} from '../store/queries/logins.ts';
import type { Store } from '../store/store.ts';
import type { BrowserAccount } from './browser-sessions.ts';
import { endLogins, type LoginEndReason } from './end-logins.ts';
import { hashOidcId } from './oidc-adapter.ts';

const daySeconds = 86_400;
/** A login that is not used for so long is gone (identity.md §5). */
export const idleSeconds = 30 * daySeconds;
/** A login is gone after so long, used or not. */
export const absoluteSeconds = 90 * daySeconds;
/** `last_used_at` is no finer than this: a busy login does not write a row per refresh. */
const touchEveryMs = 60_000;

/** `acr` of the tokens of a login that was approved with a user code: whoever approves may sit elsewhere (RFC 8628 §5.4). */
export const deviceAcr = 'urn:kontext:acr:device';
/** `acr` of the tokens of a login whose browser led straight back to the terminal. */
export const loopbackAcr = 'urn:kontext:acr:browser';

/** Why a login does not go on, for programs: `failure_reason` of the token endpoint's `invalid_grant`. */
export type LoginRefusal =
  | 'login_idle'
  | 'login_expired'
  | 'login_revoked'
  | 'login_reused'
  | 'account_suspended'
  | 'identity_provider_logout'
  | 'identity_provider_disabled'
  | 'identity_provider_login_required'
  | 'identity_provider_removed';

/** A login that begins. */
export interface NewLogin {
  /** Who is at the browser and decided. */
  readonly account: BrowserAccount;
  readonly clientId: string;
  /** As the terminal states it. */
  readonly machine: string | null;
  readonly address: string;
}

/** The logins of terminals: how they begin, go on and end. */
export interface Logins {
  /** Stores the login before any token of its grant exists. */
  begin(grantId: string, login: NewLogin): Promise<void>;
  /** Why no more tokens may come from a grant; null when they may. */
  refusal(grantId: string): Promise<LoginRefusal | null>;
  /** Notes the use of a login, at most once a minute. */
  touch(grantId: string): Promise<void>;
  /** Why a refresh token is refused, as far as its login says; null when it says nothing. */
  explain(refreshToken: string): Promise<LoginRefusal | null>;
  /** Ends the login of a grant and what hangs on it; nothing when it is unknown or has ended. */
  end(grantId: string, reason: LoginEndReason): Promise<void>;
}

const system = { role: 'system', orgId: null } as const;

/** Creates the logins. */
export function createLogins(store: Store, nowMs: () => number): Logins {
  const standing = (grantIdHash: string) =>
    store.transaction(system, (tx) => findLoginStanding(tx, grantIdHash));
  return {
    begin: (grantId, { account, clientId, machine, address }) => {
      const now = new Date(nowMs());
      const { userId, orgId, acr, identityProviderId, upstreamSid } = account;
      return store.transaction(system, (tx) =>
        insertLogin(tx, {
          ...{ grantIdHash: hashOidcId('Grant', grantId), orgId, userId, clientId, machine, address },
          ...{ acr, identityProviderId, upstreamSid, authAt: new Date(account.loggedInAtMs) },
          ...{ createdAt: now, lastUsedAt: now },
          absoluteExpiresAt: new Date(now.getTime() + absoluteSeconds * 1000),
        }),
      );
    },
    refusal: async (grantId) => {
      const found = await standing(hashOidcId('Grant', grantId));
      return found === null ? 'login_revoked' : refusalOf(found, nowMs());
    },
    touch: (grantId) => {
      const now = nowMs();
      const unlessAfter = new Date(now - touchEveryMs);
      return store.transaction(system, (tx) =>
        touchLogin(tx, hashOidcId('Grant', grantId), new Date(now), unlessAfter),
      );
    },
    explain: async (refreshToken) => {
      const found = await store.transaction(system, async (tx) => {
        const grant = await findGrantOfRefreshToken(tx, hashOidcId('RefreshToken', refreshToken));
        return grant === null ? null : findLoginStanding(tx, grant);
      });
      return found && refusalOf(found, nowMs());
    },
    end: async (grantId, reason) => {
      const grantIdHash = hashOidcId('Grant', grantId);
      const found = await standing(grantIdHash);
      if (found === null) return;
      await store.transaction(system, (tx) =>
        endLogins(tx, found.login.orgId, { grantIdHash }, reason, new Date(nowMs())),
      );
    },
  };
}

const refusals: Readonly<Record<LoginEndReason, LoginRefusal>> = {
  logout: 'login_revoked',
  revoked: 'login_revoked',
  reused: 'login_reused',
  suspended: 'account_suspended',
  upstream_logout: 'identity_provider_logout',
  upstream_disabled: 'identity_provider_disabled',
  upstream_expired: 'identity_provider_login_required',
  identity_provider_removed: 'identity_provider_removed',
};

/** What ended it first is the reason; a suspended account comes before a login that grew old. */
function refusalOf({ login, userDisabled }: LoginStanding, nowMs: number): LoginRefusal | null {
  if (login.revokedAt !== null) return refusals[login.endReason as LoginEndReason] ?? 'login_revoked';
  if (userDisabled) return 'account_suspended';
  if (login.absoluteExpiresAt.getTime() <= nowMs) return 'login_expired';
  if (login.lastUsedAt.getTime() + idleSeconds * 1000 <= nowMs) return 'login_idle';
  return null;
}
