import { describe, expect, it } from 'vitest';
import {
  decideExchange,
  type ExchangeFacts,
  encodeExchangeError,
  leaseSeconds,
  refuseDisconnected,
  refuseUpstreamDown,
  tokenExchangeGrantType,
} from './index.ts';

const facts: ExchangeFacts = {
  client: { grantTypes: [tokenExchangeGrantType] },
  subject: { state: 'valid', jkt: 'thumb' },
  proofJkt: 'thumb',
  provider: { id: 'prv_1', name: 'GitHub', attached: true },
  connection: { state: 'connected', id: 'con_1', kind: 'oauth', scopes: ['read', 'write'] },
  delivery: 'inject',
  scope: [],
  ceilings: { subject: null, agent: null },
  policy: null,
  leaseCapSeconds: 3600,
};
const connected = (more: object = {}) => ({ ...facts.connection, ...more }) as ExchangeFacts['connection'];
const decide = (more: Partial<ExchangeFacts>) => decideExchange({ ...facts, ...more });

/** Each row spoils one fact, in the order of the checks. */
const refusals: [what: string, change: Partial<ExchangeFacts>, answer: object, members?: object][] = [
  [
    'a client without the grant',
    { client: { grantTypes: ['refresh_token'] } },
    { oauthError: 'unauthorized_client', code: 'KX_FORBIDDEN', failureReason: null },
  ],
  [
    'an expired subject token',
    { subject: { state: 'expired' } },
    { oauthError: 'invalid_request', code: 'KX_SUBJECT_INVALID', failureReason: 'subject_token_expired' },
  ],
  [
    'a revoked subject token',
    { subject: { state: 'revoked' } },
    { oauthError: 'invalid_request', code: 'KX_SUBJECT_INVALID', failureReason: 'subject_token_revoked' },
  ],
  [
    'a foreign subject token',
    { subject: { state: 'foreign' } },
    { oauthError: 'invalid_request', code: 'KX_SUBJECT_INVALID', failureReason: null },
  ],
  [
    'a subject token of another key',
    { proofJkt: 'other' },
    { oauthError: 'invalid_request', code: 'KX_SUBJECT_INVALID', failureReason: null },
  ],
  [
    'a subject token without proof',
    { proofJkt: null },
    { oauthError: 'invalid_request', code: 'KX_SUBJECT_INVALID', failureReason: null },
  ],
  [
    'an unknown handle',
    { provider: null },
    { oauthError: 'invalid_target', code: 'KX_PROVIDER_UNKNOWN', failureReason: 'unknown_provider_handle' },
  ],
  [
    'a provider that is not attached',
    { provider: { id: 'prv_1', name: 'GitHub', attached: false } },
    {
      oauthError: 'invalid_target',
      code: 'KX_PROVIDER_NOT_ATTACHED',
      failureReason: 'not_attached_to_application',
    },
  ],
  [
    'broker delivery',
    { delivery: 'broker' },
    { oauthError: 'invalid_request', code: 'KX_DELIVERY_UNSUPPORTED', failureReason: null },
  ],
  [
    'no connection',
    { connection: null },
    {
      oauthError: 'invalid_target',
      code: 'KX_CONNECTION_MISSING',
      failureReason: 'disconnected_or_reauth_required',
    },
    { provider_id: 'prv_1', provider_name: 'GitHub' },
  ],
  [
    'a connection that wants the user again',
    { connection: { state: 'reauth_required', id: 'con_1' } },
    {
      oauthError: 'invalid_target',
      code: 'KX_CONNECTION_REAUTH_REQUIRED',
      failureReason: 'disconnected_or_reauth_required',
    },
    { provider_id: 'prv_1', provider_name: 'GitHub' },
  ],
  [
    'several connections that fit',
    { connection: { state: 'ambiguous', names: ['work', 'home'] } },
    { oauthError: 'invalid_target', code: 'KX_CONNECTION_AMBIGUOUS', failureReason: null },
  ],
  [
    'a scope beyond the connection',
    { scope: ['read', 'admin', 'delete'] },
    { oauthError: 'invalid_scope', code: 'KX_SCOPE_EXCEEDED', failureReason: null },
    { scope: 'admin delete' },
  ],
  [
    'a policy that forbids it',
    { policy: { effect: 'deny', rule: 'rule.1' } },
    { oauthError: 'invalid_target', code: 'KX_POLICY_DENIED', failureReason: 'policy_denied' },
    { policy_id: 'rule.1' },
  ],
];

