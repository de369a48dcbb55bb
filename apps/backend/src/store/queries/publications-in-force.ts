/** Publications of the policy that held at an instant or since; role `app`. */
import { and, asc, eq, gt, inArray, lt, notExists } from 'drizzle-orm';
import { alias } from 'drizzle-orm/pg-core';
import { policyPublications } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** A publication, with what decides whether it holds. */
export type PublicationInForce = Pick<
  typeof policyPublications.$inferSelect,
  'seq' | 'groupName' | 'version' | 'withdrawn' | 'createdAt'
>;

/** Publications for everybody and for these groups, but those that were replaced before an instant; in order. */
export async function listPublicationsInForce(
  tx: Tx,
  orgId: string,
  groups: readonly string[],
  since: Date,
): Promise<PublicationInForce[]> {
  const newer = alias(policyPublications, 'newer');
  const replacedBefore = tx
    .select({ seq: newer.seq })
    .from(newer)
    .where(
      and(
        eq(newer.orgId, policyPublications.orgId),
        eq(newer.groupName, policyPublications.groupName),
        gt(newer.seq, policyPublications.seq),
        lt(newer.createdAt, since),
      ),
    );
  const { seq, groupName, version, withdrawn, createdAt } = policyPublications;
  return tx
    .select({ seq, groupName, version, withdrawn, createdAt })
    .from(policyPublications)
    .where(
      and(
        eq(policyPublications.orgId, orgId),
        inArray(policyPublications.groupName, ['', ...groups]),
        notExists(replacedBefore),
      ),
    )
    .orderBy(asc(seq));
}
