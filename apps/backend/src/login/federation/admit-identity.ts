import { createId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { appendServerEvent } from '../../audit/append-server-event.ts';
import { createUser } from '../../organisations/create-organisation.ts';
import {
  countOwners,
  findIdentity,
  insertIdentity,
  lockPerson,
  lockUnclaimedPerson,
  markIdentityValid,
  type PersonRow,
  updatePerson,
  updateStanding,
} from '../../store/queries/identities.ts';
import type { IdentityProviderRow } from '../../store/queries/identity-providers.ts';
import { acceptInvitation, type InvitationRow } from '../../store/queries/invitations.ts';
import { lockActiveOwners } from '../../store/queries/member-admin.ts';
import type { Tx } from '../../store/tx.ts';
import { decideStanding, parseGroupRoles, type Standing } from './standing.ts';
import { domainOf, type UpstreamIdentity } from './upstream-identity.ts';

/** Who came back from which provider, and with which invitation. */
export interface Admission {
  readonly provider: IdentityProviderRow;
  readonly identity: UpstreamIdentity;
  readonly invitationId: string | null;
}

/**
 * Finds or makes the person an identity stands for, and brings e-mail, groups and role up to date. Role `system`.
 *
 * The account is found by (iss, sub), never by e-mail (OIDC Core §5.7). One that is not known yet joins, in this order: with
 * the invitation it came with, whose address has to be its verified one; as a person who was added by that address and never
 * logged in (the owner of `org create`); where the provider admits new members. A provider with domains speaks for addresses in
 * them alone, but for those that were invited.
 *
 * @returns Id of the person.
 * @throws KontextError `KX_NOT_A_MEMBER`, `KX_INVITATION_INVALID`; then nothing was changed.
 */
export async function admitIdentity(tx: Tx, admission: Admission, now: Date): Promise<string> {
  const { provider, identity } = admission;
  const { orgId } = provider;
  await lockOwners(tx, provider);
  const known = await findIdentity(tx, identity.iss, identity.sub);
  if (known !== null && known.orgId !== orgId) {
    throw notAMember('the account belongs to another organisation of this backend');
  }
  const person = known === null ? await join(tx, admission, now) : await lockPerson(tx, orgId, known.userId);
  if (person === null) throw notAMember('the account has no membership any more');
  if (person.disabled) throw notAMember('the account was suspended');
  await refreshPerson(tx, provider, person, identity, now);
  const seen = { identityProviderId: provider.id, validatedAt: now, lastLoginAt: now };
  const { iss, sub } = identity;
  if (known !== null) await markIdentityValid(tx, { iss, sub }, seen);
  else {
    const row = { iss, sub, orgId, userId: person.userId, createdAt: now, refreshSecretId: null };
    await insertIdentity(tx, { ...row, ...seen });
  }
  return person.userId;
}

/**
 * Keeps two owners from losing their role at the same time, each because of the other. Before any person is locked: whoever
 * changes owners locks them in the same order.
 */
export async function lockOwners(tx: Tx, { orgId, groupRoles }: IdentityProviderRow): Promise<void> {
  if (Object.keys(parseGroupRoles(groupRoles)).length > 0) await lockActiveOwners(tx, orgId);
}

/**
 * Brings e-mail, groups and role of a person up to date with what the provider says; also after a refresh.
 * {@link lockOwners} comes before it.
 */
export async function refreshPerson(
  tx: Tx,
  provider: IdentityProviderRow,
  person: PersonRow,
  identity: UpstreamIdentity,
  now: Date,
): Promise<void> {
  const email = identity.email ?? person.email;
  // Shown by their address: a new address is a new name.
  const name = person.name === person.email ? email : person.name;
  if (email !== person.email || name !== person.name) await updatePerson(tx, person.userId, { name, email });
  const standing = decideStanding({
    current: person,
    groups: identity.groups,
    groupRoles: parseGroupRoles(provider.groupRoles),
    isLastOwner: person.role === 'owner' && (await countOwners(tx, provider.orgId)) <= 1,
  });
  if (sameStanding(standing, person)) return;
  const { orgId, name: identityProvider } = provider;
  await updateStanding(tx, orgId, person.userId, standing);
  const facts = { member: person.userId, from: person.role, ...standing, identityProvider };
  await appendServerEvent(tx, { orgId, sessionId: null }, { kind: 'member.changed', user: null, facts }, now);
}

async function join(tx: Tx, admission: Admission, now: Date): Promise<PersonRow> {
  const { provider, identity, invitationId } = admission;
  const { email } = identity;
  if (invitationId !== null) return joinInvited(tx, admission, invitationId, now);
  const unclaimed = await findUnclaimed(tx, provider, email);
  if (unclaimed !== null) return claim(tx, admission, unclaimed, now);
  if (provider.admitsNewMembers) {
    if (speaksFor(provider, email)) return create(tx, admission, { role: 'member', groups: [] }, null, now);
    throw notAMember('its verified e-mail address is in none of the domains of the organisation');
  }
  throw notAMember(
    identity.hasUnverifiedEmail
      ? 'the identity provider does not say that the e-mail address is verified'
      : 'nobody invited it',
  );
}

const speaksFor = ({ emailDomains }: IdentityProviderRow, email: string | null): boolean =>
  emailDomains.length === 0 || (email !== null && emailDomains.includes(domainOf(email)));

const findUnclaimed = async (tx: Tx, provider: IdentityProviderRow, email: string | null) =>
  email !== null && speaksFor(provider, email) ? lockUnclaimedPerson(tx, provider.orgId, email) : null;

async function joinInvited(tx: Tx, admission: Admission, id: string, now: Date): Promise<PersonRow> {
  const { provider, identity } = admission;
  const { orgId } = provider;
  const { email } = identity;
  if (email === null) throw invitationRefused('the identity provider gives no verified e-mail address');
  const unclaimed = await findUnclaimed(tx, provider, email);
  const userId = unclaimed?.userId ?? createId('usr', now.getTime());
  const invitation = await acceptInvitation(tx, { id, orgId, email, userId }, now);
  if (invitation === null)
    throw invitationRefused('it was used, withdrawn or has expired, or is for another address');
  if (!(await mayStillInvite(tx, invitation))) {
    throw invitationRefused('whoever made it may not invite to that role any more');
  }
  const { groups, invitedBy } = invitation;
  // An administrator may invite, but not change an owner.
  const role = unclaimed?.role === 'owner' ? 'owner' : invitation.role;
  if (unclaimed === null) return create(tx, admission, { role, groups }, invitedBy, now, userId);
  await updateStanding(tx, orgId, userId, { role, groups });
  return { ...(await claim(tx, admission, unclaimed, now)), role, groups };
}

async function mayStillInvite(tx: Tx, { orgId, invitedBy, role }: InvitationRow): Promise<boolean> {
  const inviter = await lockPerson(tx, orgId, invitedBy);
  if (inviter === null || inviter.disabled) return false;
  return inviter.role === 'owner' || (inviter.role === 'admin' && role !== 'owner');
}

async function claim(tx: Tx, { provider, identity }: Admission, person: PersonRow, now: Date) {
  const facts = { member: person.userId, issuer: identity.iss, subject: identity.sub, email: identity.email };
  await appendServerEvent(
    tx,
    { orgId: provider.orgId, sessionId: null },
    { kind: 'member.claimed', user: person.userId, facts },
    now,
  );
  return person;
}

async function create(
  tx: Tx,
  { provider, identity }: Admission,
  { role, groups }: Standing,
  addedBy: string | null,
  now: Date,
  userId: string = createId('usr', now.getTime()),
): Promise<PersonRow> {
  const name = identity.email ?? identity.name ?? identity.sub;
  await createUser(tx, provider.orgId, { userId, name, role, groups }, addedBy, now);
  // The address is stored by `refreshPerson`, as at every later login.
  return { userId, name, email: '', disabled: false, role, groups };
}

const sameStanding = (a: Standing, b: Standing): boolean =>
  a.role === b.role && JSON.stringify([...a.groups].sort()) === JSON.stringify([...b.groups].sort());

const notAMember = (why: string): KontextError =>
  new KontextError('KX_NOT_A_MEMBER', 'this account may not log in here', { why });

const invitationRefused = (why: string): KontextError =>
  new KontextError('KX_INVITATION_INVALID', 'the invitation does not work for this account', { why });
