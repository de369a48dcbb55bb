import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

/** How a person proved who they are (`acr`, OpenID Connect Core §2): with the passcode of a local account. */
export const passcodeAcr = 'urn:kontext:acr:passcode';
/** At the organisation's identity provider. */
export const federatedAcr = 'urn:kontext:acr:federated';

/** Who logged in at a browser. */
export interface BrowserAccount {
  readonly userId: string;
  readonly orgId: string;
  /** When the person proved who they are; at an identity provider what it says itself (`auth_time`). */
  readonly loggedInAtMs: number;
  /** {@link passcodeAcr} or {@link federatedAcr}. */
  readonly acr: string;
  /** Who vouched for them; null for a local account. */
  readonly identityProviderId: string | null;
  /** The session there, where it named one (OIDC Back-Channel Logout 1.0 §2.1). */
  readonly upstreamSid: string | null;
}

/** A login to remember; `loggedInAtMs` is now when left out. */
export type NewBrowserLogin = Omit<BrowserAccount, 'loggedInAtMs'> & { readonly loggedInAtMs?: number };

/** One browser. Before login it is nothing but a signed random id: no visitor makes us store anything. */
export interface BrowserSession {
  /** Secret of the browser. */
  readonly id: string;
  /** What goes into the cookie: `id.signature`. */
  readonly cookie: string;
  /** Goes into every form, proves that the form was ours for this browser. */
  readonly csrf: string;
  /** Whether the browser does not have the cookie yet. */
  readonly isNew: boolean;
  /** Null until somebody logs in. */
  readonly account: BrowserAccount | null;
}

/** Where logins of browsers are kept, by session id; the id must not be stored in clear. */
export interface BrowserLogins {
  save(id: string, account: BrowserAccount, ttlSeconds: number): Promise<void>;
  find(id: string): Promise<BrowserAccount | null>;
  remove(id: string): Promise<void>;
}

/** Sessions of browsers: kept apart from the authorization server's own, because the connect flow needs them too. */
export interface BrowserSessions {
  /** The session a cookie stands for; a fresh one when there is none or its signature is wrong. */
  load(cookie: string | null): Promise<BrowserSession>;
  /** Logs in: the browser gets another id, so that one planted before the login is worth nothing. */
  logIn(session: BrowserSession, account: NewBrowserLogin): Promise<BrowserSession>;
  logOut(session: BrowserSession): Promise<void>;
}

/** Life of a browser login in seconds. What needs a fresher one checks `loggedInAtMs`. */
export const browserLoginSeconds = 8 * 3600;

/**
 * Creates the sessions of browsers.
 *
 * @param key At least 32 bytes, the same for all replicas; signs ids and makes CSRF tokens.
 * @param nowMs Clock.
 */
export function createBrowserSessions(
  key: Uint8Array,
  logins: BrowserLogins,
  nowMs: () => number,
): BrowserSessions {
  const mac = (purpose: string, id: string): string =>
    createHmac('sha256', key).update(`kontext-browser-${purpose}-v1:${id}`).digest('base64url');
  const make = (id: string, isNew: boolean, account: BrowserAccount | null): BrowserSession => ({
    id,
    cookie: `${id}.${mac('id', id)}`,
    csrf: mac('csrf', id),
    isNew,
    account,
  });
  const fresh = (): string => randomBytes(32).toString('base64url');

  return {
    load: async (cookie) => {
      const match = /^([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})$/.exec(cookie ?? '');
      const id = match?.[1];
      if (id === undefined || !sameText(mac('id', id), match?.[2] ?? '')) return make(fresh(), true, null);
      return make(id, false, await logins.find(id));
    },
    logIn: async (session, login) => {
      const account = { loggedInAtMs: nowMs(), ...login };
      const next = make(fresh(), true, account);
      await logins.remove(session.id);
      await logins.save(next.id, account, browserLoginSeconds);
      return next;
    },
    logOut: (session) => logins.remove(session.id),
  };
}

/** Compares two secrets in constant time. */
export function sameText(left: string, right: string): boolean {
  const [a, b] = [Buffer.from(left), Buffer.from(right)];
  return a.length === b.length && timingSafeEqual(a, b);
}
