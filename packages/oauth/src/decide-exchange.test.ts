import { describe, expect, it } from 'vitest';
import {
  decideExchange,
  type ExchangeFacts,
  encodeExchangeError,
  leaseCap,
  leaseSeconds,
  refuseDisconnected,
  refuseUpstreamDown,
  tokenExchangeGrantType,
} from './index.ts';

const granted: ExchangeFacts['connection'] = {
  ...{ state: 'connected', id: 'con_1', kind: 'oauth', scopes: ['read', 'write'] },
};
const narrow = expect.stringMatching(/ cannot be narrowed to what may be had$/);
const github = { id: 'prv_1', name: 'GitHub', attached: true };
const facts: ExchangeFacts = {
  client: { grantTypes: [tokenExchangeGrantType] },
  subject: { state: 'valid', jkt: 'thumb' },
  proofJkt: 'thumb',
  provider: { id: 'prv_1', name: 'GitHub', attached: true },
  connection: granted,
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
    'an expired actor token',
    { actor: { state: 'expired' } },
    { oauthError: 'invalid_request', code: 'KX_SUBJECT_INVALID', failureReason: 'subject_token_expired' },
  ],
  [
    'a revoked actor token',
    { actor: { state: 'revoked' } },
    { oauthError: 'invalid_request', code: 'KX_SUBJECT_INVALID', failureReason: 'subject_token_revoked' },
  ],
  [
    'a foreign actor token',
    { actor: { state: 'foreign' } },
    { oauthError: 'invalid_request', code: 'KX_SUBJECT_INVALID', failureReason: null },
  ],
  [
    'an actor token of another key',
    { actor: { state: 'valid', jkt: 'other', mayAct: true } },
    { oauthError: 'invalid_request', code: 'KX_SUBJECT_INVALID', failureReason: null },
  ],
  [
    'an actor whom the subject does not let act',
    { actor: { state: 'valid', jkt: 'thumb', mayAct: false } },
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
    'a static key where a token is asked for',
    { requestedKind: 'oauth', connection: { state: 'connected', id: 'con_1', kind: 'static', scopes: null } },
    { oauthError: 'invalid_request', code: 'KX_EXCHANGE_REFUSED', failureReason: null },
  ],
  [
    'a token where a static key is asked for',
    { requestedKind: 'static', connection: granted },
    { oauthError: 'invalid_request', code: 'KX_EXCHANGE_REFUSED', failureReason: null },
  ],
  [
    'a granted token that has more rights than the subject',
    { ceilings: { subject: ['read'], agent: null }, connection: granted },
    { oauthError: 'invalid_scope', code: 'KX_SCOPE_EXCEEDED', message: narrow },
    { scope: 'write' },
  ],
  [
    'a granted token that has more rights than its attachment, also where only one is asked for',
    {
      scope: ['read'],
      ceilings: { subject: null, attachment: ['read'], agent: null },
      connection: granted,
    },
    { oauthError: 'invalid_scope', code: 'KX_SCOPE_EXCEEDED', message: narrow },
    { scope: 'write' },
  ],
  [
    'a granted token with more rights than the agent',
    { ceilings: { subject: null, agent: ['write'] }, connection: granted },
    { oauthError: 'invalid_scope', code: 'KX_SCOPE_EXCEEDED', message: narrow },
    { scope: 'read' },
  ],
  [
    'a token of unknown rights under a ceiling',
    {
      ceilings: { subject: ['read'], agent: null },
      connection: { state: 'connected', id: 'con_1', kind: 'oauth', scopes: null },
    },
    { oauthError: 'invalid_scope', code: 'KX_SCOPE_EXCEEDED', message: narrow },
    { scope: '' },
  ],
  [
    'a static key under a ceiling of the subject',
    {
      ceilings: { subject: ['read'], agent: null },
      connection: { state: 'connected', id: 'con_1', kind: 'static', scopes: null },
    },
    { oauthError: 'invalid_scope', code: 'KX_SCOPE_EXCEEDED', message: narrow },
    { scope: '' },
  ],
  [
    'a policy that forbids it',
    { policy: { effect: 'deny', rule: 'rule.1' } },
    { oauthError: 'invalid_target', code: 'KX_POLICY_DENIED', failureReason: 'policy_denied' },
    { policy_id: 'rule.1' },
  ],
  [
    'a login older than the provider wants',
    { provider: { ...github, maxLoginAgeSeconds: 300 }, loginAgeSeconds: 301 },
    { oauthError: 'insufficient_user_authentication', code: 'KX_LOGIN_TOO_OLD', failureReason: null },
    { acr_values: 'urn:kontext:acr:browser urn:kontext:acr:device', max_age: 300 },
  ],
  [
    'a login of unknown age where the provider wants a fresh one',
    { provider: { ...github, maxLoginAgeSeconds: 300 } },
    { oauthError: 'insufficient_user_authentication', code: 'KX_LOGIN_TOO_OLD', failureReason: null },
    { acr_values: 'urn:kontext:acr:browser urn:kontext:acr:device', max_age: 300 },
  ],
  [
    'a provider that a person has not approved yet',
    {
      provider: { ...github, approval: 'user' },
      approval: { state: 'pending', members: { auth_req_id: 'cnf_1', interval: 2 } },
    },
    { oauthError: 'authorization_pending', code: 'KX_APPROVAL_PENDING', failureReason: null },
    { auth_req_id: 'cnf_1', interval: 2 },
  ],
  [
    'a provider that a person refused',
    { provider: { ...github, approval: 'user' }, approval: { state: 'denied' } },
    { oauthError: 'invalid_target', code: 'KX_POLICY_DENIED', failureReason: 'policy_denied' },
  ],
];

