import { KontextError } from '@kontext/errors';

/** What an identity provider says of a person, after its token was verified; nothing here is trusted to be unique but (iss, sub). */
export interface UpstreamIdentity {
  readonly iss: string;
  readonly sub: string;
  /** In lower case; null when there is none, or the provider does not say that it was verified. */
  readonly email: string | null;
  /** Whether there was an address that nobody verified. */
  readonly hasUnverifiedEmail: boolean;
  /** What to show where there is no address. */
  readonly name: string | null;
  /** Null when the claim is missing. */
  readonly groups: readonly string[] | null;
  /** Session at the provider (OIDC Back-Channel Logout 1.0 §2.1). */
  readonly sid: string | null;
  /** When the person proved who they are; null when the provider does not say. */
  readonly authAtMs: number | null;
}

/** Claims of an ID token or a userinfo answer. */
export type Claims = Readonly<Record<string, unknown>>;

const maxGroups = 500;
const maxText = 200;

/**
 * Reads what we use of verified claims.
 *
 * @param claims Of the ID token, completed by those of the userinfo endpoint (OIDC Core §5.3).
 * @param groupsClaim Name of the claim with the groups; with dots also a path (`realm_access.roles`).
 * @throws KontextError `KX_FEDERATED_LOGIN_FAILED` when they name nobody.
 */
export function parseIdentity(claims: Claims, groupsClaim: string): UpstreamIdentity {
  const { iss, sub } = claims;
  // OIDC Core §2: at most 255 ASCII characters.
  if (typeof iss !== 'string' || typeof sub !== 'string' || !/^[\x20-\x7e]{1,255}$/.test(sub)) {
    throw new KontextError('KX_FEDERATED_LOGIN_FAILED', 'the identity provider names nobody', {
      why: 'its ID token has no usable sub',
    });
  }
  const address = parseEmail(claims.email);
  // Some providers send the boolean as text.
  const isVerified = claims.email_verified === true || claims.email_verified === 'true';
  return {
    iss,
    sub,
    email: isVerified ? address : null,
    hasUnverifiedEmail: address !== null && !isVerified,
    name: chosenName(claims.preferred_username) ?? chosenName(claims.name),
    groups: parseGroups(findClaim(claims, groupsClaim)),
    sid: shortText(claims.sid),
    authAtMs: typeof claims.auth_time === 'number' ? claims.auth_time * 1000 : null,
  };
}

/** An e-mail address in lower case; null for what is none. */
export function parseEmail(value: unknown): string | null {
  if (typeof value !== 'string' || value.length > 254) return null;
  // ASCII alone: the Kelvin sign is a `k` in lower case, and an account with it somebody else's.
  const address = value.trim().replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  return /^[^\s@<>"\\,;:\p{C}]+@[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/u.test(address) ? address : null;
}

/** The domain of an address that {@link parseEmail} gave. */
export const domainOf = (email: string): string => email.slice(email.lastIndexOf('@') + 1);

function findClaim(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  let value: unknown = claims;
  for (const part of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Claims)[part];
  }
  return value;
}

function parseGroups(value: unknown): readonly string[] | null {
  if (value === undefined || value === null) return null;
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  const names = list.map(shortText).filter((name): name is string => name !== null);
  return [...new Set(names)].slice(0, maxGroups);
}

/** People choose these names themselves: one must not pass for the verified address of somebody else. */
function chosenName(value: unknown): string | null {
  const text = shortText(value);
  return text?.includes('@') ? null : text;
}

function shortText(value: unknown): string | null {
  if (typeof value !== 'string') return null;
  const text = value.trim();
  return text === '' || text.length > maxText || /\p{Cc}/u.test(text) ? null : text;
}
