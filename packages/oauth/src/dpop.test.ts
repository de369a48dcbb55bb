import { SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import vectors from '../testdata/rfc9449.json' with { type: 'json' };
import {
  createDpopProof,
  createNonceIssuer,
  type DpopVerification,
  generateP256Jwk,
  isP256PublicJwk,
  jwkThumbprint,
  verifyDpopProof,
} from './index.ts';

const nowMs = 1_750_000_000_000;
const iat = nowMs / 1000;
const htm = 'POST';
const htu = 'https://api.example.com/oauth/token';
const key = generateP256Jwk();
const { d: _private, ...publicJwk } = key;

/** A proof that may break the rules: signed by the right key, but with any header and claims. */
const forge = (claims: object = {}, header: object = {}, signWith = key) =>
  new SignJWT({ jti: 'j1', htm, htu, iat, ...claims })
    .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk: publicJwk, ...header })
    .sign(signWith);

const check = (proof: string | undefined, more: Partial<DpopVerification> = {}) =>
  verifyDpopProof({ proof, htm, htu, nowMs, ...more });

const refusal = (check: string, message: RegExp) =>
  expect.objectContaining({
    code: 'KX_UNAUTHENTICATED',
    message: expect.stringMatching(message),
    why: expect.stringContaining(`RFC 9449 §4.3 check ${check})`),
    details: { oauth_error: 'invalid_dpop_proof' },
  });

describe('verifyDpopProof with the examples of RFC 9449', () => {
  it('accepts the proof of §4.1 and names its key as §6.1 does', async () => {
    const { proof, jti, iat } = vectors['§4.1'];

    const verified = await check(proof, { htu: vectors['§4.1'].htu, nowMs: iat * 1000 });

    expect(verified).toEqual({ jkt: vectors['§6.1'].jkt, jti, iatMs: iat * 1000, usedNonce: false });
  });

  it('accepts the proof of §7.1 with its access token and refuses it with another', async () => {
    const { proof, htm, htu, accessToken, iat } = vectors['§7.1'];
    const request = { htm, htu, nowMs: iat * 1000 };

    await expect(check(proof, { ...request, accessToken })).resolves.toMatchObject({
      jti: 'e1j3V_bKic8-LAEB',
    });
    await expect(check(proof, { ...request, accessToken: 'another' })).rejects.toEqual(
      refusal('12', /another access token/),
    );
  });
});

describe('verifyDpopProof', () => {
  it('accepts what createDpopProof makes, with token and nonce', async () => {
    const proof = await createDpopProof({ key, htm, htu, accessToken: 'token', nonce: 'n', nowMs });

    const verified = await check(proof, { accessToken: 'token', isNonceValid: (nonce) => nonce === 'n' });

    expect(verified).toMatchObject({ jkt: jwkThumbprint(key), usedNonce: true, iatMs: nowMs });
  });

  it('never puts the private half of the key into a proof', async () => {
    const proof = await createDpopProof({ key, htm, htu, nowMs });

    expect(Buffer.from(proof.split('.')[0]!, 'base64url').toString()).not.toContain(key.d);
  });

  it.each([
    ['query', `${htu}?a=b`],
    ['fragment', `${htu}#f`],
    ['default port and upper case host', 'HTTPS://API.example.com:443/oauth/token'],
  ])('ignores a difference of %s in htu', async (_what, other) => {
    await expect(check(await forge({ htu: other }))).resolves.toMatchObject({ jti: 'j1' });
    await expect(check(await forge(), { htu: other })).resolves.toMatchObject({ jti: 'j1' });
  });

  it('cuts query and fragment off when it makes a proof', async () => {
    const proof = await createDpopProof({ key, htm, htu: `${htu}?secret=1#f`, nowMs });

    expect(Buffer.from(proof.split('.')[1]!, 'base64url').toString()).toContain(`"htu":"${htu}"`);
  });

  it.each([
    ['1', 'no proof', /no DPoP proof/, () => Promise.resolve(undefined)],
    ['1', 'an empty proof', /no DPoP proof/, () => Promise.resolve('')],
    ['1', 'two proofs', /more than one/, async () => `${await forge()}, ${await forge()}`],
    ['2', 'a proof of two parts', /not a compact JWS/, () => Promise.resolve('a.b')],
    ['2', 'a proof of four parts', /not a compact JWS/, async () => `${await forge()}.x`],
    ['2', 'a proof with foreign characters', /not a compact JWS/, async () => `${await forge()}=`],
    ['2', 'parts that are no JSON', /not JSON/, () => Promise.resolve('AAAA.AAAA.AAAA')],
    ['2', 'parts that are no object', /not a JSON object/, () => Promise.resolve('W10.W10.AAAA')],
    ['2', 'a proof beyond 4 KiB', /longer than 4 KiB/, () => forge({ padding: 'x'.repeat(4096) })],
    ['3', 'a missing jti', /lacks jti/, () => forge({ jti: undefined })],
    ['3', 'an empty jti', /lacks jti/, () => forge({ jti: '' })],
    ['3', 'a jti beyond 128', /longer than 128/, () => forge({ jti: 'x'.repeat(129) })],
    ['3', 'a missing iat', /lacks jti or iat/, () => forge({ iat: undefined })],
    ['4', 'another type', /type/, () => forge({}, { typ: 'JWT' })],
    ['7', 'a missing key', /public P-256 key/, () => forge({}, { jwk: undefined })],
    ['7', 'a private key', /public P-256 key/, () => forge({}, { jwk: key })],
    ['8', 'another method', /HTTP method/, () => forge({ htm: 'GET' })],
    ['8', 'the method in lower case', /HTTP method/, () => forge({ htm: 'post' })],
    ['9', 'another path', /another URL/, () => forge({ htu: 'https://api.example.com/other' })],
    ['9', 'another host', /another URL/, () => forge({ htu: 'https://evil.example/oauth/token' })],
    ['9', 'plain http', /another URL/, () => forge({ htu: 'http://api.example.com/oauth/token' })],
    ['9', 'a URL that is none', /another URL/, () => forge({ htu: '/oauth/token' })],
    ['11', 'an old proof', /too old/, () => forge({ iat: iat - 61 })],
    ['11', 'a proof from the future', /too new/, () => forge({ iat: iat + 61 })],
  ])('check %s: refuses %s', async (number, _what, message, make) => {
    await expect(check(await make())).rejects.toEqual(refusal(number, message));
  });

  it('check 5: refuses every algorithm but ES256', async () => {
    const [, body, tail] = (await forge()).split('.');
    for (const alg of ['none', 'HS256', 'RS256', 'ES384']) {
      const head = Buffer.from(JSON.stringify({ typ: 'dpop+jwt', alg, jwk: publicJwk })).toString(
        'base64url',
      );
      await expect(check(`${head}.${body}.${tail}`)).rejects.toEqual(refusal('5', /not ES256/));
    }
  });

  it('check 6: refuses a proof signed by another key than it carries', async () => {
    await expect(check(await forge({}, {}, generateP256Jwk()))).rejects.toEqual(refusal('6', /signature/));
  });

  it('check 7: refuses a point that is not on the curve', async () => {
    const head = Buffer.from(
      JSON.stringify({ typ: 'dpop+jwt', alg: 'ES256', jwk: { ...publicJwk, x: publicJwk.y } }),
    ).toString('base64url');
    await expect(check(`${head}.e30.AAAA`)).rejects.toEqual(refusal('7', /not a point/));
  });

  it('refuses critical extensions, which it does not know', async () => {
    const proof = await forge();
    const [, body, tail] = proof.split('.');
    const head = Buffer.from(
      JSON.stringify({ typ: 'dpop+jwt', alg: 'ES256', jwk: publicJwk, crit: ['x'], x: 1 }),
    ).toString('base64url');
    await expect(check(`${head}.${body}.${tail}`)).rejects.toEqual(refusal('2', /critical/));
  });

  it('check 12: refuses a proof without ath when the request carries a token', async () => {
    await expect(check(await forge(), { accessToken: 't' })).rejects.toEqual(refusal('12', /access token/));
  });
});

