import { generateP256Jwk, jwkThumbprint } from '@kontext/oauth';
import { approveDevice, createBrowser } from '@kontext/testkit';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import * as client from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestStore, testStores } from '../../store/test-stores.ts';
import { startTestApp, type TestApp } from '../../test-app.ts';
import { logIn, pollDevice, refresh, startDevice } from '../../test-login.ts';

describe.each(testStores())('device flow on $kind', ({ open }) => {
  let opened: TestStore;
  let app: TestApp;
  beforeAll(async () => {
    opened = await open();
    app = await startTestApp(opened.store);
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });

  it('logs in with openid-client and DPoP, and refreshes', async () => {
    const config = await client.discovery(
      new URL(`${app.apiUrl}/oauth`),
      'kontext-cli',
      undefined,
      client.None(),
      {
        execute: [client.allowInsecureRequests],
      },
    );
    const started = await client.initiateDeviceAuthorization(config, {
      scope: 'openid offline_access kontext',
    });
    expect(started).toMatchObject({ interval: 1, verification_uri: `${app.apiUrl}/activate` });
    const page = await approveDevice({
      verificationUriComplete: started.verification_uri_complete ?? '',
      ...app.owner,
    });
    expect(page.html).toContain('Return to your terminal');

    const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'));
    const tokens = await client.pollDeviceAuthorizationGrant(config, started, undefined, { DPoP });
    expect(tokens.token_type as string).toBe('dpop');
    const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token ?? '', undefined, { DPoP });
    expect(refreshed.refresh_token).toBe(tokens.refresh_token);
    expect(refreshed.claims()?.sub).toBe(app.owner.userId);
  });

  it('issues RFC 9068 access tokens for the API, bound to key, organisation and grant, for at most 300 s', async () => {
    const { accessToken, jwk } = await logIn(app);
    expect(decodeProtectedHeader(accessToken)).toMatchObject({ alg: 'ES256', typ: 'at+jwt' });
    const claims = decodeJwt(accessToken);
    expect(claims).toMatchObject({
      iss: `${app.apiUrl}/oauth`,
      aud: app.apiUrl,
      sub: app.owner.userId,
      org: app.owner.orgId,
      client_id: 'kontext-cli',
      scope: 'kontext',
      cnf: { jkt: jwkThumbprint(jwk) },
    });
    expect(claims.gid).toBeTypeOf('string');
    expect((claims.exp ?? 0) - (claims.iat ?? 0)).toBeLessThanOrEqual(300);
  });

  it('takes the public origin from the configuration, not from the request', async () => {
    const headers = { host: 'evil.test', 'x-forwarded-host': 'evil.test', 'x-forwarded-proto': 'https' };
    const answer = await app.app.inject({ url: '/oauth/.well-known/openid-configuration', headers });
    expect(answer.body).not.toContain('evil.test');
    expect(answer.json()).toMatchObject({
      issuer: `${app.apiUrl}/oauth`,
      device_authorization_endpoint: `${app.apiUrl}/oauth/device/auth`,
      token_endpoint: `${app.apiUrl}/oauth/token`,
      response_types_supported: ['code'],
    });
    const rfc8414 = await app.app.inject({ url: '/.well-known/oauth-authorization-server/oauth' });
    expect(rfc8414.json()).toMatchObject({ issuer: `${app.apiUrl}/oauth` });
  });

  it('refuses tokens without a DPoP proof', async () => {
    const started = await startDevice(app);
    await approveDevice({ verificationUriComplete: started.verification_uri_complete ?? '', ...app.owner });
    const answer = await pollDevice(app, started.device_code ?? '', null);
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
  });

  it('says slow_down to a device that polls too fast, and pending to one that does not', async () => {
    const { device_code: code = '' } = await startDevice(app);
    const key = generateP256Jwk();
    const errors = [];
    for (const pauseMs of [0, 0, 3000, 12_000]) {
      app.advance(pauseMs);
      errors.push((await pollDevice(app, code, key)).body.error);
    }
    expect(errors).toEqual(['authorization_pending', 'slow_down', 'slow_down', 'authorization_pending']);
  });

  it('tells the device that the login was denied', async () => {
    const started = await startDevice(app);
    const verificationUriComplete = started.verification_uri_complete ?? '';
    const page = await approveDevice({ verificationUriComplete, ...app.owner, decision: 'deny' });
    expect(page.html).toContain('Denied');
    const answer = await pollDevice(app, started.device_code ?? '', generateP256Jwk());
    expect(answer).toMatchObject({ status: 400, body: { error: 'access_denied' } });
  });

  it('gives out tokens for a device code once', async () => {
    const started = await startDevice(app);
    await approveDevice({ verificationUriComplete: started.verification_uri_complete ?? '', ...app.owner });
    const key = generateP256Jwk();
    const polls = await Promise.all([1, 2, 3, 4].map(() => pollDevice(app, started.device_code ?? '', key)));
    expect(polls.filter((poll) => poll.status === 200)).toHaveLength(1);
    expect(polls.filter((poll) => poll.body.error === 'invalid_grant')).toHaveLength(3);
  });

  it('does not show the library’s own device pages', async () => {
    for (const path of [
      '/oauth/device',
      '/oauth/device/x',
      '/oauth/session/end',
      '/oauth/me',
      '/oauth/interaction/x',
    ]) {
      expect((await app.app.inject({ url: path })).statusCode, path).toBe(404);
    }
  });

  it('renders errors of the authorization endpoint with our own page', async () => {
    const page = await createBrowser().open(
      `${app.apiUrl}/oauth/auth?client_id=kontext-cli&response_type=code`,
    );
    expect(page.status).toBe(400);
    expect(page.html).toContain('/assets/page.css');
    expect(page.html).not.toMatch(/https?:\/\/fonts/);
  });

  it('refuses a refresh with another key, and keeps the login', async () => {
    const { refreshToken, jwk } = await logIn(app);
    const stolen = await refresh(app, refreshToken, generateP256Jwk());
    expect(stolen).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    expect((await refresh(app, refreshToken, null)).status).toBe(400);
    expect((await refresh(app, refreshToken, jwk)).status).toBe(200);
  });

  it('refuses a refresh after revocation', async () => {
    const { refreshToken, jwk } = await logIn(app);
    const revoked = await fetch(`${app.apiUrl}/oauth/token/revocation`, {
      method: 'POST',
      body: new URLSearchParams({ client_id: 'kontext-cli', token: refreshToken }),
    });
    expect(revoked.status).toBe(200);
    expect(await refresh(app, refreshToken, jwk)).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant' },
    });
  });

  it('lets five parallel refreshes all go on with the same token', async () => {
    const { refreshToken, jwk } = await logIn(app);
    const answers = await Promise.all([1, 2, 3, 4, 5].map(() => refresh(app, refreshToken, jwk)));
    expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200, 200, 200]);
    expect(new Set(answers.map((answer) => answer.body.refresh_token))).toEqual(new Set([refreshToken]));
  });
});
