/** Views are written many characters at a time: each beside one that is written one by one. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BARRIER, codeAt, isSeparator } from './characters.ts';
import { createPayloadRedactor, Secret } from './index.ts';
import { readEscape } from './read-escape.ts';
import { squeezeView, type TextView, viewsOf } from './text-view.ts';

const piece = fc.constantFrom(
  ...['a', 'B7', ' ', '.', '\n', '€', '\u200b', '\ufffd', '\uffff', '\ud83d', '🔑'],
  ...['x'.repeat(97), '- '.repeat(60)],
  ...['\\n', '\\', '\\\\', '\\u0041', '\\u{1F511}', '\\u00', '%41', '%', '%E2%82%AC', '%e2%82', '[redacted]'],
);
const text = fc.array(piece, { maxLength: 60 }).map((pieces) => pieces.join(''));

/** What a view holds, with the place each character begins at and the one it ends before. */
const read = (view: TextView) =>
  Array.from(view.codes, (code, at) => [code, view.startOf(at), view.endOf(at)] as const);
type Read = ReturnType<typeof read>;

const plainModel = (of: string): Read => {
  const codes = Array.from({ length: of.length }, (_, at) => codeAt(of, at));
  for (const { index } of of.matchAll(/\[redacted\]/g)) codes.fill(BARRIER, index, index + 10);
  return codes.map((code, at) => [code, at, at + 1]);
};

function resolvedModel(of: string): Read {
  const plain = plainModel(of);
  const codes = Uint16Array.from(plain, ([code]) => code);
  const all: Read = [];
  for (let at = 0; at < codes.length; ) {
    const sequence = readEscape(codes, at) ?? { length: 1, codes: [codes[at]!] };
    for (const code of sequence.codes) all.push([code, at, at + sequence.length]);
    at += sequence.length;
  }
  return all;
}

describe('views', () => {
  it('hold a text as it is, and as it is read when its escapes are resolved', () => {
    fc.assert(
      fc.property(text, (of) => {
        const [plain, resolved] = viewsOf(of);

        expect(read(plain!)).toEqual(plainModel(of));
        if (resolved) expect(read(resolved)).toEqual(resolvedModel(of));
        else expect(resolvedModel(of)).toEqual(plainModel(of));
      }),
      { numRuns: 500 },
    );
  });

  it('squeezed, hold what is no separator, and know where it was', () => {
    fc.assert(
      fc.property(text, (of) => {
        for (const view of viewsOf(of)) {
          const kept = read(view).filter(([code]) => !isSeparator(code));

          expect(read(squeezeView(view))).toEqual(kept);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('a value of very many small parts', () => {
  const many = Array.from({ length: 60_000 }, (_, at) => at * 1.25);
  /** One millisecond between two looks at it. */
  const tickingClock = () => {
    let ms = 0;
    return () => ++ms;
  };

  it('is kept when they are numbers, which no rule finds anything in', () => {
    const redactor = createPayloadRedactor({
      secrets: [new Secret('123456789012345')],
      nowMs: tickingClock(),
    });

    expect(redactor.redactJson(many)).toMatchObject({ kind: 'redacted', hits: 0, value: many });
    expect(redactor.redactJson([123456789012345, 1.5])).toMatchObject({
      hits: 1,
      value: ['[redacted]', 1.5],
    });
  });

  it('is left out when they are objects and the time is over, though there is nothing to look at in them', () => {
    const redactor = createPayloadRedactor({ secrets: [], nowMs: tickingClock(), budgetMs: 10 });

    const redacted = redactor.redactJson(many.map(() => ({})));

    expect(redacted).toEqual({ kind: 'omitted', reason: 'budget' });
  });
});
