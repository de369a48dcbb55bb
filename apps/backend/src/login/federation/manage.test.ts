import { type Client, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { createDpopProof } from '@kontext/oauth';
import { IdentityProviderService, OrganisationService } from '@kontext/protocol';
import { createBrowser, startIdentityProvider } from '@kontext/testkit';
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createTestOrganisation } from '../../organisations/test-organisation.ts';
import { testStores } from '../../store/test-stores.ts';
import { confirming } from '../../test-confirm.ts';
import { logIn } from '../../test-login.ts';
import { systemScope } from './deps.ts';
import { addIdentityProvider } from './identity-providers.ts';
import { describeProvider, type FederationRoom, startFederationRoom, walkLogin } from './test-room.ts';

describe.each(testStores())('managing identity providers and invitations on $kind', ({ open }) => {
  let room: FederationRoom;
  let idps: Client<typeof IdentityProviderService>;
  let organisation: Client<typeof OrganisationService>;
  beforeAll(async () => {
    room = await startFederationRoom(open);
    const { accessToken, jwk: key } = await logIn(room.app);
    const transport = createConnectTransport({
      ...{ baseUrl: room.app.apiUrl, httpVersion: '1.1' },
      interceptors: [
        confirming(room.app.owner),
        (next) => async (request) => {
          const proof = { key, htm: 'POST', htu: request.url, accessToken, nowMs: Date.now() };
          request.header.set('authorization', `DPoP ${accessToken}`);
          request.header.set('dpop', await createDpopProof(proof));
          return next(request);
        },
      ],
    });
    idps = createClient(IdentityProviderService, transport);
    organisation = createClient(OrganisationService, transport);
  });
  afterEach(() => room.idp.setFault('none'));
  afterAll(() => room?.close());

  const query = async (text: ReturnType<typeof sql>) =>
    (await room.opened.store.transaction(systemScope, (tx) => tx.execute(text))).rows;
  const kinds = async () =>
    (await query(sql`SELECT kind FROM audit_events ORDER BY received_at, seq`)).map((row) => row.kind);

  test('an owner adds, lists and removes one over the wire, after confirming', async () => {
    const secret = 'the-secret-of-our-client';
    const added = await idps.addIdentityProvider({
      identityProvider: {
        ...{ name: 'okta', issuer: room.idp.issuer, clientId: 'kontext', emailDomains: ['Wire.Test'] },
        groupRoles: { admins: 'admin' },
      },
      clientSecret: secret,
    });
    const { identityProviders } = await idps.listIdentityProviders({});
    const rows = await query(sql`SELECT row_to_json(s)::text AS row FROM secrets s`);
    const { loginsEnded } = await idps.removeIdentityProvider({ name: 'okta' });
    expect(added.identityProvider).toMatchObject({
      ...{ clientAuth: 'client_secret_basic', groupsClaim: 'groups', revalidateSeconds: 43_200 },
      ...{ emailDomains: ['wire.test'], groupRoles: { admins: 'admin' }, admitsNewMembers: false },
      callbackUrl: expect.stringMatching(/\/login\/callback\/[\w-]{24}$/),
      backchannelLogoutUrl: expect.stringMatching(/\/login\/backchannel\/[\w-]{24}$/),
    });
    expect(identityProviders).toEqual([added.identityProvider]);
    expect(JSON.stringify(identityProviders)).not.toContain(secret);
    expect(JSON.stringify(rows)).not.toContain(Buffer.from(secret).toString('hex'));
    expect(loginsEnded).toBe(0);
    expect((await idps.listIdentityProviders({})).identityProviders).toEqual([]);
    expect(await kinds()).toEqual(
      expect.arrayContaining(['identity_provider.added', 'identity_provider.removed']),
    );
  });

  const by = () => ({ orgId: room.orgId, userId: null });
  const count = async () => (await query(sql`SELECT count(*)::int AS n FROM identity_providers`))[0]?.n;

  test.each([
    ['a name with spaces', { name: 'my idp' }],
    ['an issuer that is no URL', { issuer: 'acme' }],
    ['an issuer by ftp', { issuer: 'ftp://acme.test' }],
    ['an issuer with a query', { issuer: 'https://acme.test/?tenant=1' }],
    ['an issuer with a user', { issuer: 'https://me@acme.test' }],
    ['no client', { clientId: '' }],
    ['an unknown client authentication', { clientAuth: 'magic' }],
    ['no secret where one is needed', { clientSecret: '' }],
    ['a secret where none is', { clientAuth: 'none' }],
    ['a secret of 5,000 characters', { clientSecret: 'x'.repeat(5000) }],
    ['a scope with a space', { scopes: ['open id'] }],
    ['a claim with a space', { groupsClaim: 'my groups' }],
    ['a role that is none', { groupRoles: { devs: 'king' } }],
    ['a domain that is none', { emailDomains: ['not a domain'] }],
    ['too long an interval', { revalidateSeconds: 50_000 }],
    ['too short an interval', { revalidateSeconds: 5 }],
  ])('refuses %s', async (_what, change) => {
    const before = await count();
    const adding = addIdentityProvider(room.deps, by(), describeProvider(room.idp, change));
    await expect(adding).rejects.toMatchObject({ code: 'KX_IDENTITY_PROVIDER_INVALID' });
    expect(await count()).toBe(before);
  });

  test('refuses plain http outside local mode, and an address of the own network', async () => {
    const deps = { ...room.deps, local: false };
    await expect(addIdentityProvider(deps, by(), describeProvider(room.idp))).rejects.toMatchObject({
      code: 'KX_IDENTITY_PROVIDER_INVALID',
    });
    const inside = describeProvider({ issuer: 'https://10.0.0.7' });
    await expect(addIdentityProvider(room.deps, by(), inside)).rejects.toMatchObject({
      code: 'KX_PROVIDER_UNREACHABLE',
      details: { reason: 'address' },
    });
  });

  test('refuses one whose metadata name another issuer, if only by a slash', async () => {
    const slash = describeProvider({ issuer: `${room.idp.issuer}/` });
    await expect(addIdentityProvider(room.deps, by(), slash)).rejects.toMatchObject({
      code: 'KX_IDENTITY_PROVIDER_INVALID',
    });
  });

  test.each(['html', 'huge', '500'] as const)('stores nothing of one that answers %s', async (fault) => {
    const before = await count();
    room.idp.setFault(fault, 'discovery');
    const adding = addIdentityProvider(room.deps, by(), describeProvider(room.idp));
    await expect(adding).rejects.toMatchObject({
      code: expect.stringMatching(/^KX_(IDENTITY_PROVIDER_INVALID|PROVIDER_UNREACHABLE)$/),
    });
    expect(await count()).toBe(before);
  });

  test('refuses the same name, the same client, and the domain of another organisation', async () => {
    await room.addProvider({ name: 'twice', clientId: 'twice', emailDomains: ['taken.test'] });
    const org = await createTestOrganisation(room.opened.store, new Date());
    const name = describeProvider(room.idp, { name: 'twice', clientId: 'other' });
    const client = describeProvider(room.idp, { name: 'other', clientId: 'twice' });
    const domain = describeProvider(room.idp, { emailDomains: ['taken.test'] });
    for (const [where, input] of [
      [by(), name],
      [by(), client],
      [{ orgId: org.orgId, userId: null }, domain],
    ] as const) {
      await expect(addIdentityProvider(room.deps, where, input)).rejects.toMatchObject({
        code: 'KX_IDENTITY_PROVIDER_INVALID',
      });
    }
  });

  describe('an invitation', () => {
    let people = 0;
    const person = (email: string, more: object = {}) => {
      people += 1;
      const account = { sub: `invited-${people}`, email, ...more };
      room.idp.putAccount(account);
      room.idp.setCurrent(account.sub);
      return account.sub;
    };
    const follow = async (link: string, providerId?: string) => {
      const browser = createBrowser();
      const page = await browser.open(link);
      const [form] = page.forms;
      if (form === undefined) return page;
      return browser.submit(page, form, providerId === undefined ? {} : { provider: providerId });
    };
    const roleOf = async (sub: string) =>
      (
        await query(
          sql`SELECT m.role, m.groups FROM memberships m JOIN identities i ON i.user_id = m.user_id WHERE i.sub = ${sub}`,
        )
      )[0] ?? null;

    test('lets the right person in once, with role and groups', async () => {
      const provider = await room.addProvider({ admitsNewMembers: false });
      const { link, invitation } = await organisation.inviteMember({
        ...{ email: 'New@Invited.test', role: 'security', groups: ['blue'] },
      });
      const shown = await createBrowser().open(link);
      const wrong = person('other@invited.test');
      const refused = await follow(link, provider.id);
      const unverified = person('new@invited.test', { emailVerified: false });
      const alsoRefused = await follow(link, provider.id);
      const right = person('new@invited.test');
      const welcome = await follow(link, provider.id);
      const again = await follow(link, provider.id);
      expect(invitation).toMatchObject({ email: 'new@invited.test', role: 'security' });
      expect(shown.html).toContain('new@invited.test');
      expect([refused.status, alsoRefused.status]).toEqual([400, 400]);
      expect(refused.html).toContain('KX_INVITATION_INVALID');
      expect(welcome.html).toContain('You are a member of the organisation now');
      expect(await roleOf(right)).toEqual({ role: 'security', groups: ['blue'] });
      expect(await roleOf(wrong)).toBeNull();
      expect(await roleOf(unverified)).toBeNull();
      expect(again.html).toContain('KX_INVITATION_INVALID');
      expect((await walkLogin(room.app, provider)).status).toBe(200);
      expect(await kinds()).toEqual(expect.arrayContaining(['member.invited', 'member.added']));
    });

    test('is listed, and does not work once it is revoked, replaced or a week old', async () => {
      await room.addProvider();
      const first = await organisation.inviteMember({ email: 'a@b.test', role: '' });
      const second = await organisation.inviteMember({ email: 'a@b.test', role: 'member' });
      const third = await organisation.inviteMember({ email: 'c@d.test', role: 'member' });
      const listed = await organisation.listInvitations({});
      await organisation.revokeInvitation({ invitationId: second.invitation?.id ?? '' });
      const statuses = [(await follow(first.link)).status, (await follow(second.link)).status];
      room.app.advance(8 * 86_400_000);
      statuses.push((await follow(third.link)).status);
      room.app.advance(-8 * 86_400_000);
      expect(listed.invitations.map(({ id }) => id)).toEqual(
        expect.arrayContaining([second.invitation?.id, third.invitation?.id]),
      );
      expect(listed.invitations.map(({ id }) => id)).not.toContain(first.invitation?.id);
      expect(statuses).toEqual([400, 400, 400]);
      await expect(
        organisation.revokeInvitation({ invitationId: second.invitation?.id ?? '' }),
      ).rejects.toThrow(/no open invitation/);
    });

    test('is no way in through the provider of another organisation, nor with a made-up link', async () => {
      const org = await createTestOrganisation(room.opened.store, new Date());
      const foreign = await room.addProvider({}, { orgId: org.orgId });
      const { link } = await organisation.inviteMember({ email: 'x@y.test', role: 'member' });
      person('x@y.test');
      const elsewhere = await follow(link, foreign.id);
      const madeUp = await follow(`${room.app.apiUrl}/invite/${'A'.repeat(43)}`);
      expect(elsewhere.html).toContain('does not log in that way');
      expect(madeUp.html).toContain('KX_INVITATION_INVALID');
    });

    test.each([
      { email: 'nobody', role: 'member' },
      { email: 'a@b.test', role: 'king' },
      { email: 'a@b.test', role: 'member', groups: [''] },
    ])('is refused for %o', async (input) => {
      await expect(organisation.inviteMember(input)).rejects.toThrow(
        /e-mail address|no such role|not a name/,
      );
    });
  });

  test('the pages say so when the identity provider cannot be reached', async () => {
    const idp = await startIdentityProvider();
    const provider = await room.addProvider({}, { idp });
    await idp.stop();
    const page = await walkLogin(room.app, provider);
    expect(page.status).toBe(503);
    expect(page.html).toContain('KX_PROVIDER_UNREACHABLE');
  });
});
