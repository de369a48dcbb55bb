import fc from 'fast-check';
import type { JSONWebKeySet } from 'jose';
import { describe, expect, it } from 'vitest';
import {
  type ActClaim,
  type DelegationFacts,
  decideDelegation,
  depthOf,
  generateP256Jwk,
  parseCredentialScope,
  scopesLeftOf,
  signDelegationToken,
  verifyAccessToken,
} from './index.ts';

const facts: DelegationFacts = {
  subject: { scope: null, act: null, leftSeconds: null },
  actor: 'agt_1',
  wanted: [],
  wantedSeconds: null,
  attached: new Map<string, readonly string[] | null>([
    ['github', null],
    ['acme', ['read', 'write']],
  ]),
  agent: { ceilingScopes: null, maxTtlSeconds: 3600 },
};
const decide = (more: Partial<DelegationFacts>) => decideDelegation({ ...facts, ...more });
const chain = (depth: number): ActClaim =>
  depth === 1 ? { sub: 'agt_1' } : { sub: 'agt_1', act: chain(depth - 1) };
const below = (scope: readonly string[], depth = 1, leftSeconds = 200): DelegationFacts['subject'] => ({
  ...{ scope, act: chain(depth), leftSeconds },
});

describe('the scopes of delegation tokens', () => {
  it.each([
    ['credential:github', { provider: 'github', scope: null }],
    ['credential:github:repo:status', { provider: 'github', scope: 'repo:status' }],
    ['credential:', null],
    ['credential:GitHub', null],
    ['credential:github:', null],
    ['kontext', null],
  ])('%s', (text, parsed) => {
    expect(parseCredentialScope(text)).toEqual(parsed);
  });

  it('leave of a provider what they name', () => {
    const held = ['credential:github', 'credential:acme:read', 'credential:acme:write', 'openid'];

    expect(scopesLeftOf(held, 'github')).toBe('all');
    expect(scopesLeftOf(held, 'acme')).toEqual(['read', 'write']);
    expect(scopesLeftOf(held, 'linear')).toBe('nothing');
  });
});