describe('leaseCap', () => {
  it.each([
    ['the agent alone', [3600, 0, null], 3600],
    ['the provider below the agent', [3600, 900, null], 900],
    ['the agent below the provider', [600, 900, null], 600],
    ['what the subject has left', [3600, 900, 120], 120],
    ['a subject that is over', [3600, 900, -5], 0],
  ] as const)('is bounded by %s', (_what, [agent, provider, subject], cap) => {
    expect(leaseCap(agent, provider, subject)).toBe(cap);
  });
});

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
  });

  it('mints what is within all bounds when no scope is asked for', () => {
    const connection = connected({ kind: 'minted' });

    expect(
      decide({ connection, ceilings: { subject: ['read', 'x'], agent: ['write', 'read'] } }),
    ).toMatchObject({
      ...{ ok: true, kind: 'minted', scope: ['read'] },
    });
    expect(decide({ connection, scope: ['read', 'admin'] })).toMatchObject({ members: { scope: 'admin' } });
  });

  it('grants a token as it is where it fits under every ceiling', () => {
    const ceilings = { subject: ['read', 'write', 'x'], attachment: ['write', 'read'], agent: null };

    expect(decide({ ceilings })).toMatchObject({ ok: true, scope: ['read', 'write'] });
  });

  it('gives a provider that a person approved, to a login that is fresh enough', () => {
    const provider = { ...github, approval: 'user' as const, maxLoginAgeSeconds: 300 };

    expect(decide({ provider, approval: { state: 'given' }, loginAgeSeconds: 300 })).toMatchObject({
      ok: true,
    });
  });

  it('grants the scope that is asked for', () => {
    expect(decide({ scope: ['write'] })).toMatchObject({ ok: true, scope: ['write'] });
  });

  it('grants what is asked for when the provider never told its scopes', () => {
    const connection = connected({ scopes: null });

    expect(decide({ connection, scope: ['any'] })).toMatchObject({ ok: true, scope: ['any'] });
    expect(decide({ connection })).toMatchObject({ ok: true, scope: [] });
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
