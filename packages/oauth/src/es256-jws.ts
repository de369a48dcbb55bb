/**
 * Compact JWS with ES256 (RFC 7515, RFC 7518 §3.4), by `node:crypto`: no thread pool in between, and keys are imported once.
 *
 * What is signed is judged by the caller: type, claims, which key.
 */
import { sign, verify } from 'node:crypto';
import { importP256Jwk, importPrivateP256Jwk, type P256PrivateJwk, type P256PublicJwk } from './p256-jwk.ts';

/** A JWS taken apart; its signature is not verified. */
export interface DecodedJws {
  readonly header: Readonly<Record<string, unknown>>;
  readonly payload: Readonly<Record<string, unknown>>;
  /** What the signature is over. */
  readonly signed: string;
  readonly signature: Buffer;
}

const base64url = /^[A-Za-z0-9_-]+$/;

/** Takes a compact JWS apart (RFC 7515 §5.2 steps 1 to 3); null when it is none, or a part is no JSON object. */
export function decodeJws(text: string): DecodedJws | null {
  const [head, body, tail, extra] = text.split('.');
  if (!head || !body || !tail || extra !== undefined) return null;
  if (![head, body, tail].every((part) => base64url.test(part))) return null;
  const [header, payload] = [jsonObject(head), jsonObject(body)];
  if (header === null || payload === null) return null;
  return { header, payload, signed: `${head}.${body}`, signature: Buffer.from(tail, 'base64url') };
}

/** Whether a key made the signature; false too when the key is no point of P-256. */
export function verifyJws({ signed, signature }: DecodedJws, jwk: P256PublicJwk): boolean {
  try {
    const { key } = importP256Jwk(jwk);
    // RFC 7518 §3.4: the signature is R ‖ S, 64 bytes, not DER.
    return verify('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' }, signature);
  } catch {
    return false;
  }
}

/** Signs a payload (RFC 7515 §5.1). Pass the same key object each time: its import is kept with it. */
export function signJws(header: object, payload: object, jwk: P256PrivateJwk): string {
  const signed = `${encodePart(header)}.${encodePart(payload)}`;
  const key = { key: importPrivateP256Jwk(jwk), dsaEncoding: 'ieee-p1363' as const };
  return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`;
}

const encodePart = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url');

function jsonObject(part: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}
