/** Accounts at identity providers and the people they stand for; all as role `system`. */
import { and, eq, inArray, isNull, notExists, notInArray, or, sql } from 'drizzle-orm';
import {
  identities,
  identityProviders,
  localAccounts,
  logins,
  memberships,
  secrets,
  users,
} from '../schema.ts';
import type { Tx } from '../tx.ts';
import type { Role } from './local-accounts.ts';
import type { SecretRow } from './secrets.ts';

/** An account at an identity provider. */
export type IdentityRow = typeof identities.$inferSelect;

/** A person with their standing in the organisation. */
export interface PersonRow {
  readonly userId: string;
  readonly name: string;
  readonly email: string;
  readonly disabled: boolean;
  readonly role: Role;
  readonly groups: readonly string[];
}

/** An account by its key (OIDC Core §5.7). */
export async function findIdentity(tx: Tx, iss: string, sub: string): Promise<IdentityRow | null> {
  const [row] = await tx
    .select()
    .from(identities)
    .where(and(eq(identities.iss, iss), eq(identities.sub, sub)))
    .limit(1);
  return row ?? null;
}

/** Stores an account. */
export async function insertIdentity(tx: Tx, row: IdentityRow): Promise<void> {
  await tx.insert(identities).values(row);
}

/** Notes that the provider vouched for an account. */
export async function markIdentityValid(
  tx: Tx,
  { iss, sub }: Pick<IdentityRow, 'iss' | 'sub'>,
  facts: Partial<Pick<IdentityRow, 'validatedAt' | 'lastLoginAt' | 'identityProviderId'>>,
): Promise<void> {
  await tx
    .update(identities)
    .set(facts)
    .where(and(eq(identities.iss, iss), eq(identities.sub, sub)));
}

/**
 * Replaces what the provider can be asked with again; the old secret is deleted.
 *
 * @param expected What must stand there now; `undefined` when that does not matter.
 * @returns False, and nothing was done, when something else stands there.
 */
export async function replaceRefreshSecret(
  tx: Tx,
  { iss, sub }: Pick<IdentityRow, 'iss' | 'sub'>,
  expected: string | null | undefined,
  next: SecretRow | null,
): Promise<boolean> {
  const [row] = await tx
    .select({ secretId: identities.refreshSecretId })
    .from(identities)
    .where(and(eq(identities.iss, iss), eq(identities.sub, sub)))
    .for('update');
  if (!row || (expected !== undefined && row.secretId !== expected)) return false;
  if (next !== null) await tx.insert(secrets).values(next);
  await tx
    .update(identities)
    .set({ refreshSecretId: next?.id ?? null })
    .where(and(eq(identities.iss, iss), eq(identities.sub, sub)));
  if (row.secretId !== null) await tx.delete(secrets).where(eq(secrets.id, row.secretId));
  return true;
}

/** Forgets what the accounts of one provider could be asked with. */
export async function forgetRefreshSecretsOf(tx: Tx, identityProviderId: string): Promise<void> {
  const ofProvider = eq(identities.identityProviderId, identityProviderId);
  const held = await tx.select({ id: identities.refreshSecretId }).from(identities).where(ofProvider);
  await tx.update(identities).set({ refreshSecretId: null }).where(ofProvider);
  const ids = held.flatMap(({ id }) => (id === null ? [] : [id]));
  if (ids.length > 0) await tx.delete(secrets).where(inArray(secrets.id, ids));
}

/** A sealed secret by its id. */
export async function findSecretById(tx: Tx, id: string): Promise<SecretRow | null> {
  const [row] = await tx.select().from(secrets).where(eq(secrets.id, id)).limit(1);
  return row ?? null;
}

const person = {
  userId: users.id,
  name: users.name,
  email: users.email,
  disabled: sql<boolean>`${users.disabledAt} IS NOT NULL`,
  role: memberships.role,
  groups: memberships.groups,
};

/** A person of the organisation, locked until the transaction ends. */
export async function lockPerson(tx: Tx, orgId: string, userId: string): Promise<PersonRow | null> {
  const [row] = await tx
    .select(person)
    .from(users)
    .innerJoin(memberships, and(eq(memberships.orgId, users.orgId), eq(memberships.userId, users.id)))
    .where(and(eq(users.orgId, orgId), eq(users.id, userId)))
    .limit(1)
    .for('update');
  return row ?? null;
}

/**
 * A person that was added by e-mail address and whom nobody has logged in as yet: no account at any identity provider, no
 * passcode. Locked until the transaction ends.
 *
 * @param email In lower case, verified.
 */
