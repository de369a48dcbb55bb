/** Taking back at the provider what ended here: who does it, and what became of it. */
import { and, eq, sql } from 'drizzle-orm';
import { alias } from 'drizzle-orm/pg-core';
import { leases, providers, secrets } from '../schema.ts';
import type { Tx } from '../tx.ts';
import type { LeaseRow } from './leases.ts';
import type { ProviderRow } from './providers.ts';
import type { SecretRow } from './secrets.ts';

/** A lease with all that taking it back may need. */
export interface RevocableLease {
  readonly lease: LeaseRow;
  /** Null when it was removed meanwhile. */
  readonly provider: ProviderRow | null;
  readonly providerSecret: SecretRow | null;
  /** What was kept with the lease. */
  readonly kept: SecretRow | null;
}

/**
 * Takes leases that are due for this process; role `system`. Each counts as tried, and is due again when `holdMs` are over:
 * what a process took that died, another takes then.
 *
 * @returns Oldest first. Two processes never get the same one.
 */
export async function claimRevocations(
  tx: Tx,
  { now, holdMs, limit }: { readonly now: Date; readonly holdMs: number; readonly limit: number },
): Promise<LeaseRow[]> {
  const due = tx
    .select({ id: leases.id })
    .from(leases)
    .where(
      and(
        eq(leases.revocation, 'pending'),
        sql`${leases.revocationDueAt} <= ${now.toISOString()}::timestamptz`,
      ),
    )
    .orderBy(leases.revocationDueAt)
    .limit(limit)
    .for('update', { skipLocked: true });
  const claimed = await tx
    .update(leases)
    .set({
      revocationDueAt: new Date(now.getTime() + holdMs),
      revocationAttempts: sql`${leases.revocationAttempts} + 1`,
    })
    .where(sql`${leases.id} IN (${due})`)
    .returning();
  return claimed.sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** What taking back needs; role `app`. */
export async function findRevocable(tx: Tx, leaseId: string): Promise<RevocableLease | null> {
  const kept = alias(secrets, 'kept');
  const [row] = await tx
    .select({ lease: leases, provider: providers, providerSecret: secrets, kept })
    .from(leases)
    .leftJoin(providers, eq(providers.id, leases.providerId))
    .leftJoin(secrets, eq(secrets.id, providers.clientSecretId))
    .leftJoin(kept, eq(kept.id, leases.secretId))
    .where(eq(leases.id, leaseId))
    .limit(1);
  return row ?? null;
}

/**
 * Notes the end of a revocation; what was kept for it is removed. Nothing happens when the lease has been marked anew since it
 * was claimed: a mint that was under way came to its end.
 *
 * @returns Whether it was noted.
 */
export async function settleRevocation(
  tx: Tx,
  lease: Pick<LeaseRow, 'id' | 'revocationAttempts' | 'secretId'>,
  outcome: 'done' | 'failed' | 'impossible',
): Promise<boolean> {
  const settled = await tx
    .update(leases)
    .set({ revocation: outcome, revocationDueAt: null, secretId: null })
    .where(isClaim(lease))
    .returning({ id: leases.id });
  if (settled.length === 0) return false;
  if (lease.secretId !== null) await tx.delete(secrets).where(eq(secrets.id, lease.secretId));
  return true;
}

/** Puts a claimed revocation off; like {@link settleRevocation} it leaves one alone that was marked anew. */
export async function postponeRevocation(
  tx: Tx,
  lease: Pick<LeaseRow, 'id' | 'revocationAttempts'>,
  dueAt: Date,
): Promise<void> {
  await tx.update(leases).set({ revocationDueAt: dueAt }).where(isClaim(lease));
}

const isClaim = ({ id, revocationAttempts }: Pick<LeaseRow, 'id' | 'revocationAttempts'>) =>
  and(eq(leases.id, id), eq(leases.revocation, 'pending'), eq(leases.revocationAttempts, revocationAttempts));
