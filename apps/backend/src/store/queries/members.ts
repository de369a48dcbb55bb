/** What the work asks about people of one organisation. */
import { and, eq, sql } from 'drizzle-orm';
import { agents, memberships, orgs, users } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** A member's standing at this moment. */
export interface MemberRow {
  readonly userName: string;
  readonly orgName: string;
  readonly role: string;
  readonly groups: readonly string[];
  readonly disabled: boolean;
}

/** A member of the transaction's organisation; null when there is none of that id. */
export async function findMember(tx: Tx, userId: string): Promise<MemberRow | null> {
  const [row] = await tx
    .select({
      userName: users.name,
      orgName: orgs.name,
      role: memberships.role,
      groups: memberships.groups,
      disabled: sql<boolean>`${users.disabledAt} IS NOT NULL`,
    })
    .from(users)
    .innerJoin(memberships, and(eq(memberships.orgId, users.orgId), eq(memberships.userId, users.id)))
    .innerJoin(orgs, eq(orgs.id, users.orgId))
    .where(eq(users.id, userId))
    .limit(1);
  return row ?? null;
}

/** Name of an organisation, with one of its registered agents; null when it has none of that name. */
export async function findOrgAndAgent(
  tx: Tx,
  orgId: string,
  name: string,
): Promise<{
  name: string;
  agentId: string | null;
  agentDisabledAt: Date | null;
} | null> {
  const [row] = await tx
    .select({
      name: orgs.name,
      agentId: agents.id,
      agentDisabledAt: agents.disabledAt,
    })
    .from(orgs)
    .leftJoin(agents, and(eq(agents.orgId, orgs.id), eq(agents.name, name)))
    .where(eq(orgs.id, orgId))
    .limit(1);
  return row ?? null;
}

/** A registered agent of the transaction's organisation, by name. */
export async function findAgent(
  tx: Tx,
  orgId: string,
  name: string,
): Promise<typeof agents.$inferSelect | null> {
  const [row] = await tx
    .select()
    .from(agents)
    .where(and(eq(agents.orgId, orgId), eq(agents.name, name)))
    .limit(1);
  return row ?? null;
}
