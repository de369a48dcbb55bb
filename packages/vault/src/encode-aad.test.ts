import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeAad, encodeAad } from './index.ts';

const fields = fc.array(fc.string({ unit: 'grapheme', maxLength: 6 }), { maxLength: 5 });

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

describe('decodeAad', () => {
  it.each(['00', '000000', '00000001', 'ffffffff61', '0000000161ff', '00000001ff'])(
    'refuses bytes that encodeAad never makes (%s)',
    (hex) => {
      expect(() => decodeAad(Buffer.from(hex, 'hex'))).toThrow(
        expect.objectContaining({ code: 'KX_INTERNAL' }),
      );
    },
  );

  it('never gives the same fields for two byte strings', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 16 }), (bytes) => {
        const aad = Buffer.from(bytes);
        const decoded = (() => {
          try {
            return decodeAad(aad);
          } catch {
            return null;
          }
        })();
        if (decoded !== null) expect(encodeAad(decoded)).toEqual(aad);
      }),
    );
  });
});
