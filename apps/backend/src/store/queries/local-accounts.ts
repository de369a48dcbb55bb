/** Organisations, their people, and the local accounts of local mode; all as role `system`. */
import { and, asc, eq, sql } from 'drizzle-orm';
import { agents, localAccounts, memberships, orgs, users } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** Roles a member can have, strongest first. */
export type Role = (typeof memberships.role.enumValues)[number];
/** All roles. */
export const roles: readonly Role[] = memberships.role.enumValues;

/** A local account as needed to check a passcode. */
export interface LocalAccountRow {
  readonly userId: string;
  readonly orgId: string;
  readonly name: string;
  readonly hash: Buffer;
  readonly salt: Buffer;
  readonly params: string;
  readonly userDisabled: boolean;
}

/** Whether any organisation exists. */
export async function anyOrgExists(tx: Tx): Promise<boolean> {
  return (await tx.select({ id: orgs.id }).from(orgs).limit(1)).length === 1;
}

/** An organisation by its short name. */
export async function findOrgBySlug(tx: Tx, slug: string): Promise<{ id: string; name: string } | null> {
  const [row] = await tx
    .select({ id: orgs.id, name: orgs.name })
    .from(orgs)
    .where(eq(orgs.slug, slug))
    .limit(1);
  return row ?? null;
}

/** Makes an organisation with its built-in agents. */
export async function insertOrg(
  tx: Tx,
  org: {
    readonly id: string;
    readonly slug: string;
    readonly name: string;
    readonly agents: readonly { readonly id: string; readonly name: string }[];
    readonly now: Date;
  },
): Promise<void> {
  await tx.insert(orgs).values({ id: org.id, slug: org.slug, name: org.name, createdAt: org.now });
  if (org.agents.length === 0) return;
  await tx
    .insert(agents)
    .values(org.agents.map((agent) => ({ ...agent, orgId: org.id, builtIn: true, createdAt: org.now })));
}

/** Makes a person and their membership. */
export async function insertMember(
  tx: Tx,
  member: {
    readonly userId: string;
    readonly orgId: string;
    readonly name: string;
    readonly role: Role;
    readonly groups: readonly string[];
    readonly now: Date;
  },
): Promise<void> {
  const { userId, orgId, name, role, groups, now } = member;
  await tx.insert(users).values({ id: userId, orgId, name, createdAt: now });
  await tx.insert(memberships).values({ orgId, userId, role, groups: [...groups], createdAt: now });
}

/** Whether the organisation has a person of that name. */
export async function memberNameExists(tx: Tx, orgId: string, name: string): Promise<boolean> {
  const rows = await tx
    .select({ id: users.id })
    .from(users)
    .where(and(eq(users.orgId, orgId), eq(users.name, name)))
    .limit(1);
  return rows.length === 1;
}

/** Whether a local account of any organisation has that name: the login page asks for nothing else. */
export async function localAccountExists(tx: Tx, name: string): Promise<boolean> {
  const rows = await tx
    .select({ id: localAccounts.userId })
    .from(localAccounts)
    .where(eq(localAccounts.name, name))
    .limit(1);
  return rows.length === 1;
}

/** Gives a person a passcode. */
export async function insertLocalAccount(
  tx: Tx,
  account: Omit<LocalAccountRow, 'userDisabled'> & { readonly now: Date },
): Promise<void> {
  const { now, ...row } = account;
  await tx.insert(localAccounts).values({ ...row, createdAt: now });
}

/** The local account of that name. */
export async function findLocalAccount(tx: Tx, name: string): Promise<LocalAccountRow | null> {
  const [row] = await tx
    .select({
      userId: localAccounts.userId,
      orgId: localAccounts.orgId,
      name: localAccounts.name,
      hash: localAccounts.hash,
      salt: localAccounts.salt,
      params: localAccounts.params,
      userDisabled: sql<boolean>`${users.disabledAt} IS NOT NULL`,
    })
    .from(localAccounts)
    .innerJoin(users, eq(users.id, localAccounts.userId))
    .where(eq(localAccounts.name, name))
    .orderBy(asc(localAccounts.createdAt), asc(localAccounts.userId))
    .limit(1);
  return row ?? null;
}

/** Names to show for a person who may log in; null for a disabled or unknown one. */
export async function findActiveMember(
  tx: Tx,
  userId: string,
): Promise<{ userName: string; orgId: string; orgName: string } | null> {
  const [row] = await tx
    .select({ userName: users.name, orgId: users.orgId, orgName: orgs.name })
    .from(users)
    .innerJoin(memberships, and(eq(memberships.userId, users.id), eq(memberships.orgId, users.orgId)))
    .innerJoin(orgs, eq(orgs.id, users.orgId))
    .where(and(eq(users.id, userId), sql`${users.disabledAt} IS NULL`))
    .limit(1);
  return row ?? null;
}
