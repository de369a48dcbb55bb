import { createDpopProof, generateP256Jwk } from '@kontext/oauth';
import { findFreePort } from '@kontext/testkit';
import { createLocalKms } from '@kontext/vault';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestStore, testStores } from '../../store/test-stores.ts';
import { startTestApp, type TestApp } from '../../test-app.ts';
import { logIn, startDevice } from '../../test-login.ts';
import { wire } from '../../wiring.ts';

describe.each(testStores().filter(({ kind }) => kind === 'postgres'))('two replicas on one $kind', (db) => {
  const kms = createLocalKms(new Map([['test', Buffer.alloc(32, 7)]]), 'test');
  let opened: TestStore;
  let first: TestApp;
  let second: TestApp;
  let secondUrl: string;
  beforeAll(async () => {
    opened = await db.open();
    first = await startTestApp(opened.store, { kms, wire });
    const port = await findFreePort();
    secondUrl = `http://127.0.0.1:${port}`;
    const config = { apiUrl: first.apiUrl, local: true, tls: null, trustedProxies: [] };
    second = await startTestApp(opened.store, { kms, wire, config, port, owner: first.owner });
  });
  afterAll(async () => {
    await second?.close();
    await first?.close();
    await opened?.close();
  });

  const token = async (origin: string, params: Record<string, string>, dpop: string) => {
    const body = new URLSearchParams({ client_id: 'kontext-cli', ...params });
    const answer = await fetch(`${origin}/oauth/token`, { method: 'POST', headers: { dpop }, body });
    const { status, headers } = answer;
    return { status, headers, body: (await answer.json()) as Record<string, unknown> };
  };
  const htu = () => `${first.apiUrl}/oauth/token`;

  it('take one proof of the token endpoint once', async () => {
    const { refreshToken, jwk: key } = await logIn(first);
    const dpop = await createDpopProof({ key, htm: 'POST', htu: htu(), nowMs: Date.now() });
    const params = { grant_type: 'refresh_token', refresh_token: refreshToken };
    const answers = await Promise.all([first.apiUrl, secondUrl].map((origin) => token(origin, params, dpop)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 400]);
  });

  it('take one proof of an RPC once', async () => {
    const { accessToken, jwk: key } = await logIn(first);
    const path = '/kontext.v1.OrganisationService/GetCaller';
    const proof = { key, htm: 'POST', htu: first.apiUrl + path, accessToken, nowMs: Date.now() };
    const headers = {
      authorization: `DPoP ${accessToken}`,
      dpop: await createDpopProof(proof),
      'content-type': 'application/json',
    };
    const call = (origin: string) => fetch(origin + path, { method: 'POST', headers, body: '{}' });
    const statuses = (await Promise.all([first.apiUrl, secondUrl].map(call))).map(({ status }) => status);
    expect(statuses.sort()).toEqual([200, 401]);
  });

  it('take the nonces of one another, at a clock that is a day wrong', async () => {
    const { refreshToken, jwk: key } = await logIn(first);
    const params = { grant_type: 'refresh_token', refresh_token: refreshToken };
    const old = { key, htm: 'POST', htu: htu(), nowMs: Date.now() - 86_400_000 };
    const refused = await token(first.apiUrl, params, await createDpopProof(old));
    expect(refused.body.error).toBe('use_dpop_nonce');
    const nonce = refused.headers.get('dpop-nonce') ?? '';
    expect(nonce).not.toBe('');
    expect((await token(secondUrl, params, await createDpopProof({ ...old, nonce }))).status).toBe(200);
  });

  it('pace the polls of a device together', async () => {
    const { device_code: code = '' } = await startDevice(first);
    const key = generateP256Jwk();
    const params = { grant_type: 'urn:ietf:params:oauth:grant-type:device_code', device_code: code };
    const poll = async (origin: string) => {
      const dpop = await createDpopProof({ key, htm: 'POST', htu: htu(), nowMs: Date.now() });
      return (await token(origin, params, dpop)).body.error;
    };
    expect(await poll(first.apiUrl)).toBe('authorization_pending');
    expect(await poll(secondUrl)).toBe('slow_down');
    for (const app of [first, second]) app.advance(7000);
    const together = await Promise.all([poll(first.apiUrl), poll(secondUrl), poll(first.apiUrl)]);
    expect(together.sort()).toEqual(['authorization_pending', 'slow_down', 'slow_down']);
  });
});
