import { createHmac, timingSafeEqual } from 'node:crypto';

/** Hands out and recognises the nonces of RFC 9449 §8 and §9 without storing them. */
export interface NonceIssuer {
  /** A nonce for the `DPoP-Nonce` header, valid for 5 minutes from now. */
  issue(nowMs: number): string;
  /** Whether a nonce was made with this secret within the last 5 minutes. */
  isValid(nonce: string, nowMs: number): boolean;
}

const lifeSeconds = 300;
/** Replicas' clocks differ a little; one may see a nonce "from the future". */
const skewSeconds = 30;
const shape = /^[A-Za-z0-9_-]{32}$/;

/**
 * Makes a nonce issuer.
 *
 * A nonce is eight bytes of time in seconds and sixteen bytes of HMAC-SHA-256 over them, base64url. It may be used
 * more than once within its life; replay of one proof is stopped by its `jti`.
 *
 * @param secret At least 32 bytes, the same for all replicas.
 */
export function createNonceIssuer(secret: Uint8Array): NonceIssuer {
  if (secret.length < 32) throw new RangeError('the nonce secret must have at least 32 bytes');
  const tag = (time: Buffer) =>
    createHmac('sha256', secret).update('kontext-dpop-nonce-v1').update(time).digest().subarray(0, 16);
  return {
    issue(nowMs) {
      const time = Buffer.alloc(8);
      time.writeBigUInt64BE(BigInt(Math.floor(nowMs / 1000)));
      return Buffer.concat([time, tag(time)]).toString('base64url');
    },
    isValid(nonce, nowMs) {
      if (!shape.test(nonce)) return false;
      const bytes = Buffer.from(nonce, 'base64url');
      const time = bytes.subarray(0, 8);
      if (!timingSafeEqual(tag(time), bytes.subarray(8))) return false;
      const ageSeconds = nowMs / 1000 - Number(time.readBigUInt64BE());
      return ageSeconds <= lifeSeconds && ageSeconds >= -skewSeconds;
    },
  };
}
