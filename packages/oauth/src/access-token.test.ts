import { type JSONWebKeySet, SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { generateP256Jwk, verifyAccessToken } from './index.ts';

const nowMs = 1_750_000_000_000;
const now = nowMs / 1000;
const issuer = 'http://127.0.0.1:4180/oauth';
const audience = 'http://127.0.0.1:4180';
const key = generateP256Jwk();
const { d: _private, ...publicJwk } = key;
const jwks: JSONWebKeySet = { keys: [{ ...publicJwk, kid: 'k1', alg: 'ES256', use: 'sig' }] };

const claims = {
  iss: issuer,
  aud: audience,
  sub: 'usr_1',
  org: 'org_1',
  client_id: 'kontext-cli',
  scope: 'openid kontext',
  jti: 'at-1',
  gid: 'grant-1',
  cnf: { jkt: 'thumb' },
  iat: now,
  exp: now + 300,
};

const delegated = { sid: 'ses_1', txn: 'txn-1', may_act: { sub: 'agt_1' } };
const issue = (more: object = {}, header: object = {}, signWith = key) =>
  new SignJWT({ ...claims, ...more })
    .setProtectedHeader({ typ: 'at+jwt', alg: 'ES256', kid: 'k1', ...header })
    .sign(signWith);

const check = (token: string) => verifyAccessToken({ token, issuer, audience, jwks, nowMs });

const refusal = (message: RegExp) =>
  expect.objectContaining({
    code: 'KX_UNAUTHENTICATED',
    message: expect.stringMatching(message),
    why: expect.stringContaining('RFC 9068 §4'),
    details: expect.objectContaining({ oauth_error: 'invalid_token' }),
  });

describe('verifyAccessToken', () => {
  it('reads the claims of a good token', async () => {
    expect(await check(await issue())).toEqual({
      sub: 'usr_1',
      org: 'org_1',
      clientId: 'kontext-cli',
      scope: 'openid kontext',
      jti: 'at-1',
      exp: now + 300,
      grantId: 'grant-1',
      jkt: 'thumb',
    });
  });

  it('reads an act chain, outermost first', async () => {
    const act = { sub: 'agt_2', act: { sub: 'agt_1' } };

    expect(await check(await issue({ ...delegated, act }))).toMatchObject({
      ...{ act, sid: 'ses_1', txn: 'txn-1', mayAct: 'agt_1' },
    });
  });

  it.each(['sid', 'txn', 'may_act'])('refuses a delegation token without %s', async (claim) => {
    const token = await issue({ ...delegated, act: { sub: 'agt_1' }, [claim]: undefined });

    await expect(check(token)).rejects.toEqual(refusal(/lacks sid, txn or may_act/));
  });

  it('reads how and when the person was authenticated', async () => {
    const token = await issue({ acr: 'urn:kontext:acr:device', auth_time: now - 7 });

    expect(await check(token)).toMatchObject({ acr: 'urn:kontext:acr:device', authTime: now - 7 });
  });

  it('reads a missing scope as empty', async () => {
    expect((await check(await issue({ scope: undefined }))).scope).toBe('');
  });

  it('takes a token again that it has verified before, and no longer once its key is gone', async () => {
    const token = await issue();

    expect(await check(token)).toEqual(await check(token));
    const others: JSONWebKeySet = { keys: [{ ...generateP256Jwk(), kid: 'k1' }] };
    const later = verifyAccessToken({ token, issuer, audience, jwks: others, nowMs });
    await expect(later).rejects.toEqual(refusal(/not valid/));
    const expired = verifyAccessToken({ token, issuer, audience, jwks, nowMs: nowMs + 300_000 });
    await expect(expired).rejects.toEqual(refusal(/has expired/));
  });

  it('says of an expired token that it has expired, for programs', async () => {
    const details = { oauth_error: 'invalid_token', failure_reason: 'subject_token_expired' };

    await expect(check(await issue({ exp: now }))).rejects.toMatchObject({ details });
  });

  it.each([
    ['an expired token', /has expired/, () => issue({ exp: now })],
    ['a token not yet valid', /not valid/, () => issue({ nbf: now + 60 })],
    ['a foreign issuer', /not valid/, () => issue({ iss: 'https://other.example' })],
    ['a foreign audience', /not valid/, () => issue({ aud: 'https://other.example' })],
    ['an issuer that differs by a slash', /not valid/, () => issue({ iss: `${issuer}/` })],
    ['a list of audiences', /list of audiences/, () => issue({ aud: [audience] })],
    ['another type', /not valid/, () => issue({}, { typ: 'JWT' })],
    ['an id token', /not valid/, () => issue({}, { typ: undefined })],
    ['another key', /not valid/, () => issue({}, {}, generateP256Jwk())],
    ['an unknown kid', /not valid/, () => issue({}, { kid: 'k2' })],
    ['no expiry', /not valid/, () => issue({ exp: undefined })],
    ['no client', /lacks sub/, () => issue({ client_id: undefined })],
    ['no jti', /lacks sub/, () => issue({ jti: undefined })],
    ['no subject', /lacks sub/, () => issue({ sub: undefined })],
    ['an empty subject', /lacks sub/, () => issue({ sub: '' })],
    ['no organisation', /lacks sub, org/, () => issue({ org: undefined })],
    ['no grant', /names no grant/, () => issue({ gid: undefined })],
    ['no key binding', /not bound to a key/, () => issue({ cnf: undefined })],
    ['a key binding of another kind', /not bound to a key/, () => issue({ cnf: { 'x5t#S256': 'a' } })],
    ['an act claim without sub', /malformed/, () => issue({ ...delegated, act: {} })],
    ['an act claim that is text', /malformed/, () => issue({ ...delegated, act: 'agt_1' })],
    ['an act chain of nine', /deeper than 8/, () => issue({ ...delegated, act: chain(9) })],
    ['a token beyond 8 KiB', /longer than 8 KiB/, () => issue({ scope: 'x'.repeat(8192) })],
    ['text that is no token', /not valid/, () => Promise.resolve('nonsense')],
  ])('refuses %s', async (_what, message, make) => {
    await expect(check(await make())).rejects.toEqual(refusal(message));
  });

  it('refuses a token without the scope it is asked for, and does not take a part of a word for it', async () => {
    const verify = async (scope: string | undefined) =>
      verifyAccessToken({
        ...{ token: await issue({ scope }), issuer, audience, jwks, nowMs: now * 1000, scope: 'kontext' },
      });
    expect(await verify('openid kontext')).toMatchObject({ sub: 'usr_1' });
    for (const scope of [undefined, '', 'openid', 'kontextual', 'kontext.read']) {
      await expect(verify(scope)).rejects.toEqual(refusal(/lacks the scope kontext/));
    }
  });

  it('refuses an unsigned token', async () => {
    const head = Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url');
    const body = Buffer.from(JSON.stringify(claims)).toString('base64url');

    await expect(check(`${head}.${body}.`)).rejects.toEqual(refusal(/not valid/));
  });

  it('accepts an act chain of eight', async () => {
    expect((await check(await issue({ ...delegated, act: chain(8) }))).act).toEqual(chain(8));
  });
});

function chain(depth: number): object {
  return depth === 1 ? { sub: 'agt' } : { sub: 'agt', act: chain(depth - 1) };
}
