import { generateP256Jwk } from '@kontext/oauth';
import { createBrowser, startIdentityProvider } from '@kontext/testkit';
import { eq, sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createTestOrganisation } from '../../organisations/test-organisation.ts';
import { identities, memberships, users } from '../../store/schema.ts';
import { testStores } from '../../store/test-stores.ts';
import { pollDevice, startDevice } from '../../test-login.ts';
import { organisationLookups } from '../rate-limiter.ts';
import { systemScope } from './deps.ts';
import { type FederationRoom, startFederationRoom, walkLogin } from './test-room.ts';

describe.each(testStores())('logging in through an identity provider on $kind', ({ open, kind }) => {
  let room: FederationRoom;
  beforeAll(async () => {
    room = await startFederationRoom(open);
  });
  afterEach(() => {
    room.idp.setFault('none');
    room.idp.changeIdTokens(null);
  });
  afterAll(() => room?.close());

  let people = 0;
  /** A person of their own for each test, who sits at the browser. */
  const person = (more: object = {}) => {
    people += 1;
    const account = { sub: `sub-${people}`, email: `p${people}@acme.test`, ...more };
    room.idp.putAccount(account);
    room.idp.setCurrent(account.sub);
    return account;
  };
  const findMember = async (sub: string, iss = room.idp.issuer) => {
    const rows = await room.opened.store.transaction(systemScope, (tx) =>
      tx
        .select({ user: users, membership: memberships, identity: identities })
        .from(identities)
        .innerJoin(users, eq(users.id, identities.userId))
        .innerJoin(memberships, eq(memberships.userId, users.id))
        .where(sql`${identities.iss} = ${iss} AND ${identities.sub} = ${sub}`),
    );
    return rows[0] ?? null;
  };

  test('leads from the terminal through the pages to tokens', async () => {
    const provider = await room.addProvider({ emailDomains: ['walk.test'] });
    const { sub } = person({ email: 'walker@walk.test', groups: ['devs'] });
    const started = await startDevice(room.app);
    const browser = createBrowser();

    const login = await browser.open(started.verification_uri_complete ?? '');
    const form = login.forms.find(({ action }) => action === '/login/organisation');
    const codePage = await browser.submit(login, form!, { organisation: 'Walker@WALK.test' });
    const approval = await browser.submit(codePage, codePage.forms[0]!);
    const done = await browser.submit(approval, approval.forms[0]!, { decision: 'approve' });
    const { status, body } = await pollDevice(room.app, started.device_code ?? '', generateP256Jwk());

    expect(approval.html).toContain('walker@walk.test');
    expect(done.html).toContain('Approved');
    expect(status).toBe(200);
    expect(body.refresh_token).toBeTypeOf('string');
    const member = await findMember(sub);
    expect(member?.user).toMatchObject({ email: 'walker@walk.test', name: 'walker@walk.test' });
    expect(member?.membership).toMatchObject({ role: 'member', groups: ['devs'], orgId: room.orgId });
    expect(member?.identity).toMatchObject({ identityProviderId: provider.id });
    expect(member?.identity.refreshSecretId).not.toBeNull();
  });

  test('finds the organisation by its short name, and offers a choice between its providers', async () => {
    await room.addProvider({ name: 'choice-a' });
    await room.addProvider({ name: 'choice-b' });
    person();
    const browser = createBrowser();
    const login = await browser.open(`${room.app.apiUrl}/login`);
    const form = login.forms.find(({ action }) => action === '/login/organisation')!;

    const choice = await browser.submit(login, form, { organisation: 'default' });
    const unknown = await browser.submit(login, form, { organisation: 'nobody@elsewhere.test' });

    expect(choice.html).toContain('choice-a');
    expect(choice.html).toContain('choice-b');
    expect(unknown.status).toBe(404);
    expect(unknown.html).toContain('no organisation of that name or e-mail domain logs in here');
    expect(unknown.html).toContain('nobody@elsewhere.test');
  });

  test('lets nobody try out which organisations there are', async () => {
    await room.addProvider({ emailDomains: ['hidden.test'] });
    const { limiter } = room.deps;
    const here = '127.0.0.1';
    const look = async () => {
      const browser = createBrowser();
      const login = await browser.open(`${room.app.apiUrl}/login`);
      const form = login.forms.find(({ action }) => action === '/login/organisation')!;
      const used = await countUntilRefused(() => limiter.count(organisationLookups, here));
      const page = await browser.submit(login, form, { organisation: 'hidden.test' });
      for (let i = 0; i <= used; i += 1) await limiter.giveBack(organisationLookups, here);
      return page;
    };
    // The window may end in between, once.
    const first = await look();
    const page = first.status === 429 ? first : await look();
    expect(page).toMatchObject({ status: 429 });
    expect(page.html).not.toContain('hidden.test');
    expect(Number(page.headers.get('retry-after'))).toBeGreaterThan(0);
  });

  test.each([
    { clientAuth: 'client_secret_basic' },
    { clientAuth: 'client_secret_post' },
    { clientAuth: 'none', clientSecret: '' },
  ])('authenticates at the token endpoint as the provider wants it: $clientAuth', async (auth) => {
    const provider = await room.addProvider(auth);
    person();
    expect(await walkLogin(room.app, provider)).toMatchObject({ status: 200 });
  });

  test('authenticates with its own key, which stands in our key set', async () => {
    const provider = await room.addProvider({ clientAuth: 'private_key_jwt', clientSecret: '' });
    const jwks = (await (await fetch(`${room.app.apiUrl}/oauth/jwks`)).json()) as { keys: unknown[] };
    const { clientId, callbackId } = provider;
    const redirectUris = [`${room.app.apiUrl}/login/callback/${callbackId}`];
    await room.idp.putClient({ clientId, redirectUris, authMethod: 'private_key_jwt', jwks });
    person();
    expect(await walkLogin(room.app, provider)).toMatchObject({ status: 200 });
  });

  test('reads claims of the userinfo endpoint where the ID token has none', async () => {
    const idp = await startIdentityProvider({ claimsIn: 'userinfo' });
    const provider = await room.addProvider({}, { idp });
    idp.putAccount({ sub: 'via-userinfo', email: 'via@userinfo.test', groups: ['ops'] });
    idp.setCurrent('via-userinfo');
    await walkLogin(room.app, provider);
    const member = await findMember('via-userinfo', idp.issuer);
    await idp.stop();
    expect(member).toMatchObject({ user: { email: 'via@userinfo.test' }, membership: { groups: ['ops'] } });
  });

  test('knows a person again by (iss, sub), and brings e-mail, groups and role up to date', async () => {
    const provider = await room.addProvider({ groupRoles: { admins: 'admin' } });
    const { sub } = person({ email: 'old@acme.test', groups: ['admins'] });
    await walkLogin(room.app, provider);
    const before = await findMember(sub);
    room.idp.putAccount({ sub, email: 'new@acme.test', groups: ['devs'] });
    await walkLogin(room.app, provider);
    const after = await findMember(sub);
    expect(before?.membership.role).toBe('admin');
    expect(after?.user).toMatchObject({ id: before?.user.id, email: 'new@acme.test', name: 'new@acme.test' });
    expect(after?.membership).toMatchObject({ role: 'member', groups: ['devs'] });
  });

  test('does not take one account for another because of an e-mail address', async () => {
    const provider = await room.addProvider();
    const first = person({ email: 'same@acme.test' });
    await walkLogin(room.app, provider);
    const second = person({ email: 'same@acme.test' });
    await walkLogin(room.app, provider);
    const [one, other] = [await findMember(first.sub), await findMember(second.sub)];
    expect(one?.user.id).not.toBe(other?.user.id);
  });

  test('lets the owner of a new organisation claim their account by their verified address, and nobody else', async () => {
    const org = await createTestOrganisation(room.opened.store, new Date());
    await room.opened.store.transaction(systemScope, (tx) =>
      tx.update(users).set({ name: 'Boss@org.test' }).where(eq(users.id, org.owner.userId)),
    );
    const provider = await room.addProvider({ admitsNewMembers: false }, { orgId: org.orgId });
    const stranger = person({ email: 'boss@org.test', emailVerified: false });
    const unverified = await walkLogin(room.app, provider);
    const boss = person({ email: 'boss@org.test' });
    const claimed = await walkLogin(room.app, provider);
    const second = person({ email: 'boss@org.test' });
    const again = await walkLogin(room.app, provider);
    expect(unverified).toMatchObject({ status: 403 });
    expect(unverified.html).toContain('does not say that the e-mail address is verified');
    expect(await findMember(stranger.sub)).toBeNull();
    expect(claimed.status).toBe(200);
    expect(await findMember(boss.sub)).toMatchObject({
      user: { id: org.owner.userId },
      membership: { role: 'owner' },
    });
    expect(again).toMatchObject({ status: 403 });
    expect(await findMember(second.sub)).toBeNull();
  });

  test('admits new members of the domains alone', async () => {
    const provider = await room.addProvider({ emailDomains: ['inside.test'] });
    const outside = person({ email: 'eve@outside.test' });
    const refused = await walkLogin(room.app, provider);
    const unverified = person({ email: 'eve@inside.test', emailVerified: false });
    const alsoRefused = await walkLogin(room.app, provider);
    const inside = person({ email: 'alice@inside.test' });
    const welcome = await walkLogin(room.app, provider);
    expect([refused.status, alsoRefused.status, welcome.status]).toEqual([403, 403, 200]);
    expect(refused.html).toContain('in none of the domains');
    expect(await findMember(outside.sub)).toBeNull();
    expect(await findMember(unverified.sub)).toBeNull();
    expect(await findMember(inside.sub)).not.toBeNull();
  });

  test('refuses whoever nobody invited, a suspended member, and the member of another organisation', async () => {
    const closed = await room.addProvider({ admitsNewMembers: false });
    person();
    const stranger = await walkLogin(room.app, closed);
    const openOne = await room.addProvider();
    const { sub } = person();
    await walkLogin(room.app, openOne);
    const org = await createTestOrganisation(room.opened.store, new Date());
    const foreign = await room.addProvider({}, { orgId: org.orgId });
    const elsewhere = await walkLogin(room.app, foreign);
    const member = await findMember(sub);
    await room.opened.store.transaction(systemScope, (tx) =>
      tx
        .update(users)
        .set({ disabledAt: new Date() })
        .where(eq(users.id, member?.user.id ?? '')),
    );
    const suspended = await walkLogin(room.app, openOne);
    expect(stranger.html).toContain('nobody invited it');
    expect(elsewhere.html).toContain('belongs to another organisation');
    expect(suspended.html).toContain('was suspended');
    expect([stranger.status, elsewhere.status, suspended.status]).toEqual([403, 403, 403]);
  });

  describe('does not count', () => {
    const tryCallback = async (change: (url: URL) => void, other = false) => {
      const provider = await room.addProvider();
      const { sub } = person();
      const callback = `${room.app.apiUrl}/login/callback/`;
      const stopping = createBrowser({ stopAt: callback });
      const landed = await walkLogin(room.app, provider, { browser: stopping });
      const url = new URL(landed.url);
      change(url);
      const browser = other ? createBrowser() : stopping;
      const page = await openCallback(browser, stopping, url.href, other);
      return { page, sub, url };
    };
    /** The browser that stops at the callback goes there by a page of ours that it rests on. */
    const openCallback = async (
      browser: ReturnType<typeof createBrowser>,
      same: typeof browser,
      url: string,
      other: boolean,
    ) => {
      if (other) return browser.open(url);
      return same.open(url.replace('/login/callback/', '/login/./callback/'));
    };

    test.each([
      ['with another state', (url: URL) => url.searchParams.set('state', `${'A'.repeat(43)}.28800`)],
      [
        'with a wider age of the login in its state',
        (url: URL) => url.searchParams.set('state', `${url.searchParams.get('state')?.split('.')[0]}.999999`),
      ],
      ['without a state', (url: URL) => url.searchParams.delete('state')],
      [
        'with its state twice',
        (url: URL) => url.searchParams.append('state', url.searchParams.get('state') ?? ''),
      ],
      [
        'with the iss of another issuer (RFC 9207)',
        (url: URL) => url.searchParams.set('iss', 'https://evil.test'),
      ],
      ['without the iss the provider promises', (url: URL) => url.searchParams.delete('iss')],
      ['with another code', (url: URL) => url.searchParams.set('code', 'guessed')],
      [
        'at an address that no provider has',
        (url: URL) => Object.assign(url, { pathname: '/login/callback/unknown' }),
      ],
    ])('an answer %s', async (_name, change) => {
      const { page, sub } = await tryCallback(change);
      expect([400, 403, 404]).toContain(page.status);
      expect(page.html).not.toContain('guessed');
      expect(await findMember(sub)).toBeNull();
    });

    test('an answer in another browser, nor afterwards in the right one when it was used', async () => {
      const { page, sub } = await tryCallback(() => undefined, true);
      expect(page.status).toBe(403);
      expect(page.html).toContain('begun in another browser');
      expect(await findMember(sub)).toBeNull();
    });

    test('an answer that comes twice, also when the first try failed', async () => {
      const provider = await room.addProvider();
      const { sub } = person();
      const browser = createBrowser({ stopAt: `${room.app.apiUrl}/login/callback/` });
      const { url } = await walkLogin(room.app, provider, { browser });
      const callback = url.replace('/login/callback/', '/login/./callback/');
      room.idp.setFault('500');
      const first = await browser.open(callback);
      room.idp.setFault('none');
      const again = await browser.open(callback);
      expect(first.html).not.toContain('was not begun here');
      expect(again.status).toBe(403);
      expect(again.html).toContain('was not begun here');
      expect(await findMember(sub)).toBeNull();
    });

    test('the answer of one provider at the callback of another (mix-up)', async () => {
      const evil = await startIdentityProvider();
      const other = await room.addProvider({}, { idp: evil });
      const { page, sub } = await tryCallback((url) => {
        url.pathname = `/login/callback/${other.callbackId}`;
      });
      await evil.stop();
      expect(page.status).toBe(403);
      expect(page.html).toContain('at another identity provider');
      expect(await findMember(sub)).toBeNull();
    });

    test.each([
      ['unsigned', (claims: object) => ({ claims: { ...claims }, header: { alg: 'none' } })],
      ['for another client', (claims: object) => ({ claims: { ...claims, aud: 'somebody-else' } })],
      ['of another issuer', (claims: object) => ({ claims: { ...claims, iss: 'https://evil.test' } })],
      ['with a foreign nonce', (claims: object) => ({ claims: { ...claims, nonce: 'foreign' } })],
      ['that has expired', (claims: object) => ({ claims: { ...claims, exp: 1_000 } })],
      ['signed by an unknown key', (claims: object) => ({ claims: { ...claims }, header: { kid: 'other' } })],
      ['without a person', (claims: object) => ({ claims: { ...claims, sub: '' } })],
      [
        'that does not say when the person logged in',
        ({ auth_time: _, ...claims }: Record<string, unknown>) => ({ claims }),
      ],
      ['of a login of yesterday', (claims: object) => ({ claims: { ...claims, auth_time: 1_000_000 } })],
    ])('an ID token %s', async (_name, change) => {
      const provider = await room.addProvider();
      const { sub } = person();
      room.idp.changeIdTokens(change);
      const page = await walkLogin(room.app, provider);
      expect(page.status).toBe(403);
      expect(page.html).toContain('KX_FEDERATED_LOGIN_FAILED');
      expect(await findMember(sub)).toBeNull();
    });

    test.each(['html', 'huge', '500'] as const)('an identity provider that answers %s', async (fault) => {
      const provider = await room.addProvider();
      const { sub } = person();
      room.idp.setFault(fault);
      const page = await walkLogin(room.app, provider);
      expect([403, 503]).toContain(page.status);
      expect(await findMember(sub)).toBeNull();
    });

    test('a person who presses cancel there', async () => {
      const provider = await room.addProvider();
      room.idp.setCurrent(null);
      const page = await walkLogin(room.app, provider);
      expect(page.status).toBe(403);
      expect(page.html).toContain('it answered access_denied');
    });
  });

  // Ten seconds each: once is enough.
  test.runIf(kind === 'postgres').each(['hang', 'drip'] as const)(
    'gives up on an identity provider that lets it wait: %s',
    { timeout: 40_000 },
    async (fault) => {
      const provider = await room.addProvider();
      person();
      room.idp.setFault(fault);
      expect(await walkLogin(room.app, provider)).toMatchObject({ status: 503 });
    },
  );

  test.each(['https://evil.test/', '//evil.test', '/\\evil.test', 'javascript:alert(1)'])(
    'never leads on to another site: %s',
    async (returnTo) => {
      const provider = await room.addProvider();
      person();
      const page = await walkLogin(room.app, provider, { returnTo });
      expect(page.url).toBe(`${room.app.apiUrl}/activate`);
    },
  );

  test('asks for a fresh login where a page needs one, and counts from when the person was there', async () => {
    const provider = await room.addProvider();
    person();
    const browser = createBrowser();
    await walkLogin(room.app, provider, { browser });
    room.app.advance(16 * 60_000);
    const stale = await browser.open(`${room.app.apiUrl}/activate`);
    room.app.advance(-16 * 60_000);
    const seen = createBrowser({ stopAt: `${room.idp.issuer}/auth` });
    const fresh = await walkLogin(room.app, provider, { browser: seen, maxAge: '300' });
    const lax = await walkLogin(room.app, provider, {
      browser: createBrowser({ stopAt: `${room.idp.issuer}/auth` }),
    });
    expect(stale.url).toBe(`${room.app.apiUrl}/login?return_to=%2Factivate&max_age=900`);
    expect(Object.fromEntries(new URL(fresh.url).searchParams)).toMatchObject({
      max_age: '300',
      prompt: 'login',
      code_challenge_method: 'S256',
    });
    expect(new URL(lax.url).searchParams.get('max_age')).toBe('28800');
    expect(new URL(lax.url).searchParams.has('prompt')).toBe(false);
  });

  test('keeps no secret of the login in the database', async () => {
    const provider = await room.addProvider();
    person();
    const browser = createBrowser({ stopAt: `${room.idp.issuer}/auth` });
    const { url } = await walkLogin(room.app, provider, { browser });
    const state = new URL(url).searchParams.get('state') ?? '';
    const dump = await room.opened.store.transaction(systemScope, (tx) =>
      tx.execute(sql`SELECT row_to_json(f)::text AS row FROM federated_logins f`),
    );
    expect(JSON.stringify(dump.rows)).not.toContain(state);
  });
});

async function countUntilRefused(count: () => Promise<{ readonly allowed: boolean }>): Promise<number> {
  let counted = 1;
  while ((await count()).allowed) counted += 1;
  return counted;
}
