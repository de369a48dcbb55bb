import { type Browser, createBrowser, type Page } from '@kontext/testkit';
import { createLocalKms } from '@kontext/vault';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AppParts } from '../app.ts';
import { addMember, type NewLocalAccount } from '../login/local-accounts.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';

const wanted = {
  action: 'ProviderService/AddProvider',
  message: Buffer.from('message'),
  summary: 'add the provider "<b>acme</b>\u202e" (client id "a\nb"), <script>alert(1)</script>',
  address: '192.0.2.7',
};

describe.each(testStores())('the confirmation page on $kind', ({ open }) => {
  const kms = createLocalKms(new Map([['test', Buffer.alloc(32, 7)]]), 'test');
  let opened: TestStore;
  let app: TestApp;
  let parts: AppParts;
  let bob: NewLocalAccount;
  let browser: Browser;
  beforeAll(async () => {
    opened = await open();
    const wire = (made: AppParts) => {
      parts = made;
      return {};
    };
    app = await startTestApp(opened.store, { wire, kms });
    const member = { orgSlug: 'default', name: 'bob', role: 'admin', groups: [], withPasscode: true };
    bob = await addMember(opened.store, member, Date.now());
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });
  beforeEach(() => {
    browser = createBrowser();
  });

  const requester = () => ({ userId: app.owner.userId, orgId: app.owner.orgId, grantId: 'grant' });
  async function ask(): Promise<{ readonly uri: string; readonly state: () => Promise<string> }> {
    const { details } = await parts.confirmations.ask(requester(), wanted);
    const id = String(details.confirmation_id);
    return {
      uri: String(details.confirm_uri),
      state: () => parts.confirmations.stateOf(requester(), id),
    };
  }
  const submit = (page: Page, values: Record<string, string>) => {
    const form = page.forms.find(({ method }) => method === 'post');
    if (form === undefined) throw new Error(`no form at ${page.url}`);
    return browser.submit(page, form, values);
  };
  /** Opens the link and logs in where that is asked. */
  async function openAs(uri: string, { account, passcode }: NewLocalAccount): Promise<Page> {
    const page = await browser.open(uri);
    expect(new URL(page.url).pathname).toBe('/login');
    return submit(page, { account, passcode });
  }

  it('asks for a login first, then shows who asks for what, and changes nothing by being looked at', async () => {
    const { uri, state } = await ask();
    const page = await openAs(uri, app.owner);
    expect(page.url).toBe(uri);
    for (const text of ['owner', 'default', '192.0.2.7', 'ProviderService/AddProvider', 's ago']) {
      expect(page.html).toContain(text);
    }
    expect(page.forms.flatMap(({ buttons }) => buttons.map(({ label }) => label))).toEqual([
      'Deny',
      'Confirm',
    ]);
    expect(page.html).not.toMatch(/<script|http-equiv|autofocus|onload/);
    expect(page.headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
    expect(page.headers.get('cache-control')).toBe('no-store');
    await browser.open(uri);
    expect(await state()).toBe('pending');
  });

  it('shows hostile text as text, with its control and bidi characters visible', async () => {
    const page = await openAs((await ask()).uri, app.owner);
    expect(page.html).toContain('&lt;b&gt;acme&lt;/b&gt;\\u202e');
    expect(page.html).toContain('a\\u000ab');
    expect(page.html).not.toContain('<b>');
    expect(page.html).not.toContain('\u202e');
  });

  it.each([
    ['confirm', 'confirmed', /return to your terminal/i],
    ['deny', 'denied', /nothing was done/i],
  ])('takes %s, once', async (decision, state, said) => {
    const asked = await ask();
    const page = await openAs(asked.uri, app.owner);
    expect((await submit(page, { decision })).html).toMatch(said);
    expect(await asked.state()).toBe(state);
    const second = await submit(page, { decision: 'confirm' });
    expect(second.status).toBeGreaterThanOrEqual(400);
    expect((await browser.open(asked.uri)).html).toMatch(/decided before/);
    expect(await asked.state()).toBe(state);
  });

  it('shows a link of somebody else like one that does not exist', async () => {
    const { uri, state } = await ask();
    const foreign = await openAs(uri, bob);
    const none = await browser.open(uri.replace(/[\w-]{43}$/, 'A'.repeat(43)));
    const broken = await browser.open(`${app.apiUrl}/confirm/x`);
    for (const page of [foreign, none, broken]) {
      expect(page.status).toBe(404);
      expect(page.html).toContain('there is no such confirmation, or it is not yours');
    }
    expect(await state()).toBe('pending');
  });

  it('wants a login of five minutes at most, before the page and before the decision', async () => {
    const { uri, state } = await ask();
    const page = await openAs(uri, app.owner);
    app.advance(301_000);
    const late = await submit(page, { decision: 'confirm' });
    expect(new URL(late.url).pathname).toBe('/login');
    expect(await state()).toBe('pending');
    expect(new URL((await browser.open(uri)).url).pathname).toBe('/login');
    const fresh = await submit(late, { account: app.owner.account, passcode: app.owner.passcode });
    await submit(fresh, { decision: 'confirm' });
    expect(await state()).toBe('confirmed');
  });

  it('says so when ten minutes have passed', async () => {
    const { uri } = await ask();
    app.advance(601_000);
    expect((await openAs(uri, app.owner)).html).toMatch(/more than 10 minutes ago/);
  });

  it('takes no form of another site, without its token, or without a decision', async () => {
    const { uri, state } = await ask();
    const page = await openAs(uri, app.owner);
    expect((await submit(page, { csrf: 'x', decision: 'confirm' })).status).toBe(403);
    expect((await submit(page, { decision: '' })).status).toBe(400);
    const bare = await fetch(uri, { method: 'POST', body: new URLSearchParams({ decision: 'confirm' }) });
    expect(bare.status).toBe(403);
    const json = await fetch(uri, {
      method: 'POST',
      body: '{}',
      headers: { 'content-type': 'application/json' },
    });
    expect(json.status).toBe(415);
    const csrf = page.forms.flatMap(({ fields }) => fields).find(({ name }) => name === 'csrf')?.value ?? '';
    const foreign = { ...page, url: uri.replace('127.0.0.1', 'localhost') };
    const stolen = await fetch(uri, {
      method: 'POST',
      body: new URLSearchParams({ decision: 'confirm', csrf }),
      headers: { origin: new URL(foreign.url).origin },
    });
    expect(stolen.status).toBe(403);
    expect(await state()).toBe('pending');
  });

  it('lets nobody try without end', async () => {
    const { uri } = await ask();
    const { account, passcode } = app.owner;
    const login = await browser.open(uri);
    await submit(login, { account, passcode });
    let last = await browser.open(uri);
    for (let i = 0; i < 120 && last.status !== 429; i += 1) last = await browser.open(uri);
    expect(last.status).toBe(429);
    expect(Number(last.headers.get('retry-after'))).toBeGreaterThan(0);
  });
});
