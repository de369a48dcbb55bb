import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createPayloadRedactor, type PayloadRedactor, Secret } from './index.ts';
import { ruleNames } from './pattern-set.ts';

const letters = 'q7Xk2Lm9Rt4Vb8Zc1Nf6Hd3Jw5Ps0Gy7Ua2Ei9Ok4Tx';
const known = ['correct-horse-battery', 'hunter2', 'a1b2c3d4e5f6g7h8'];
const redactor = createPayloadRedactor({
  secrets: known.map((value) => new Secret(value)),
  nowMs: () => 0,
});

/** What rules begin and end with, and what stands between, so that random texts come close to every rule. */
const pieces = [
  ...[
    'ghp_',
    'glpat-',
    'sk_live_',
    'xoxb-',
    'AIza',
    'AKIAIOSFODNN7EXAMPLE',
    'npm_',
    'sk-',
    'sk-ant-',
    'SG.',
    'SK',
  ],
  ...[
    'hvs.',
    's.',
    'AGE-SECRET-KEY-',
    'eyJ',
    'eyJhbGciOiJFUzI1NiJ9.',
    '-----BEGIN PRIVATE KEY-----',
    '-----END ',
  ],
  ...[
    'Bearer ',
    'Basic ',
    'Authorization: ',
    'Cookie: ',
    'a=b',
    '://',
    'https://u:',
    '@',
    '?sig=',
    'machine ',
  ],
  ...[
    'login ',
    'password ',
    'mysql ',
    '-p',
    'curl ',
    '-u ',
    '--password ',
    'PASSWORD=',
    'token: ',
    'api_key = ',
  ],
  ...[
    '"secret": "',
    '<token>',
    '</token>',
    'API key: ',
    ' ',
    '\n',
    '"',
    "'",
    '`',
    '\\',
    '\\n',
    '\\u0041',
    '%3D',
    '=',
  ],
  ...[
    ':',
    '|',
    '>',
    '<',
    ';',
    ',',
    '(',
    ')',
    '{',
    '}',
    '[redacted]',
    '[redacted',
    '$',
    `\${X}`,
    letters,
    '\u200b',
  ],
  ...[
    'ZGV2Omh1bnRlcjI=',
    'word',
    'abc123',
    'Ab',
    '\ud800',
    '🔑',
    '\0',
    'https://hooks.slack.com/services/T1/',
    ...known,
  ],
];
const nearText = fc
  .array(fc.oneof(fc.constantFrom(...pieces), fc.string({ maxLength: 4 })), { maxLength: 25 })
  .map((list) => list.join(''));
const jsonKey = fc.oneof(
  fc.constantFrom('password', 'name', 'value', 'Authorization', 'pass', 'cookie', 'x'),
  nearText,
);
const json = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    nearText,
    fc.constantFrom(null, true, 12345, 0.5, 'API_KEY', ''),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(jsonKey, tie('value'), { maxKeys: 4 }),
  ),
})).value;

