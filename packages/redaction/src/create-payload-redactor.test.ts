import { describe, expect, it } from 'vitest';
import { createPayloadRedactor, fullRedaction, type PayloadRedactorOptions, Secret } from './index.ts';

const known = 'correct-horse-battery';
const redactorWith = (options: Partial<PayloadRedactorOptions> = {}) =>
  createPayloadRedactor({ secrets: [new Secret(known)], nowMs: () => 0, ...options });
const redactor = redactorWith();
const nest = (levels: number) => JSON.parse(`${'['.repeat(levels)}"x"${']'.repeat(levels)}`) as unknown;

describe('redactText', () => {
  it('removes known values and what looks like a secret in one go, and says by which rules', () => {
    const text = `a ${known} b TOKEN=abc1 c`;

    expect(redactor.redactText(text)).toMatchObject({
      kind: 'redacted',
      text: 'a [redacted] b TOKEN=[redacted] c',
      hits: 2,
      rules: ['assignment', 'exact'],
    });
  });

  it('leaves no rest of a value that holds a known secret', () => {
    expect(redactor.redactText(`PASSWORD=x${known}y`)).toMatchObject({ text: 'PASSWORD=[redacted]' });
    expect(redactor.redactText(`PASSWORD=[redacted]y`)).toMatchObject({ text: 'PASSWORD=[redacted]' });
  });

  it('finds what is escaped once', () => {
    expect(redactor.redactText('{"a":"TOKEN\\u003dabc1"}')).toMatchObject({
      text: '{"a":"TOKEN\\u003d[redacted]"}',
    });
    expect(redactor.redactText('?x=access_token%3Dabc1')).toMatchObject({
      text: '?x=access_token%3D[redacted]',
    });
  });
});

