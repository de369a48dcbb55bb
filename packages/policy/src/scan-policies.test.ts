import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { boundKind, dependsOnResource, depthOf, splitPolicies } from './scan-policies.ts';

describe('splitPolicies', () => {
  it('gives pieces that stand where they say, and loses no sign but space and comments', () => {
    const sign = fc.constantFrom('"', '\\', ';', '//', '\n', ' ', 'a', '(', ')', '|', 'ü', '😀', '\ufeff');
    fc.assert(
      fc.property(fc.array(sign, { maxLength: 40 }), (signs) => {
        const text = signs.join('');
        const pieces = splitPolicies(text);
        for (const piece of pieces) expect(text.slice(piece.start).startsWith(piece.text)).toBe(true);
        const ends = pieces.map(({ start, text: { length } }) => start + length);
        expect(pieces.every(({ start }, index) => start >= (ends[index - 1] ?? 0))).toBe(true);
        expect(pieces.every(({ text: piece }) => piece !== '')).toBe(true);
      }),
    );
  });

  it('reads a million quotes without recursion', () => {
    expect(splitPolicies('"\\"'.repeat(300_000)).length).toBe(1);
  });
});

describe('dependsOnResource', () => {
  const rule = (head: string, condition = 'true') =>
    `forbid (principal, action, ${head}) when { ${condition} };`;

  it.each([
    [false, rule('resource')],
    [false, rule('resource \n ')],
    [true, rule('resource is Command')],
    [true, rule('resource == Tool::"x"')],
    [true, rule('resource in McpServer::"x"')],
    [true, rule('resource', 'resource is Command')],
    [true, rule('resource // free\n is Command')],
    [true, rule('resource', 'context.tool == "resource"')],
    [true, 'no policy at all'],
  ])('is %s for %s', (expected, text) => {
    expect(dependsOnResource(text)).toBe(expected);
  });
});

describe('boundKind', () => {
  const rule = (head: string, before = '') =>
    `${before}forbid (principal, action == Action::"tool_call", ${head}) when { true };`;

  it.each([
    ['command', rule('resource is Command')],
    ['command', rule('resource == Command::"git"')],
    ['command', rule('resource // the program\n is Command,')],
    ['mcp', rule('resource in McpServer::"github"')],
    ['mcp', rule('resource is McpTool')],
    ['host', rule('resource is Host', '@id("a") @reason("forbid (resource is File)")\n')],
    ['file', rule('resource is File', '@forbid("x") ')],
    ['none', rule('resource is Provider')],
    [null, rule('resource')],
    [null, rule('resource is Command in Command::"git"')],
    [null, rule('resource is Other::Command')],
    [null, rule('resource in [Command::"git", File::"/x"]')],
    [null, rule('resource is Unheard')],
    [null, 'no policy at all'],
    [null, 'forbid ('],
  ])('is %s for %s', (expected, text) => {
    expect(boundKind(text)).toBe(expected);
  });
});

describe('depthOf', () => {
  it.each([
    ['operators in a row', 'a || b && c + d - e * f', 5],
    ['brackets, the deepest of them', '(a) [b [c]] {d}', 10],
    ['attributes in a row, the longest', 'a.b.c == d.e.f.g', 5],
    ['nothing in strings and comments', '"((( || \\" (" // ((( ||', 0],
    ['brackets that never close', '((((', 16],
    ['brackets that never opened', '))))', 12],
    ['a list however long', `[${'"a",'.repeat(1000)}]`, 4],
  ])('counts %s', (_what, text, depth) => {
    expect(depthOf(text)).toBe(depth);
  });
});
