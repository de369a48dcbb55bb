import { lt, sql } from 'drizzle-orm';
import { connectTickets, dpopProofs, oidcPayloads, rateLimits } from './schema.ts';
import type { Store } from './store-contract.ts';

const daysBehind = 2;
const daysAhead = 7;
const dayMs = 86_400_000;

/** What {@link Store.maintain} does; safe to run on several replicas at once. */
export async function maintain(transaction: Store['transaction'], now: Date): Promise<void> {
  const first = new Date(now.getTime() - daysBehind * dayMs).toISOString().slice(0, 10);
  await transaction({ role: 'retention', orgId: null }, (tx) =>
    tx.execute(sql`SELECT kontext_make_partitions(${first}::date, ${daysBehind + 1 + daysAhead}::int)`),
  );
  await transaction({ role: 'retention', orgId: null }, async (tx) => {
    for (const table of [oidcPayloads, dpopProofs, rateLimits, connectTickets]) {
      await tx.delete(table).where(lt(table.expiresAt, now));
    }
  });
}
