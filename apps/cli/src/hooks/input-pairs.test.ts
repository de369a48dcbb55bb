import { describe, expect, it } from 'vitest';
import { createInputPairs } from './input-pairs.ts';

describe('input pairs', () => {
  it('tell a changed input, once', () => {
    const pairs = createInputPairs();
    pairs.propose('t1', { command: 'ls', nested: { a: 1, b: 2 } });
    expect(pairs.differs('t1', { command: 'rm' })).toBe(true);
    expect(pairs.differs('t1', { command: 'rm' })).toBe(false);
  });

  it('take another order of keys for the same, another order of items for a change', () => {
    const pairs = createInputPairs();
    pairs.propose('t1', { a: 1, b: { c: [1, 2], d: 3 } });
    pairs.propose('t2', [1, 2]);
    expect(pairs.differs('t1', { b: { d: 3, c: [1, 2] }, a: 1 })).toBe(false);
    expect(pairs.differs('t2', [2, 1])).toBe(true);
  });

  it('say nothing about calls they have not seen', () => {
    expect(createInputPairs().differs('t9', {})).toBe(false);
  });

  it('forget the oldest beyond their limit', () => {
    const pairs = createInputPairs(2);
    for (const id of ['t1', 't2', 't3']) pairs.propose(id, id);
    expect(pairs.differs('t1', 'other')).toBe(false);
    expect(pairs.differs('t2', 'other')).toBe(true);
    expect(pairs.differs('t3', 'other')).toBe(true);
  });
});