export async function lockUnclaimedPerson(tx: Tx, orgId: string, email: string): Promise<PersonRow | null> {
  const [row] = await tx
    .select(person)
    .from(users)
    .innerJoin(memberships, and(eq(memberships.orgId, users.orgId), eq(memberships.userId, users.id)))
    .where(
      and(
        eq(users.orgId, orgId),
        isNull(users.disabledAt),
        or(eq(sql`lower(${users.name})`, email), eq(sql`lower(${users.email})`, email)),
        notExists(tx.select({ one: sql`1` }).from(identities).where(eq(identities.userId, users.id))),
        notExists(tx.select({ one: sql`1` }).from(localAccounts).where(eq(localAccounts.userId, users.id))),
      ),
    )
    .orderBy(users.createdAt, users.id)
    .limit(1)
    .for('update');
  return row ?? null;
}

/** Stores what a person is shown by. */
export async function updatePerson(
  tx: Tx,
  userId: string,
  { name, email }: { readonly name: string; readonly email: string },
): Promise<void> {
  await tx.update(users).set({ name, email }).where(eq(users.id, userId));
}

/** Stores a person's standing. */
export async function updateStanding(
  tx: Tx,
  orgId: string,
  userId: string,
  { role, groups }: { readonly role: Role; readonly groups: readonly string[] },
): Promise<void> {
  await tx
    .update(memberships)
    .set({ role, groups: [...groups] })
    .where(and(eq(memberships.orgId, orgId), eq(memberships.userId, userId)));
}

/** How many owners who may log in an organisation has. */
export async function countOwners(tx: Tx, orgId: string): Promise<number> {
  const rows = await tx
    .select({ userId: memberships.userId })
    .from(memberships)
    .innerJoin(users, eq(users.id, memberships.userId))
    .where(and(eq(memberships.orgId, orgId), eq(memberships.role, 'owner'), isNull(users.disabledAt)));
  return rows.length;
}

/** An account with what its provider is asked with, and how long its word counts. */
export interface DueIdentity extends IdentityRow {
  readonly revalidateSeconds: number;
  readonly providerId: string;
}

/** Which accounts {@link listDueIdentities} gives. */
export interface DueFilter {
  readonly share: number;
  readonly now: Date;
  readonly limit: number;
  readonly except: readonly string[];
}

const dueColumns = {
  iss: identities.iss,
  sub: identities.sub,
  orgId: identities.orgId,
  userId: identities.userId,
  createdAt: identities.createdAt,
  lastLoginAt: identities.lastLoginAt,
  identityProviderId: identities.identityProviderId,
  validatedAt: identities.validatedAt,
  refreshSecretId: identities.refreshSecretId,
  revalidateSeconds: identityProviders.revalidateSeconds,
  providerId: identityProviders.id,
};

/** Accounts a person logs in with, newest word first. */
export const listValidities = (tx: Tx, userId: string): Promise<DueIdentity[]> =>
  tx
    .select(dueColumns)
    .from(identities)
    .innerJoin(identityProviders, eq(identityProviders.id, identities.identityProviderId))
    .where(eq(identities.userId, userId))
    .orderBy(sql`${identities.validatedAt} DESC NULLS LAST`);

/**
 * Accounts whose provider has to be asked again soon: `share` of the time its word counts is over, they can be asked for, and
 * somebody is logged in by them. The oldest word first.
 *
 * @param except Ids of providers that are left out.
 */
export const listDueIdentities = (tx: Tx, { share, now, limit, except }: DueFilter): Promise<DueIdentity[]> =>
  tx
    .select(dueColumns)
    .from(identities)
    .innerJoin(identityProviders, eq(identityProviders.id, identities.identityProviderId))
    .where(
      and(
        sql`${identities.refreshSecretId} IS NOT NULL`,
        except.length === 0 ? undefined : notInArray(identityProviders.id, [...except]),
        sql`${identities.validatedAt} + make_interval(secs => ${identityProviders.revalidateSeconds} * ${share}::float8) <= ${now.toISOString()}::timestamptz`,
        sql`EXISTS (SELECT FROM ${logins} WHERE ${logins.orgId} = ${identities.orgId} AND ${logins.userId} = ${identities.userId}
          AND ${logins.revokedAt} IS NULL AND ${logins.absoluteExpiresAt} > ${now.toISOString()}::timestamptz)`,
      ),
    )
    .orderBy(identities.validatedAt)
    .limit(limit);
