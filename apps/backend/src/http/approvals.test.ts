import { approveInBrowser, type Browser, createBrowser, type Page } from '@kontext/testkit';
import { createLocalKms } from '@kontext/vault';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AppParts } from '../app.ts';
import { type ApprovalService, createApprovalService } from '../approvals/approval-service.ts';
import type { ApprovalWanted } from '../approvals/request-approval.ts';
import { publishForTest, testRules, testVersion, wantedForTest } from '../approvals/test-approvals.ts';
import { createAppendSignal } from '../audit/append-signal.ts';
import { openTestSession } from '../audit/test-client.ts';
import { addMember, type NewLocalAccount } from '../login/local-accounts.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';
import { wire } from '../wiring.ts';

const signal = new AbortController().signal;

describe.each(testStores())('the page of an approval on $kind', ({ open }) => {
  const kms = createLocalKms(new Map([['test', Buffer.alloc(32, 7)]]), 'test');
  let opened: TestStore;
  let app: TestApp;
  let approvals: ApprovalService;
  let bob: NewLocalAccount;
  let session: string;
  let browser: Browser;
  beforeAll(async () => {
    opened = await open();
    let parts: AppParts | undefined;
    const keep = (made: AppParts) => {
      parts = made;
      return wire(made);
    };
    app = await startTestApp(opened.store, { wire: keep, kms });
    if (parts === undefined) throw new Error('not wired');
    const given = { ...parts, apiUrl: app.apiUrl, appended: createAppendSignal() };
    approvals = createApprovalService(given);
    const member = {
      orgSlug: 'default',
      name: 'bob',
      role: 'member',
      groups: ['payments'],
      withPasscode: true,
    };
    bob = await addMember(opened.store, member, Date.now());
    const publication = {
      version: testVersion,
      seq: 50,
      group: '',
      texts: testRules,
      author: app.owner.userId,
    };
    await publishForTest(opened.store, app.owner.orgId, publication, new Date());
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });
  beforeEach(async () => {
    browser = createBrowser();
    session = (await openTestSession(opened.store, owner(), new Date())).sessionId;
  });

  const owner = () => ({
    ...{ userId: app.owner.userId, orgId: app.owner.orgId, userName: 'owner', role: 'owner' },
    ...{ grantId: 'grant', groups: [] },
  });
  const ask = async (change: Partial<ApprovalWanted> & { readonly command?: string } = {}) => {
    const { approval } = await approvals.request(owner(), wantedForTest(session, change));
    return { id: approval.id, url: approvals.urlOf(approval.id) };
  };
  const stateOf = async (id: string) => {
    const { approval } = await approvals.wait(owner(), id, { waitMs: 0, use: false, signal });
    return approval.state;
  };
  const submit = (page: Page, values: Record<string, string>) => {
    const form = page.forms.find(({ method }) => method === 'post');
    if (form === undefined) throw new Error(`no form at ${page.url}`);
    return browser.submit(page, form, values);
  };
  async function openAs(url: string, { account, passcode }: NewLocalAccount): Promise<Page> {
    const page = await browser.open(url);
    expect(new URL(page.url).pathname).toBe('/login');
    return submit(page, { account, passcode });
  }

  it('asks for a login first, then shows who wants what and why, and changes nothing by being looked at', async () => {
    const { id, url } = await ask();
    const page = await openAs(url, app.owner);
    expect(page.url).toBe(url);
    const said = ['claude', 'owner', 'laptop', 'npm publish', '/home/dev/shop', 'acme.self', session].concat([
      ...['publishing cannot be taken back', 'policy version 2', 's ago, open for 15 min more'],
    ]);
    for (const text of said) expect(page.html).toContain(text);
    const buttons = page.forms.flatMap((form) => form.buttons.map(({ label }) => label));
    expect(buttons).toEqual(['Deny', 'Allow once', 'Allow for 1 hour', 'Allow for this session']);
    expect(page.html).not.toMatch(/<script|http-equiv|autofocus|onload/);
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(page.headers.get('cache-control')).toBe('no-store');
    await browser.open(url);
    expect(await stateOf(id)).toBe('pending');
  });

  it('shows hostile text as text, with its control and bidi characters visible, lines as lines', async () => {
    const command = 'echo "<b>x</b>\u202e"\r\n\u001b[2J\u200brm -rf / # </pre><form action=evil>';
    const { url } = await ask({ command, part: 'command <i>rm</i>\u2066' });
    const { html } = await openAs(url, app.owner);
    const shown = [
      '&lt;b&gt;x&lt;/b&gt;\\u202e',
      '\\u000d\n\\u001b[2J\\u200brm -rf /',
      '&lt;i&gt;rm&lt;/i&gt;\\u2066',
    ];
    for (const text of shown) expect(html).toContain(text);
    for (const hidden of ['<b>', '<i>', 'action=evil>', '\u202e', '\u001b', '\u200b']) {
      expect(html).not.toContain(hidden);
    }
  });

  it.each([
    ['is too long for the page', { command: `echo ${'x'.repeat(20_000)}; rm -rf /`, part: 'command rm' }],
    ['was too long for the wire', { callClipped: true }],
  ])('says that it was shortened, when it %s', async (_why, change) => {
    const { html } = await openAs((await ask(change)).url, app.owner);
    expect(html).toContain('Shortened: not all of the call is shown');
  });

  it('says which calls an approval for the session would cover, unless the call was shortened', async () => {
    const facts = {
      agent: 'claude',
      agentVersion: '2',
      event: 'PreToolUse',
      tool: 'Bash',
      cwd: null,
      permissionMode: null,
    };
    const part = {
      kind: 'command',
      program: 'npm',
      path: 'npm',
      args: ['publish'],
      subcommand: 'publish',
      via: [],
    };
    const more = { flags: [], assigns: [], pipedFrom: '', dynamic: false };
    const command = 'npm publish';
    const who = {
      user: 'u',
      org: 'o',
      session,
      groups: [],
      role: 'member',
      repository: null,
      credentials: [],
      atMs: 0,
    };
    const shown = { ...facts, ...who, subagent: null, opaque: [], input: { command }, command };
    const call = JSON.stringify({ schema: 2, ...shown, parts: [{ ...part, ...more }] });
    const whole = await openAs((await ask({ call })).url, app.owner);
    expect(whole.html).toContain('like <strong>Bash: npm publish</strong>');
    const clipped = await ask({ call, callClipped: true, callHash: Buffer.alloc(32, 5) });
    expect((await browser.open(clipped.url)).html).toContain('Every call of the same kind');
  });

  it('shows the whole input where it is more than a command', async () => {
    const input = { file_path: '/etc/passwd', content: 'a\nb' };
    const call = JSON.stringify({ schema: 2, tool: 'Write', input, command: null, cwd: '/' });
    const { html } = await openAs((await ask({ call, callHash: Buffer.alloc(32, 3) })).url, app.owner);
    expect(html).toContain('&quot;content&quot;: &quot;a\\nb&quot;');
  });

  it.each([
    ['once', 'approved', /this call may run, one time/i],
    ['hour', 'approved', /for one hour/i],
    ['session', 'approved', /until the session ends/i],
    ['deny', 'denied', /the agent is told so/i],
  ])('takes %s, once; a second press is told that it was decided', async (decision, state, said) => {
    const { id, url } = await ask();
    const page = await openAs(url, app.owner);
    expect((await submit(page, { decision, reason: 'because' })).html).toMatch(said);
    expect(await stateOf(id)).toBe(state);
    const second = await submit(page, { decision: 'once' });
    expect(second.status).toBe(400);
    expect(second.html).toMatch(/decided it before/);
    expect((await browser.open(url)).html).toMatch(/owner decided this before/);
    expect(await stateOf(id)).toBe(state);
  });

  it('shows a request of somebody else like one that does not exist', async () => {
    const { id, url } = await ask();
    const foreign = await openAs(url, bob);
    const none = await browser.open(url.replace(/[0-9a-f]{12}$/, '000000000000'));
    const broken = await browser.open(`${app.apiUrl}/approvals/x`);
    for (const page of [foreign, none, broken]) {
      expect(page.status).toBe(404);
      expect(page.html).toContain('there is no such request, or it is not yours to decide');
    }
    expect(await stateOf(id)).toBe('pending');
  });

  it('is decided by the group that the rule names, not by the one who asks', async () => {
    const { id, url } = await ask({ rule: 'acme.payments' });
    expect((await openAs(url, app.owner)).status).toBe(404);
    await approveInBrowser({ url, ...bob, decision: 'hour', reason: 'agreed' });
    const { approval } = await approvals.get(owner(), id);
    expect(approval).toMatchObject({ state: 'approved', decidedBy: bob.userId, decisionReason: 'agreed' });
  });

  it('marks the button a link names and fills its reason in, and sends nothing by that', async () => {
    const { id, url } = await ask();
    const page = await openAs(
      `${url}?choose=session&reason=${encodeURIComponent('x"><b>\u202e')}`,
      app.owner,
    );
    expect(page.html).toContain('value="session" class="primary"');
    expect(page.html).toContain('value="x&quot;&gt;&lt;b&gt;\\u202e"');
    expect((await browser.open(`${url}?choose=evil`)).html).not.toContain('class="primary"');
    expect(await stateOf(id)).toBe('pending');
  });

  it('wants a login of five minutes at most, before the page and before the decision', async () => {
    const { id, url } = await ask();
    const page = await openAs(url, app.owner);
    app.advance(301_000);
    const late = await submit(page, { decision: 'once' });
    expect(new URL(late.url).pathname).toBe('/login');
    expect(await stateOf(id)).toBe('pending');
    const fresh = await submit(late, { account: app.owner.account, passcode: app.owner.passcode });
    await submit(fresh, { decision: 'once' });
    expect(await stateOf(id)).toBe('approved');
  });

  it('says so when fifteen minutes have passed', async () => {
    const { url } = await ask();
    app.advance(901_000);
    expect((await openAs(url, app.owner)).html).toMatch(/Nobody decided within 15 minutes/);
  });

  it('takes no form of another site, without its token, or without a decision', async () => {
    const { id, url } = await ask();
    const page = await openAs(url, app.owner);
    expect((await submit(page, { csrf: 'x', decision: 'once' })).status).toBe(403);
    expect((await submit(page, { decision: 'always' })).status).toBe(400);
    expect((await submit(page, { decision: 'deny', reason: 'x'.repeat(501) })).status).toBe(400);
    const bare = await fetch(url, { method: 'POST', body: new URLSearchParams({ decision: 'once' }) });
    expect(bare.status).toBe(403);
    const headers = { 'content-type': 'application/json' };
    expect((await fetch(url, { method: 'POST', body: '{}', headers })).status).toBe(415);
    const csrf = page.forms.flatMap(({ fields }) => fields).find(({ name }) => name === 'csrf')?.value ?? '';
    const stolen = await fetch(url, {
      method: 'POST',
      body: new URLSearchParams({ decision: 'once', csrf }),
      headers: { origin: new URL(url.replace('127.0.0.1', 'localhost')).origin },
    });
    expect(stolen.status).toBe(403);
    expect(await stateOf(id)).toBe('pending');
  });

  it('lets nobody try without end', async () => {
    const { url } = await ask();
    let last = await openAs(url, app.owner);
    for (let i = 0; i < 120 && last.status !== 429; i += 1) last = await browser.open(url);
    expect(last.status).toBe(429);
  });
});
