import { KontextError } from '@kontext/errors';

/** What answers tell about the time. */
export interface ServerClock {
  /** Server's clock minus ours at the last answer, in milliseconds; null before the first. */
  skewMs: number | null;
}

/** Beyond this a machine's clock is worth a word (proofs are judged within 60 s). */
export const maxSkewMs = 60_000;

/** @param skewMs Server's clock minus ours. */
export const clockError = (skewMs: number, cause?: unknown): KontextError =>
  new KontextError('KX_CLOCK_SKEW', 'the backend refuses the login because of the clock', {
    why: `this machine is ${Math.round(Math.abs(skewMs) / 1000)} s ${skewMs > 0 ? 'behind' : 'ahead of'} the backend`,
    details: { skew_ms: skewMs },
    ...(cause === undefined ? {} : { cause }),
  });
