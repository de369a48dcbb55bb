import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestStore, testStores } from '../../store/test-stores.ts';
import { startTestApp, type TestApp } from '../../test-app.ts';
import { postToken } from '../../test-login.ts';

const tokenExchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
const deviceCode = 'urn:ietf:params:oauth:grant-type:device_code';

describe.each(testStores().slice(-1))('answers of the authorization server on $kind', ({ open }) => {
  let opened: TestStore;
  let app: TestApp;
  beforeAll(async () => {
    opened = await open();
    app = await startTestApp(opened.store, {
      wire: () => ({ tokenExchange: async () => ({ status: 200, body: {} }) }),
    });
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });

  it.each(['/oauth/.well-known/openid-configuration', '/.well-known/oauth-authorization-server/oauth'])(
    'the metadata at %s promise what works and nothing else, whatever host was asked',
    async (path) => {
      const headers = { 'x-forwarded-host': 'evil.test', forwarded: 'host=evil.test', host: 'evil.test' };
      const metadata = (await app.app.inject({ url: path, headers })).json();
      expect(metadata).toMatchObject({
        issuer: `${app.apiUrl}/oauth`,
        token_endpoint: `${app.apiUrl}/oauth/token`,
        response_types_supported: ['code'],
        scopes_supported: ['openid', 'offline_access', 'kontext'],
        id_token_signing_alg_values_supported: ['ES256'],
        dpop_signing_alg_values_supported: ['ES256'],
        code_challenge_methods_supported: ['S256'],
        token_endpoint_auth_methods_supported: ['none'],
      });
      expect(metadata.grant_types_supported.toSorted()).toEqual(
        ['authorization_code', deviceCode, tokenExchange, 'refresh_token'].toSorted(),
      );
      expect(JSON.stringify(metadata)).not.toMatch(/implicit|evil|HS256|RS256|introspection|registration/);
    },
  );

  it.each([
    ['authorization_code', 'invalid_grant'],
    ['client_credentials', 'unsupported_grant_type'],
    ['password', 'unsupported_grant_type'],
    ['implicit', 'unsupported_grant_type'],
    ['urn:ietf:params:oauth:grant-type:jwt-bearer', 'unsupported_grant_type'],
    ['__proto__', 'unsupported_grant_type'],
  ])(
    'answers the grant type %s without a grant with %s, and nobody may keep the answer',
    async (grant, error) => {
      const params = { grant_type: grant, code: 'x', redirect_uri: 'https://app.test/' };
      const { status, body, headers } = await postToken(app, params, null);
      expect([status, body.error]).toEqual([400, error]);
      expect(headers.get('cache-control')).toBe('no-store');
    },
  );

  it('keeps invalid_request for a request of an allowed grant type that is malformed', async () => {
    const { body } = await postToken(app, { grant_type: 'refresh_token' }, null);
    expect(body.error).toBe('invalid_request');
  });

  it('sends nobody anywhere from the authorization endpoint', async () => {
    const query = 'client_id=kontext-cli&response_type=code&scope=openid&redirect_uri=https://evil.test';
    const answer = await app.app.inject({ url: `/oauth/auth?${query}` });
    expect(answer.statusCode).toBe(400);
    expect(answer.headers.location).toBeUndefined();
    expect(answer.body).not.toContain('evil.test');
  });
});
