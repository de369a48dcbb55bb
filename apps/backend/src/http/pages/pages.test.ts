import { describe, expect, it } from 'vitest';
import { approvalPage, codePage } from './device-pages.ts';
import { html, visible } from './html.ts';
import { renderPage } from './layout.ts';
import { chooseProviderPage, invitationPage, loginPage } from './login-page.ts';
import { messagePage } from './message-page.ts';

const hostile = `"><script>alert(1)</script><img src=x onerror='y'>\u202e\u0007`;
const facts = {
  csrf: 'c',
  userCode: 'BCDF-GHJK',
  clientName: 'kontext command line',
  machine: hostile,
  version: hostile,
  address: '203.0.113.9',
  ageSeconds: 20,
  accountName: hostile,
  orgName: hostile,
};

const choice = { id: hostile, name: hostile, orgName: hostile };
const invitation = { orgName: hostile, email: hostile, role: hostile };
const login = {
  ...{
    csrf: hostile,
    returnTo: hostile,
    maxAge: hostile,
    account: hostile,
    organisation: hostile,
    error: hostile,
  },
  ...{ passcodes: true, organisations: true },
};

describe('pages', () => {
  it.each([
    ['approval', approvalPage(facts)],
    ['code', codePage({ csrf: hostile, userCode: hostile, error: hostile })],
    ['login', loginPage({ ...login, only: null })],
    ['login at the one provider', loginPage({ ...login, only: choice })],
    ['choice of a provider', chooseProviderPage({ ...login, providers: [choice] })],
    ['invitation', invitationPage({ ...login, ...invitation, action: hostile, providers: [choice] })],
    ['message', messagePage({ title: hostile, text: hostile, next: hostile })],
  ])('escapes every text of the %s page', (_name, page) => {
    const markup = renderPage(page);
    expect(markup).not.toMatch(/<script|<img|onerror='/);
    expect(markup).toContain('&lt;script&gt;');
  });

  it('makes bidi and control characters of a machine name visible', () => {
    expect(renderPage(approvalPage(facts))).toContain('\\u202e\\u0007');
    expect(renderPage(approvalPage(facts))).not.toContain('\u202e');
  });

  it('shows client, machine, address, age and code, and offers both answers', () => {
    const markup = renderPage(approvalPage({ ...facts, machine: 'alice-mbp', version: '0.4.1' }));
    for (const shown of [
      'kontext command line',
      'alice-mbp',
      '0.4.1',
      '203.0.113.9',
      '20 s ago',
      'BCDF-GHJK',
    ]) {
      expect(markup).toContain(shown);
    }
    expect(markup).toContain('value="approve"');
    expect(markup).toContain('value="deny"');
    expect(markup).toContain('Only continue if you started this');
  });

  it('warns about a request older than five minutes', () => {
    expect(renderPage(approvalPage({ ...facts, ageSeconds: 301 }))).toContain('more than 5 minutes ago');
    expect(renderPage(approvalPage({ ...facts, ageSeconds: 299 }))).not.toContain('more than 5 minutes ago');
  });

  it('loads nothing from elsewhere and runs no script', () => {
    const quiet = { ...facts, machine: 'm', version: '1', accountName: 'a', orgName: 'o' };
    const markup = renderPage(approvalPage(quiet));
    expect(markup).not.toMatch(/https?:\/\/|<script|style="| on[a-z]+=/);
  });
});

describe('html', () => {
  it('takes lists and nothing', () => {
    expect(html`<p>${[html`<b>${1}</b>`, html`<i>${'&'}</i>`]}${null}</p>`.markup).toBe(
      '<p><b>1</b><i>&amp;</i></p>',
    );
  });
});

describe('visible', () => {
  it('cuts long text', () => {
    expect(visible('x'.repeat(500))).toBe(`${'x'.repeat(120)}…`);
  });

  it.each(['\u3164', '\u115f', '\u2800', '\u00a0', '\u3000', '\u034f', '\ufe0f'])(
    'shows a letter that looks like nothing, and every blank but the space: %j',
    (nothing) => {
      expect(visible(`a${nothing} b`)).toBe(`a\\u${nothing.charCodeAt(0).toString(16).padStart(4, '0')} b`);
    },
  );

  it('lets no marks pile up over their neighbours, and leaves letters as people write them', () => {
    expect(visible(`a${'\u0336'.repeat(9)}`)).toBe(`a\u0336\u0336${'\\u0336'.repeat(7)}`);
    for (const name of ['Zoë', 'Zoe\u0308', 'Nguyễn', 'हिन्दी', '한국어']) expect(visible(name)).toBe(name);
  });
});
