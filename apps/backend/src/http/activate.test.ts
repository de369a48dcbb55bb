import { generateP256Jwk } from '@kontext/oauth';
import { type Browser, createBrowser, type Page } from '@kontext/testkit';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';
import { pollDevice, startDevice } from '../test-login.ts';

const system = { role: 'system', orgId: null } as const;

describe.each(testStores())('approval pages on $kind', ({ open }) => {
  let opened: TestStore;
  let app: TestApp;
  let browser: Browser;
  beforeAll(async () => {
    opened = await open();
    app = await startTestApp(opened.store);
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });
  beforeEach(async () => {
    browser = createBrowser();
    await opened.store.transaction(system, (tx) => tx.execute(sql`DELETE FROM rate_limits`));
  });

  const submit = (page: Page, values: Record<string, string>): Promise<Page> => {
    const form = page.forms[0];
    if (!form) throw new Error(`no form on ${page.url}: ${page.html}`);
    return browser.submit(page, form, values);
  };
  const logIn = async (path = '/activate'): Promise<Page> => {
    const page = await browser.open(app.apiUrl + path);
    return submit(page, { account: app.owner.account, passcode: app.owner.passcode });
  };

  it('asks for login first, then for the code, then shows who asks', async () => {
    const started = await startDevice(app, 'kontext/0.4.1 (alice-mbp)');
    const login = await browser.open(started.verification_uri_complete ?? '');
    expect(new URL(login.url).pathname).toBe('/login');
    const code = await submit(login, {
      account: app.owner.account,
      passcode: app.owner.passcode.toLowerCase(),
    });
    expect(new URL(code.url).pathname).toBe('/activate');
    expect(code.forms[0]?.fields.find((field) => field.name === 'user_code')?.value).toBe(started.user_code);
    const approval = await submit(code, {});
    for (const shown of [
      'alice-mbp',
      '0.4.1',
      '127.0.0.1',
      started.user_code ?? '',
      'kontext command line',
      'owner',
      'default',
    ]) {
      expect(approval.html).toContain(shown);
    }
    expect((await pollDevice(app, started.device_code ?? '', generateP256Jwk())).body.error).toBe(
      'authorization_pending',
    );
  });

  it('takes the code in lower case and without dash', async () => {
    const started = await startDevice(app);
    const page = await submit(await logIn(), {
      user_code: (started.user_code ?? '').toLowerCase().replace('-', ' '),
    });
    expect(page.html).toContain('Approve this terminal?');
  });

  it('sends strict headers with every page and sets a cookie scripts cannot read', async () => {
    const page = await browser.open(`${app.apiUrl}/activate`);
    expect(page.headers.get('content-security-policy')).toMatch(/default-src 'none'.*frame-ancestors 'none'/);
    expect(page.headers.get('cache-control')).toBe('no-store');
    const first = await app.app.inject({ url: '/activate' });
    expect(first.headers['set-cookie']).toMatch(/; HttpOnly; SameSite=Lax$/);
  });

  it('answers 429 after five wrong codes of one browser, even to the right one', async () => {
    const started = await startDevice(app);
    let page = await logIn();
    for (let i = 0; i < 5; i += 1) {
      page = await submit(page, { user_code: 'BBBB-BBBB' });
      expect(page.status).toBe(400);
    }
    const refused = await submit(page, { user_code: started.user_code ?? '' });
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  });

  it('answers 429 to a new browser of the same address too', async () => {
    let page = await logIn();
    for (let i = 0; i < 5; i += 1) page = await submit(page, { user_code: 'BBBB-BBBB' });
    browser = createBrowser();
    expect((await submit(await logIn(), { user_code: 'BBBB-BBBB' })).status).toBe(429);
  });

  it('looks at five of twenty guesses that come at once', async () => {
    const page = await logIn();
    const guesses = Array.from({ length: 20 }, () => submit(page, { user_code: 'BBBB-BBBB' }));
    const statuses = (await Promise.all(guesses)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 400)).toHaveLength(5);
    expect(statuses.filter((status) => status === 429)).toHaveLength(15);
  });

  it('does not count right codes, however many a person approves', async () => {
    for (let i = 0; i < 4; i += 1) {
      const { user_code = '' } = await startDevice(app);
      const approval = await submit(await logIn(i === 0 ? '/activate' : '/login'), { user_code });
      expect((await submit(approval, { decision: 'approve' })).html).toContain('Approved');
    }
  });

  it('refuses an expired code and one that was decided', async () => {
    const started = await startDevice(app);
    const code = { user_code: started.user_code ?? '' };
    const approval = await submit(await logIn(), code);
    expect((await submit(approval, { decision: 'deny' })).html).toContain('Denied');
    const again = await submit(approval, { decision: 'approve' });
    expect(again).toMatchObject({ status: 400 });
    expect(again.html).toContain('was used already');
  });

  it('refuses a decision that is neither', async () => {
    const started = await startDevice(app);
    const approval = await submit(await logIn(), { user_code: started.user_code ?? '' });
    expect((await submit(approval, { decision: 'maybe' })).status).toBe(400);
  });

  it('refuses a form without token, with another browser’s token, or from another site', async () => {
    const page = await logIn();
    expect((await submit(page, { csrf: '' })).status).toBe(403);
    const stranger = await createBrowser().open(`${app.apiUrl}/login`);
    const token = stranger.forms[0]?.fields.find((field) => field.name === 'csrf')?.value ?? '';
    expect((await submit(page, { csrf: token })).status).toBe(403);
    const { csrf } = Object.fromEntries(
      (page.forms[0]?.fields ?? []).map(({ name, value }) => [name, value]),
    );
    const first = await app.app.inject({ url: '/login' });
    const cookie = String(first.headers['set-cookie']).split(';')[0] ?? '';
    const ours = /name="csrf" value="([^"]+)"/.exec(first.body)?.[1] ?? '';
    expect(csrf).not.toBe(ours);
    const post = (origin: string) =>
      app.app.inject({
        method: 'POST',
        url: '/login',
        headers: { cookie, origin, 'content-type': 'application/x-www-form-urlencoded' },
        payload: new URLSearchParams({ csrf: ours, account: 'owner', passcode: 'x' }).toString(),
      });
    expect((await post('https://evil.test')).statusCode).toBe(403);
    expect((await post(app.apiUrl)).statusCode).toBe(401);
  });

  it('refuses a field that was sent twice, other bodies, and large ones', async () => {
    const post = (payload: string, type = 'application/x-www-form-urlencoded') =>
      app.app.inject({ method: 'POST', url: '/login', headers: { 'content-type': type }, payload });
    expect((await post('csrf=a&csrf=b')).statusCode).toBe(400);
    expect((await post('{}', 'application/json')).statusCode).toBe(415);
    expect((await post(`csrf=${'a'.repeat(20_000)}`)).statusCode).toBe(413);
  });

  it('asks for the passcode again when the login is older than 15 minutes', async () => {
    const page = await logIn();
    app.advance(16 * 60_000);
    const again = await submit(page, { user_code: 'BBBB-BBBB' });
    app.advance(-16 * 60_000);
    expect(new URL(again.url).pathname).toBe('/login');
  });

  it('leads back to the code form when the login grew old on the approval page', async () => {
    const { user_code = '' } = await startDevice(app);
    const approval = await submit(await logIn(), { user_code });
    app.advance(16 * 60_000);
    const login = await submit(approval, { decision: 'approve' });
    const { account, passcode } = app.owner;
    const back = await submit(login, { account, passcode });
    app.advance(-16 * 60_000);
    expect([back.status, new URL(back.url).pathname]).toEqual([200, '/activate']);
  });

  it('gives the browser another id at login', async () => {
    const first = await app.app.inject({ url: '/login' });
    const cookie = String(first.headers['set-cookie']).split(';')[0] ?? '';
    const csrf = /name="csrf" value="([^"]+)"/.exec(first.body)?.[1] ?? '';
    const { account, passcode } = app.owner;
    const done = await app.app.inject({
      method: 'POST',
      url: '/login',
      headers: { cookie, 'content-type': 'application/x-www-form-urlencoded' },
      payload: new URLSearchParams({ csrf, account, passcode, return_to: '//evil.test/' }).toString(),
    });
    expect(done.statusCode).toBe(303);
    expect(done.headers.location).toBe('/activate');
    expect(String(done.headers['set-cookie']).split(';')[0]).not.toBe(cookie);
    expect((await app.app.inject({ url: '/activate', headers: { cookie } })).statusCode).toBe(303);
  });

  it('takes ten wrong passcodes, then not even the right one for a while', async () => {
    let page = await browser.open(`${app.apiUrl}/activate`);
    for (let i = 0; i < 10; i += 1) {
      page = await submit(page, { account: 'owner', passcode: `WRONG-${i}` });
      expect(page.status).toBe(401);
    }
    const right = { account: app.owner.account, passcode: app.owner.passcode };
    page = await submit(page, right);
    expect(page.status).toBe(429);
    app.advance(15 * 60_000);
    page = await submit(page, right);
    app.advance(-15 * 60_000);
    expect(page.status).toBe(200);
  });

  it('says the same for an unknown account as for a wrong passcode', async () => {
    const page = await browser.open(`${app.apiUrl}/activate`);
    const wrong = await submit(page, { account: 'owner', passcode: 'x' });
    const unknown = await submit(page, { account: 'nobody', passcode: 'x' });
    expect(unknown.status).toBe(wrong.status);
    expect(unknown.html.replaceAll('nobody', 'owner')).toBe(wrong.html);
  });

  it('does not let a disabled person log in or approve', async () => {
    const started = await startDevice(app);
    const approval = await submit(await logIn(), { user_code: started.user_code ?? '' });
    const setDisabled = (at: Date | null) =>
      opened.store.transaction(system, (tx) =>
        tx.execute(
          sql`UPDATE users SET disabled_at = ${at?.toISOString() ?? null}::timestamptz WHERE id = ${app.owner.userId}`,
        ),
      );
    await setDisabled(new Date());
    const approved = await submit(approval, { decision: 'approve' });
    browser = createBrowser();
    const login = await logIn();
    await setDisabled(null);
    expect(approved.status).toBe(403);
    expect(login.status).toBe(401);
  });

  it('records who approved and who denied in the admin stream', async () => {
    const started = await startDevice(app, 'kontext/0.4.1 (recorded-host)');
    const approval = await submit(await logIn(), { user_code: started.user_code ?? '' });
    await submit(approval, { decision: 'approve' });
    const { rows } = await opened.store.transaction(system, (tx) =>
      tx.execute(sql`SELECT e.kind, e.user_id, p.payload FROM audit_events e
        LEFT JOIN audit_payloads p ON p.stream_id = e.stream_id AND p.seq = e.seq WHERE e.kind = 'login.succeeded'`),
    );
    const recorded = rows.find((row) => String(row.payload).includes('recorded-host'));
    expect(recorded).toMatchObject({ kind: 'login.succeeded', user_id: app.owner.userId });
  });
});
