import { leaseSeconds } from '@kontext/oauth';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { refreshMarginMs } from './token-life.ts';

describe('refreshMarginMs', () => {
  it.each([
    ['eight hours', 28_800_000, 1_800_000],
    ['an hour', 3_600_000, 360_000],
    ['five minutes', 300_000, 60_000],
    ['a minute', 60_000, 31_000],
    ['45 seconds', 45_000, 31_000],
    ['20 seconds', 20_000, 20_000],
  ])('of a token that lives %s', (_, lifeMs, marginMs) => {
    expect(refreshMarginMs(lifeMs)).toBe(marginMs);
  });

  it('leaves no moment in which a token is neither refreshed nor long enough to be handed out', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 32_000, max: 90_000_000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (lifeMs, share) => {
          const leftMs = Math.ceil(lifeMs * share);
          if (leftMs <= refreshMarginMs(lifeMs)) return;
          expect(leaseSeconds(leftMs / 1000, 3600)).toBeGreaterThan(0);
        },
      ),
    );
  });
});
