import { describe, expect, it } from 'vitest';
import { createInputPairs } from './input-pairs.ts';

describe('pairs of proposed and finished calls', () => {
  it('find the same input the same, whatever the order of its keys', () => {
    const pairs = createInputPairs();
    pairs.propose('a', 'Bash', { command: 'ls', list: [1, { x: 1, y: 2 }] });
    expect(pairs.end('a', 'Bash', { list: [1, { y: 2, x: 1 }], command: 'ls' }, true)).toBe('same');
  });

  it.each([
    ['another value', 'Bash', { command: 'rm' }],
    ['one member more', 'Bash', { command: 'ls', more: null }],
    ['another tool', 'Monitor', { command: 'ls' }],
    ['another shape', 'Bash', ['ls']],
  ])('find %s changed', (_name, tool, input) => {
    const pairs = createInputPairs();
    pairs.propose('a', 'Bash', { command: 'ls' });
    expect(pairs.end('a', tool, input, true)).toBe('changed');
  });

  it('know what was never proposed, and what has ended before', () => {
    const pairs = createInputPairs();
    pairs.propose('a', 'Bash', 1);
    expect(pairs.end('b', 'Bash', 1, true)).toBe('unknown');
    expect([pairs.end('a', 'Bash', 1, true), pairs.end('a', 'Bash', 2, true)]).toEqual(['same', 'again']);
  });

  it('know a call that ran although it was denied, and let the failing of one pass', () => {
    const pairs = createInputPairs();
    pairs.propose('a', 'Bash', 1);
    pairs.deny('a');
    expect([pairs.end('a', 'Bash', 1, false), pairs.end('a', 'Bash', 1, true)]).toEqual(['same', 'denied']);
  });

  it('leave to the user what the prompt lets them change, once they were asked', () => {
    const steady = (_tool: string, input: unknown) => (input as { path: string }).path;
    const change = (isAsked: boolean, path: string) => {
      const pairs = createInputPairs(steady);
      pairs.propose('a', 'Edit', { path: 'x', text: 'one' });
      if (isAsked) pairs.ask('Edit', { path: 'x', text: 'one' });
      return pairs.end('a', 'Edit', { path, text: 'two' }, true);
    };
    expect([change(true, 'x'), change(false, 'x'), change(true, 'y')]).toEqual([
      'same',
      'changed',
      'changed',
    ]);
  });

  it('forget those that ended before those that are open, and never grow beyond the limit', () => {
    const pairs = createInputPairs(undefined, 32);
    for (let index = 0; index < 8; index += 1) pairs.propose(`open ${index}`, 'Bash', index);
    for (let index = 0; index < 500; index += 1) {
      pairs.propose(`t${index}`, 'Bash', index);
      pairs.end(`t${index}`, 'Bash', index, true);
    }
    expect(pairs.end('open 0', 'Bash', 0, true)).toBe('same');
    expect(pairs.end('t0', 'Bash', 0, true)).toBe('unknown');
  });
});
