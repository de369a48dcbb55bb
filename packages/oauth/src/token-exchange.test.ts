import { KontextError } from '@kontext/errors';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import vectors from '../testdata/rfc8693.json' with { type: 'json' };
import {
  accessTokenType,
  type ExchangeParams,
  type ExchangeRefusal,
  encodeExchangeError,
  encodeExchangeResponse,
  parseTokenExchangeRequest,
  refusalOf,
  refuseUpstreamDown,
  staticKeyTokenType,
  tokenExchangeGrantType,
} from './index.ts';

const params = {
  grant_type: tokenExchangeGrantType,
  subject_token: 'token',
  subject_token_type: accessTokenType,
  audience: 'github',
};
const refused = (params: ExchangeParams) => {
  try {
    parseTokenExchangeRequest(params);
  } catch (error) {
    return error;
  }
  throw new Error('the request was accepted');
};
const refusal = (message: RegExp, oauthError = 'invalid_request') =>
  expect.objectContaining({
    code: 'KX_EXCHANGE_REFUSED',
    message: expect.stringMatching(message),
    details: { oauth_error: oauthError },
  });

describe('parseTokenExchangeRequest', () => {
  it('reads the smallest request', () => {
    expect(parseTokenExchangeRequest(params)).toEqual({
      subjectToken: 'token',
      actorToken: null,
      target: { kind: 'provider', provider: 'github', resource: '' },
      scope: [],
      requestedKind: null,
      sessionId: null,
    });
  });

  it('reads a full request out of a form', () => {
    const form = new URLSearchParams({
      ...params,
      audience: 'postgres/prod/readonly',
      scope: 'read  write read',
      requested_token_type: accessTokenType,
      session_id: 'ses_1',
    });

    expect(parseTokenExchangeRequest(form)).toEqual({
      subjectToken: 'token',
      actorToken: null,
      target: { kind: 'provider', provider: 'postgres', resource: 'prod/readonly' },
      scope: ['read', 'write'],
      requestedKind: 'oauth',
      sessionId: 'ses_1',
    });
  });

  it('takes a parameter without value as left out', () => {
    const form = new URLSearchParams({ ...params, actor_token: '', resource: '', scope: '', session_id: '' });

    expect(parseTokenExchangeRequest(form)).toMatchObject({ scope: [], sessionId: null });
  });

  it('does not need the grant type that the framework has consumed', () => {
    expect(parseTokenExchangeRequest({ ...params, grant_type: undefined })).toMatchObject({
      target: { provider: 'github' },
    });
  });

  it('understands the request of RFC 8693 §2.3', () => {
    const form = new URLSearchParams(vectors['§2.3'].request);

    expect(parseTokenExchangeRequest(form)).toMatchObject({
      subjectToken: 'accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC',
      target: { kind: 'resource', uri: 'https://backend.example.com/api' },
    });
  });

  it('reads an actor token with its type', () => {
    const actor = { actor_token: 'actor', actor_token_type: accessTokenType };

    expect(parseTokenExchangeRequest({ ...params, ...actor }).actorToken).toBe('actor');
  });

  it('reads what kind of token is wanted', () => {
    const wanted = { ...params, requested_token_type: staticKeyTokenType };

    expect(parseTokenExchangeRequest(wanted).requestedKind).toBe('static');
  });

  it.each([
    ['another grant type', { grant_type: 'refresh_token' }, /grant type/, 'unsupported_grant_type'],
    ['no subject token', { subject_token: undefined }, /subject_token is missing/, undefined],
    ['a subject token beyond 8 KiB', { subject_token: 'x'.repeat(8193) }, /8 KiB/, undefined],
    ['no subject token type', { subject_token_type: undefined }, /subject_token_type/, undefined],
    [
      'an ID token',
      { subject_token_type: 'urn:ietf:params:oauth:token-type:id_token' },
      /subject_token_type/,
      undefined,
    ],
    ['no target', { audience: undefined }, /neither audience nor resource/, undefined],
    ['a very long target', { audience: 'x'.repeat(513) }, /too long/, undefined],
    ['both targets', { resource: 'https://a.example' }, /both given/, undefined],
    ['a relative resource', { audience: undefined, resource: '/api' }, /absolute URI/, 'invalid_target'],
    [
      'a resource with fragment',
      { audience: undefined, resource: 'https://a.example/#x' },
      /absolute URI/,
      'invalid_target',
    ],
    ['an actor token without type', { actor_token: 'x' }, /actor_token_type is not/, undefined],
    ['an actor token type alone', { actor_token_type: accessTokenType }, /without actor_token/, undefined],
    [
      'an actor token beyond 8 KiB',
      { actor_token: 'x'.repeat(8193), actor_token_type: accessTokenType },
      /8 KiB/,
      undefined,
    ],
    [
      'authorization details',
      { authorization_details: '[{"type":"x"}]' },
      /authorization_details/,
      'invalid_authorization_details',
    ],
    [
      'another requested token type',
      { requested_token_type: 'urn:ietf:params:oauth:token-type:jwt' },
      /requested_token_type/,
      undefined,
    ],
    ['a scope with quotes', { scope: 'a "b"' }, /scope is malformed/, 'invalid_scope'],
    ['a scope with a line break', { scope: 'a\nb' }, /scope is malformed/, 'invalid_scope'],
    ['a scope beyond 4 KiB', { scope: 'a '.repeat(2049) }, /scope is malformed/, 'invalid_scope'],
    ['a repeated parameter', { audience: ['github', 'linear'] }, /audience is repeated/, undefined],
    ['a repeated unknown parameter', { other: ['1', '2'] }, /other is repeated/, undefined],
  ])('refuses %s', (_what, more, message, oauthError) => {
    expect(refused({ ...params, ...more })).toEqual(refusal(message, oauthError));
  });

  it('refuses a parameter that stands twice in a form, also an empty one', () => {
    const form = new URLSearchParams(params);
    form.append('scope', '');
    form.append('scope', 'a');

    expect(refused(form)).toEqual(refusal(/scope is repeated/));
  });

  it('never fails otherwise, and never shows the token', () => {
    const values = fc.dictionary(
      fc.constantFrom(...Object.keys(params), 'scope', 'resource', 'session_id', 'x'),
      fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom(...Object.values(params))),
    );
    fc.assert(
      fc.property(values, (more) => {
        try {
          parseTokenExchangeRequest({ ...params, ...more, subject_token: 'hunter2' });
        } catch (error) {
          expect(error).toBeInstanceOf(KontextError);
          expect((error as KontextError).code).toBe('KX_EXCHANGE_REFUSED');
          expect((error as KontextError).message).not.toContain('hunter2');
        }
      }),
    );
  });
});

