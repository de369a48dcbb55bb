import { createId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { Kms } from '@kontext/vault';
import { prepareLogKey } from '../audit/log/log-key.ts';
import { createOrganisation, createUser } from '../organisations/create-organisation.ts';
import { preparePolicyKey } from '../policies/policy-key.ts';
import {
  anyOrgExists,
  findActiveMember,
  findOrgBySlug,
  insertLocalAccount,
  localAccountExists,
  memberNameExists,
  roles,
} from '../store/queries/local-accounts.ts';
import type { Store } from '../store/store.ts';
import type { Tx } from '../store/tx.ts';
import { createPasscode, type HashedPasscode, hashPasscode } from './passcode.ts';

const scope = { role: 'system', orgId: null } as const;

/** A local account that was just made; the passcode exists here and nowhere else. */
export interface NewLocalAccount {
  readonly orgId: string;
  readonly userId: string;
  readonly account: string;
  readonly passcode: string;
}

/** What to make an organisation from. */
export interface NewOrg {
  /** Short name, `[a-z0-9][a-z0-9-]*`, at most 63 characters. */
  readonly slug: string;
  readonly owner: string;
  /** Also gives the owner a passcode; local mode only. */
  readonly withPasscode: boolean;
}

/** What to make a member from. */
export interface NewMember {
  readonly orgSlug: string;
  readonly name: string;
  readonly role: string;
  readonly groups: readonly string[];
  readonly withPasscode: boolean;
}

/**
 * First start in local mode: makes organisation `default` with its owner.
 *
 * @returns The owner's account, to be shown once; null when any organisation exists already.
 */
export async function createDefaultOrg(
  store: Store,
  kms: Kms,
  nowMs: number,
): Promise<NewLocalAccount | null> {
  const known = await store.transaction(scope, anyOrgExists);
  if (known) return null;
  return createOrg(store, kms, { slug: 'default', owner: 'owner', withPasscode: true }, nowMs);
}

/**
 * Makes an organisation and its owner, in one transaction.
 *
 * @returns The owner; `passcode` is empty unless one was asked for.
 * @throws KontextError `KX_REQUEST_INVALID` for a bad or taken name.
 */
export async function createOrg(
  store: Store,
  kms: Kms,
  org: NewOrg,
  nowMs: number,
): Promise<NewLocalAccount> {
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(org.slug))
    throw invalid(`not a name for an organisation: ${org.slug}`);
  checkAccountName(org.owner);
  const now = new Date(nowMs);
  const [orgId, ownerId] = [createId('org', nowMs), createId('usr', nowMs)];
  const secret = org.withPasscode ? await newSecret() : null;
  const policyKey = await preparePolicyKey(kms, orgId, now);
  const logKey = await prepareLogKey(kms, orgId, now);
  await store.transaction(scope, async (tx) => {
    if (await findOrgBySlug(tx, org.slug)) throw invalid(`an organisation named ${org.slug} exists`);
    const names = { slug: org.slug, name: org.slug, ownerName: org.owner };
    await createOrganisation(tx, { orgId, ownerId, policyKey, logKey, ...names }, now);
    if (secret) await keepPasscode(tx, { userId: ownerId, orgId, name: org.owner, ...secret.hashed, now });
  });
  return { orgId, userId: ownerId, account: org.owner, passcode: secret?.passcode ?? '' };
}

/**
 * Adds a person to an organisation.
 *
 * @returns The account; `passcode` is empty unless one was asked for.
 * @throws KontextError `KX_REQUEST_INVALID` for an unknown organisation or role, or a bad or taken name.
 */
export async function addMember(store: Store, member: NewMember, nowMs: number): Promise<NewLocalAccount> {
  checkAccountName(member.name);
  const role = roles.find((known) => known === member.role);
  if (role === undefined) throw invalid(`no such role: ${member.role} (there are ${roles.join(', ')})`);
  const now = new Date(nowMs);
  const userId = createId('usr', nowMs);
  const secret = member.withPasscode ? await newSecret() : null;
  const orgId = await store.transaction(scope, async (tx) => {
    const org = await findOrgBySlug(tx, member.orgSlug);
    if (!org) throw invalid(`there is no organisation named ${member.orgSlug}`);
    if (await memberNameExists(tx, org.id, member.name)) throw invalid(`${member.name} is a member already`);
    const { name, groups } = member;
    await createUser(tx, org.id, { userId, name, role, groups }, null, now);
    if (secret) await keepPasscode(tx, { userId, orgId: org.id, name, ...secret.hashed, now });
    return org.id;
  });
  return { orgId, userId, account: member.name, passcode: secret?.passcode ?? '' };
}

/** Names to show for a person who may log in; null for a disabled or unknown one. */
export function loadActiveMember(
  store: Store,
  userId: string,
): Promise<{ userName: string; orgId: string; orgName: string } | null> {
  return store.transaction(scope, (tx) => findActiveMember(tx, userId));
}

async function keepPasscode(tx: Tx, account: Parameters<typeof insertLocalAccount>[1]): Promise<void> {
  if (await localAccountExists(tx, account.name)) {
    throw invalid(`there is a local account named ${account.name} in another organisation`);
  }
  await insertLocalAccount(tx, account);
}

async function newSecret(): Promise<{ readonly passcode: string; readonly hashed: HashedPasscode }> {
  const passcode = createPasscode();
  return { passcode, hashed: await hashPasscode(passcode) };
}

function checkAccountName(name: string): void {
  if (!/^[a-zA-Z0-9][a-zA-Z0-9._@+-]{0,99}$/.test(name)) throw invalid(`not a name for an account: ${name}`);
}

const invalid = (message: string): KontextError =>
  new KontextError('KX_REQUEST_INVALID', message, { hint: 'see `kontext-backend --help`' });
