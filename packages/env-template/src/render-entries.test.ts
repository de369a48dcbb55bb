import { describe, expect, it } from 'vitest';
import { listPlaceholders, parseEnvTemplate, renderEntries, templateFingerprint } from './index.ts';

const parse = (text: string) => parseEnvTemplate(Buffer.from(text));

describe('renderEntries', () => {
  it('joins literals and values, inserted as they are', () => {
    const { entries } = parse('A="x\\n{{kontext:a}}{{kontext:b}}"\nC=\nD={{kontext:a}}');

    const { variables, missing } = renderEntries(
      entries,
      new Map([
        ['a', '{{kontext:b}}$&\\n'],
        ['b', ''],
      ]),
    );

    expect([...variables]).toEqual([
      ['A', 'x\n{{kontext:b}}$&\\n'],
      ['C', ''],
      ['D', '{{kontext:b}}$&\\n'],
    ]);
    expect(missing).toEqual([]);
  });

  it('leaves out a variable that lacks any value and names every missing placeholder', () => {
    const { entries } = parse('A={{kontext:a}}{{kontext:b}}{{kontext:c}}\nB=x');

    const { variables, missing } = renderEntries(entries, new Map([['b', 'v']]));

    expect([...variables.keys()]).toEqual(['B']);
    expect(missing.map(({ name, placeholder }) => [name, placeholder.key])).toEqual([
      ['A', 'a'],
      ['A', 'c'],
    ]);
  });
});

describe('listPlaceholders', () => {
  it('names each request once, whatever its spelling', () => {
    const { entries } = parse('A={{kontext:a?scope=x+y}}\nB=<<kontext:a?scope=y+x>>\nC={{kontext:b}}');

    expect(listPlaceholders(entries).map(({ key, line }) => [key, line])).toEqual([
      ['a?scope=x+y', 1],
      ['b', 3],
    ]);
  });
});

describe('templateFingerprint', () => {
  const fingerprint = (text: string) => templateFingerprint(parse(text));
  const base = 'A={{kontext:a}}\nB={{kontext:b}}\nPATH=/x\nC=1';

  it('is 64 lower-case hex digits', () => {
    expect(fingerprint('')).toMatch(/^[0-9a-f]{64}$/);
  });

  it.each([
    ['a comment', `# hello\n${base}`],
    ['the order', 'PATH=/x\nB={{kontext:b}}\nC=1\nA={{kontext:a}}'],
    ['the spelling', base.replace('{{kontext:a}}', '<<kontext:a>>')],
    ['a literal', `${base}\nD=2`],
    ['line ends', base.replaceAll('\n', '\r\n')],
    ['another use of a placeholder', `${base}\nD={{kontext:a}}`],
  ])('stays the same when %s changes', (_what, text) => {
    expect(fingerprint(text)).toBe(fingerprint(base));
  });

  it.each([
    ['a placeholder is added', `${base}\nD={{kontext:d}}`],
    ['a scope is added', base.replace('kontext:a}}', 'kontext:a?scope=x}}')],
    ['a placeholder goes', base.replace('{{kontext:a}}', 'x')],
    ['a refused name is added', `${base}\nNODE_OPTIONS=-r x`],
    ['a refused name goes', base.replace('PATH', 'P')],
  ])('changes when %s', (_what, text) => {
    expect(fingerprint(text)).not.toBe(fingerprint(base));
  });

  it('tells a placeholder from a refused name', () => {
    expect(fingerprint('A={{kontext:path}}')).not.toBe(fingerprint('PATH=1'));
  });
});
