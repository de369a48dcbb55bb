import { readFileSync } from 'node:fs';
import { KontextError } from '@kontext/errors';
import { describe, expect, it } from 'vitest';
import { parseEnvTemplate, renderEntries } from './index.ts';

const parse = (text: string) => parseEnvTemplate(Buffer.from(text));

/** The variables with every placeholder shown as `<key>`. */
const variables = (text: string): Record<string, string> => {
  const { entries } = parse(text);
  const keys = entries
    .flatMap(({ parts }) => parts)
    .flatMap((part) => (typeof part === 'string' ? [] : part.key));
  return Object.fromEntries(renderEntries(entries, new Map(keys.map((key) => [key, `<${key}>`]))).variables);
};

const problems = (text: string) =>
  parse(text).problems.map(({ code, line, column, severity }) => ({ code, line, column, severity }));

const thrown = (bytes: Uint8Array): KontextError => {
  try {
    parseEnvTemplate(bytes);
  } catch (error) {
    if (error instanceof KontextError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};

const syntaxAt = (line: number, column: number) => ({
  code: 'KX_TEMPLATE_SYNTAX',
  line,
  column,
  severity: 'error',
});

describe('values', () => {
  it.each([
    ['a literal', 'A=debug', 'debug'],
    ['an empty value', 'A=', ''],
    ['an empty value before a comment', 'A= # nothing', ''],
    ['spaces around', '  A  =  x y \t', 'x y'],
    ['export', 'export A=x', 'x'],
    ['no end of line', 'A=x', 'x'],
    ['CRLF', 'A=x\r\n', 'x'],
    ['a lone carriage return', 'A=x\rB=y', 'x'],
    ['a byte order mark', '\uFEFFA=x', 'x'],
    ['a comment behind a space', 'A=x # y', 'x'],
    ['a comment behind a tab', 'A=x\t#y', 'x'],
    ['a number sign inside a word', 'A=x#y', 'x#y'],
    ['a number sign at the start', 'A=#5', '#5'],
    ['an equals sign', 'A=x=y=', 'x=y='],
    ['a quote inside a word', `A=it's "so"`, `it's "so"`],
    ['no expansion', 'A=$HOME/$(x)', '$HOME/$(x)'],
    ['no expansion in braces', `A="$\{HOME}"`, `$\{HOME}`],
    ['single quotes, literally', String.raw`A='a\n"b" # c'`, String.raw`a\n"b" # c`],
    ['double quotes with escapes', String.raw`A="a\n\t\r\"\\b"`, 'a\n\t\r"\\b'],
    ['unknown escapes left alone', String.raw`A="\d\$x"`, String.raw`\d\$x`],
    ['an escaped backslash before n', String.raw`A="\\n"`, String.raw`\n`],
    ['backquotes, literally', 'A=`"a" \'b\' \\n`', '"a" \'b\' \\n'],
    ['a comment behind a quote', 'A="x" # y', 'x'],
    ['a comment directly behind a quote', "A='x'#y", 'x'],
    ['spaces kept in quotes', 'A=" x "', ' x '],
    ['several lines in double quotes', 'A="one\r\ntwo"\r\nB=x', 'one\ntwo'],
    ['several lines in single quotes', "A='one\n# two\nB=three'", 'one\n# two\nB=three'],
    ['several lines in backquotes', 'A=`one\n\ntwo`', 'one\n\ntwo'],
    ['letters beyond ASCII', 'A=żółć 🔑', 'żółć 🔑'],
    ['the name export', 'export=1\nA=2', '2'],
    ['the name export before a space', 'export =1\nA=2', '2'],
  ])('reads %s', (_what, text, value) => {
    expect(variables(text).A).toBe(value);
    expect(problems(text)).toEqual([]);
  });

  it('passes over comments and blank lines', () => {
    expect(parse('# a\n\n  \t\n   # b\r\n\n').entries).toEqual([]);
  });

  it('records the line of each name, also behind a value of several lines', () => {
    const { entries } = parse('# one\nA="x\ny"\n\n  B=z');

    expect(entries.map(({ name, line }) => [name, line])).toEqual([
      ['A', 2],
      ['B', 5],
    ]);
  });
});

describe('placeholders', () => {
  it('reads both spellings as the same request', () => {
    expect(variables('A={{kontext:linear}}\nB=<<kontext:linear>>')).toEqual({ A: '<linear>', B: '<linear>' });
  });

  it('keeps the text around embedded placeholders', () => {
    const text = 'API="https://user:{{kontext:acme}}@api.test/<<kontext:other/x>>?"';

    expect(variables(text)).toEqual({ API: 'https://user:<acme>@api.test/<other/x>?' });
  });

  it.each(["'", '"', '`'])('reads a placeholder in %s quotes', (quote) => {
    expect(variables(`A=${quote}{{kontext:github}}${quote}`)).toEqual({ A: '<github>' });
  });

  it('gives line and column where the placeholder stands, also on a later line of a value', () => {
    const [entry] = parse('\uFEFF\r\nA="first\r\n  \\n{{kontext:github}}"').entries;

    expect(entry?.parts).toEqual([
      'first\n  \n',
      { provider: 'github', resource: '', scopes: [], delivery: 'inject', key: 'github', line: 3, column: 5 },
    ]);
  });

  it('resolves escapes around a placeholder, not inside', () => {
    expect(variables(String.raw`A="\\{{kontext:a}}\""`)).toEqual({ A: '\\<a>"' });
    expect(problems(String.raw`A="{{kontext:a\"}}"`)).toMatchObject([{ code: 'KX_TEMPLATE_PLACEHOLDER' }]);
  });

  it('reads a third bracket as text', () => {
    expect(variables('A={{{kontext:a}}}')).toEqual({ A: '{<a>}' });
  });

  it('leaves other templates alone', () => {
    const text = 'A={{ other:github }}\nB=<<EOF\nC={{kontextual:x}}';

    expect(variables(text)).toEqual({ A: '{{ other:github }}', B: '<<EOF', C: '{{kontextual:x}}' });
    expect(problems(text)).toEqual([]);
  });

  it.each([
    ['no end', '{{kontext:github'],
    ['the wrong end', '{{kontext:github>>'],
    ['half an end', '{{kontext:github}'],
    ['a space before the name', '{{ kontext:github }}'],
    ['a space inside', '{{kontext:git hub}}'],
    ['capitals', '{{Kontext:github}}'],
    ['no colon', '{{kontext}}'],
    ['no provider', '{{kontext:}}'],
    ['a bad provider', '{{kontext:GitHub}}'],
    ['an empty resource', '{{kontext:github/}}'],
    ['an unknown parameter', '<<kontext:github?ttl=5>>'],
  ])('reports a placeholder with %s, leaves its variable out and resolves the neighbours', (_what, bad) => {
    const text = `A={{kontext:a}}\nBAD=x-${bad}\nB=<<kontext:b>>`;

    expect(variables(text)).toEqual({ A: '<a>', B: '<b>' });
    expect(parse(text).problems).toMatchObject([
      { code: 'KX_TEMPLATE_PLACEHOLDER', line: 2, column: 7, severity: 'error', name: 'BAD' },
    ]);
  });

  it('reports every malformed placeholder of a value', () => {
    expect(problems('A={{kontext:}} {{kontext:ok}} <<kontext:>>')).toMatchObject([
      { line: 1, column: 3 },
      { line: 1, column: 31 },
    ]);
  });
});

describe('lines that cannot be understood', () => {
  it.each([
    ['no equals sign', 'NAME', 1],
    ['export without a value', 'export NAME', 1],
    ['a colon', '  NAME: value', 3],
    ['a digit first', '1A=x', 1],
    ['a hyphen', 'A-B=x', 1],
    ['a dot', 'A.B=x', 1],
    ['no name', '=x', 1],
    ['letters beyond ASCII', 'É=x', 1],
    ['text behind a quote', 'NAME="x" y', 9],
    ['a quote inside single quotes', String.raw`NAME='it\'s'`, 11],
    ['an unterminated double quote', 'NAME="x', 6],
    ['an unterminated single quote', "NAME= 'x", 7],
    ['an unterminated backquote', 'NAME=`x', 6],
    ['a backslash at the very end', 'NAME="x\\', 6],
  ])('reports %s and goes on with the next line', (_what, line, column) => {
    const text = `A=1\n${line}\nB=2`;

    expect(variables(text)).toEqual({ A: '1', B: '2' });
    expect(problems(text)).toEqual([syntaxAt(2, column)]);
  });

  it('blames the quote that was not closed when a later line opens one', () => {
    const text = 'A="oops\nB="fine"\nC="{{kontext:c}}"';

    expect(variables(text)).toEqual({ B: 'fine', C: '<c>' });
    expect(problems(text)).toEqual([syntaxAt(1, 3)]);
  });

  it('never repeats a value in a message', () => {
    const { problems: found } = parse(
      'A="hunter2\nhunter2\nB="x"hunter2\nC={{kontext:hunter2!}}\nPATH=hunter2',
    );

    expect(found.length).toBeGreaterThanOrEqual(5);
    expect(JSON.stringify(found)).not.toContain('hunter2');
  });
});

describe('duplicates', () => {
  it('lets the last line win and names both lines', () => {
    const text = 'A=1\nB=2\nA=3';

    expect(parse(text).entries.map(({ name, line }) => [name, line])).toEqual([
      ['B', 2],
      ['A', 3],
    ]);
    expect(parse(text).problems).toEqual([
      {
        code: 'KX_TEMPLATE_DUPLICATE',
        message: 'A is set on line 1 and again on line 3; line 3 counts',
        line: 3,
        column: 1,
        severity: 'warning',
        name: 'A',
      },
    ]);
  });

  it('sets nothing when the last line is malformed', () => {
    expect(variables('A=1\nA={{kontext:}}')).toEqual({});
    expect(variables('A=1\nA="')).toEqual({});
    expect(variables('A={{kontext:}}\nA=2')).toEqual({ A: '2' });
  });
});

describe('refused names', () => {
  it('reports the line and leaves the variable out, be it a literal, a placeholder or broken', () => {
    const text = 'A=1\nPATH=/x\n  LD_PRELOAD={{kontext:x}}\nCLAUDE_CONFIG_DIR="\nhttps_proxy=http://x\nB=2';

    expect(variables(text)).toEqual({ A: '1', B: '2' });
    expect(parse(text).problems).toMatchObject([
      { code: 'KX_TEMPLATE_REFUSED_NAME', line: 2, column: 1, severity: 'error', name: 'PATH' },
      { code: 'KX_TEMPLATE_REFUSED_NAME', line: 3, column: 3, name: 'LD_PRELOAD' },
      { code: 'KX_TEMPLATE_REFUSED_NAME', line: 4, name: 'CLAUDE_CONFIG_DIR' },
      { code: 'KX_TEMPLATE_REFUSED_NAME', line: 5, name: 'https_proxy' },
    ]);
  });
});

describe('limits', () => {
  it('takes 1 MiB and refuses one byte more', () => {
    expect(parseEnvTemplate(Buffer.alloc(2 ** 20, '\n')).entries).toEqual([]);
    expect(thrown(Buffer.alloc(2 ** 20 + 1, '\n')).code).toBe('KX_TEMPLATE_TOO_LARGE');
  });

  it('takes 10,000 entries and refuses one more, valid or not', () => {
    const lines = Array.from({ length: 10_000 }, (_, i) => `A${i}=`).join('\n');

    expect(parse(lines).entries).toHaveLength(10_000);
    expect(thrown(Buffer.from(`${lines}\n\nB=`))).toMatchObject({
      code: 'KX_TEMPLATE_TOO_LARGE',
      details: { line: 10_002 },
    });
    expect(thrown(Buffer.from(`${lines}\n?`)).code).toBe('KX_TEMPLATE_TOO_LARGE');
  });

  it('takes 10,000 placeholders and refuses one more', () => {
    const lines = Array.from({ length: 10 }, (_, i) => `A${i}=${'{{kontext:a}}'.repeat(1000)}`).join('\n');

    expect(parse(lines).problems).toEqual([]);
    expect(thrown(Buffer.from(`${lines}{{kontext:a}}`)).code).toBe('KX_TEMPLATE_TOO_LARGE');
  });

  it.each([
    ['', ''],
    ['"', '"'],
  ])('takes a value of 64 KiB and refuses one byte more in %s', (open, close) => {
    const value = 'ä'.repeat(2 ** 15);

    expect(variables(`A=${open}${value}${close}`).A).toBe(value);
    expect(thrown(Buffer.from(`A=${open}${value}x${close}`)).code).toBe('KX_TEMPLATE_TOO_LARGE');
  });

  it('refuses a million lines without looking at them', () => {
    const bytes = Buffer.from('A=1\n'.repeat(1_000_000));

    expect(thrown(bytes)).toMatchObject({ code: 'KX_TEMPLATE_TOO_LARGE', details: {} });
  });
});

describe('files that are no text', () => {
  it.each([
    ['a stray byte', [0x41, 0x3d, 0xff]],
    ['an overlong form', [0xc0, 0x80]],
    ['a cut sequence', [0x41, 0x3d, 0xe2, 0x82]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['UTF-16', [0xff, 0xfe, 0x41, 0x00]],
  ])('refuses %s', (_what, bytes) => {
    expect(thrown(Uint8Array.from(bytes)).code).toBe('KX_TEMPLATE_NOT_UTF8');
  });

  it.each(['A=1\nB=x\0y', '# x\nBB \0'])('refuses a NUL byte with its line and column', (text) => {
    expect(thrown(Buffer.from(text))).toMatchObject({
      code: 'KX_TEMPLATE_SYNTAX',
      details: { line: 2, column: 4 },
    });
  });
});

describe('.env.kontext.example', () => {
  it('parses without problems and shows both spellings, a resource, scopes and an embedded placeholder', () => {
    const { entries, problems: found } = parseEnvTemplate(
      readFileSync(new URL('../../../.env.kontext.example', import.meta.url)),
    );

    expect(found).toEqual([]);
    const keys = entries
      .flatMap(({ parts }) => parts)
      .flatMap((part) => (typeof part === 'string' ? [] : part.key));
    expect(keys).toEqual([
      'github',
      'linear',
      'postgres/prod-readonly',
      'google/team?scope=calendar.readonly+tasks',
      'stripe',
      'acme',
    ]);
  });
});
