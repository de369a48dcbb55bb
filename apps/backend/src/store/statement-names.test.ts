import { describe, expect, it } from 'vitest';
import { createStatementNames } from './statement-names.ts';

describe('createStatementNames', () => {
  const often = (nameOf: (text: string) => string | undefined, text: string) =>
    Array.from({ length: 7 }, () => nameOf(text));

  it('names a text from its fifth use on, each with a name of its own', () => {
    const nameOf = createStatementNames();
    const [a, b] = [often(nameOf, 'SELECT 1'), often(nameOf, 'SELECT 2')];
    expect(a.slice(0, 4)).toEqual([undefined, undefined, undefined, undefined]);
    expect(new Set(a.slice(4)).size).toBe(1);
    expect(a[4]).toMatch(/^kontext_\d+$/);
    expect(b[4]).not.toBe(a[4]);
  });

  it('gives a hundred names and no more, and keeps those it gave', () => {
    const nameOf = createStatementNames();
    const last = Array.from({ length: 130 }, (_, n) => often(nameOf, `SELECT ${n}`).at(-1));
    expect(last.filter((name) => name !== undefined)).toHaveLength(100);
    expect(nameOf('SELECT 3')).toBe(last[3]);
  });

  it('is not filled by texts that come once, and names no text of more than 8,000 characters', () => {
    const nameOf = createStatementNames();
    for (let n = 0; n < 5_000; n += 1) expect(nameOf(`once ${n}`)).toBeUndefined();
    expect(often(nameOf, 'x'.repeat(8_001)).at(-1)).toBeUndefined();
    expect(often(nameOf, 'x'.repeat(8_000)).at(-1)).toBeDefined();
  });
});