describe('redactJson', () => {
  it('redacts what stands under a sensitive key of any depth, also in lists and below', () => {
    const value = {
      a: [{ password: 'hunter2', Authorization: 'y', 'api-key': ['k1', 'k2'], pin: 1 }],
      credentials: { user: 'dev', port: 5432, tls: true, none: null },
      client_secret: 123456,
    };

    expect(redactor.redactJson(value)).toMatchObject({
      value: {
        a: [
          {
            password: '[redacted]',
            Authorization: '[redacted]',
            'api-key': ['[redacted]', '[redacted]'],
            pin: 1,
          },
        ],
        credentials: { user: '[redacted]', port: '[redacted]', tls: true, none: null },
        client_secret: '[redacted]',
      },
      hits: 7,
      rules: ['key'],
    });
  });

  it('keeps values of keys that only sound alike, and values that say nothing', () => {
    const value = {
      ...{ author: 'me', tokenizer: 'bpe', keyboard: 'us', secretary: 'x', authority: 'https://a.example' },
      ...{ max_tokens: 4096, token_type: 'Bearer', public_key: 'k', key: 'v', nextPageToken: 'abc123' },
      ...{
        password: '',
        token: null,
        secret: true,
        passphrase: '$PASSPHRASE',
        api_key: '{{kontext:github}}',
      },
      ...{ pass: 12, pwd: '/home/dev/1', cookie: 'string', auth: 'none', accessToken: 'Access token' },
    };

    expect(redactor.redactJson(value)).toMatchObject({ value, hits: 0 });
  });

  it('redacts the value of a pair whose name is sensitive', () => {
    expect(
      redactor.redactJson([
        { name: 'API_KEY', value: 'abc' },
        { name: 'PORT', value: '80' },
      ]),
    ).toMatchObject({
      value: [
        { name: 'API_KEY', value: '[redacted]' },
        { name: 'PORT', value: '80' },
      ],
    });
  });

  it('takes out everywhere what a rule takes out in one place', () => {
    const value = {
      command: "aws login --password 'h7 x' && tool --token Swordfish9-of-my-own --user dev",
      parts: [{ args: ['--token', 'Swordfish9-of-my-own', 'xSwordfish9-of-my-ownx'] }],
      note: 'the token is Swordfish9-of-my-own.',
      cut: 'tool --token Swordfish9-of',
      other: 'Sword is a word',
    };

    expect(redactor.redactJson(value)).toMatchObject({
      value: {
        command: "aws login --password '[redacted]' && tool --token [redacted] --user dev",
        parts: [{ args: ['--token', '[redacted]', 'x[redacted]x'] }],
        note: 'the token is [redacted].',
        cut: 'tool --token [redacted]',
        other: 'Sword is a word',
      },
    });
    expect(redactor.redactPayload(value)).toMatchObject({
      text: expect.not.stringContaining('Swordfish') as string,
    });
  });

  it('leaves words of prose alone elsewhere, and short values inside longer words', () => {
    const value = { a: 'PASSWORD=production', b: 'production', c: 'API_TOKEN=ab12cd', d: 'ab12cde ab12cd' };

    expect(redactor.redactJson(value)).toMatchObject({
      value: {
        ...{ a: 'PASSWORD=[redacted]', b: 'production', c: 'API_TOKEN=[redacted]', d: 'ab12cde [redacted]' },
      },
    });
  });

  it('searches, but does not judge by its name, what is said to be plain at that place', () => {
    const ours = redactorWith({ plainNames: { call: { credentials: true } } });
    const value = {
      call: { credentials: ['github', known], input: { credentials: ['github1'] } },
      credentials: ['a1'],
    };

    expect(ours.redactJson(value)).toMatchObject({
      value: {
        call: { credentials: ['github', '[redacted]'], input: { credentials: ['[redacted]'] } },
        credentials: ['[redacted]'],
      },
    });
    expect(ours.checkPayload('{"call":{"credentials":["github"]}}')).toEqual({ kind: 'clean' });
    expect(redactor.checkPayload('{"call":{"credentials":["github"]}}')).toEqual({
      kind: 'found',
      rules: ['key'],
    });
  });

  it('redacts keys too, numbers that are secrets, and gives bigints back as text', () => {
    const digits = redactorWith({ secrets: [new Secret('4111111111111111')] });

    expect(digits.redactJson({ [`x ${known}`]: 4111111111111111, n: 5n })).toMatchObject({
      value: { [`x ${known}`]: '[redacted]', n: '5' },
    });
    expect(redactor.redactJson({ [`${known}`]: 1, '[redacted]': 2 })).toMatchObject({
      value: { '[redacted]': 1, '[redacted] 2': 2 },
    });
  });

  it('takes 64 levels and omits anything deeper, whole', () => {
    expect(redactor.redactJson(nest(64))).toMatchObject({ kind: 'redacted', value: nest(64) });
    expect(redactor.redactJson(nest(65))).toEqual({ kind: 'omitted', reason: 'depth' });
    expect(redactor.redactJson(nest(100_000))).toEqual({ kind: 'omitted', reason: 'depth' });
    const circle: Record<string, unknown> = {};
    circle.self = circle;
    expect(redactor.redactPayload(circle)).toEqual({ kind: 'omitted', reason: 'depth' });
  });

  it('keeps a key __proto__ an ordinary key', () => {
    const redacted = redactor.redactPayload(JSON.parse('{"__proto__":{"password":"hunter2"}}'));

    expect(redacted).toMatchObject({ text: '{"__proto__":{"password":"[redacted]"}}' });
  });
});

describe('the budget', () => {
  const clockOf = (step: number) => {
    let now = 0;
    return () => {
      now += step;
      return now;
    };
  };

  it.each(['redactText', 'redactPayload', 'checkPayload'] as const)(
    'omits in %s what takes too long',
    (method) => {
      const slow = redactorWith({ nowMs: clockOf(30) });

      expect(slow[method](`TOKEN=abc1 ${known} `.repeat(300))).toEqual({ kind: 'omitted', reason: 'budget' });
      expect(redactorWith({ nowMs: clockOf(30), budgetMs: 10_000 })[method]('a b c d')).not.toMatchObject({
        kind: 'omitted',
      });
    },
  );

  it('omits a value when one of its strings takes too long', () => {
    expect(
      redactorWith({ nowMs: clockOf(20) }).redactJson({ a: 'some text '.repeat(900), b: known }),
    ).toEqual({
      kind: 'omitted',
      reason: 'budget',
    });
  });

  it('gives a longer text more time, in proportion', () => {
    const text = 'a b c d '.repeat(65_536);

    expect(redactorWith({ nowMs: clockOf(1) }).redactText(text)).toMatchObject({ kind: 'redacted' });
    expect(redactorWith({ nowMs: clockOf(5) }).redactText(text)).toEqual({
      kind: 'omitted',
      reason: 'budget',
    });
  });

  it('omits when the clock gives no number', () => {
    expect(redactorWith({ nowMs: () => Number.NaN }).redactText('some text '.repeat(300))).toEqual({
      kind: 'omitted',
      reason: 'budget',
    });
  });
});