describe('any text', () => {
  it('gives the same again, also when it is redacted twice', () => {
    fc.assert(
      fc.property(nearText, (text) => {
        const once = redactor.redactText(text);

        expect(redactor.redactText(text)).toEqual(once);
        if (once.kind === 'redacted') {
          expect(redactor.redactText(once.text)).toMatchObject({ text: once.text, hits: 0, rules: [] });
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('is always settled within the budget, and only changed where a rule says so', () => {
    fc.assert(
      fc.property(fc.oneof(nearText, fc.string({ unit: 'binary', maxLength: 200 })), (text) => {
        const once = redactor.redactText(text);

        expect(once.kind).toBe('redacted');
        if (once.kind !== 'redacted') return;
        expect(once.hits === 0).toBe(once.text === text);
        expect(once.rules.length === 0).toBe(once.hits === 0);
        for (const rule of once.rules) expect([...ruleNames, 'exact']).toContain(rule);
      }),
      { numRuns: 2000 },
    );
  });

  it('is cut to a text that stays as it is', () => {
    fc.assert(
      fc.property(nearText, fc.integer({ min: 0, max: 120 }), (text, maxBytes) => {
        const small = createPayloadRedactor({ secrets: [new Secret(known[0]!)], nowMs: () => 0, maxBytes });

        const payload = small.redactPayload(text);

        expect(payload.kind).toBe('redacted');
        if (payload.kind !== 'redacted') return;
        expect(Buffer.byteLength(payload.text)).toBeLessThanOrEqual(maxBytes);
        expect(small.redactText(payload.text)).toMatchObject({ text: payload.text });
        expect(small.checkPayload(payload.text)).toEqual({ kind: 'clean' });
      }),
      { numRuns: 2000 },
    );
  });
});

describe('any JSON value', () => {
  it('comes out settled: neither the value nor its stored text is found to hold more', () => {
    const backend = createPayloadRedactor({ secrets: [], nowMs: () => 0 });
    fc.assert(
      fc.property(json, (value) => {
        const once = redactor.redactJson(value);
        const stored = redactor.redactPayload(value);

        expect(once.kind).toBe('redacted');
        if (once.kind !== 'redacted' || stored.kind !== 'redacted') return;
        expect(redactor.redactJson(once.value)).toMatchObject({ hits: 0, rules: [] });
        expect(backend.checkPayload(stored.text)).toEqual({ kind: 'clean' });
        if (typeof value !== 'string')
          expect(JSON.parse(stored.text)).toEqual(JSON.parse(JSON.stringify(once.value)));
      }),
      { numRuns: 1500 },
    );
  });

  it('shows nothing of a value under a sensitive key', () => {
    const path = fc.array(fc.constantFrom('a', 'list', '0', 'config'), { maxLength: 5 });
    fc.assert(
      fc.property(path, fc.stringMatching(/^[a-z]{2}[0-9][A-Za-z0-9]{3,20}$/), (keys, value) => {
        for (const name of [
          'password',
          'API_KEY',
          'clientSecret',
          'x-auth-token',
          'dbPassword2',
          'authorization',
        ]) {
          const tree = keys.reduceRight<unknown>((inner, key) => ({ [key]: [inner] }), {
            [name]: { deep: [value] },
          });

          expect(JSON.stringify(redactor.redactJson(tree))).not.toContain(value);
        }
      }),
    );
  });
});

describe('hostile repetition', () => {
  const units = [
    ...pieces,
    ...pieces.map((piece) => `${piece}x`),
    ...pieces.map((piece) => `${piece}${letters.slice(0, 20)}`),
    ...pieces.map((piece) => `${piece} `),
    ...[
      'a://b:cc/',
      'token=\'${token=`${token="${',
      'token: |\n',
      '\'Cookie: a=b "Cookie: a=b ',
      'key key:',
      'token',
    ],
    ...[
      '-----BEGIN PRIVATE KEY-----\nabcdefghijklmnop\n',
      '-----BEGIN RSA PRIVATE KEY-----\nA-b: c\n',
      'ghp_a.',
      'a.',
    ],
    ...[
      'machine a login b ',
      'machine machine login ',
      'mysql mysql -pa ',
      'AKIAIOSFODNN7EXAMPLE ',
      'x-token',
      'TOKEN=\\',
    ],
    ...[
      'eyJhbGciOi.eyJ.',
      'Authorization: Bearer ',
      '"authorization:\'authorization:',
      ...[
        'kty',
        '"kty":"EC","d":"',
        ':AA',
        '1:5432:',
        'a:b@tcp(',
        'env token ',
        'password is ',
        '"token", "',
        '\u001b[3',
      ],
      ...[
        'token value: ',
        'curl -u \\\n',
        'echo a | chpasswd ',
        "identified by '",
        'patpat.',
        'q~',
        'LS0tLS1CRUdJTi',
        '1:',
      ],
      ...[
        '-----BEGIN PRIVATE KEY-----\n1:abcdefghijklmnop\n2:',
        'token                              ',
        'a: & b =',
        'a7Q~',
      ],
      '_',
      'token token:',
      'a token: ',
    ],
  ];
  const workOf = (redact: PayloadRedactor, unit: string, length: number) => {
    // Whole units only: what a cut leaves of the last one may need a pass more.
    const redacted = redact.redactText(unit.repeat(Math.ceil(length / unit.length)));
    if (redacted.kind === 'omitted') throw new Error(`omitted: ${redacted.reason}`);
    return redacted.work;
  };
  const patterns = createPayloadRedactor({ secrets: [], nowMs: () => 0 });

  it.each(units)('costs work in proportion to the length of %j', (unit) => {
    const [small, middle, large] = [32_768, 65_536, 131_072].map((length) => workOf(patterns, unit, length));

    expect(middle).toBeLessThan(65_536 * 100);
    expect(middle!).toBeLessThanOrEqual(2.1 * small!);
    expect(large!).toBeLessThanOrEqual(2.1 * middle!);
  });

  it('costs work in proportion to the length of a mixture of anything', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pieces), { minLength: 1, maxLength: 5 }), (list) => {
        expect(workOf(patterns, list.join(''), 16_384)).toBeLessThan(16_384 * 100);
      }),
      { numRuns: 150 },
    );
  });
});
