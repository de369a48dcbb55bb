import { randomBytes } from 'node:crypto';
import { createDpopProof } from '@kontext/oauth';
import { approveDevice } from '@kontext/testkit';
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { createOidcAdapters } from '../../login/oidc-adapter.ts';
import { type TestStore, testStores } from '../../store/test-stores.ts';
import { startTestApp, type TestApp } from '../../test-app.ts';
import { logIn, pollDevice, refresh, startDevice } from '../../test-login.ts';

const dayMs = 86_400_000;

describe.each(testStores())('refresh tokens on $kind', ({ open }) => {
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
  afterEach(() => vi.useRealTimers());

  /** Moves every clock of this process, which the library reads too. */
  const travel = (ms: number): void => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms });
  };

  it('gives five parallel refreshes at rotation time one and the same successor', async () => {
    const { refreshToken, jwk } = await logIn(app);
    travel(22 * dayMs);
    const answers = await Promise.all([1, 2, 3, 4, 5].map(() => refresh(app, refreshToken, jwk)));
    expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200, 200, 200]);
    const successors = [...new Set(answers.map((answer) => String(answer.body.refresh_token)))];
    expect(successors).toHaveLength(1);
    expect(successors[0]).not.toBe(refreshToken);
    expect((await refresh(app, successors[0] ?? '', jwk)).status).toBe(200);
  });

  it('leads a client that lost the answer to the successor within the grace, then takes reuse as theft', async () => {
    const { refreshToken, jwk } = await logIn(app);
    travel(22 * dayMs);
    // The end of the login is an audit event, and its day needs a partition.
    await opened.store.maintain(new Date());
    const rotated = String((await refresh(app, refreshToken, jwk)).body.refresh_token);
    travel(10_000);
    expect((await refresh(app, refreshToken, jwk)).body.refresh_token).toBe(rotated);
    travel(15_000);
    expect(await refresh(app, refreshToken, jwk)).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant', failure_reason: 'login_reused' },
    });
    expect(await refresh(app, rotated, jwk)).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant', failure_reason: 'login_reused' },
    });
  });

  it('goes on with a rotation that a process died in, between the claim and the successor', async () => {
    const { refreshToken, jwk } = await logIn(app);
    travel(22 * dayMs);
    const killed = createOidcAdapters(opened.store, randomBytes(32), Date.now);
    expect(await killed.claimRotation(refreshToken)).toBe(true);
    // Nobody knows yet that it is dead: the login goes on with the token it has.
    expect((await refresh(app, refreshToken, jwk)).body.refresh_token).toBe(refreshToken);
    travel(60_000);
    const rotated = String((await refresh(app, refreshToken, jwk)).body.refresh_token);
    expect(rotated).not.toBe(refreshToken);
    travel(60_000);
    expect((await refresh(app, rotated, jwk)).status).toBe(200);
  });

  it('counts idle time from the last use, however old the token is', async () => {
    const { refreshToken, jwk } = await logIn(app);
    travel(20 * dayMs);
    expect((await refresh(app, refreshToken, jwk)).body.refresh_token).toBe(refreshToken);
    travel(29 * dayMs);
    expect((await refresh(app, refreshToken, jwk)).status).toBe(200);
  });

  it('ends a login that was idle for 30 days', async () => {
    const { refreshToken, jwk } = await logIn(app);
    travel(30 * dayMs + 60_000);
    expect(await refresh(app, refreshToken, jwk)).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant', failure_reason: 'login_idle' },
    });
  });

  it('ends a login after 90 days, used or not', async () => {
    const { refreshToken, jwk } = await logIn(app);
    let current = refreshToken;
    for (let day = 0; day < 88; day += 22) {
      travel(22 * dayMs);
      const answer = await refresh(app, current, jwk);
      expect(answer.status, `day ${day + 22}`).toBe(200);
      current = String(answer.body.refresh_token);
    }
    travel(3 * dayMs);
    expect(await refresh(app, current, jwk)).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant', failure_reason: 'login_expired' },
    });
  });

  it('tells a late device that its code has expired', async () => {
    const { device_code: code = '' } = await startDevice(app);
    const { jwk } = await logIn(app);
    travel(601_000);
    expect(await pollDevice(app, code, jwk)).toMatchObject({ status: 400, body: { error: 'expired_token' } });
  });

  it('refuses a proof that was used before, also in parallel', async () => {
    const { refreshToken, jwk } = await logIn(app);
    const htu = `${app.apiUrl}/oauth/token`;
    const dpop = await createDpopProof({ key: jwk, htm: 'POST', htu, nowMs: Date.now() });
    const body = () =>
      new URLSearchParams({
        client_id: 'kontext-cli',
        grant_type: 'refresh_token',
        refresh_token: refreshToken,
      });
    const send = () => fetch(htu, { method: 'POST', headers: { dpop }, body: body() });
    const statuses = (await Promise.all([send(), send(), send()])).map((response) => response.status);
    expect(statuses.sort()).toEqual([200, 400, 400]);
  });

  it('stores nothing that could be used: a dump holds no token, code, cookie, passcode or proof key', async () => {
    const started = await startDevice(app);
    const { refreshToken, accessToken, jwk } = await logIn(app);
    travel(22 * dayMs);
    const rotated = String((await refresh(app, refreshToken, jwk)).body.refresh_token);
    vi.useRealTimers();
    let cookie = '';
    const verificationUriComplete = started.verification_uri_complete ?? '';
    const send = globalThis.fetch;
    const watch = vi.spyOn(globalThis, 'fetch').mockImplementation(async (input, init) => {
      const response = await send(input, init);
      cookie = /kontext_browser=([^;.]+)/.exec(response.headers.get('set-cookie') ?? '')?.[1] ?? cookie;
      return response;
    });
    await approveDevice({ verificationUriComplete, ...app.owner });
    watch.mockRestore();

    const dump = await opened.store.transaction({ role: 'system', orgId: null }, async (tx) => {
      const texts = [];
      for (const table of [
        'oidc_payloads',
        'dpop_proofs',
        'rate_limits',
        'local_accounts',
        'secrets',
        'signing_keys',
        'users',
      ]) {
        const { rows } = await tx.execute<{ row: string }>(
          sql.raw(`SELECT to_jsonb(t)::text AS row FROM ${table} t`),
        );
        texts.push(...rows.map(({ row }) => row));
      }
      return texts.join('\n');
    });
    expect(dump.length).toBeGreaterThan(2000);
    expect(cookie).toMatch(/^[\w-]{43}$/);
    const userCode = (started.user_code ?? '').replace('-', '');
    const secrets = {
      refreshToken,
      rotated,
      accessToken,
      deviceCode: started.device_code,
      cookie,
      d: jwk.d,
      userCode,
    };
    for (const [name, secret] of Object.entries({ ...secrets, passcode: app.owner.passcode })) {
      expect(secret?.length, name).toBeGreaterThan(7);
      expect(dump.includes(secret ?? ''), name).toBe(false);
    }
  });
});
