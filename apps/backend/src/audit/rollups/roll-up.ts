/**
 * Counts the audit log by hours.
 *
 * It goes along the log, whose order is total and which nothing enters late: counts and position are one transaction under a lock
 * of the organisation. Two replicas that run at once follow each other; one that dies leaves nothing half counted.
 */
import { countNextLeaves, listUncountedLogs, lockRollups } from '../../store/queries/rollups.ts';
import type { Store } from '../../store/store.ts';

const scope = { role: 'system', orgId: null } as const;
/** Organisations looked at in one run. */
const maxLogs = 500;
/** Transactions for one organisation in one run, so that the others have their turn. */
const maxRounds = 20;

/**
 * Runs once. Call it every few seconds on every replica. An organisation that fails holds up no other; its failure is thrown at
 * the end.
 *
 * @returns Events counted.
 */
export async function rollUpLogs({
  store,
  nowMs,
}: {
  readonly store: Store;
  readonly nowMs: () => number;
}): Promise<number> {
  const failures: unknown[] = [];
  let events = 0;
  const orgIds = await store.transaction(scope, (tx) => listUncountedLogs(tx, maxLogs));
  for (const orgId of orgIds) {
    try {
      for (let round = 0; round < maxRounds; round += 1) {
        const counted = await countSome(store, orgId, new Date(nowMs()));
        events += counted;
        if (counted === 0) break;
      }
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
  return events;
}

const countSome = (store: Store, orgId: string, now: Date): Promise<number> =>
  store.transaction(scope, async (tx) => {
    await lockRollups(tx, orgId);
    return countNextLeaves(tx, orgId, now);
  });
