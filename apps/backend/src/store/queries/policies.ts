/** Published policies. */
import { and, eq } from 'drizzle-orm';
import { policies, policyPublications, policyVersions } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** A published version; `policies` is the JSON text of `{ id, text }[]`. */
export type PolicyVersionRow = typeof policyVersions.$inferSelect;

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

/** The newest version of the policy that holds for everybody; null before there is one. */
export async function findNewestPolicy(tx: Tx, orgId: string): Promise<PolicyVersionRow | null> {
  const [row] = await tx
    .select({ version: policyVersions })
    .from(policies)
    .innerJoin(
      policyVersions,
      and(eq(policyVersions.policyId, policies.id), eq(policyVersions.version, policies.newestVersion)),
    )
    .where(and(eq(policies.orgId, orgId), eq(policies.team, '')))
    .limit(1);
  return row?.version ?? null;
}

/** Number of the newest version alone; 0 before there is one. */
export async function findNewestPolicyVersion(tx: Tx, orgId: string): Promise<number> {
  const [row] = await tx
    .select({ version: policies.newestVersion })
    .from(policies)
    .where(and(eq(policies.orgId, orgId), eq(policies.team, '')))
    .limit(1);
  return row?.version ?? 0;
}
