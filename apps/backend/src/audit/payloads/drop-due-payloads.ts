import { dropPart, listDueParts, type PayloadPart } from '../../store/queries/partitions.ts';
import type { Store } from '../../store/store.ts';

/** What retention needs. */
export interface RetentionDeps {
  readonly store: Store;
  readonly nowMs: () => number;
  readonly logger: { info(facts: object, message: string): void };
}

/** A partition is asked for so often in one run, and then again in the next one. */
const attempts = 3;

/**
 * Erases the payloads whose class is over, by dropping their partitions; call it every few minutes. Headers, chains and proofs
 * stay. Several replicas may do so at once.
 *
 * A partition that somebody reads is left for the next run after a wait of 100 ms, since everybody else waits behind it. What
 * fails keeps none of the others.
 *
 * @throws What the first partition that failed threw, after all were tried.
 */
export async function dropDuePayloads({
  store,
  nowMs,
  logger,
}: RetentionDeps): Promise<readonly PayloadPart[]> {
  const scope = { role: 'retention', orgId: null } as const;
  const due = await store.transaction(scope, (tx) => listDueParts(tx, new Date(nowMs())));
  const dropped: PayloadPart[] = [];
  const failures: unknown[] = [];
  for (const part of due) {
    try {
      if (await tryToDrop(store, part)) dropped.push(part);
    } catch (error) {
      failures.push(error);
    }
  }
  for (const part of dropped) logger.info(part, 'payloads erased, their time was over');
  if (failures.length > 0) throw failures[0];
  return dropped;
}

async function tryToDrop(store: Store, part: PayloadPart): Promise<boolean> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await store.transaction({ role: 'retention', orgId: null }, (tx) => dropPart(tx, part));
    } catch (error) {
      if (attempt === attempts) throw error;
    }
  }
}
