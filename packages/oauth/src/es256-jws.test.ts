import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import vectors from '../testdata/rfc7515.json' with { type: 'json' };
import { decodeJws, signJws, verifyJws } from './es256-jws.ts';
import { generateP256Jwk, isP256PublicJwk } from './p256-jwk.ts';

const { jwk, header, payload, jws } = vectors['§A.3'];
const { d: _private, ...half } = jwk;
if (!isP256PublicJwk(half)) throw new Error('the vector holds no P-256 key');
const decoded = (text: string) => {
  const found = decodeJws(text);
  if (found === null) throw new Error('no JWS');
  return found;
};

describe('the example of RFC 7515 appendix A.3', () => {
  it('is read and verified', () => {
    expect(decoded(jws)).toMatchObject({ header, payload });
    expect(verifyJws(decoded(jws), half)).toBe(true);
  });

  it('is not verified by another key, nor with one bit changed anywhere', () => {
    expect(verifyJws(decoded(jws), generateP256Jwk())).toBe(false);
    const { signed, signature, ...rest } = decoded(jws);
    for (let bit = 0; bit < signature.length * 8; bit += 37) {
      const changed = Buffer.from(signature);
      changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expect(verifyJws({ ...rest, signed, signature: changed }, half)).toBe(false);
    }
    expect(verifyJws({ ...rest, signature, signed: `${signed}A` }, half)).toBe(false);
  });
});

describe('a JWS', () => {
  it('that is signed here is verified here', () => {
    const key = generateP256Jwk();
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (claims) => {
        const text = signJws({ alg: 'ES256' }, claims, key);
        expect(verifyJws(decoded(text), key)).toBe(true);
      }),
      { numRuns: 20 },
    );
  });

  it.each([
    '',
    'a.b',
    'a.b.c',
    'e30.e30.',
    '.e30.AA',
    'e30.e30.A=',
    'e30.W10.AA',
    'e30.e30.AA.AA',
    'e30.bnVsbA.AA',
  ])('is not %j', (text) => {
    expect(decodeJws(text)).toBeNull();
  });

  it('is not verified by what is no point of the curve', () => {
    expect(verifyJws(decoded(jws), { ...half, x: half.y })).toBe(false);
  });
});
