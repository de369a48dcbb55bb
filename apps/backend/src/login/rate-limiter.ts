import { createHash } from 'node:crypto';
import { KontextError } from '@kontext/errors';
import { countDown, countUp } from '../store/queries/rate-limits.ts';
import type { Store } from '../store/store.ts';

/** One limit: so many events within a window. */
export interface RateLimit {
  /** Stable name, part of the counter's key. */
  readonly name: string;
  readonly limit: number;
  readonly windowSeconds: number;
}

/** What a limiter says. */
export interface RateVerdict {
  readonly allowed: boolean;
  /** Seconds until the window ends, at least 1. */
  readonly retryAfterSeconds: number;
}

/** Counts events in fixed windows, in the store, so that replicas and restarts share the counts. */
export interface RateLimiter {
  /** Counts one event. Allowed while the count, this one included, is within the limit. */
  count(limit: RateLimit, subject: string): Promise<RateVerdict>;
  /** Takes one event back that turned out not to count. */
  giveBack(limit: RateLimit, subject: string): Promise<void>;
}

/** Wrong user codes: 5 for one browser and one address each, then 429 (identity.md §2). */
export const wrongUserCode: RateLimit = { name: 'user-code', limit: 5, windowSeconds: 600 };
/** Wrong passcodes of one account. Its 60 bits cannot be guessed; this keeps scrypt from being a burden. */
export const wrongPasscode: RateLimit = { name: 'passcode', limit: 10, windowSeconds: 900 };
/** Device authorization requests of one address. */
export const deviceRequests: RateLimit = { name: 'device', limit: 60, windowSeconds: 60 };
/** Organisations looked for by one address: which e-mail domains log in here is not to be tried out. */
export const organisationLookups: RateLimit = { name: 'organisation', limit: 30, windowSeconds: 60 };
/** Confirmation pages opened or answered by one person. */
export const confirmationsOpened: RateLimit = { name: 'confirm-page', limit: 120, windowSeconds: 600 };

/**
 * Creates a limiter.
 *
 * @param nowMs Clock.
 */
export function createRateLimiter(store: Store, nowMs: () => number): RateLimiter {
  const windowOf = (limit: RateLimit, subject: string) => {
    const windowMs = limit.windowSeconds * 1000;
    const start = Math.floor(nowMs() / windowMs) * windowMs;
    return {
      key: `${limit.name}:${createHash('sha256').update(subject).digest('base64url')}`,
      windowStart: new Date(start),
      expiresAt: new Date(start + windowMs),
    };
  };
  const verdict = (allowed: boolean, expiresAt: Date): RateVerdict => ({
    allowed,
    retryAfterSeconds: Math.max(1, Math.ceil((expiresAt.getTime() - nowMs()) / 1000)),
  });
  const scope = { role: 'system', orgId: null } as const;
  return {
    count: async (limit, subject) => {
      const window = windowOf(limit, subject);
      const count = await store.transaction(scope, (tx) => countUp(tx, window));
      return verdict(count <= limit.limit, window.expiresAt);
    },
    giveBack: (limit, subject) => {
      const { key, windowStart } = windowOf(limit, subject);
      return store.transaction(scope, (tx) => countDown(tx, key, windowStart));
    },
  };
}

/**
 * Lets what is within its limit go on.
 *
 * @throws KontextError `KX_RATE_LIMITED` beyond it, with the seconds to wait in `details.retry_after_seconds`.
 */
export function refuseBeyond({ allowed, retryAfterSeconds }: RateVerdict, message: string): void {
  if (allowed) return;
  throw new KontextError('KX_RATE_LIMITED', message, {
    why: `the next one is let through in ${retryAfterSeconds} s`,
    details: { retry_after_seconds: retryAfterSeconds },
  });
}
