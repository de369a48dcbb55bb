import { describe, expect, it } from 'vitest';
import { createRedactor, Secret } from './index.ts';

const github = 'ghp_16C7e42F292c6912E7710c838347Ae178B4a';
const symbols = 'p@ss "word"\\with%odd/ch+rs&é🔑=!';
const redactorOf = (...values: string[]) => createRedactor(values.map((value) => new Secret(value)));
const redactor = redactorOf(github, symbols);

const bytes = Buffer.from(github);
const around = (before: string, after = ' tail') => Buffer.from(before + github + after);

describe('redactText', () => {
  it.each<[string, string]>([
    ['raw', github],
    ['raw with symbols', symbols],
    ['base64', bytes.toString('base64').replace(/=+$/, '')],
    ['base64url', bytes.toString('base64url')],
    ['hex', bytes.toString('hex')],
    ['hex in capitals', bytes.toString('hex').toUpperCase()],
    ['URL-encoded', encodeURIComponent(symbols)],
    ['URL-encoded in lower case', encodeURIComponent(symbols).replace(/%../g, (hex) => hex.toLowerCase())],
    ['wholly URL-encoded', [...bytes].map((byte) => `%${byte.toString(16)}`).join('')],
    ['JSON-escaped', JSON.stringify(symbols).slice(1, -1)],
    ['JSON-escaped twice', JSON.stringify(JSON.stringify(symbols)).slice(3, -3)],
    [
      'as unicode escapes',
      [...github].map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`).join(''),
    ],
    ['as braced unicode escapes', [...github].map((c) => `\\u{${c.charCodeAt(0).toString(16)}}`).join('')],
    ['as hex escapes', [...bytes].map((byte) => `\\x${byte.toString(16)}`).join('')],
    ['reversed', [...github].reverse().join('')],
    ['reversed with symbols', [...symbols].reverse().join('')],
    ['spaced', [...github].join(' ')],
    ['joined with dashes', [...github].join('-')],
    ['with zero-width spaces', [...github].join('\u200b')],
    ['wrapped', `${github.slice(0, 9)}\n    ${github.slice(9, 18)}\\\n${github.slice(18)}`],
    ['wrapped inside a JSON string', `${github.slice(0, 9)}\\n${github.slice(9)}`],
    ['concatenated in code', `${github.slice(0, 7)}" + "${github.slice(7)}`],
    ['hex with colons', bytes.toString('hex').replace(/..(?=.)/g, '$&:')],
    ['wrapped base64', bytes.toString('base64').replace(/=+$/, '').replace(/.{20}/g, '$&\r\n')],
  ])('replaces a secret written %s', (_what, written) => {
    expect(redactor.redactText(`before <${written}> after`)).toMatchObject({
      text: 'before <[redacted]> after',
      hits: 1,
      omitted: false,
    });
  });

  it.each([0, 1, 2, 3])('leaves nothing of a secret inside base64 behind %i bytes', (before) => {
    for (const encoding of ['base64', 'base64url'] as const) {
      const { text } = redactor.redactText(around('x'.repeat(before)).toString(encoding));

      expect(Buffer.from(text.replace('[redacted]', ''), 'base64').toString('latin1')).not.toMatch(
        /ghp|16C7|B4a/,
      );
    }
  });

  it('replaces parts of 12 characters and keeps parts of 11', () => {
    expect(redactor.redactText(`a ${github.slice(5, 17)} b`).text).toBe('a [redacted] b');
    expect(redactor.redactText(`a ${github.slice(5, 16)} b`).text).toBe(`a ${github.slice(5, 16)} b`);
  });

  it('counts places, and joins copies that touch', () => {
    expect(redactor.redactText(`${github} and ${github}${github}`)).toMatchObject({
      text: '[redacted] and [redacted]',
      hits: 2,
    });
  });

  it('replaces a secret of 8 to 11 characters as a whole, inside words too', () => {
    expect(redactorOf('abcd1234').redactText('xxabcd1234yy abcd123 a-b-c-d-1-2-3-4').text).toBe(
      'xx[redacted]yy abcd123 [redacted]',
    );
  });

  it('replaces a secret under 8 characters as a whole word only', () => {
    const short = redactorOf('hunter2');

    expect(short.redactText('hunter2 hunter22 _hunter2 x-hunter2-y "hunter2" h-u-n-t-e-r-2').text).toBe(
      '[redacted] hunter22 _hunter2 x-[redacted]-y "[redacted]" h-u-n-t-e-r-2',
    );
  });

  it.each([
    ['base64', Buffer.from('hunter2').toString('base64'), '[redacted]=='],
    ['hex', Buffer.from('hunter2').toString('hex'), '[redacted]'],
    ['reversed', '2retnuh', '[redacted]'],
    ['behind an escape', '\\nhunter2\\n', '\\n[redacted]\\n'],
  ])('replaces a short secret in %s as a word', (_what, written, redacted) => {
    expect(redactorOf('hunter2').redactText(`${written} x${written}x`).text).toContain(`${redacted} `);
  });

  it('ignores white space around a secret', () => {
    expect(redactorOf('hunter2\n').redactText('a hunter2').text).toBe('a [redacted]');
    expect(redactorOf(' abcd1234_x\n').redactText('abcd1234_x').text).toBe('[redacted]');
  });

  it('finds a secret of several lines, and leaves other indentation alone', () => {
    const value = `{\n${' '.repeat(20)}"key": "0123456789abcdef"\n}`;
    const text = `${' '.repeat(30)}const x = 1;`;

    expect(redactorOf(value).redactText(text).text).toBe(text);
    expect(redactorOf(value).redactText(`a${value}b`).text).toBe('a[redacted]b');
  });

  it('keeps surrogate pairs whole', () => {
    // U+1F911 ends with the same low surrogate as U+1F511.
    const secret = '\u{1f511}abcdefghijk';

    expect(redactorOf(secret).redactText('x\u{1f911}abcdefghijky').text).toBe('x[redacted]y');
    expect(redactorOf(secret).redactText(`🔒${secret}🔒`).text).toBe('🔒[redacted]🔒');
  });

  it('does not redact its own replacement, even when a secret reads like it', () => {
    expect(redactorOf('redacted').redactText('[redacted] redacted').text).toBe('[redacted] [redacted]');
  });

  it.each([[[]], [['']], [['   ']]])('changes nothing for the secrets %j', (values) => {
    expect(redactorOf(...values).redactText('a   b')).toMatchObject({
      text: 'a   b',
      hits: 0,
      omitted: false,
    });
  });

  it('lets prose and code survive', () => {
    const prose = [
      'The bearer of bad news asked the author about the tokenizer, password hygiene and secret santa.',
      'const token = await fetch(`$base/token?grant_type=refresh_token&client_id=abc%20def`);',
      'postgres://localhost:5432/app  sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
      '{"path":"C:\\\\Users\\\\dev","regex":"^\\\\d+$","u":"\\u0041"} 100% of 50%25 done',
      'Zażółć gęślą jaźń. 你好，世界。 🔑🔒',
      'SGVsbG8sIHdvcmxkISBUaGlzIGlzIG5vdCBhIHNlY3JldC4=',
    ].join('\n');

    expect(
      redactorOf(github, symbols, 'hunter2', 'correct horse battery staple').redactText(prose),
    ).toMatchObject({
      text: prose,
      hits: 0,
    });
  });
});

describe('redactJson', () => {
  it('redacts strings, keys, numbers and nested values into a copy', () => {
    const input = { a: [github, { [`k-${github}`]: 1 }], b: `x ${github}`, c: null, d: true, e: 1.5 };
    const before = structuredClone(input);

    expect(redactor.redactJson(input)).toMatchObject({
      value: { a: ['[redacted]', { 'k-[redacted]': 1 }], b: 'x [redacted]', c: null, d: true, e: 1.5 },
      hits: 3,
      omitted: false,
    });
    expect(input).toEqual(before);
  });

  it('redacts a secret of digits that comes as a number', () => {
    expect(redactorOf('4111111111111111', '2468').redactJson([4111111111111111, 2468, 24680]).value).toEqual([
      '[redacted]',
      '[redacted]',
      24680,
    ]);
  });

  it('keeps every value when keys become equal', () => {
    const reversed = [...github].reverse().join('');

    expect(redactor.redactJson({ '[redacted] 2': 0, [github]: 1, [reversed]: 2, x: 3 }).value).toEqual({
      '[redacted] 2': 0,
      '[redacted]': 1,
      '[redacted] 3': 2,
      x: 3,
    });
  });

  it('keeps a key __proto__ an ordinary key', () => {
    const value = redactor.redactJson(JSON.parse(`{"__proto__":{"x":"${github}"}}`)).value;

    expect(JSON.stringify(value)).toBe('{"__proto__":{"x":"[redacted]"}}');
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  });

  it('takes 64 levels and omits anything deeper, whole', () => {
    const nest = (levels: number) => JSON.parse(`${'['.repeat(levels)}"x"${']'.repeat(levels)}`) as unknown;

    expect(redactor.redactJson(nest(64))).toMatchObject({ value: nest(64), omitted: false });
    expect(redactor.redactJson({ a: 'kept?', b: nest(64) })).toMatchObject({
      value: null,
      omitted: true,
      hits: 0,
    });
    expect(redactor.redactJson(nest(5000)).omitted).toBe(true);
  });
});

describe('the budget', () => {
  const small = createRedactor([new Secret(github)], { maxWork: 1000 });

  it('omits a text that needs more work, never gives it raw', () => {
    expect(small.redactText(`x ${github}`)).toMatchObject({ text: 'x [redacted]', omitted: false });
    expect(small.redactText(`${github} ${'x'.repeat(1000)}`)).toMatchObject({
      text: '',
      hits: 0,
      omitted: true,
    });
  });

  it('omits when the pass that should confirm is no longer affordable', () => {
    const text = `${github} ${'x'.repeat(200)}`;
    const { work } = redactor.redactText(text);

    expect(createRedactor([new Secret(github)], { maxWork: 250 }).redactText(text)).toMatchObject({
      omitted: true,
    });
    expect(createRedactor([new Secret(github)], { maxWork: work }).redactText(text)).toMatchObject({
      hits: 1,
    });
  });

  it('is shared by all strings of a JSON value', () => {
    const value = Array.from({ length: 100 }, () => 'a string of more than twelve characters');

    expect(small.redactJson(value[0]).omitted).toBe(false);
    expect(small.redactJson(value)).toMatchObject({ value: null, omitted: true });
  });
});