describe('nonces', () => {
  const nonces = createNonceIssuer(Buffer.alloc(32, 7));
  const isNonceValid = (nonce: string) => nonces.isValid(nonce, nowMs);
  const nonceNeeded = expect.objectContaining({
    code: 'KX_DPOP_NONCE_NEEDED',
    details: { oauth_error: 'use_dpop_nonce' },
  });

  it('do not let iat be judged when they are valid', async () => {
    const proof = await forge({ iat: 1, nonce: nonces.issue(nowMs) });

    await expect(check(proof, { isNonceValid })).resolves.toMatchObject({ usedNonce: true, iatMs: 1000 });
  });

  it('are asked for when iat is out of the window', async () => {
    await expect(check(await forge({ iat: 1 }), { isNonceValid })).rejects.toEqual(nonceNeeded);
  });

  it('are not asked for while iat is within the window', async () => {
    await expect(check(await forge(), { isNonceValid })).resolves.toMatchObject({ usedNonce: false });
  });

  it.each([['stale'], [5], [null]])(
    'check 10: are asked for again when the proof carries %j',
    async (nonce) => {
      await expect(check(await forge({ nonce }), { isNonceValid })).rejects.toEqual(nonceNeeded);
    },
  );

  it('live 5 minutes', () => {
    const nonce = nonces.issue(nowMs);

    expect(nonces.isValid(nonce, nowMs + 300_000)).toBe(true);
    expect(nonces.isValid(nonce, nowMs + 301_000)).toBe(false);
    expect(nonces.isValid(nonce, nowMs - 31_000)).toBe(false);
  });

  it('of another secret, shortened or changed are not ours', () => {
    const nonce = nonces.issue(nowMs);
    const other = createNonceIssuer(Buffer.alloc(32, 8)).issue(nowMs);
    const changed = `${nonce.slice(0, 20)}${nonce[20] === 'A' ? 'B' : 'A'}${nonce.slice(21)}`;

    for (const foreign of [other, changed, nonce.slice(1), '', `${nonce}A`])
      expect(nonces.isValid(foreign, nowMs)).toBe(false);
  });

  it('need a secret of at least 32 bytes', () => {
    expect(() => createNonceIssuer(Buffer.alloc(31))).toThrow(RangeError);
  });
});

describe('isP256PublicJwk', () => {
  it.each([
    ['null', null],
    ['text', 'EC'],
    ['another curve', { ...publicJwk, crv: 'P-384' }],
    ['another type', { ...publicJwk, kty: 'OKP' }],
    ['a short coordinate', { ...publicJwk, x: 'AA' }],
    ['a coordinate that is no text', { ...publicJwk, y: 5 }],
    ['a symmetric member', { ...publicJwk, k: 'AA' }],
    ['a private member', key],
  ])('is false for %s', (_what, value) => {
    expect(isP256PublicJwk(value)).toBe(false);
  });
});
