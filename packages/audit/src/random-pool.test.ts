import { describe, expect, it } from 'vitest';
import { pooledRandomBytes } from './random-pool.ts';

describe('pooled random bytes', () => {
  it('are never handed out twice, over many fills of the pool', () => {
    const drawn = Array.from({ length: 5000 }, () => pooledRandomBytes(12).toString('hex'));

    expect(new Set(drawn).size).toBe(drawn.length);
    expect(drawn.every((text) => text.length === 24)).toBe(true);
  });

  it('stay as they were when more are drawn', () => {
    const first = pooledRandomBytes(16);
    const copy = first.toString('hex');
    for (let n = 0; n < 600; n += 1) pooledRandomBytes(16);

    expect(first.toString('hex')).toBe(copy);
  });
});
