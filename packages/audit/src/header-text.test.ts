import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createId,
  createStreamWriter,
  hasHidden,
  headerTextFields,
  parseHeader,
  showHidden,
  toHeaderText,
} from './index.ts';

const same = (text: string): string => text;

describe('a text of a header', () => {
  it.each([
    ['NUL', '\0'],
    ['the end of a line', '\n'],
    ['an escape', '\u001b'],
    ['a second kind of control', '\u009b'],
    ['a mark that turns the line around', '\u202e'],
    ['an isolate', '\u2066'],
    ['a space of no width', '\u200b'],
    ['a joiner', '\u034f'],
    ['a letter that is drawn as nothing', '\u3164'],
    ['a variation', '\u{e0100}'],
    ['a tag', '\u{e0041}'],
    ['half a pair', '\ud800'],
    ['the other half', '\udc00'],
    ['a separator of lines', '\u2028'],
    ['a separator of paragraphs', '\u2029'],
  ])('shows %s as U+FFFD', (_name, char) => {
    expect(hasHidden(`a${char}b`)).toBe(true);
    expect(showHidden(`a${char}${char}b`)).toBe('a\ufffd\ufffdb');
  });

  it.each([
    'Bash',
    'mcp__github__create_issue',
    'déjà vu',
    '読む',
    '\u{1f600}',
    'كتابة',
    '',
    'a b',
    '\ufffd',
  ])('stays as it is when all of it can be seen: %s', (text) => {
    expect(hasHidden(text)).toBe(false);
    expect(showHidden(text)).toBe(text);
  });

  it('is fit whatever it was, and stays so', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 400 }),
        fc.integer({ min: 10, max: 300 }),
        (text, limit) => {
          const fit = toHeaderText(text, limit, same);
          expect(hasHidden(fit)).toBe(false);
          expect(fit.length).toBeLessThanOrEqual(limit);
          expect(toHeaderText(fit, limit, same)).toBe(fit);
        },
      ),
    );
  });

  it('is cut between two halves of a pair without leaving one', () => {
    expect(toHeaderText(`${'x'.repeat(9)}\u{1f600}`, 10, same)).toBe(`${'x'.repeat(9)}\ufffd`);
  });

  it('is left out as a whole when what is left of it looks like a secret', () => {
    // A rule that wants the end of the text behind a secret: only the cut makes one of it.
    const redact = (text: string): string => text.replace(/s3cr3t$/, '[redacted]');

    expect(toHeaderText('a s3cr3t', 100, redact)).toBe('a [redacted]');
    expect(toHeaderText('long s3cr3ts', 11, redact)).toBe('[redacted]');
  });
});

describe('the writer of a stream', () => {
  it('writes no hidden character, whatever it is given', () => {
    const from = { nonce: Buffer.alloc(32, 7) };
    const writer = createStreamWriter({ orgId: createId('org'), streamId: createId('str'), from });
    const names = Object.fromEntries(headerTextFields.map((field) => [field, `a\u202e${field}\0`]));

    const header = parseHeader(writer.append({ kind: 'agent.event', ...names }).header);

    for (const field of headerTextFields) expect(header[field]).toBe(`a\ufffd${field}\ufffd`);
  });
});
