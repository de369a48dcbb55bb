/** Invitations to an organisation; only hashes of their tokens are kept. */
import { and, desc, eq, gt, isNull } from 'drizzle-orm';
import { invitations, orgs } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** An invitation as stored. */
export type InvitationRow = typeof invitations.$inferSelect;

const isOpen = (now: Date) =>
  and(isNull(invitations.acceptedAt), isNull(invitations.revokedAt), gt(invitations.expiresAt, now));

/** Stores an invitation; an earlier open one of the same address is revoked. */
export async function insertInvitation(tx: Tx, row: InvitationRow): Promise<void> {
  await tx
    .update(invitations)
    .set({ revokedAt: row.createdAt })
    .where(
      and(
        eq(invitations.orgId, row.orgId),
        eq(invitations.email, row.email),
        isNull(invitations.acceptedAt),
        isNull(invitations.revokedAt),
      ),
    );
  await tx.insert(invitations).values(row);
}

/** Open invitations of an organisation, newest first. */
export const listOpenInvitations = (tx: Tx, orgId: string, now: Date): Promise<InvitationRow[]> =>
  tx
    .select()
    .from(invitations)
    .where(and(eq(invitations.orgId, orgId), isOpen(now)))
    .orderBy(desc(invitations.id))
    .limit(500);

/** Takes an open invitation back. @returns Null when there is no open one of that id. */
export async function revokeInvitationRow(
  tx: Tx,
  orgId: string,
  id: string,
  now: Date,
): Promise<InvitationRow | null> {
  const [row] = await tx
    .update(invitations)
    .set({ revokedAt: now })
    .where(and(eq(invitations.orgId, orgId), eq(invitations.id, id), isOpen(now)))
    .returning();
  return row ?? null;
}

/** An open invitation by the hash of its token, with the organisation's name; role `system`. */
export async function findOpenInvitation(
  tx: Tx,
  tokenHash: string,
  now: Date,
): Promise<{ readonly invitation: InvitationRow; readonly orgName: string } | null> {
  const [row] = await tx
    .select({ invitation: invitations, orgName: orgs.name })
    .from(invitations)
    .innerJoin(orgs, eq(orgs.id, invitations.orgId))
    .where(and(eq(invitations.tokenHash, tokenHash), isOpen(now)))
    .limit(1);
  return row ?? null;
}

/** Accepts an open invitation, once; role `system`. @returns Null when it is not open (any more). */
export async function acceptInvitation(
  tx: Tx,
  key: { readonly id: string; readonly orgId: string; readonly email: string; readonly userId: string },
  now: Date,
): Promise<InvitationRow | null> {
  const [row] = await tx
    .update(invitations)
    .set({ acceptedAt: now, acceptedBy: key.userId })
    .where(
      and(
        eq(invitations.id, key.id),
        eq(invitations.orgId, key.orgId),
        eq(invitations.email, key.email),
        isOpen(now),
      ),
    )
    .returning();
  return row ?? null;
}
