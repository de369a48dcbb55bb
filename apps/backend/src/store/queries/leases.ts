/** Leases: one row per issued credential. */
import { and, eq, ne } from 'drizzle-orm';
import { leases } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** A lease as stored. */
export type LeaseRow = typeof leases.$inferSelect;

/** Ends every lease of a session that has not ended. @returns Those it ended. */
export async function endLeasesOfSession(
  tx: Tx,
  sessionId: string,
  reason: string,
  now: Date,
): Promise<LeaseRow[]> {
  return tx
    .update(leases)
    .set({ state: 'ended', endedAt: now, endReason: reason })
    .where(and(eq(leases.sessionId, sessionId), ne(leases.state, 'ended')))
    .returning();
}
