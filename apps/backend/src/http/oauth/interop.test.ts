/**
 * Two clients that others wrote, against our server: openid-client and oauth4webapi find everything by its metadata, and speak
 * DPoP with our nonces. And one client of ours whose clock is wrong by a day.
 */
import { createDpopProof, generateP256Jwk } from '@kontext/oauth';
import { approveDevice } from '@kontext/testkit';
import * as oauth from 'oauth4webapi';
import * as client from 'openid-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ExchangeWorld, openExchangeWorld } from '../../credentials/test-exchange.ts';
import { type TestStore, testStores } from '../../store/test-stores.ts';
import vectors from './testdata/rfc7636.json' with { type: 'json' };

const tokenExchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token';
const scope = 'openid offline_access kontext';
const insecure = { [oauth.allowInsecureRequests]: true };

describe.each(testStores().slice(0, 1))('interoperability on $kind', ({ open }) => {
  let opened: TestStore;
  let world: ExchangeWorld;
  beforeAll(async () => {
    opened = await open();
    world = await openExchangeWorld(opened);
    const key = { provider: 'stripe', name: '', shared: false, value: 'sk_1' };
    await world.room.connections.putSecret(world.owner, key);
  });
  afterAll(async () => {
    await world?.close();
    await opened?.close();
  });
  const approve = (verificationUriComplete: string) =>
    approveDevice({ verificationUriComplete, ...world.app.owner });

  test.each(['oidc', 'oauth2'] as const)(
    'openid-client, by its %s discovery: device flow, refresh, exchange, PAR',
    async (algorithm) => {
      const config = await client.discovery(
        new URL(`${world.app.apiUrl}/oauth`),
        'kontext-cli',
        { token_endpoint_auth_method: 'none', dpop_bound_access_tokens: true },
        client.None(),
        { algorithm, execute: [client.allowInsecureRequests] },
      );
      const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'));
      const device = await client.initiateDeviceAuthorization(config, { scope });
      await approve(device.verification_uri_complete ?? '');
      const tokens = await client.pollDeviceAuthorizationGrant(config, device, undefined, { DPoP });
      expect(tokens.token_type).toBe('dpop');
      const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token ?? '', undefined, {
        DPoP,
      });
      const subject = { subject_token: refreshed.access_token, subject_token_type: accessTokenType };
      const exchanged = await client.genericGrantRequest(
        config,
        tokenExchange,
        { ...subject, resource: world.app.apiUrl, session_id: world.sessionId },
        { DPoP },
      );
      expect(exchanged).toMatchObject({
        token_type: 'dpop',
        expires_in: 300,
        issued_token_type: accessTokenType,
      });
      const key = await client.genericGrantRequest(
        config,
        tokenExchange,
        { ...subject, audience: 'stripe' },
        {
          DPoP,
        },
      );
      expect(key).toMatchObject({ access_token: 'sk_1', token_type: 'n_a' });
      const wrong = client.genericGrantRequest(
        config,
        tokenExchange,
        { ...subject, audience: 'nobody' },
        { DPoP },
      );
      await expect(wrong).rejects.toMatchObject({
        ...{ error: 'invalid_target', cause: { failure_reason: 'unknown_provider_handle' } },
      });
      const verifier = client.randomPKCECodeVerifier();
      const url = await client.buildAuthorizationUrlWithPAR(
        config,
        {
          ...{ scope, redirect_uri: 'http://127.0.0.1:7777/callback', code_challenge_method: 'S256' },
          code_challenge: await client.calculatePKCECodeChallenge(verifier),
        },
        { DPoP },
      );
      expect(url.searchParams.get('request_uri')).toMatch(/^urn:/);
      expect([...url.searchParams.keys()].sort()).toEqual(['client_id', 'request_uri']);
    },
  );

  test('oauth4webapi finds our API by its metadata, and calls it with a token it exchanged', async () => {
    const api = new URL(world.app.apiUrl);
    const resource = await oauth.processResourceDiscoveryResponse(
      api,
      await oauth.resourceDiscoveryRequest(api, insecure),
    );
    const issuer = new URL(resource.authorization_servers?.[0] ?? '');
    const server = await oauth.processDiscoveryResponse(
      issuer,
      await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure }),
    );
    expect(server).toMatchObject({
      ...{ token_endpoint: `${issuer}/token`, device_authorization_endpoint: `${issuer}/device/auth` },
      ...{ revocation_endpoint: `${issuer}/token/revocation`, dpop_signing_alg_values_supported: ['ES256'] },
      ...{ pushed_authorization_request_endpoint: `${issuer}/request` },
      grant_types_supported: expect.arrayContaining([tokenExchange]),
      authorization_response_iss_parameter_supported: true,
    });
    const cli: oauth.Client = { client_id: 'kontext-cli' };
    const DPoP = oauth.DPoP(cli, await oauth.generateKeyPair('ES256'));
    const device = await oauth.processDeviceAuthorizationResponse(
      server,
      cli,
      await oauth.deviceAuthorizationRequest(server, cli, oauth.None(), { scope }, insecure),
    );
    await approve(device.verification_uri_complete ?? '');
    const ask = () =>
      oauth.deviceCodeGrantRequest(server, cli, oauth.None(), device.device_code, { DPoP, ...insecure });
    const tokens = await withNonce(async () => oauth.processDeviceCodeResponse(server, cli, await ask()));
    const params = {
      ...{ subject_token: tokens.access_token, subject_token_type: accessTokenType },
      ...{ resource: resource.resource, session_id: world.sessionId },
    };
    const exchanged = await withNonce(async () =>
      oauth.processGenericTokenEndpointResponse(
        server,
        cli,
        await oauth.genericTokenEndpointRequest(server, cli, oauth.None(), tokenExchange, params, {
          DPoP,
          ...insecure,
        }),
      ),
    );
    const url = new URL('/kontext.v1.OrganisationService/GetCaller', api);
    const headers = new Headers({ 'content-type': 'application/json' });
    const answer = await withNonce(() =>
      oauth.protectedResourceRequest(exchanged.access_token, 'POST', url, headers, '{}', {
        DPoP,
        ...insecure,
      }),
    );
    expect(await answer.json()).toMatchObject({ userId: world.owner.userId });

    /** RFC 9449 §8: a client repeats once with the nonce it was given. */
    async function withNonce<T>(send: () => Promise<T>): Promise<T> {
      try {
        return await send();
      } catch (error) {
        if (!oauth.isDPoPNonceError(error)) throw error;
        return send();
      }
    }
  });

  test('the challenge of RFC 7636 appendix B is made from its verifier', async () => {
    const challenge = await client.calculatePKCECodeChallenge(vectors['appendix B'].codeVerifier);
    expect(challenge).toBe(vectors['appendix B'].codeChallenge);
  });

  test('a request without token is told where to get one', async () => {
    const url = `${world.app.apiUrl}/kontext.v1.OrganisationService/GetCaller`;
    const response = await fetch(url, { method: 'POST', body: '{}' });
    const challenge = response.headers.get('www-authenticate') ?? '';
    expect(challenge).toMatch(/^DPoP algs="ES256"/);
    const [, metadata = ''] = /resource_metadata="([^"]+)"/.exec(challenge) ?? [];
    const document = await fetch(metadata);
    expect(document.headers.get('content-type')).toMatch(/^application\/json/);
    expect(await document.json()).toMatchObject({
      ...{ resource: world.app.apiUrl, dpop_bound_access_tokens_required: true },
    });
  });

  describe('a clock that is wrong by a day', () => {
    const clockMs = -86_400_000;
    const post = async (params: Record<string, string>, key = world.login.jwk, nonce?: string) => {
      const htu = `${world.app.apiUrl}/oauth/token`;
      const proof = await createDpopProof({ key, htm: 'POST', htu, nowMs: Date.now() + clockMs, nonce });
      const body = new URLSearchParams({ client_id: 'kontext-cli', ...params });
      const response = await fetch(htu, { method: 'POST', headers: { dpop: proof }, body });
      return {
        nonce: response.headers.get('dpop-nonce'),
        body: (await response.json()) as Record<string, unknown>,
      };
    };

    test('works at the token endpoint, at the exchange and at RPCs with the nonce it was given', async () => {
      const refresh = { grant_type: 'refresh_token', refresh_token: world.login.refreshToken };
      const exchange = {
        ...{ grant_type: tokenExchange, subject_token: world.login.accessToken, audience: 'stripe' },
        subject_token_type: accessTokenType,
      };
      for (const params of [refresh, exchange]) {
        const first = await post(params);
        expect(first.body.error).toBe('use_dpop_nonce');
        expect((await post(params, undefined, first.nonce ?? '')).body).toHaveProperty('access_token');
      }
      const call = (nonce?: string) =>
        world.call('OrganisationService/GetCaller', {}, { clockMs, ...(nonce ? { nonce } : {}) });
      const first = await call();
      expect([first.status, first.headers.get('www-authenticate')]).toEqual([
        ...[401, expect.stringMatching(/error="use_dpop_nonce"/)],
      ]);
      expect((await call(first.headers.get('dpop-nonce') ?? '')).status).toBe(200);
    });

    test('helps nobody without the key', async () => {
      const params = {
        ...{ grant_type: tokenExchange, subject_token: world.login.accessToken, audience: 'stripe' },
        subject_token_type: accessTokenType,
      };
      const stranger = generateP256Jwk();
      const { nonce } = await post(params, stranger);
      expect((await post(params, stranger, nonce ?? '')).body).toMatchObject({ error: 'invalid_request' });
    });
  });
});
