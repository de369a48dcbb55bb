import { createId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { inviteMember } from '../../organisations/invitations.ts';
import { createTestOrganisation, type TestOrganisation } from '../../organisations/test-organisation.ts';
import {
  countOwners,
  insertIdentity,
  lockPerson,
  updatePerson,
  updateStanding,
} from '../../store/queries/identities.ts';
import { type IdentityProviderRow, insertIdentityProvider } from '../../store/queries/identity-providers.ts';
import type { Role } from '../../store/queries/local-accounts.ts';
import { setDisabled } from '../../store/queries/member-admin.ts';
import { listAdminEvents } from '../../store/test-events.ts';
import { type TestStore, testStores } from '../../store/test-stores.ts';
import type { Tx } from '../../store/tx.ts';
import { admitIdentity } from './admit-identity.ts';
import { systemScope } from './deps.ts';
import { parseIdentity } from './upstream-identity.ts';

describe.each(testStores())('whom an identity provider vouches for, on $kind', ({ open }) => {
  const now = new Date();
  let opened: TestStore;
  let org: TestOrganisation;
  let serial = 0;
  beforeAll(async () => {
    opened = await open();
  });
  afterAll(() => opened?.close());
  beforeEach(async () => {
    org = await createTestOrganisation(opened.store, now);
  });

  const write = <T>(work: (tx: Tx) => Promise<T>) => opened.store.transaction(systemScope, work);
  async function addProvider(more: Partial<IdentityProviderRow> = {}): Promise<IdentityProviderRow> {
    serial += 1;
    const row: IdentityProviderRow = {
      ...{ id: createId('idp', now.getTime()), orgId: org.orgId, name: `idp-${serial}` },
      ...{ issuer: `https://idp-${serial}.test`, clientId: 'k', clientSecretId: null, clientAuth: 'none' },
      ...{ scopes: [], groupsClaim: 'groups', groupRoles: '{}', emailDomains: [], admitsNewMembers: false },
      ...{ revalidateSeconds: 43_200, callbackId: `cb-${serial}`, createdAt: now, disabledAt: null },
      ...more,
    };
    await write((tx) => insertIdentityProvider(tx, row, null));
    return row;
  }
  const identityAt = ({ issuer }: IdentityProviderRow, sub: string, claims: object = {}) =>
    parseIdentity({ iss: issuer, sub, email_verified: true, ...claims }, 'groups');
  const admit = (
    provider: IdentityProviderRow,
    claims: Readonly<Record<string, unknown>> & { readonly sub?: string },
    invitationId: string | null = null,
  ) => {
    const identity = identityAt(provider, claims.sub ?? 'someone', claims);
    return write((tx) => admitIdentity(tx, { provider, identity, invitationId }, now));
  };
  const refusalOf = (work: Promise<unknown>) =>
    work.then(
      () => 'was let in',
      (error: unknown) => (error instanceof KontextError ? error.code : String(error)),
    );
  const invite = async (email: string, role: Role, caller = org.owner) => {
    const deps = { store: opened.store, apiUrl: 'https://k.test', appended: { notify: () => {} } };
    const made = await inviteMember({ ...deps, nowMs: Date.now }, caller, { email, role, groups: [] });
    return made.invitation.id;
  };
  const personOf = (userId: string) => write((tx) => lockPerson(tx, org.orgId, userId));
  const addressOwner = (email: string) =>
    write((tx) => updatePerson(tx, org.owner.userId, { name: 'owner', email }));

  test('a provider of one domain claims nobody of another, invited or not', async () => {
    await addressOwner('boss@acme.test');
    const contractors = await addProvider({ emailDomains: ['contractor.test'], admitsNewMembers: true });
    const posing = { sub: 'eve', email: 'boss@acme.test' };
    expect(await refusalOf(admit(contractors, posing))).toBe('KX_NOT_A_MEMBER');
    const invitation = await invite('boss@acme.test', 'member');
    expect(await admit(contractors, posing, invitation)).not.toBe(org.owner.userId);

    const own = await addProvider({ emailDomains: ['acme.test'] });
    expect(await admit(own, { sub: 'boss', email: 'boss@acme.test' })).toBe(org.owner.userId);
  });

  test('an invitation of an administrator takes nothing from an owner', async () => {
    await addressOwner('boss@acme.test');
    const provider = await addProvider();
    const invitation = await invite('boss@acme.test', 'member', await org.addUser('admin'));
    const userId = await admit(provider, { email: 'boss@acme.test' }, invitation);
    expect(userId).toBe(org.owner.userId);
    expect(await personOf(userId)).toMatchObject({ role: 'owner' });
  });

  test('an invitation is worth nothing once whoever made it may not invite any more', async () => {
    const provider = await addProvider();
    const admin = await org.addUser('admin');
    const owner = await org.addUser('owner');
    const bySuspended = await invite('a@acme.test', 'admin', admin);
    const byDemoted = await invite('b@acme.test', 'owner', owner);
    await write((tx) => setDisabled(tx, org.orgId, admin.userId, now));
    await write((tx) => updateStanding(tx, org.orgId, owner.userId, { role: 'admin', groups: [] }));
    const first = admit(provider, { sub: 'a', email: 'a@acme.test' }, bySuspended);
    expect(await refusalOf(first)).toBe('KX_INVITATION_INVALID');
    const second = admit(provider, { sub: 'b', email: 'b@acme.test' }, byDemoted);
    expect(await refusalOf(second)).toBe('KX_INVITATION_INVALID');
    const good = await invite('c@acme.test', 'admin', owner);
    const third = await admit(provider, { sub: 'c', email: 'c@acme.test' }, good);
    expect(await personOf(third)).toMatchObject({ role: 'admin' });
  });

  test('letters that only look like an address when they are made small are another address', async () => {
    await addressOwner('kim@acme.test');
    const provider = await addProvider();
    // The Kelvin sign is a small k in lower case.
    const kelvin = { sub: 'eve', email: '\u212aim@acme.test' };
    expect(await refusalOf(admit(provider, kelvin))).toBe('KX_NOT_A_MEMBER');
    expect(await admit(provider, { sub: 'kim', email: 'KIM@acme.test' })).toBe(org.owner.userId);
  });

  test('a name that people choose cannot pose as an address', async () => {
    const provider = await addProvider({ admitsNewMembers: true });
    const claims = { sub: 'eve', preferred_username: 'boss@acme.test', name: 'Eve' };
    expect(await personOf(await admit(provider, claims))).toMatchObject({ name: 'Eve', email: '' });
  });

  test('a role that a group gives or takes is on record', async () => {
    const provider = await addProvider({ admitsNewMembers: true, groupRoles: '{"ops":"admin"}' });
    const userId = await admit(provider, { email: 'a@acme.test' });
    await admit(provider, { email: 'a@acme.test', groups: ['ops'] });
    const events = await listAdminEvents(opened.store, org.orgId);
    expect(
      events.filter(({ kind }) => kind === 'member.changed').map(({ user, facts }) => [user, facts]),
    ).toEqual([
      [
        null,
        { member: userId, from: 'member', role: 'admin', groups: ['ops'], identityProvider: provider.name },
      ],
    ]);
  });

  test('of two owners who lose their group at the same time one stays owner', async () => {
    const provider = await addProvider({ groupRoles: '{"bosses":"owner"}' });
    const owners = [org.owner, await org.addUser('owner')];
    for (const [i, { userId }] of owners.entries()) {
      const key = { iss: provider.issuer, sub: `owner-${i}`, orgId: org.orgId, userId };
      const rest = { createdAt: now, lastLoginAt: null, validatedAt: null, refreshSecretId: null };
      await write((tx) => insertIdentity(tx, { ...key, ...rest, identityProviderId: provider.id }));
      await write((tx) => updateStanding(tx, org.orgId, userId, { role: 'owner', groups: ['bosses'] }));
    }
    let begun = (): void => {};
    const isBegun = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const first = write(async (tx) => {
      const identity = identityAt(provider, 'owner-0', { groups: [] });
      await admitIdentity(tx, { provider, identity, invitationId: null }, now);
      begun();
      // Long enough for the other to go past, if nothing held it.
      await new Promise((resolve) => setTimeout(resolve, 300));
    });
    await isBegun;
    await admit(provider, { sub: 'owner-1', groups: [] });
    await first;
    expect(await write((tx) => countOwners(tx, org.orgId))).toBe(1);
  });
});
