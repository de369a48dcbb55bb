import { KontextError } from '@kontext/errors';
import { generateP256Jwk, jwkThumbprint } from '@kontext/oauth';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type TestStore, testStores } from '../../store/test-stores.ts';
import { startTestApp, type TestApp } from '../../test-app.ts';
import { postToken } from '../../test-login.ts';
import type { TokenExchangeHttpRequest, TokenExchangeHttpResponse } from './token-exchange-grant.ts';

const grant = { grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange' };

describe.each(testStores().slice(-1))('token exchange grant on $kind', ({ open }) => {
  let opened: TestStore;
  let app: TestApp;
  let requests: TokenExchangeHttpRequest[] = [];
  let respond: () => TokenExchangeHttpResponse;
  beforeAll(async () => {
    opened = await open();
    const tokenExchange = async (request: TokenExchangeHttpRequest) => {
      requests.push(request);
      return respond();
    };
    app = await startTestApp(opened.store, { wire: () => ({ tokenExchange }) });
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });
  beforeEach(() => {
    requests = [];
    respond = () => ({ status: 200, body: { access_token: 'x', token_type: 'N_A' } });
  });

  it('hands over parameters, client and proven key, and sends the answer as it is', async () => {
    const key = generateP256Jwk();
    respond = () => ({
      status: 400,
      body: { error: 'invalid_target', failure_reason: 'not_attached_to_application' },
      headers: { 'retry-after': '3' },
    });
    const params = { ...grant, subject_token: 't', audience: 'github', session_id: 'ses_1', unknown: 'u' };
    const answer = await postToken(app, params, key);
    expect(requests[0]).toMatchObject({
      clientId: 'kontext-cli',
      proof: { jkt: jwkThumbprint(key), jti: expect.any(String) },
      address: '127.0.0.1',
    });
    expect(requests[0]?.params).toEqual({ subject_token: 't', audience: 'github', session_id: 'ses_1' });
    expect(answer).toMatchObject({ status: 400, body: respond().body });
    expect(answer.headers.get('retry-after')).toBe('3');
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.headers.get('dpop-nonce')).not.toBeNull();
  });

  it('leaves a request without proof to the handler, which knows that it was none', async () => {
    await postToken(app, { ...grant, subject_token: 't' }, null);
    expect(requests[0]?.proof).toBeNull();
  });

  it('asks for a fresh nonce when the nonce is stale, and takes its own', async () => {
    const key = generateP256Jwk();
    const stale = await postToken(app, { ...grant, subject_token: 't' }, key, 'stale');
    expect(stale).toMatchObject({ status: 400, body: { error: 'use_dpop_nonce' } });
    const nonce = stale.headers.get('dpop-nonce') ?? '';
    expect((await postToken(app, { ...grant, subject_token: 't' }, key, nonce)).status).toBe(200);
  });

  it('refuses a proof that does not hold, without asking the handler', async () => {
    const body = new URLSearchParams({ client_id: 'kontext-cli', ...grant, subject_token: 't' });
    const answer = await fetch(`${app.apiUrl}/oauth/token`, {
      method: 'POST',
      headers: { dpop: 'a.b.c' },
      body,
    });
    expect(await answer.json()).toMatchObject({ error: 'invalid_dpop_proof' });
    expect(requests).toHaveLength(0);
  });

  it('refuses repeated parameters', async () => {
    const body = new URLSearchParams([
      ['client_id', 'kontext-cli'],
      ...Object.entries(grant),
      ['audience', 'a'],
      ['audience', 'b'],
    ]);
    const answer = await fetch(`${app.apiUrl}/oauth/token`, { method: 'POST', body });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: 'invalid_request' });
    expect(requests).toHaveLength(0);
  });

  it('says server_error without detail when the handler breaks', async () => {
    respond = () => {
      throw new KontextError('KX_INTERNAL', 's3cret');
    };
    const answer = await postToken(app, { ...grant, subject_token: 't' }, null);
    expect(answer.status).toBe(500);
    expect(JSON.stringify(answer.body)).not.toContain('s3cret');
  });
});
