/** Counters of fixed windows, shared by replicas; role `system`. */
import { and, eq, sql } from 'drizzle-orm';
import { rateLimits } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** One counter: whose it is and in which window. */
export interface RateWindow {
  /** Holds a hash where it would hold an address or a name. */
  readonly key: string;
  readonly windowStart: Date;
  readonly expiresAt: Date;
}

/** Adds one. @returns The count after it. */
export async function countUp(tx: Tx, window: RateWindow): Promise<number> {
  const [row] = await tx
    .insert(rateLimits)
    .values({ ...window, count: 1 })
    .onConflictDoUpdate({
      target: [rateLimits.key, rateLimits.windowStart],
      set: { count: sql`${rateLimits.count} + 1` },
    })
    .returning({ count: rateLimits.count });
  return row?.count ?? 1;
}

/** Takes one away again. */
export async function countDown(tx: Tx, key: string, windowStart: Date): Promise<void> {
  await tx
    .update(rateLimits)
    .set({ count: sql`greatest(${rateLimits.count} - 1, 0)` })
    .where(and(eq(rateLimits.key, key), eq(rateLimits.windowStart, windowStart)));
}