describe('encodeExchangeResponse', () => {
  it('answers as RFC 8693 §2.3 does', () => {
    const { response } = vectors['§2.3'];

    const answer = encodeExchangeResponse({
      token: response.access_token,
      kind: 'oauth',
      scope: [],
      expiresInSeconds: 60,
    });

    expect(answer).toEqual({
      status: 200,
      headers: { 'cache-control': 'no-store', pragma: 'no-cache' },
      body: response,
    });
  });

  it('names the granted scope and leaves out an unknown expiry', () => {
    const issued = { token: 't', kind: 'oauth', scope: ['a', 'b'], expiresInSeconds: null } as const;

    const { body } = encodeExchangeResponse(issued);

    expect(body).toMatchObject({ scope: 'a b', token_type: 'Bearer' });
    expect(body).not.toHaveProperty('expires_in');
  });

  it('calls a static key N_A and gives it no expiry', () => {
    const { body } = encodeExchangeResponse({ token: 'k', kind: 'static', scope: [], expiresInSeconds: 60 });

    expect(body).toEqual({
      access_token: 'k',
      token_type: 'N_A',
      issued_token_type: 'urn:kontext:params:oauth:token-type:static-key',
    });
  });
});

describe('encodeExchangeError', () => {
  const base: ExchangeRefusal = {
    ok: false,
    code: 'KX_POLICY_DENIED',
    oauthError: 'invalid_target',
    failureReason: 'policy_denied',
    message: 'policy forbids "github" \\ für dich',
    members: { policy_id: 'rule.1' },
  };

  it('answers 400 with reason, members and a description within the characters of RFC 6749 §5.2', () => {
    expect(encodeExchangeError(base)).toEqual({
      status: 400,
      headers: { 'cache-control': 'no-store', pragma: 'no-cache' },
      body: {
        error: 'invalid_target',
        error_description: "policy forbids 'github' ' f'r dich",
        failure_reason: 'policy_denied',
        policy_id: 'rule.1',
      },
    });
  });

  it('answers 503 with Retry-After when the upstream is down', () => {
    const refusal = refuseUpstreamDown({ name: 'GitHub' });

    const answer = encodeExchangeError(refusal, 2.5);

    expect(answer).toMatchObject({
      status: 503,
      headers: { 'cache-control': 'no-store', 'retry-after': '3' },
      body: { error: 'temporarily_unavailable', failure_reason: 'transient_exchange_error' },
    });
    expect(encodeExchangeError(refusal).headers['retry-after']).toBe('5');
  });

  it('does not let a member replace the error', () => {
    const { body } = encodeExchangeError({ ...base, members: { error: 'none' }, failureReason: null });

    expect(body.error).toBe('invalid_target');
    expect(body).not.toHaveProperty('failure_reason');
  });
});

describe('refusalOf', () => {
  it('turns an error of parsing into an answer', () => {
    const refusal = refusalOf(refused({ ...params, scope: '"' }));

    expect(refusal).toMatchObject({ oauthError: 'invalid_scope', failureReason: null });
    expect(refusal && encodeExchangeError(refusal).body).toEqual({
      error: 'invalid_scope',
      error_description: 'scope is malformed',
    });
  });

  it('does not explain any other error', () => {
    expect(refusalOf(new Error('x'))).toBeNull();
    expect(refusalOf(new KontextError('KX_INTERNAL', 'x'))).toBeNull();
  });
});
