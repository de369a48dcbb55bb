import { describe, expect, it } from 'vitest';
import { joinQuery } from './join-query.ts';

describe('the query of some arguments', () => {
  it.each([
    [[], ''],
    [['actor:alice "rm -rf" since:1d'], 'actor:alice "rm -rf" since:1d'],
    [['actor:alice', 'rm -rf'], 'actor:alice "rm -rf"'],
    [['actor:Alice B', '-tool:a b', 'x'], 'actor:"Alice B" -tool:"a b" x'],
    [['tool:Bash', '"a b" c'], 'tool:Bash "a b" c'],
    [['a', 'C:\\a b'], 'a C:"\\\\a b"'],
  ])('%j is %s', (words, query) => {
    expect(joinQuery(words)).toBe(query);
  });
});
