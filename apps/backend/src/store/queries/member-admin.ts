/** Listing people and changing what they may; reading as role `read` or `app`, changing as `app`, suspending as `system`. */
import { and, asc, eq, isNull, sql } from 'drizzle-orm';
import { memberships, users } from '../schema.ts';
import type { Tx } from '../tx.ts';
import type { Role } from './local-accounts.ts';

/** A member as a list shows them. */
export interface ListedMember {
  readonly userId: string;
  readonly name: string;
  readonly email: string;
  readonly role: Role;
  readonly groups: readonly string[];
  readonly suspendedAt: Date | null;
  readonly lastLoginAt: Date | null;
  /** Name of whoever vouches for them; null for a local account. */
  readonly identityProvider: string | null;
  readonly liveSessions: number;
}

/** Members by name, at most `limit`, after the given name and id; with `userId` that one alone. */
export async function listMembers(
  tx: Tx,
  orgId: string,
  page: {
    readonly after?: { readonly name: string; readonly userId: string } | null;
    readonly limit: number;
    readonly userId?: string;
  },
): Promise<ListedMember[]> {
  const { after, limit, userId } = page;
  const { rows } = await tx.execute<Record<string, unknown>>(sql`
    SELECT u.id, u.name, u.email, u.disabled_at, m.role, m.groups,
      (SELECT max(l.created_at) FROM logins l WHERE l.org_id = u.org_id AND l.user_id = u.id) AS last_login_at,
      (SELECT p.name FROM identities i JOIN identity_providers p ON p.id = i.identity_provider_id
        WHERE i.org_id = u.org_id AND i.user_id = u.id ORDER BY i.last_login_at DESC NULLS LAST LIMIT 1) AS identity_provider,
      (SELECT count(*)::int FROM sessions s WHERE s.org_id = u.org_id AND s.user_id = u.id AND s.state = 'live') AS live_sessions
    FROM users u JOIN memberships m ON m.org_id = u.org_id AND m.user_id = u.id
    WHERE u.org_id = ${orgId}
      ${after ? sql`AND (u.name, u.id) > (${after.name}, ${after.userId})` : sql``}
      ${userId === undefined ? sql`` : sql`AND u.id = ${userId}`}
    ORDER BY u.name, u.id LIMIT ${limit}`);
  return rows.map((row) => ({
    userId: String(row.id),
    name: String(row.name),
    email: String(row.email),
    role: row.role as Role,
    groups: row.groups as string[],
    suspendedAt: toDate(row.disabled_at),
    lastLoginAt: toDate(row.last_login_at),
    identityProvider: row.identity_provider === null ? null : String(row.identity_provider),
    liveSessions: Number(row.live_sessions),
  }));
}

/** The drivers differ in what they make of a time in a statement of our own. */
const toDate = (value: unknown): Date | null =>
  value === null || value === undefined ? null : new Date(value as string | Date);

/** A member's standing, locked until the transaction ends; null when there is none. */
export async function lockMember(
  tx: Tx,
  orgId: string,
  userId: string,
): Promise<{ readonly name: string; readonly role: Role; readonly disabledAt: Date | null } | null> {
  const [row] = await tx
    .select({ name: users.name, role: memberships.role, disabledAt: users.disabledAt })
    .from(memberships)
    .innerJoin(users, and(eq(users.orgId, memberships.orgId), eq(users.id, memberships.userId)))
    .where(and(eq(memberships.orgId, orgId), eq(memberships.userId, userId)))
    .for('update');
  return row ?? null;
}

/** Ids of the owners who may log in, locked in one order: of two owners who demote each other, one waits and then sees. */
export async function lockActiveOwners(tx: Tx, orgId: string): Promise<string[]> {
  const rows = await tx
    .select({ userId: memberships.userId })
    .from(memberships)
    .innerJoin(users, and(eq(users.orgId, memberships.orgId), eq(users.id, memberships.userId)))
    .where(and(eq(memberships.orgId, orgId), eq(memberships.role, 'owner'), isNull(users.disabledAt)))
    .orderBy(asc(memberships.userId))
    .for('update');
  return rows.map(({ userId }) => userId);
}

/** Changes role and groups. */
export async function updateMember(
  tx: Tx,
  orgId: string,
  userId: string,
  change: { readonly role: Role; readonly groups: readonly string[] },
): Promise<void> {
  await tx
    .update(memberships)
    .set({ role: change.role, groups: [...change.groups] })
    .where(and(eq(memberships.orgId, orgId), eq(memberships.userId, userId)));
}

/** Suspends a person, or with null lets them in again. */
export async function setDisabled(tx: Tx, orgId: string, userId: string, at: Date | null): Promise<void> {
  await tx
    .update(users)
    .set({ disabledAt: at })
    .where(and(eq(users.orgId, orgId), eq(users.id, userId)));
}
