/** The quick ones of `npm run chaos`, with few faults each; what they promise stands in `list.ts` and docs/chaos.md. */
import { describe, expect, it } from 'vitest';
import { scenarios } from './list.ts';
import { isKept } from './scenario.ts';

describe('through a fault nothing acknowledged is lost or doubled, and the store verifies', () => {
  for (const { name, promise, isQuick, skip, run } of scenarios) {
    const reason = isQuick ? skip() : '`npm run chaos` runs it';
    it.skipIf(reason !== '')(
      `${name}: ${promise}${reason && ` (skipped: ${reason})`}`,
      { timeout: 180_000 },
      async () => {
        const result = await run({ rounds: 2, seconds: 1 });
        expect(result).toMatchObject({ lost: 0, doubled: 0, verify: 0 });
        expect(isKept(result)).toBe(true);
        expect(result.acknowledged).toBeGreaterThan(0);
        expect(result.stored).toBeGreaterThanOrEqual(result.acknowledged);
      },
    );
  }
});
