import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createLineSum } from './line-sum.ts';

it('is the SHA-256 of the lines with their line feeds, however many and long they are', () => {
  const piece = fc.constantFrom('a', 'é', '☂', '😀', '\ud800', '');
  const line = fc.tuple(piece, fc.constantFrom(0, 1, 7, 20_000, 87_381, 87_382, 262_143, 262_144));
  fc.assert(
    fc.property(fc.array(line, { maxLength: 12 }), (parts) => {
      const lines = parts.map(([text, times]) => text.repeat(times));
      const sum = createLineSum();
      for (const text of lines) sum.add(text);

      const whole = lines.map((text) => `${text}\n`).join('');
      expect(sum.digest()).toEqual(createHash('sha256').update(whole).digest());
    }),
    { numRuns: 40 },
  );
});
