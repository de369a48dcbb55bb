import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';

/** A public P-256 key as JWK (RFC 7518 §6.2.1). Coordinates are 32 bytes, base64url without padding. */
export interface P256PublicJwk {
  readonly kty: 'EC';
  readonly crv: 'P-256';
  readonly x: string;
  readonly y: string;
}

/** A private P-256 key as JWK (RFC 7518 §6.2.2). `d` is a secret: it belongs in the keyring and nowhere else. */
export interface P256PrivateJwk extends P256PublicJwk {
  readonly d: string;
}

const coordinate = /^[A-Za-z0-9_-]{43}$/;
const maxCachedKeys = 1024;

/** Imported private keys live as long as the object they came from. */
const privateKeys = new WeakMap<P256PrivateJwk, KeyObject>();

/** Imported keys, newest last: importing costs as much as verifying, and a client comes back with the same key. */
const importedKeys = new Map<string, { readonly key: KeyObject; readonly thumbprint: string }>();

/** Makes a fresh private P-256 key for DPoP proofs, as the JWK the keyring stores. */
export function generateP256Jwk(): P256PrivateJwk {
  const jwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
  return { kty: 'EC', crv: 'P-256', x: String(jwk.x), y: String(jwk.y), d: String(jwk.d) };
}

/** Whether a value has the shape of a public P-256 JWK and holds no private member (RFC 7518 §6.2.2, §6.3.2, §6.4). */
export function isP256PublicJwk(value: unknown): value is P256PublicJwk {
  if (typeof value !== 'object' || value === null) return false;
  const jwk = value as Record<string, unknown>;
  const isPrivate = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'].some((member) =>
    Object.hasOwn(jwk, member),
  );
  return (
    !isPrivate &&
    jwk.kty === 'EC' &&
    jwk.crv === 'P-256' &&
    typeof jwk.x === 'string' &&
    typeof jwk.y === 'string' &&
    coordinate.test(jwk.x) &&
    coordinate.test(jwk.y)
  );
}

/**
 * The name of a key: base64url SHA-256 over its required members in lexical order (RFC 7638 §3).
 *
 * Private members do not count, so a private JWK and its public half have one thumbprint.
 */
export function jwkThumbprint(jwk: P256PublicJwk): string {
  const canonical = JSON.stringify({ crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y });
  return createHash('sha256').update(canonical).digest('base64url');
}

/** The public half of a private JWK, without any other member. */
export const publicHalf = ({ kty, crv, x, y }: P256PublicJwk): P256PublicJwk => ({ kty, crv, x, y });

/**
 * Imports a public key, keeping the last 1,024.
 *
 * @returns The key and its RFC 7638 thumbprint.
 * @throws Error when the point is not on the curve.
 */
export function importP256Jwk(jwk: P256PublicJwk): { readonly key: KeyObject; readonly thumbprint: string } {
  const name = `${jwk.x}.${jwk.y}`;
  const known = importedKeys.get(name);
  if (known) return known;
  const imported = {
    key: createPublicKey({ key: { ...publicHalf(jwk) }, format: 'jwk' }),
    thumbprint: jwkThumbprint(jwk),
  };
  const oldest = importedKeys.size >= maxCachedKeys ? importedKeys.keys().next().value : undefined;
  if (oldest !== undefined) importedKeys.delete(oldest);
  importedKeys.set(name, imported);
  return imported;
}

/**
 * Imports a private key, once per object.
 *
 * @throws Error when it is no key of P-256.
 */
export function importPrivateP256Jwk(jwk: P256PrivateJwk): KeyObject {
  const known = privateKeys.get(jwk);
  if (known) return known;
  const key = createPrivateKey({ key: { ...publicHalf(jwk), d: jwk.d }, format: 'jwk' });
  privateKeys.set(jwk, key);
  return key;
}