describe('decideExchange', () => {
  it.each(refusals)('refuses %s', (_what, change, answer, members = {}) => {
    expect(decide(change)).toMatchObject({ ok: false, ...answer, members });
  });

  it('answers with the first refusal when several facts are spoilt', () => {
    // Rows about the same fact exclude each other; of each kind the last row wins below, which keeps the order visible.
    refusals.forEach(([what, change, answer], index) => {
      const later = Object.assign({}, ...refusals.slice(index + 1).map(([, other]) => other));
      expect(decide({ ...later, ...change }), what).toMatchObject(answer);
    });
  });

  it.each([
    ['the subject token', { ceilings: { subject: ['read'], agent: null } }],
    ['the agent', { ceilings: { subject: null, agent: ['read'] } }],
    ['the connection', { connection: connected({ scopes: ['read'] }) }],
    ['a static key, which nobody can narrow', { connection: connected({ kind: 'static', scopes: null }) }],
  ])('refuses a scope beyond %s', (_what, change) => {
    expect(decide({ ...change, scope: ['write'] })).toMatchObject({
      oauthError: 'invalid_scope',
      members: { scope: 'write' },
    });
  });

  it('has every refusal encode to an answer without caching', () => {
    for (const [, change] of refusals) {
      const decision = decide(change);
      if (decision.ok) throw new Error('granted');
      expect(encodeExchangeError(decision)).toMatchObject({
        status: 400,
        headers: { 'cache-control': 'no-store' },
        body: { error: decision.oauthError },
      });
    }
  });

  it('grants everything within all bounds when no scope is asked for', () => {
    expect(decide({})).toEqual({
      ok: true,
      connectionId: 'con_1',
      kind: 'oauth',
      scope: ['read', 'write'],
      expiresInCapSeconds: 3600,
    });
    expect(decide({ ceilings: { subject: ['read', 'x'], agent: ['write', 'read'] } })).toMatchObject({
      scope: ['read'],
    });
  });

  it('grants the scope that is asked for', () => {
    expect(decide({ scope: ['write'] })).toMatchObject({ ok: true, scope: ['write'] });
  });

  it('grants what is asked for when the provider never told its scopes', () => {
    const connection = connected({ scopes: null });

    expect(decide({ connection, scope: ['any'] })).toMatchObject({ ok: true, scope: ['any'] });
    expect(decide({ connection })).toMatchObject({ ok: true, scope: [] });
    expect(decide({ connection, ceilings: { subject: null, agent: ['read'] } })).toMatchObject({
      scope: ['read'],
    });
  });

  it('grants a static key without scope and without expiry', () => {
    expect(decide({ connection: connected({ kind: 'static' }) })).toEqual({
      ok: true,
      connectionId: 'con_1',
      kind: 'static',
      scope: [],
      expiresInCapSeconds: null,
    });
  });

  it('grants what policy allows', () => {
    expect(decide({ policy: { effect: 'allow', rule: null } })).toMatchObject({ ok: true });
  });

  it('names no rule when policy denies without one', () => {
    expect(decide({ policy: { effect: 'deny', rule: null } })).toMatchObject({ members: {} });
  });
});

describe('refusals while a token is fetched', () => {
  it('say that the upstream wants the user again', () => {
    expect(refuseDisconnected({ id: 'prv_1', name: 'GitHub' }, 'reauth_required')).toMatchObject({
      code: 'KX_CONNECTION_REAUTH_REQUIRED',
      message: 'GitHub wants the user to log in again',
      members: { provider_id: 'prv_1', provider_name: 'GitHub' },
    });
  });

  it('say that the upstream is down', () => {
    expect(refuseUpstreamDown({ name: 'GitHub' })).toMatchObject({
      code: 'KX_PROVIDER_UNREACHABLE',
      oauthError: 'temporarily_unavailable',
      failureReason: 'transient_exchange_error',
    });
  });
});

describe('leaseSeconds', () => {
  it.each([
    ['what the upstream leaves, less 30 s', 600, 3600, 570],
    ['the cap when the upstream leaves more', 28_800, 3600, 3600],
    ['the cap when the upstream does not say', null, 3600, 3600],
    ['nothing when the upstream is about to expire', 30, 3600, 0],
    ['nothing when the upstream has expired', -5, 3600, 0],
    ['whole seconds', 100.9, 3600, 70],
  ])('is %s', (_what, left, cap, expected) => {
    expect(leaseSeconds(left, cap)).toBe(expected);
  });
});
