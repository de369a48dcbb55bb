import { KontextError } from '@kontext/errors';
import { isP256PublicJwk, type P256PrivateJwk } from '@kontext/oauth';
import { Secret } from '@kontext/redaction';

/** The developer's login, as kept between runs. Access tokens are never part of it. */
export interface Login {
  readonly refreshToken: Secret;
  /** Private key the tokens are bound to (RFC 9449). */
  readonly jwk: P256PrivateJwk;
  readonly iss: string;
  /** User id, `usr_…`. */
  readonly sub: string;
  /** Name the user is shown by. */
  readonly name: string;
  /** Organisation id, `org_…`. */
  readonly org: string;
  /** RFC 7638 thumbprint of the key that signs policy snapshots, pinned at login. */
  readonly policyKey: string;
  /** C2SP verifier key of the organisation's audit log, pinned at login; left out when the log had none: pinned at first use. */
  readonly logKey?: string;
}

/** Windows Credential Manager is the narrowest store: 2,560 bytes in UTF-16. */
const maxItemLength = 1_200;
const maxNameLength = 128;

/**
 * Encodes a login for the store, format 1.
 *
 * @throws KontextError `KX_KEYRING_ITEM_INVALID` when the item would be 1,200 characters or longer.
 */
export function encodeLogin(login: Login): string {
  const { kty, crv, x, y, d } = login.jwk;
  const text = JSON.stringify({
    v: 1,
    refreshToken: login.refreshToken.reveal(),
    jwk: { kty, crv, x, y, d },
    iss: login.iss,
    sub: login.sub,
    name: login.name.slice(0, maxNameLength),
    org: login.org,
    policyKey: login.policyKey,
    ...(login.logKey === undefined ? {} : { logKey: login.logKey }),
  });
  if (text.length >= maxItemLength) {
    throw new KontextError('KX_KEYRING_ITEM_INVALID', 'the login is too large for the keyring', {
      why: `it has ${text.length} characters, ${maxItemLength} are the limit of keyrings`,
    });
  }
  return text;
}

/**
 * Reads a stored login.
 *
 * @throws KontextError `KX_KEYRING_ITEM_INVALID` when it is not a login of format 1.
 */
export function parseLogin(text: string): Login {
  const item = parseObject(text);
  const jwk = item.jwk;
  const refreshToken = item.refreshToken;
  if (item.v !== 1 || typeof refreshToken !== 'string' || !isPrivateJwk(jwk)) throw invalid();
  const field = (name: string): string => {
    const value = item[name];
    if (typeof value !== 'string') throw invalid();
    return value;
  };
  return {
    refreshToken: new Secret(refreshToken),
    jwk,
    iss: field('iss'),
    sub: field('sub'),
    name: field('name'),
    org: field('org'),
    policyKey: field('policyKey'),
    ...(item.logKey === undefined ? {} : { logKey: field('logKey') }),
  };
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // The text may hold the token: it must not travel on as a cause.
  }
  throw invalid();
}

function isPrivateJwk(value: unknown): value is P256PrivateJwk {
  if (typeof value !== 'object' || value === null || !('d' in value)) return false;
  const { d, ...publicHalf } = value as Record<string, unknown>;
  return typeof d === 'string' && isP256PublicJwk(publicHalf);
}

const invalid = () => new KontextError('KX_KEYRING_ITEM_INVALID', 'the stored login cannot be read');
