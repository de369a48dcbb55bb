import { type Browser, createBrowser, type Page } from '@kontext/testkit';
import { sql } from 'drizzle-orm';
import { decodeJwt } from 'jose';
import * as client from 'openid-client';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';

const redirectUri = 'http://127.0.0.1:45678/callback';
const system = { role: 'system', orgId: null } as const;

describe.each(testStores())('the authorization code flow of a terminal on $kind', ({ open }) => {
  let opened: TestStore;
  let app: TestApp;
  let server: client.Configuration;
  let browser: Browser;
  let DPoP: client.DPoPHandle;
  const verifier = client.randomPKCECodeVerifier();
  beforeAll(async () => {
    opened = await open();
    app = await startTestApp(opened.store);
    server = await client.discovery(new URL(`${app.apiUrl}/oauth`), 'kontext-cli', undefined, client.None(), {
      execute: [client.allowInsecureRequests],
    });
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });
  beforeEach(async () => {
    browser = createBrowser({ stopAt: 'http://127.0.0.1:45678/' });
    DPoP = client.getDPoPHandle(server, await client.randomDPoPKeyPair('ES256'));
  });

  const push = async (more: Record<string, string> = {}) =>
    client.buildAuthorizationUrlWithPAR(
      server,
      {
        redirect_uri: redirectUri,
        scope: 'openid offline_access kontext',
        prompt: 'consent',
        state: 'state-1',
        machine: 'alice-mbp',
        code_challenge: await client.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        ...more,
      },
      { DPoP },
    );
  const submit = (page: Page, values: Record<string, string>): Promise<Page> => {
    const form = page.forms[0];
    if (!form) throw new Error(`no form on ${page.url}: ${page.html}`);
    return browser.submit(page, form, values);
  };
  /** Opens the link and logs in where that is asked for. */
  const reach = async (url: URL): Promise<Page> => {
    const page = await browser.open(url.href);
    if (new URL(page.url).pathname !== '/login') return page;
    return submit(page, { account: app.owner.account, passcode: app.owner.passcode });
  };
  const redeem = (page: Page, dpop = DPoP) =>
    client.authorizationCodeGrant(
      server,
      new URL(page.url),
      { pkceCodeVerifier: verifier, expectedState: 'state-1' },
      { resource: app.apiUrl },
      { DPoP: dpop },
    );

  it('shows which machine asks, and leads back with code, state and issuer only after a press of the button', async () => {
    const page = await reach(await push());
    for (const shown of ['alice-mbp', 'owner', 'default', '127.0.0.1:45678', 'kontext command line']) {
      expect(page.html).toContain(shown);
    }
    expect(page.html).not.toMatch(/<script|https?:\/\/(?!127\.0\.0\.1)/);
    expect(page.headers.get('content-security-policy')).toContain(
      "form-action 'self' http://127.0.0.1:45678",
    );
    const back = new URL((await submit(page, { decision: 'approve' })).url);
    expect(`${back.origin}${back.pathname}`).toBe(redirectUri);
    expect([...back.searchParams.keys()].sort()).toEqual(['code', 'iss', 'state']);
    expect(back.searchParams.get('iss')).toBe(`${app.apiUrl}/oauth`);
  });

  it('gives tokens bound to the key of the first request, that say how and when the person logged in', async () => {
    const tokens = await redeem(await submit(await reach(await push()), { decision: 'approve' }));
    const claims = decodeJwt(tokens.access_token);
    expect(claims).toMatchObject({ acr: 'urn:kontext:acr:browser', sub: app.owner.userId });
    expect(Math.abs(Number(claims.auth_time) - Date.now() / 1000)).toBeLessThan(60);
    const refreshed = await client.refreshTokenGrant(server, tokens.refresh_token ?? '', undefined, { DPoP });
    expect(decodeJwt(refreshed.access_token)).toMatchObject({
      acr: 'urn:kontext:acr:browser',
      auth_time: claims.auth_time,
    });
    const { rows } = await opened.store.transaction(system, (tx) =>
      tx.execute(sql`SELECT machine, acr, client_id, user_id FROM logins ORDER BY created_at DESC LIMIT 1`),
    );
    expect(rows[0]).toEqual({
      machine: 'alice-mbp',
      acr: 'urn:kontext:acr:passcode',
      client_id: 'kontext-cli',
      user_id: app.owner.userId,
    });
  });

  it('refuses the code to another key (RFC 9449 §10), and to nobody twice', async () => {
    const other = client.getDPoPHandle(server, await client.randomDPoPKeyPair('ES256'));
    const stolen = await submit(await reach(await push()), { decision: 'approve' });
    await expect(redeem(stolen, other)).rejects.toMatchObject({ error: 'invalid_grant' });
    const page = await submit(await reach(await push()), { decision: 'approve' });
    await redeem(page);
    await expect(redeem(page)).rejects.toMatchObject({ error: 'invalid_grant' });
  });

  it('asks every time, also at a browser that approved before', async () => {
    await redeem(await submit(await reach(await push()), { decision: 'approve' }));
    const again = await browser.open((await push()).href);
    expect(new URL(again.url).pathname).toMatch(/^\/oauth\/interaction\//);
    expect(again.forms).toHaveLength(1);
  });

  it('tells the terminal that the person denied', async () => {
    const back = await submit(await reach(await push()), { decision: 'deny' });
    expect(Object.fromEntries(new URL(back.url).searchParams)).toMatchObject({
      error: 'access_denied',
      state: 'state-1',
      iss: `${app.apiUrl}/oauth`,
    });
  });

  it('lets nobody approve a login that another browser began', async () => {
    const page = await reach(await push());
    const lured = createBrowser();
    await lured.open(`${app.apiUrl}/login`);
    const shown = await lured.open(page.url);
    expect(shown.status).toBe(404);
    expect(shown.forms).toEqual([]);
  });

  it('begins at the login of the organisation that was asked for', async () => {
    const login = await browser.open((await push({ organisation: 'acme & sons' })).href);
    const { pathname, searchParams } = new URL(login.url);
    expect([pathname, searchParams.get('organisation')]).toEqual(['/login', 'acme & sons']);
    expect(searchParams.get('return_to')).toMatch(/^\/oauth\/interaction\//);
  });

  it('decides once', async () => {
    const page = await reach(await push());
    await submit(page, { decision: 'approve' });
    expect((await submit(page, { decision: 'approve' })).status).toBe(404);
  });

  it('asks for a choice when none was made, and refuses a form of another site', async () => {
    const page = await reach(await push());
    expect((await submit(page, { decision: 'maybe' })).status).toBe(400);
    expect((await submit(page, { decision: 'approve', csrf: 'x' })).status).toBe(403);
  });

  it('refuses a request that was not pushed before (RFC 9126 §6)', async () => {
    const answer = await app.app.inject({ url: '/oauth/auth?client_id=kontext-cli&response_type=code' });
    expect(answer.statusCode).toBe(400);
    expect(answer.headers.location).toBeUndefined();
  });

  it.each([
    ['another path', { redirect_uri: 'http://127.0.0.1:45678/other' }],
    ['another host', { redirect_uri: 'http://127.0.0.2:45678/callback' }],
    ['a name instead of the address', { redirect_uri: 'http://localhost:45678/callback' }],
    ['a plain challenge', { code_challenge_method: 'plain' }],
    ['another key than that of the proof', { dpop_jkt: 'x'.repeat(43) }],
  ])('refuses to begin with %s', async (_name, more) => {
    await expect(push(more)).rejects.toMatchObject({ status: 400 });
  });
});
