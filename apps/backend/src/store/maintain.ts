import { and, eq, lt, ne } from 'drizzle-orm';
import { makePartitions } from './queries/partitions.ts';
import {
  auditSinkDeliveries,
  confirmations,
  connectTickets,
  deniedTokens,
  dpopProofs,
  federatedLogins,
  oidcPayloads,
  rateLimits,
  webhookDeliveries,
} from './schema.ts';
import type { Store } from './store-contract.ts';

/** What is worth nothing once its `expires_at` is over. */
const expiring = [
  oidcPayloads,
  dpopProofs,
  rateLimits,
  connectTickets,
  federatedLogins,
  confirmations,
  deniedTokens,
];
const daysBehind = 2;
const daysAhead = 7;
const dayMs = 86_400_000;
/** What became of messages to webhooks, and of those that sinks took, is kept for so long. */
const deliveriesKeptMs = 30 * dayMs;

/** The two functions of a store that know which days have partitions. */
export type Maintained = Pick<Store, 'transaction' | 'single' | 'maintain'>;

/**
 * Adds {@link Store.maintain} to transactions; safe to run on several replicas at once.
 *
 * Timers stand still while a machine sleeps, so the hourly call can come too late. Once `maintain` has run, a transaction on
 * a day that it did not reach makes the partitions first: no event is refused because nobody was awake to prepare its day.
 */
export function addMaintenance(
  { transaction, single }: Pick<Store, 'transaction' | 'single'>,
  nowMs: () => number,
): Maintained {
  let reached: { readonly fromMs: number; readonly untilMs: number } | null = null;
  let running: Promise<void> | null = null;

  const prepareDays = async (now: Date): Promise<void> => {
    const first = new Date(now.getTime() - daysBehind * dayMs).toISOString().slice(0, 10);
    const days = daysBehind + 1 + daysAhead;
    await transaction({ role: 'retention', orgId: null }, (tx) => makePartitions(tx, first, days));
    reached = { fromMs: Date.parse(first), untilMs: Date.parse(first) + days * dayMs };
  };
  const catchUp = async (): Promise<void> => {
    const now = nowMs();
    if (reached === null || (now >= reached.fromMs && now < reached.untilMs)) return;
    running ??= prepareDays(new Date(now)).finally(() => {
      running = null;
    });
    // The transaction that waits for this says better what is wrong with the database.
    await running.catch(() => undefined);
  };

  return {
    transaction: async (scope, work) => {
      await catchUp();
      return transaction(scope, work);
    },
    single: async (scope, work) => {
      await catchUp();
      return single(scope, work);
    },
    maintain: async (now) => {
      await prepareDays(now);
      await transaction({ role: 'retention', orgId: null }, async (tx) => {
        for (const table of expiring) {
          await tx.delete(table).where(lt(table.expiresAt, now));
        }
        const old = lt(webhookDeliveries.createdAt, new Date(now.getTime() - deliveriesKeptMs));
        await tx.delete(webhookDeliveries).where(and(old, ne(webhookDeliveries.state, 'waiting')));
        const sent = lt(auditSinkDeliveries.at, new Date(now.getTime() - deliveriesKeptMs));
        await tx.delete(auditSinkDeliveries).where(and(sent, eq(auditSinkDeliveries.state, 'delivered')));
      });
    },
  };
}
