import { createDpopProof } from '@kontext/oauth';
import { findFreePort } from '@kontext/testkit';
import { createLocalKms } from '@kontext/vault';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';
import { logIn, postToken, type TestLogin } from '../test-login.ts';
import { wire } from '../wiring.ts';

const [postgres] = testStores();

// The counters are in memory: what the database is makes no difference.
describe('limits of volume at the wire', () => {
  const kms = createLocalKms(new Map([['test', Buffer.alloc(32, 7)]]), 'test');
  let opened: TestStore;
  let app: TestApp;
  let login: TestLogin;
  beforeAll(async () => {
    if (postgres === undefined) throw new Error('there is no store to test with');
    opened = await postgres.open();
    const port = await findFreePort();
    const limits = { rpc: 5, exchange: 3, events: 7 };
    const config = { apiUrl: `http://127.0.0.1:${port}`, local: true, tls: null, trustedProxies: [], limits };
    app = await startTestApp(opened.store, { wire, kms, port, config });
    login = await logIn(app);
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });

  async function call(name: string): Promise<Response> {
    const { accessToken, jwk: key } = login;
    const url = `${app.apiUrl}/kontext.v1.${name}`;
    const dpop = await createDpopProof({ key, htm: 'POST', htu: url, accessToken, nowMs: Date.now() });
    const headers = { authorization: `DPoP ${accessToken}`, dpop, 'content-type': 'application/json' };
    return fetch(url, { method: 'POST', headers, body: '{}' });
  }
  async function countUntilRefused(send: () => Promise<{ status: number }>): Promise<number> {
    for (let done = 0; done < 100; done += 1) if ((await send()).status === 429) return done;
    return 100;
  }

  it('answers 429 with Retry-After and a code of ours, each kind apart', async () => {
    expect(await countUntilRefused(() => call('OrganisationService/GetCaller'))).toBe(5);
    const refused = await call('OrganisationService/GetCaller');
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    const body = (await refused.json()) as { code: string; details: { debug: Record<string, unknown> }[] };
    expect(body.code).toBe('resource_exhausted');
    expect(body.details[0]?.debug).toMatchObject({
      code: 'KX_RATE_LIMITED',
      retryAfterSeconds: expect.any(Number),
    });
    expect(await countUntilRefused(() => call('AuditService/AppendEvents'))).toBe(7);
    expect(await countUntilRefused(() => call('CredentialService/ResolveCredentials'))).toBe(3);
  });

  it('answers 429 with Retry-After at the token endpoint', async () => {
    const exchange = () =>
      postToken(
        app,
        {
          ...{ grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', audience: 'acme' },
          ...{ subject_token: login.accessToken },
          subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        },
        login.jwk,
      );
    expect(await countUntilRefused(exchange)).toBe(3);
    const { status, headers, body } = await exchange();
    expect(status).toBe(429);
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    expect(body.error).toBe('temporarily_unavailable');
  });

  it('limits what one address may ask of the token endpoint, whatever it sends', async () => {
    const send = () => fetch(`${app.apiUrl}/oauth/token`, { method: 'POST' });
    expect(await countUntilRefused(send)).toBeLessThanOrEqual(30);
    const last = await send();
    expect(last.status).toBe(429);
    expect(Number(last.headers.get('retry-after'))).toBeGreaterThan(0);
  });
});
