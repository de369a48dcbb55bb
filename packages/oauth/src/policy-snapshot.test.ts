import { CompactSign } from 'jose';
import { describe, expect, it } from 'vitest';
import {
  generateP256Jwk,
  jwkThumbprint,
  type SnapshotClaims,
  type SnapshotVerification,
  signSnapshot,
  verifySnapshot,
} from './index.ts';

const nowMs = 1_750_000_000_000;
const now = nowMs / 1000;
const key = generateP256Jwk();
const { d: _private, ...publicJwk } = key;
const claims: SnapshotClaims = {
  org: 'org_1',
  team: '',
  mode: 'enforce',
  version: 3,
  seq: 7,
  stale: 'deny_sensitive',
  hash: 'a'.repeat(64),
  iat: now,
  exp: now + 900,
};

const check = async (jws: string | Promise<string>, more: Partial<SnapshotVerification> = {}) =>
  verifySnapshot({
    jws: await jws,
    policiesHash: claims.hash,
    pinnedThumbprint: jwkThumbprint(key),
    minSeq: 7,
    orgId: 'org_1',
    nowMs,
    ...more,
  });

/** Signed by the right key, but with any header and payload. */
const forge = (payload: unknown, header: object = {}) =>
  new CompactSign(Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload)))
    .setProtectedHeader({ alg: 'ES256', typ: 'kontext-policy+jwt', jwk: publicJwk, ...header })
    .sign({ ...key, alg: 'ES256' });

const invalid = (message: RegExp) =>
  expect.objectContaining({ code: 'KX_SNAPSHOT_INVALID', message: expect.stringMatching(message) });

describe('verifySnapshot', () => {
  it('returns what was signed', async () => {
    expect(await check(signSnapshot(claims, key))).toEqual(claims);
  });

  it('accepts the seq seen before and a newer one, whatever the version: an old one may hold again', async () => {
    await expect(check(signSnapshot(claims, key), { minSeq: 0 })).resolves.toMatchObject({ seq: 7 });
    const restored = { ...claims, seq: 8, version: 1 };
    await expect(check(signSnapshot(restored, key))).resolves.toMatchObject({ seq: 8, version: 1 });
  });

  it('refuses a rollback', async () => {
    await expect(check(signSnapshot(claims, key), { minSeq: 8 })).rejects.toMatchObject({
      code: 'KX_SNAPSHOT_ROLLBACK',
      why: 'it has publication 7, and publication 8 was seen',
    });
  });

  it('refuses another organisation', async () => {
    await expect(check(signSnapshot({ ...claims, org: 'org_2' }, key))).rejects.toEqual(
      invalid(/organisation/),
    );
  });

  it('refuses an expired snapshot, with a minute for clocks that differ', async () => {
    const jws = await signSnapshot({ ...claims, exp: now }, key);

    await expect(check(jws, { nowMs: nowMs + 59_000 })).resolves.toMatchObject({ exp: now });
    await expect(check(jws, { nowMs: nowMs + 60_000 })).rejects.toEqual(invalid(/expired/));
  });

  it('accepts an expired snapshot where the caller marks it stale, but checks all else', async () => {
    const jws = await signSnapshot({ ...claims, exp: 1 }, key);

    await expect(check(jws, { acceptExpired: true })).resolves.toMatchObject({ exp: 1 });
    await expect(check(jws, { acceptExpired: true, orgId: 'org_2' })).rejects.toEqual(
      invalid(/organisation/),
    );
  });

  it('refuses a key that is not pinned', async () => {
    await expect(check(signSnapshot(claims, generateP256Jwk()))).rejects.toEqual(invalid(/another key/));
  });

  it('refuses policies that are not the signed ones', async () => {
    await expect(check(signSnapshot(claims, key), { policiesHash: 'b'.repeat(64) })).rejects.toEqual(
      invalid(/not the ones that were signed/),
    );
  });

  it('refuses a changed payload and a changed signature', async () => {
    const [head, body, tail] = (await signSnapshot(claims, key)).split('.');
    const lenient = Buffer.from(JSON.stringify({ ...claims, mode: 'observe' })).toString('base64url');
    const other = (await signSnapshot({ ...claims, version: 9 }, key)).split('.')[2];

    for (const jws of [`${head}.${lenient}.${tail}`, `${head}.${body}.${other}`, `${head}.${body}.`])
      await expect(check(jws)).rejects.toEqual(invalid(/does not verify/));
  });

  it('refuses another algorithm, also none', async () => {
    const [, body, tail] = (await signSnapshot(claims, key)).split('.');
    for (const alg of ['none', 'HS256']) {
      const header = { alg, typ: 'kontext-policy+jwt', jwk: publicJwk };
      const head = Buffer.from(JSON.stringify(header)).toString('base64url');
      await expect(check(`${head}.${body}.${tail}`)).rejects.toEqual(invalid(/does not verify/));
    }
  });

  it.each([
    ['text that is no JWS', 'nonsense', /not a JWS/],
    ['a JWS beyond 8 KiB', 'x'.repeat(8193), /longer than 8 KiB/],
    ['another type', forge(claims, { typ: 'at+jwt' }), /another type/],
    ['a critical extension', forge(claims, { crit: ['b64'], b64: true }), /does not verify/],
    [
      'a key off the curve',
      forge(claims, { jwk: { ...publicJwk, y: publicJwk.x } }),
      /not a point|another key/,
    ],
    ['no key', forge(claims, { jwk: undefined }), /no public key/],
    ['a private key', forge(claims, { jwk: key }), /no public key/],
    ['a payload that is no JSON', forge('nonsense'), /lacks a field/],
    ['a payload that is null', forge(null), /lacks a field/],
    ['a missing field', forge({ ...claims, hash: undefined }), /lacks a field/],
    ['a version that is no whole number', forge({ ...claims, version: 7.5 }), /lacks a field/],
    ['a version as text', forge({ ...claims, version: '3' }), /lacks a field/],
    ['no seq, as before there were publications', forge({ ...claims, seq: undefined }), /lacks a field/],
    ['a seq as text', forge({ ...claims, seq: '7' }), /lacks a field/],
    ['no rule for when it is stale', forge({ ...claims, stale: undefined }), /lacks a field/],
  ])('refuses %s', async (_what, jws, message) => {
    await expect(check(jws)).rejects.toEqual(invalid(message));
  });

  it('reads a mode it does not know as enforce', async () => {
    await expect(check(forge({ ...claims, mode: 'later' }))).resolves.toMatchObject({ mode: 'enforce' });
  });

  it('reads a rule for when it is stale that it does not know as denying everything', async () => {
    await expect(check(forge({ ...claims, stale: 'later' }))).resolves.toMatchObject({ stale: 'deny_all' });
    await expect(check(forge({ ...claims, stale: 'deny_all' }))).resolves.toMatchObject({
      stale: 'deny_all',
    });
  });
});
