import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeAad } from './index.ts';

const fields = fc.array(fc.string({ unit: 'grapheme', maxLength: 6 }), { maxLength: 5 });

/** The inverse of encodeAad; that it exists is what injectivity means. */
const decodeAad = (bytes: Buffer): string[] => {
  const decoded: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 4 + bytes.readUInt32BE(at);
    decoded.push(bytes.toString('utf8', at + 4, end));
    at = end;
  }
  return decoded;
};

describe('encodeAad', () => {
  it('puts each field behind its length', () => {
    expect(encodeAad(['ab', '', 'ä']).toString('hex')).toBe('00000002616200000000' + '00000002c3a4');
  });

  it('can be undone, so no two lists of fields share an encoding', () => {
    fc.assert(
      fc.property(fields, (list) => {
        expect(decodeAad(encodeAad(list))).toEqual(list);
      }),
    );
  });

  it('tells apart lists that differ only in where a field ends', () => {
    const cut = fc.record({ text: fc.string({ minLength: 2, maxLength: 12 }), a: fc.nat(12), b: fc.nat(12) });
    fc.assert(
      fc.property(cut, ({ text, a, b }) => {
        const split = (at: number) => [text.slice(0, at), text.slice(at)];
        const [one, two] = [split(a % text.length), split(b % text.length)];
        expect(encodeAad(one).equals(encodeAad(two))).toBe(one[0] === two[0]);
      }),
    );
  });

  it('refuses a lone surrogate, which would encode like U+FFFD', () => {
    expect(() => encodeAad(['a\ud800'])).toThrow(expect.objectContaining({ code: 'KX_INTERNAL' }));
    expect(() => encodeAad(['\ufffd', '\u{1f511}'])).not.toThrow();
  });
});
