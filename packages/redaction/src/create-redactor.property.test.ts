import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { squeezeText } from './characters.ts';
import { createRedactor, Secret } from './index.ts';
import { GRAM, secretForms } from './secret-forms.ts';

const alphanumeric = fc.stringMatching(/^[A-Za-z0-9]{12,50}$/);
const tokenLike = fc.stringMatching(/^[A-Za-z0-9_+/=.-]{8,50}$/);
const anything = fc.string({ unit: 'grapheme', minLength: 8, maxLength: 40 });
/** White space alone is no secret, and one that holds the replacement cannot be told from it. */
const secret = fc
  .oneof(alphanumeric, tokenLike, anything)
  .filter((value) => value.trim().length >= 8 && !value.includes('[redacted]'));
const surrounding = fc.string({ unit: 'grapheme', maxLength: 30 });

/** The listed forms, spelled without the code under test. `frame` is what stands next to the secret before encoding. */
const forms: Record<string, (value: string, frame: string) => string> = {
  raw: (value) => value,
  base64: (value, frame) => Buffer.from(frame + value + frame).toString('base64'),
  base64url: (value, frame) => Buffer.from(frame + value + frame).toString('base64url'),
  hex: (value) => Buffer.from(value).toString('hex'),
  HEX: (value) => Buffer.from(value).toString('hex').toUpperCase(),
  url: (value) => encodeURIComponent(value),
  json: (value) => JSON.stringify(value).slice(1, -1),
  reversed: (value) => [...value].reverse().join(''),
};

/** The characters of `encoded` that depend on the secret alone. */
const stablePart = (encoded: string, value: string, frame: string): string => {
  const before = Buffer.byteLength(frame) * 8;
  return encoded.slice(Math.ceil(before / 6), Math.floor((before + Buffer.byteLength(value) * 8) / 6));
};

const grams = (text: string, length: number): string[] =>
  Array.from({ length: Math.max(0, text.length - length + 1) }, (_, i) => text.slice(i, i + length));