describe('redactPayload', () => {
  it('writes JSON, and a string as it is, with the true length', () => {
    expect(redactor.redactPayload({ a: `é ${known}` })).toMatchObject({
      text: '{"a":"é [redacted]"}',
      trueBytes: Buffer.byteLength(JSON.stringify({ a: `é ${known}` })),
      clipped: false,
    });
    expect(redactor.redactPayload(`é ${known}`)).toMatchObject({ text: 'é [redacted]', trueBytes: 24 });
    expect(redactor.redactPayload(undefined)).toMatchObject({ text: 'null' });
  });

  it.each(['é', '你', '🔑', 'a', '\ud800'])(
    'cuts a text of %j at 64,000 bytes, between two characters',
    (char) => {
      const payload = redactor.redactPayload(`xy${char.repeat(70_000)}`);

      expect(payload).toMatchObject({
        clipped: true,
        trueBytes: Buffer.byteLength(`xy${char.repeat(70_000)}`),
      });
      const text = payload.kind === 'redacted' ? payload.text : '';
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(64_000);
      expect(Buffer.byteLength(text)).toBeGreaterThan(64_000 - Buffer.byteLength(char));
      expect(`xy${char.repeat(70_000)}`.startsWith(text)).toBe(true);
    },
  );

  it('cuts JSON that is too long', () => {
    const payload = redactor.redactPayload({ a: 'b'.repeat(70_000) });

    expect(payload).toMatchObject({ clipped: true, trueBytes: 70_008, text: `{"a":"${'b'.repeat(63_994)}` });
  });

  it.each(Array.from({ length: 60 }, (_, i) => i))(
    'shows no half secret at the cut, %i bytes before it',
    (before) => {
      const token = 'ghp_q7Xk2Lm9Rt4Vb8Zc1Nf6Hd3Jw5Ps0Gy7Ua2E';
      const start = 'x '.repeat(32_000).slice(0, 63_999 - before);

      for (const secret of [token, known]) {
        const payload = redactor.redactPayload(`${start} ${secret} ${'y '.repeat(5000)}`);

        expect(payload).toMatchObject({ kind: 'redacted', clipped: true });
        expect(JSON.stringify(payload)).not.toContain(secret.slice(0, 6));
      }
    },
  );

  it('cuts no replacement in two', () => {
    for (let maxBytes = 1; maxBytes < 30; maxBytes += 1) {
      const payload = redactorWith({ maxBytes }).redactPayload(`a ${known} b ${known}`);

      expect(payload.kind === 'redacted' && payload.text.replaceAll('[redacted]', '')).not.toContain('[');
    }
  });
});

describe('checkPayload', () => {
  const backend = createPayloadRedactor({ secrets: [], nowMs: () => 0 });

  it('finds what an older redactor left, in JSON and in what was cut', () => {
    expect(backend.checkPayload('{"password":"hunter2"}')).toEqual({ kind: 'found', rules: ['key'] });
    expect(backend.checkPayload('{"a":"TOKEN=abc1","b":"cu')).toEqual({
      kind: 'found',
      rules: ['assignment'],
    });
    expect(backend.checkPayload(`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`)).toEqual({
      kind: 'omitted',
      reason: 'depth',
    });
  });

  it('finds what stands in the text and not in its value', () => {
    expect(backend.checkPayload('{"a":"TOKEN=abc1","a":"x"}')).toEqual({
      kind: 'found',
      rules: ['assignment'],
    });
    expect(backend.checkPayload('{"a":"x","a":"x"}')).toEqual({ kind: 'clean' });
  });

  it('finds nothing in what was redacted', () => {
    const value = { name: 'API_KEY', value: 'x', password: ['a', { b: 1 }], c: `TOKEN=abc1 ${known}` };
    for (const input of [value, JSON.stringify(value), `x ${JSON.stringify(value)}`]) {
      const payload = redactor.redactPayload(input);

      expect(backend.checkPayload(payload.kind === 'redacted' ? payload.text : '')).toEqual({
        kind: 'clean',
      });
    }
  });
});

it('names its level', () => {
  expect(fullRedaction).toBe('full-v1');
});