describe('decideDelegation', () => {
  it('gives a login, when it names no scope, all providers of the agent, for five minutes', () => {
    expect(decide({})).toEqual({
      ...{ ok: true, scope: ['credential:github', 'credential:acme'], expiresInSeconds: 300 },
      ...{ act: { sub: 'agt_1' }, depth: 1 },
    });
  });

  it('keeps the history below the one who acts now', () => {
    expect(decide({ subject: below(['credential:github']), actor: 'agt_2' })).toMatchObject({
      ...{ ok: true, act: { sub: 'agt_2', act: { sub: 'agt_1' } }, depth: 2 },
    });
  });

  it.each<[string, Partial<DelegationFacts>, number]>([
    ['what the subject has left', { subject: below(['credential:github'], 1, 42.9) }, 42],
    ['what was asked for', { wantedSeconds: 60 }, 60],
    ['the agent', { agent: { ceilingScopes: null, maxTtlSeconds: 120 } }, 120],
    ['five minutes, whatever was asked for', { wantedSeconds: 3600 }, 300],
  ])('bounds the life by %s', (_what, change, expiresInSeconds) => {
    expect(decide(change)).toMatchObject({ ok: true, expiresInSeconds });
  });

  it.each<[string, Partial<DelegationFacts>, string, string?]>([
    ['a ninth link', { subject: below(['credential:github'], 8) }, 'invalid_request'],
    ['a scope that is none of delegation', { wanted: ['kontext'] }, 'invalid_scope', 'kontext'],
    [
      'a provider that is not attached',
      { wanted: ['credential:linear', 'credential:github'] },
      ...(['invalid_scope', 'credential:linear'] as const),
    ],
    [
      'a provider the subject does not have',
      { subject: below(['credential:github']), wanted: ['credential:acme:read'] },
      ...(['invalid_scope', 'credential:acme:read'] as const),
    ],
    [
      'a whole provider where the subject has one scope of it',
      { subject: below(['credential:acme:read']), wanted: ['credential:acme'] },
      ...(['invalid_scope', 'credential:acme'] as const),
    ],
    [
      'another scope than the subject has',
      { subject: below(['credential:acme:read']), wanted: ['credential:acme:write'] },
      ...(['invalid_scope', 'credential:acme:write'] as const),
    ],
    [
      'a scope beyond the attachment',
      { wanted: ['credential:acme:admin'] },
      ...(['invalid_scope', 'credential:acme:admin'] as const),
    ],
    [
      'a scope beyond the agent',
      {
        wanted: ['credential:acme:write'],
        agent: { ceilingScopes: ['read'], maxTtlSeconds: 3600 },
      },
      ...(['invalid_scope', 'credential:acme:write'] as const),
    ],
    ['an agent without providers', { attached: new Map() }, 'invalid_scope', ''],
    [
      'a subject that is over',
      { subject: below(['credential:github'], 1, 0.5) },
      ...(['invalid_request'] as const),
    ],
  ])('refuses %s', (_what, change, oauthError, excess) => {
    const members = excess === undefined ? {} : { scope: excess };
    expect(decide(change)).toMatchObject({ ok: false, oauthError, members });
  });

  it('never widens: whatever is asked of a chain, every link holds at most what the one above held', () => {
    const scope = fc.constantFrom(
      ...['credential:github', 'credential:github:a', 'credential:acme', 'credential:acme:read'],
      ...['credential:acme:write', 'credential:acme:admin', 'credential:linear', 'kontext'],
    );
    const asks = fc.array(fc.array(scope, { maxLength: 4 }), { minLength: 1, maxLength: 10 });
    fc.assert(
      fc.property(asks, (wantedPerLink) => {
        let subject = facts.subject;
        for (const wanted of wantedPerLink) {
          const decision = decide({ subject, wanted });
          if (!decision.ok) continue;
          expect(depthOf(decision.act)).toBe(depthOf(subject.act) + 1);
          expect(decision.expiresInSeconds).toBeLessThanOrEqual(subject.leftSeconds ?? 300);
          for (const provider of ['github', 'acme', 'linear'])
            expect(isWithin(scopesLeftOf(decision.scope, provider), subject.scope, provider)).toBe(true);
          subject = {
            ...{ scope: decision.scope, act: decision.act, leftSeconds: decision.expiresInSeconds },
          };
        }
        expect(depthOf(subject.act)).toBeLessThanOrEqual(8);
      }),
    );
  });
});

function isWithin(
  left: ReturnType<typeof scopesLeftOf>,
  above: readonly string[] | null,
  provider: string,
): boolean {
  const held = above === null ? 'all' : scopesLeftOf(above, provider);
  if (left === 'nothing' || held === 'all') return true;
  return left !== 'all' && held !== 'nothing' && left.every((one) => held.includes(one));
}

describe('signDelegationToken', () => {
  it('makes a token that our resource server takes', async () => {
    const key = { ...generateP256Jwk(), kid: 'k1' };
    const { d: _private, ...half } = key;
    const jwks: JSONWebKeySet = { keys: [{ ...half, alg: 'ES256' }] };
    const [issuer, audience] = ['http://127.0.0.1:4180/oauth', 'http://127.0.0.1:4180'];
    const nowMs = 1_750_000_000_000;
    const token = signDelegationToken(
      {
        ...{ issuer, audience, sub: 'usr_1', org: 'org_1', clientId: 'kontext-cli', grantId: 'grant' },
        ...{ jti: 'jti-1', jkt: 'thumb', sid: 'ses_1', txn: 'txn-1', scope: ['credential:github'] },
        ...{ act: chain(2), issuedAtMs: nowMs, expiresInSeconds: 60 },
      },
      key,
    );

    expect(await verifyAccessToken({ token, issuer, audience, jwks, nowMs })).toEqual({
      ...{
        sub: 'usr_1',
        org: 'org_1',
        clientId: 'kontext-cli',
        grantId: 'grant',
        jti: 'jti-1',
        jkt: 'thumb',
      },
      ...{ sid: 'ses_1', txn: 'txn-1', scope: 'credential:github', act: chain(2), mayAct: 'agt_1' },
      exp: nowMs / 1000 + 60,
    });
    const later = verifyAccessToken({ token, issuer, audience, jwks, nowMs: nowMs + 60_000 });
    await expect(later).rejects.toMatchObject({ code: 'KX_UNAUTHENTICATED' });
  });
});
