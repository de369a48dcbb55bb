import type { TokenSet } from './token-set.ts';

const minuteMs = 60_000;
/** A token whose life is unknown is refreshed after so long, when it can be. */
const assumedLifeMs = 60 * minuteMs;

/**
 * How long before its end a token is refreshed: a tenth of its life, at least 60 s and at most 30 min (at some providers a
 * refresh ends the token before it, which other sessions still use), and not more than half its life. But never so little
 * that what is left could not be handed out: a lease is 30 s shorter than its token.
 */
export function refreshMarginMs(lifeMs: number): number {
  const wanted = Math.min(Math.max(lifeMs / 10, minuteMs), 30 * minuteMs, lifeMs / 2);
  return Math.max(wanted, Math.min(lifeMs, 31_000));
}

/**
 * Whether a token should be replaced before it is handed out.
 *
 * @param beforeSeconds How long before its end, where the provider has a time of its own (`OAuth2Quirks`); never more than
 *   half the token's life, never so little that what is left could not be handed out. Null: as `refreshMarginMs` says.
 */
export function needsRefresh(
  { receivedAtMs, expiresAtMs, refreshToken }: TokenSet,
  nowMs: number,
  beforeSeconds: number | null = null,
): boolean {
  if (expiresAtMs === null) return refreshToken !== null && nowMs - receivedAtMs >= assumedLifeMs;
  const lifeMs = expiresAtMs - receivedAtMs;
  const marginMs =
    beforeSeconds === null
      ? refreshMarginMs(lifeMs)
      : Math.max(Math.min(beforeSeconds * 1000, lifeMs / 2), Math.min(lifeMs, 31_000));
  return expiresAtMs - nowMs <= marginMs;
}

/** Whether a token may still work. One of unknown life may. */
export const isAlive = ({ expiresAtMs }: TokenSet, nowMs: number): boolean =>
  expiresAtMs === null || expiresAtMs > nowMs;
