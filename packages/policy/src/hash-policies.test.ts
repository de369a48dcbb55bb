import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { hashPolicies } from './index.ts';

describe('hashPolicies', () => {
  it('hashes the prefix, then id and text of each policy with their lengths in bytes', () => {
    const bytes = Buffer.concat([
      Buffer.from('kontext-policies-v1'),
      Buffer.from([0, 0, 0, 1]),
      Buffer.from('a'),
      Buffer.from([0, 0, 0, 2]),
      Buffer.from('ü'),
    ]);

    expect(hashPolicies([{ id: 'a', text: 'ü' }])).toBe(createHash('sha256').update(bytes).digest('hex'));
  });

  it('differs when text moves between fields, policies change places, or one is missing', () => {
    const sets = [
      [['a', 'bc']],
      [['ab', 'c']],
      [
        ['a', 'b'],
        ['c', ''],
      ],
      [
        ['c', ''],
        ['a', 'b'],
      ],
      [],
      [['', '']],
    ];
    const hashes = sets.map((set) => hashPolicies(set.map(([id = '', text = '']) => ({ id, text }))));

    expect(new Set(hashes).size).toBe(sets.length);
  });
});
