/** What is called surely clean must be clean by the search it stands for. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createPayloadRedactor, isSurelyClean, Secret } from './index.ts';

/** With a secret to search for there is no short cut; this one stands nowhere. */
const searching = createPayloadRedactor({ secrets: [new Secret('~~~~#~~~~#~~~~')], nowMs: () => 0 });

const name = fc.constantFrom(
  ...['password', 'token', 'api_key', 'key', 'tokens', 'API key', 'x-api-key', 'pat', 'clientSecret', 'auth'],
  ...['value', 'name', 'VALUE', 'credentials', 'file_path', 'max_tokens', 'Authorization', 'cookie'],
);
const secret = fc.constantFrom(
  ...[
    'hunter2x',
    's3cr3tV4lue99',
    'ghp_0123456789abcdefghijABCDEFGHIJ012345',
    'AKIAIOSFODNN7EXAMPLE',
    'null',
  ],
  ...[
    'https://u:p4ss0rd@h/x',
    'eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMjM0In0.',
    's.abcdefGHIJ1234567890abcd',
    '$X',
  ],
  ...['Bearer abcDEF123456789xyz', 'mysql -phunter2 ', '--token x9x9x9 ', 'curl -u me:pw1234 ', '[redacted]'],
  ...['?sig=abcdef0123456789xyz', 'machine h login u password s3cr3t', '<password>s3cr3t</password>'],
  ...[
    'name: API_KEY\n  value: s3cr3tV4lue99',
    '"api_key", "s3cr3tV4lue99"',
    'password is hunter2x',
    "password 's3cr3t'",
  ],
  ...[
    'variable "token" {\n  default = "x1y2z3w4"',
    'ENV API_TOKEN x9x9x9 ',
    'token: str = "s3cr3tV4lue99"',
    '\u001b[32m',
  ],
  ...[
    '12345678:AAabcdefghijABCDEFGHIJ0123456789abc',
    `figd_${'aB3'.repeat(13)}`,
    'h:5432:d:u:s3cr3t',
    'u:s3cr3t@tcp(',
  ],
  ...['{"kty":"EC","d":"abcdefghijABCDEFGHIJ0123456789"}', 'curl -b "a=b" ', "echo 'pw12' | chpasswd"],
  '-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n-----END',
);
const between = fc.constantFrom(
  ...[' ', '\n', '\t', '"', "'", '\\', '\\n', '\\"', '\\t', '\\b', '%20', '\\u0041', '\\x41', '\\/', '='],
  ...[
    ': ',
    ':',
    ' = ',
    '": "',
    '":',
    '":true,',
    '":[],',
    ',',
    '}',
    '',
    '/',
    '@',
    '>',
    ' is ',
    'value',
    'n',
    't',
    '--',
    '€',
  ],
);
const prose = fc.constantFrom('the tests passed', 'src/auth/login.ts', 'git diff | head -3', 'of the store.');
const text = fc
  .array(fc.oneof(name, secret, between, between, prose), { maxLength: 9 })
  .map((pieces) => pieces.join(''));
const { json } = fc.letrec((tie) => ({
  json: fc.oneof(
    { maxDepth: 3 },
    text,
    fc.constantFrom(true, null, 1234567, 0.5),
    fc.array(tie('json'), { maxLength: 3 }),
    fc.dictionary(fc.oneof(name, name, text), tie('json'), { maxKeys: 3 }),
  ),
}));
/** Payloads as they are written, spelled in another way, and no JSON at all. */
const payload = fc.oneof(
  json.map((value) => JSON.stringify(value)),
  json.map((value) => JSON.stringify(value, null, 1)),
  json.map((value) => JSON.stringify(JSON.stringify(value))),
  text,
);

describe('isSurelyClean', () => {
  it.each([
    ['a user with a backslash', { command: 'export HTTPS_PROXY=https://CORP\\bob:S3cret99x@proxy:8080' }],
    ['a key that is written longer than it is', { [`password${'\n'.repeat(130)}`]: 'hunter2x' }],
    ['a name that is written longer than it is', { name: `API_KEY${'\n'.repeat(130)}`, value: 'hunter2x' }],
  ])('is not true of %s', (_what, value) => {
    expect(searching.checkPayload(JSON.stringify(value)).kind).toBe('found');
    expect(isSurelyClean(JSON.stringify(value))).toBe(false);
  });

  it('is true of nothing in which the search finds something, or does not come to its end', () => {
    fc.assert(
      fc.property(payload, (written) => {
        fc.pre(isSurelyClean(written));

        expect(searching.checkPayload(written)).toEqual({ kind: 'clean' });
      }),
      { numRuns: 5000, maxSkipsPerRun: 100 },
    );
  });

  it('is true of an ordinary call', () => {
    const call = {
      command: 'npm test && git diff src/auth/login.ts',
      args: ['--filter', 'tokens'],
      credentials: [],
    };

    expect(isSurelyClean(JSON.stringify({ schema: 1, call, max_tokens: 12, pattern: 'a: b' }))).toBe(true);
    expect(isSurelyClean('const tokenizer = author;\n')).toBe(true);
  });

  it.each([
    ['a key of several words', { 'API_KEY (again)': 'hunter2x' }],
    ['a name behind the letter of an escape', { a: 'x\napi_key = "s3cr3tV4lue99"' }],
    ['an option behind the letter of an escape', { a: 'x\n--api-key s3cr3tV4lue99' }],
    ['a tab before the operator', { a: "x password\t=\t's3cr3tV4lue99'" }],
    ['two words of a sentence', { a: 'the API key: s3cr3tV4lue99' }],
    ['the name of a pair', [{ name: 'API_KEY', value: 'hunter2x' }]],
    ['a command behind the letter of an escape', { a: 'x\nmysql -phunter2' }],
  ])('is false of %s', (_what, value) => {
    const written = JSON.stringify(value);

    expect(searching.checkPayload(written)).toMatchObject({ kind: 'found' });
    expect(isSurelyClean(written)).toBe(false);
  });

  it('is false of what it cannot see through', () => {
    const deep = (depth: number) => `${'['.repeat(depth)}"]"${']'.repeat(depth)}`;

    expect(isSurelyClean('{"pass\\u0077ord":"x"}')).toBe(false);
    expect(isSurelyClean('{"a":"%70assword"}')).toBe(false);
    expect([isSurelyClean(deep(60)), isSurelyClean(deep(65))]).toEqual([true, false]);
    expect(isSurelyClean('a'.repeat(200_000))).toBe(false);
  });
});