describe('redactText', () => {
  it.each(Object.keys(forms))('lets no secret survive as %s, whatever stands around it', (form) => {
    fc.assert(
      fc.property(
        secret,
        surrounding,
        surrounding,
        fc.stringMatching(/^[a-z]{0,3}$/),
        (value, before, after, frame) => {
          const written = forms[form]!(value, frame);
          const gone = form.startsWith('base64') ? stablePart(written, value, frame) : written;

          const { text, omitted } = createRedactor([new Secret(value)]).redactText(before + written + after);

          expect(omitted).toBe(false);
          expect(text).toContain('[redacted]');
          expect(text.split('[redacted]').some((kept) => kept.includes(gone))).toBe(false);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('leaves no 12 characters of a secret, cut, wrapped or spaced as it may be', () => {
    const separator = fc.constantFrom(
      ' ',
      '\n',
      '\r\n\t',
      '-',
      '" + "',
      '\u200b',
      '.',
      '\\\n',
      '\\n',
      '%20',
      '',
    );
    const pieces = fc.array(fc.tuple(fc.nat(50), separator), { maxLength: 6 });
    fc.assert(
      fc.property(alphanumeric, pieces, fc.nat(20), surrounding, (value, cuts, from, around) => {
        let written = value.slice(Math.min(from, value.length - GRAM));
        for (const [at, put] of cuts) {
          // Not into an escape put there before: what that would spell is another text.
          if (/[\\%]/.test(written)) break;
          written = written.slice(0, at) + put + written.slice(at);
        }

        const { text } = createRedactor([new Secret(value)]).redactText(`${around} ${written} ${around}`);

        const kept = text.split('[redacted]').map(squeezeText);
        expect(text).toContain('[redacted]');
        expect(grams(value, GRAM).some((gram) => kept.some((piece) => piece.includes(gram)))).toBe(false);
      }),
      { numRuns: 500 },
    );
  });

  it('changes a text exactly when a simple search finds a gram of a form in it', () => {
    fc.assert(
      fc.property(
        // Escapes and earlier replacements are left out: the simple search knows neither.
        alphanumeric.chain((value) =>
          fc.tuple(
            fc.constant(value),
            nearText(value).filter((text) => !/[\\%]|\[redacted\]/.test(text)),
          ),
        ),
        ([value, text]) => {
          const wanted = secretForms(value).substrings.flatMap((form) =>
            grams(form, Math.min(GRAM, form.length)),
          );
          const isFound = wanted.some((gram) => text.includes(gram) || squeezeText(text).includes(gram));

          const redacted = createRedactor([new Secret(value)]).redactText(text);

          expect(redacted.hits > 0).toBe(isFound);
          if (!isFound) expect(redacted.text).toBe(text);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('gives the same when run again, also on its own result', () => {
    const words = fc.constantFrom('ab', 'a1', 'hunter2', 'abcd1234', 'redacted', '\\\\\\', 'n1234567\\');
    const values = fc.array(fc.oneof(words, secret), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(
        values.chain((list) => fc.tuple(fc.constant(list), nearText(...list))),
        ([list, text]) => {
          const redactor = createRedactor(list.map((value) => new Secret(value)));

          const once = redactor.redactText(text);

          expect(redactor.redactText(text)).toEqual(once);
          if (!once.omitted)
            expect(redactor.redactText(once.text)).toMatchObject({ text: once.text, hits: 0 });
        },
      ),
      { numRuns: 1000 },
    );
  });
});

/** Texts made of pieces of secrets and of what stands between them. */
function nearText(...values: string[]): fc.Arbitrary<string> {
  const slices = fc
    .tuple(fc.constantFrom(...values), fc.nat(40), fc.integer({ min: 1, max: 16 }))
    .map(([value, from, length]) => value.slice(from % value.length, (from % value.length) + length));
  const glue = fc.constantFrom(
    ' ',
    '-',
    '"',
    '\n',
    '\\',
    '\\n',
    '%41',
    '[redacted]',
    '[redacted',
    'x',
    '\u200b',
    '🔑',
  );
  const forms = fc.constantFrom(...values.flatMap((value) => secretForms(value).substrings), ...values);
  return fc.array(fc.oneof(slices, glue, forms), { maxLength: 12 }).map((pieces) => pieces.join(''));
}

describe('redactJson', () => {
  it('keeps the shape of any JSON value that holds no secret', () => {
    const redactor = createRedactor([new Secret('ghp_16C7e42F292c6912E7710c838347Ae178B4a')]);
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(redactor.redactJson(value)).toMatchObject({ hits: 0, omitted: false });
        expect(JSON.stringify(redactor.redactJson(value).value)).toBe(JSON.stringify(value));
      }),
    );
  });

  it('lets no secret survive anywhere in a JSON value', () => {
    fc.assert(
      fc.property(alphanumeric, fc.json(), (value, json) => {
        const planted = JSON.parse(json, (_key, item: unknown) =>
          typeof item === 'string'
            ? item + value
            : typeof item === 'object' && item
              ? { ...item, [value]: value }
              : item,
        ) as unknown;

        const redacted = createRedactor([new Secret(value)]).redactJson(planted);

        expect(JSON.stringify(redacted.value)).not.toContain(value);
      }),
    );
  });
});

describe('hostile repetition', () => {
  const secrets = ['a'.repeat(40), 'abababababababababac', '\\u0061\\u0061', '%61%61%61%61', 'x'.repeat(7)];
  const redactor = createRedactor(secrets.map((value) => new Secret(value)));
  const workFor = (unit: string, length: number) =>
    redactor.redactText(unit.repeat(Math.ceil(length / unit.length)).slice(0, length)).work;

  it.each([
    ...[
      'a',
      'ab',
      'aaaaaaaaaaab',
      'a ',
      ' ',
      '\\',
      '%',
      '\\u0061',
      '%61',
      '\\u',
      '%6',
      '\\u{',
      '[redacted]',
      '[redacted',
    ],
    ...[
      'xxxxxxx ',
      'a[redacted]',
      '\ud800',
      '6161616161616',
      'YWFhYWFhYWFh',
      '\u200b',
      'aaaaaaaaaaaa!',
      '\\\\u0061',
    ],
  ])('costs work in proportion to the length of %j', (unit) => {
    const work = workFor(unit, 65_536);

    expect(work).toBeLessThan(65_536 * 600);
    expect(work).toBeLessThanOrEqual(2.1 * workFor(unit, 32_768));
  });
});
