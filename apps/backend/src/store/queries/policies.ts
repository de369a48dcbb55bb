/** Versions of the policy, and which of them holds for whom. */
import { and, desc, eq, lt, sql } from 'drizzle-orm';
import { policies, policyPublications, policyVersions, users } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** A version; `policies` is the JSON text of `{ id, text }[]`, `sources` that of `{ name, text }[]`. */
export type PolicyVersionRow = typeof policyVersions.$inferSelect;

/** What was published. */
export type PublicationRow = typeof policyPublications.$inferSelect;

/** A version without its texts, as lists show it. */
export interface VersionSummary extends Pick<PolicyVersionRow, 'version' | 'hash' | 'reason' | 'createdAt'> {
  /** Name of the author; their id when nobody knows it. */
  readonly author: string;
  readonly rules: number;
}

/** A publication with its author's name. */
export interface NamedPublication extends PublicationRow {
  readonly authorName: string;
}

/** One publication that may hold for a member, with what decides among several. */
export interface HoldingRow extends Pick<PublicationRow, 'groupName' | 'version' | 'mode' | 'staleRule'> {
  readonly seq: number;
  /** Newest publication of the organisation, for whomever. */
  readonly headSeq: number;
  /** Hash of the version. */
  readonly hash: string;
  /** Null when the user is no member. */
  readonly role: string | null;
  readonly groups: readonly string[] | null;
}

/** Makes the policy of an organisation with its first version, which holds for everybody and is only observed. */
export async function insertPolicy(tx: Tx, id: string, version: PolicyVersionRow): Promise<void> {
  await tx.insert(policies).values({
    id,
    orgId: version.orgId,
    newestVersion: version.version,
    createdAt: version.createdAt,
  });
  await tx.insert(policyVersions).values(version);
  const { orgId, author, reason, createdAt } = version;
  await tx
    .insert(policyPublications)
    .values({ orgId, seq: 1, version: version.version, mode: 'observe', author, reason, createdAt });
}

/**
 * Publications that hold for a member: the newest of everybody and of each of their groups, but those withdrawn.
 *
 * One statement, so what it says is of one moment.
 */
export async function findHoldings(tx: Tx, orgId: string, userId: string): Promise<HoldingRow[]> {
  const { rows } = await tx.execute(sql`
    WITH member AS (SELECT role, groups FROM memberships WHERE org_id = ${orgId} AND user_id = ${userId}),
    newest AS (
      SELECT DISTINCT ON (group_name) * FROM policy_publications
      WHERE org_id = ${orgId} AND (group_name = '' OR group_name IN (SELECT unnest(groups) FROM member))
      ORDER BY group_name, seq DESC)
    SELECT n.seq::int AS "seq", n.group_name AS "groupName", n.version::int AS "version", n.mode AS "mode",
      n.stale_rule AS "staleRule", v.hash AS "hash",
      (SELECT max(seq)::int FROM policy_publications WHERE org_id = ${orgId}) AS "headSeq",
      (SELECT role FROM member) AS "role", (SELECT groups FROM member) AS "groups"
    FROM newest n
    JOIN policies p ON p.org_id = n.org_id AND p.team = ''
    JOIN policy_versions v ON v.policy_id = p.id AND v.version = n.version
    WHERE NOT n.withdrawn`);
  return rows as unknown as HoldingRow[];
}

/** Number of the organisation's newest publication; 0 before there is one. */
export async function findNewestSeq(tx: Tx, orgId: string): Promise<number> {
  const [row] = await tx
    .select({ seq: policyPublications.seq })
    .from(policyPublications)
    .where(eq(policyPublications.orgId, orgId))
    .orderBy(desc(policyPublications.seq))
    .limit(1);
  return row?.seq ?? 0;
}

/** The policy of an organisation, locked: whoever drafts or publishes waits for its turn. Null when it was never made. */
export async function lockPolicy(tx: Tx, orgId: string): Promise<typeof policies.$inferSelect | null> {
  const [row] = await tx
    .select()
    .from(policies)
    .where(and(eq(policies.orgId, orgId), eq(policies.team, '')))
    .limit(1)
    .for('update');
  return row ?? null;
}

/** Stores a version as the newest of its locked policy. */
export async function insertVersion(tx: Tx, row: PolicyVersionRow): Promise<void> {
  await tx.insert(policyVersions).values(row);
  await tx.update(policies).set({ newestVersion: row.version }).where(eq(policies.id, row.policyId));
}

/** Stores a publication of a locked policy. */
export async function insertPublication(tx: Tx, row: PublicationRow): Promise<void> {
  await tx.insert(policyPublications).values(row);
}

/** One version with its texts; null when there is none of that number. */
export async function findVersion(tx: Tx, orgId: string, version: number): Promise<PolicyVersionRow | null> {
  const [row] = await tx
    .select({ version: policyVersions })
    .from(policies)
    .innerJoin(policyVersions, eq(policyVersions.policyId, policies.id))
    .where(and(eq(policies.orgId, orgId), eq(policies.team, ''), eq(policyVersions.version, version)))
    .limit(1);
  return row?.version ?? null;
}

const summaryColumns = {
  version: policyVersions.version,
  hash: policyVersions.hash,
  reason: policyVersions.reason,
  createdAt: policyVersions.createdAt,
  author: sql<string>`coalesce(${users.name}, ${policyVersions.author})`,
  rules: sql<number>`json_array_length(${policyVersions.policies}::json)`.mapWith(Number),
};

/** One version without its texts. */
export async function findVersionSummary(
  tx: Tx,
  orgId: string,
  version: number,
): Promise<VersionSummary | null> {
  const [row] = await listVersions(tx, orgId, { before: version + 1, limit: 1 });
  return row?.version === version ? row : null;
}

/** Versions, newest first. */
export async function listVersions(
  tx: Tx,
  orgId: string,
  { before, limit }: { readonly before: number | null; readonly limit: number },
): Promise<VersionSummary[]> {
  return tx
    .select(summaryColumns)
    .from(policies)
    .innerJoin(policyVersions, eq(policyVersions.policyId, policies.id))
    .leftJoin(users, and(eq(users.orgId, policyVersions.orgId), eq(users.id, policyVersions.author)))
    .where(
      and(
        eq(policies.orgId, orgId),
        eq(policies.team, ''),
        before === null ? undefined : lt(policyVersions.version, before),
      ),
    )
    .orderBy(desc(policyVersions.version))
    .limit(limit);
}

/** Every publication that holds now, of everybody first, then by group. */
export async function listHolding(tx: Tx, orgId: string): Promise<NamedPublication[]> {
  const newest = tx
    .selectDistinctOn([policyPublications.groupName])
    .from(policyPublications)
    .where(eq(policyPublications.orgId, orgId))
    .orderBy(policyPublications.groupName, desc(policyPublications.seq))
    .as('newest');
  const rows = await tx
    .select({
      publication: {
        ...{ orgId: newest.orgId, seq: newest.seq, groupName: newest.groupName, version: newest.version },
        ...{ mode: newest.mode, staleRule: newest.staleRule, withdrawn: newest.withdrawn },
        ...{ author: newest.author, reason: newest.reason, createdAt: newest.createdAt },
      },
      name: users.name,
    })
    .from(newest)
    .leftJoin(users, and(eq(users.orgId, newest.orgId), eq(users.id, newest.author)))
    .where(eq(newest.withdrawn, false))
    .orderBy(newest.groupName);
  return rows.map(({ publication, name }) => ({ ...publication, authorName: name ?? publication.author }));
}
