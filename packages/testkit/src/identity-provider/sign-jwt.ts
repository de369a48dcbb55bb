import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

/** The ES256 key of the identity provider, and what it publishes of it. */
export interface SigningKey {
  readonly key: KeyObject;
  readonly jwk: Readonly<Record<string, unknown>>;
}

/** Makes a key. */
export function createSigningKey(): SigningKey {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = { ...privateKey.export({ format: 'jwk' }), kid: 'idp-1', alg: 'ES256', use: 'sig' };
  return { key: privateKey, jwk };
}

/** What the header says; `alg: 'none'` leaves the signature out. */
export interface JwtHeader {
  readonly alg?: string;
  readonly typ?: string;
  readonly kid?: string;
}

/** Signs claims as a compact JWS (RFC 7515 §7.1); by default as the provider itself would. */
export function signJwt({ key }: SigningKey, claims: unknown, header: JwtHeader = {}): string {
  const full = { alg: 'ES256', kid: 'idp-1', ...header };
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const input = `${encode(full)}.${encode(claims)}`;
  if (full.alg === 'none') return `${input}.`;
  const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}

/** The claims of a compact JWS, unverified. */
export const readClaims = (token: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')) as Record<string, unknown>;
