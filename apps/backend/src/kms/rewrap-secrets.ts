import { KontextError } from '@kontext/errors';
import { type Kms, rewrap } from '@kontext/vault';
import { listSecretsUnder, type Rewrapped, replaceWrappedDeks } from '../store/queries/keks.ts';
import type { SecretRow } from '../store/queries/secrets.ts';
import type { Store } from '../store/store.ts';
import { sealContextOf, sealedOf } from './sealed-secrets.ts';

const scope = { role: 'system', orgId: null } as const;
const batchSize = 50;
/** Key services answer in tens of milliseconds and limit how often they are asked. */
const parallelWraps = 8;

/** What {@link rewrapSecrets} did. */
export interface RewrapReport {
  readonly rewrapped: number;
  /** Ids of secrets that do not open: the row was changed, or its key is not here. They stay as they are. */
  readonly damaged: readonly string[];
}

/**
 * Puts the data keys of all secrets under `oldKekId` under the active key, in batches by id, until none is left.
 *
 * Safe while secrets are read, written and deleted, and on several replicas at once: a row changes only if it still is under
 * the old key. No transaction is open while a key service is asked. The secrets themselves are not decrypted.
 *
 * @param shouldGoOn Asked before each batch; false ends early, and the next call goes on with what is left.
 * @throws KontextError `KX_KMS_UNAVAILABLE`, `KX_KMS_REFUSED` when a key service cannot be used; what was stored stays.
 */
export async function rewrapSecrets(
  store: Store,
  kms: Kms,
  oldKekId: string,
  shouldGoOn: () => boolean,
): Promise<RewrapReport> {
  let rewrapped = 0;
  const damaged: string[] = [];
  for (let afterId = ''; shouldGoOn(); ) {
    const rows = await store.transaction(scope, (tx) => listSecretsUnder(tx, oldKekId, afterId, batchSize));
    const last = rows.at(-1);
    if (!last) break;
    const done = await rewrapRows(kms, rows);
    damaged.push(...done.damaged);
    rewrapped += await store.transaction(scope, (tx) => replaceWrappedDeks(tx, done.rewrapped));
    afterId = last.id;
  }
  return { rewrapped, damaged };
}

async function rewrapRows(kms: Kms, rows: readonly SecretRow[]) {
  const rewrapped: Rewrapped[] = [];
  const damaged: string[] = [];
  for (let at = 0; at < rows.length; at += parallelWraps) {
    const slice = rows.slice(at, at + parallelWraps);
    const results = await Promise.all(slice.map((row) => rewrapRow(kms, row)));
    for (const [i, row] of slice.entries()) {
      const result = results[i];
      if (result) rewrapped.push(result);
      else damaged.push(row.id);
    }
  }
  return { rewrapped, damaged };
}

/** @returns Null when the row does not open. */
async function rewrapRow(kms: Kms, row: SecretRow): Promise<Rewrapped | null> {
  try {
    // The context the row claims: if it lies, its data key does not unwrap. A secret keeps the context it was sealed under.
    const { kekId, wrappedDek } = await rewrap(kms, sealContextOf(row), sealedOf(row));
    return { id: row.id, oldKekId: row.kekId, kekId, wrappedDek };
  } catch (error) {
    if (!(error instanceof KontextError)) throw error;
    if (error.code === 'KX_VAULT_OPEN' || error.code === 'KX_KEK_MISSING') return null;
    throw error;
  }
}
