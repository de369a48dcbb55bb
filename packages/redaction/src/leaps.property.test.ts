/** What is passed over must hold nothing: each search that leaps, beside one that looks everywhere. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AnchorAutomaton } from './anchor-automaton.ts';
import { codeAt, isWhiteSpace, isWordCode } from './characters.ts';
import { clipUtf8 } from './clip-utf8.ts';
import { GramIndex } from './gram-index.ts';
import { createPayloadRedactor, Secret } from './index.ts';
import { TextView, viewsOf } from './text-view.ts';

const codesOf = (text: string) => Uint16Array.from({ length: text.length }, (_, at) => codeAt(text, at));

/** Letters that meet often, and what has a meaning of its own in a view. */
const char = fc.constantFrom('a', 'b', 'c', '-', ' ', '\n', '\u20ac', '\ud800', '\uffff', '\ufffe');
const textOf = (length: fc.StringConstraints) => fc.string({ unit: char, ...length });

/** Texts of pieces of the forms and of anything between. */
const textNear = (forms: readonly string[]) =>
  fc
    .array(
      fc.oneof(
        fc
          .tuple(fc.constantFrom(...forms), fc.nat(8), fc.nat(24))
          .map(([form, from, length]) => form.slice(from, from + length)),
        textOf({ maxLength: 6 }),
      ),
      { maxLength: 10 },
    )
    .map((pieces) => pieces.join(''));

describe('GramIndex', () => {
  const cases = fc
    .integer({ min: 1, max: 12 })
    .chain((length) =>
      fc.tuple(
        fc.constant(length),
        fc.array(textOf({ minLength: length, maxLength: 30 }), { minLength: 1, maxLength: 6 }),
      ),
    )
    .chain(([length, forms]) => fc.tuple(fc.constant({ length, forms }), textNear(forms), fc.boolean()));

  it('reports every window that is a gram of a form, and no other', () => {
    fc.assert(
      fc.property(cases, ([{ length, forms }, text, wholeWords]) => {
        const codes = codesOf(text);
        const found: number[] = [];

        new GramIndex(length, forms, wholeWords).find(new TextView(codes), (start) => found.push(start));

        expect(found).toEqual(everyGram(codes, length, forms, wholeWords));
      }),
      { numRuns: 2000 },
    );
  });
});

/** Looks at each window of a text and at each of every form. */
function everyGram(
  codes: Uint16Array,
  length: number,
  forms: readonly string[],
  wholeWords: boolean,
): number[] {
  const windows = (of: Uint16Array) =>
    Array.from({ length: Math.max(0, of.length - length + 1) }, (_, at) =>
      of.subarray(at, at + length).join(),
    );
  const isBlank = (gram: string) => gram.split(',').every((code) => isWhiteSpace(Number(code)));
  const isInWord = (at: number) => at >= 0 && at < codes.length && isWordCode(codes[at]!);
  const grams = new Set(forms.flatMap((form) => windows(codesOf(form))).filter((gram) => !isBlank(gram)));
  return windows(codes).flatMap((window, at) =>
    grams.has(window) && !(wholeWords && (isInWord(at - 1) || isInWord(at + length))) ? [at] : [],
  );
}

describe('AnchorAutomaton', () => {
  const anchor = fc.string({ unit: fc.constantFrom('a', 'b', '-', '/', ' '), minLength: 1, maxLength: 7 });
  const cases = fc
    .array(anchor, { minLength: 1, maxLength: 8 })
    .chain((anchors) => fc.tuple(fc.constant(anchors), textNear(anchors), fc.integer({ min: 1, max: 9 })));

  it('reports every place at which an anchor begins, in whatever stretches it is asked', () => {
    fc.assert(
      fc.property(cases, ([anchors, lower, stretch]) => {
        const text = lower.replace(/b/g, (letter, at: number) => (at % 2 === 0 ? 'B' : letter));
        const codes = codesOf(text);
        const found: [number, number][] = [];

        const automaton = new AnchorAutomaton(anchors);
        for (let from = 0; from < text.length; from += stretch) {
          automaton.find(codes, from, Math.min(from + stretch, text.length), (index, start) =>
            found.push([start, index]),
          );
        }

        const everywhere = placesOf(anchors, text.toLowerCase());
        expect(found.map(String).sort()).toEqual(everywhere.map(String).sort());
        expect(found.map(([start]) => start)).toEqual(found.map(([start]) => start).sort((a, b) => a - b));
      }),
      { numRuns: 2000 },
    );
  });
});

const placesOf = (anchors: readonly string[], text: string): [number, number][] =>
  anchors.flatMap((anchor, index) =>
    Array.from({ length: text.length }, (_, at): [number, number] => [at, index]).filter(([at]) =>
      text.startsWith(anchor, at),
    ),
  );

describe('viewsOf', () => {
  it('knows of every character where it came from, however long the text before was', () => {
    const piece = fc.constantFrom(
      'a',
      '\\n',
      '\\u0041',
      '%41',
      '%E2%82%AC',
      '\\u{1F511}',
      '\\uffff',
      '€',
      '\\',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 300 }), (pieces) => {
        viewsOf('x'.repeat(700));
        const text = pieces.join('');

        for (const { codes, ...view } of viewsOf(text).map((each) => ({
          codes: each.codes,
          spans: Array.from(each.codes, (_, at) => [each.startOf(at), each.endOf(at)] as const),
        }))) {
          let reached = 0;
          for (const [at, [start, end]] of view.spans.entries()) {
            const isSame = at > 0 && start === view.spans[at - 1]![0];
            if (!isSame) expect(start).toBe(reached);
            if (end - start === 1) expect(codes[at]).toBe(codeAt(text, start));
            reached = end;
          }
          expect(reached).toBe(text.length);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('clipUtf8', () => {
  it('keeps the longest prefix of whole characters, wherever a stretch it counts at once ends', () => {
    const unit = fc.constantFrom('a', 'é', '€', '🔑', '\ud83d', '\udd11');
    fc.assert(
      fc.property(
        fc.array(unit, { maxLength: 40 }),
        fc.nat(1500),
        fc.nat(4500),
        (units, before, maxBytes) => {
          const text = 'ab€'.repeat(before) + units.join('');

          const clipped = clipUtf8(text, maxBytes);

          const next = String.fromCodePoint(text.codePointAt(clipped.length) ?? 0x61);
          expect(text.startsWith(clipped)).toBe(true);
          expect(Buffer.byteLength(clipped)).toBeLessThanOrEqual(maxBytes);
          if (clipped !== text)
            expect(Buffer.byteLength(clipped) + Buffer.byteLength(next)).toBeGreaterThan(maxBytes);
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('a secret with U+FFFF in it', () => {
  it('is found raw and escaped, and what replaced it is not taken for it', () => {
    const value = `ab\uffffcd${'\uffff'.repeat(20)}`;
    const redactor = createPayloadRedactor({ secrets: [new Secret(value)], nowMs: () => 0 });

    const escaped = value.replaceAll('\uffff', '\\uffff');

    expect(redactor.redactText(`x ${value} y`)).toMatchObject({ text: 'x [redacted] y', hits: 1 });
    expect(redactor.redactText(`x ${escaped} y`)).toMatchObject({ text: 'x [redacted] y', hits: 1 });
    expect(redactor.redactText('x [redacted][redacted] y')).toMatchObject({ hits: 0 });
  });
});
