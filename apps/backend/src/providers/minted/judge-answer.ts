import { KontextError } from '@kontext/errors';
import { type SafeAnswer, unreachable } from '../safe-fetch.ts';

/** What a credential may be made of: visible ASCII of at most 64 KiB, so that an environment, a header and a URL can carry it. */
export const usableToken = /^[\x21-\x7e]{1,65536}$/;

/**
 * The error of an answer after which the same request may work later: 408, 429, 5xx, and a 403 that is a rate limit.
 *
 * @returns Null for any other answer.
 */
export function whyTransient(who: string, { status, headers }: SafeAnswer): KontextError | null {
  const isLimit = status === 429 || (status === 403 && isRateLimit(headers));
  if (!isLimit && status !== 408 && status < 500) return null;
  const seconds = Number(headers['retry-after'] ?? Number.NaN);
  const retryAfter = Number.isInteger(seconds) && seconds >= 0 ? Math.min(seconds, 3600) : undefined;
  return unreachable('status', who, `it answered ${status}`, retryAfter);
}

/** GitHub's way to say so. */
const isRateLimit = (headers: SafeAnswer['headers']): boolean =>
  headers['retry-after'] !== undefined || headers['x-ratelimit-remaining'] === '0';

/** The error of an answer that no provider of this kind gives: nothing of it is quoted, it can hold a token. */
export const badAnswer = (who: string, why: string): KontextError => unreachable('answer', who, why);

/** A clear no of the provider. */
export const mintRefused = (who: string, why: string): KontextError =>
  new KontextError('KX_MINT_REFUSED', `${who} refused: ${why}`);

/** Reads a JSON body; null when it is none. */
export function parseBody(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return null;
  }
}
