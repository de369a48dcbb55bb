import {
  activateKek,
  addKekUses,
  insertFoundKeks,
  type KekRow,
  listKeks,
  listKeksInUse,
  retireKeks,
} from '../store/queries/keks.ts';
import type { Store } from '../store/store.ts';
import { type Keyring, providerOf } from './keyring.ts';
import { probeKey } from './probe-key.ts';

const scope = { role: 'system', orgId: null } as const;

/**
 * How long the old key stays `retiring` at least. Replicas look every few seconds; until all have looked, one may still wrap
 * under it.
 */
const noticedAfterMs = 60_000;

/** What {@link syncKeys} found. */
export interface KeySync {
  readonly keks: readonly KekRow[];
  /** The active key of the table; every replica should seal under it. */
  readonly activeKekId: string;
  /** False: this process does not have that key, and seals under the one it had. */
  readonly isFollowing: boolean;
  /** KEKs other than the active one that secrets are still wrapped under. */
  readonly staleKekIds: readonly string[];
  /** KEKs retired just now. */
  readonly retired: readonly string[];
}

/**
 * Brings the keyring and the table `keks` together, in one transaction: follows a rotation that was made elsewhere, makes a
 * new active key of the key file known, counts uses, retires what nothing is wrapped under.
 *
 * @throws KontextError `KX_KEK_MISSING` when the key file became unusable; the keys read before stay in use. For the first key
 *   of a key service also what {@link probeKey} throws: nothing was sealed under it then.
 */
export async function syncKeys(store: Store, keyring: Keyring, now: Date): Promise<KeySync> {
  keyring.reload();
  await probeFirstKey(store, keyring);
  const uses = keyring.takeUses();
  const synced = await store
    .transaction(scope, async (tx) => {
      const inUse = await listKeksInUse(tx);
      const found = inUse.map((id) => ({ id, provider: providerOf(id) }));
      const before = await listKeks(tx);
      const proposed = proposeActive(keyring, before);
      if (proposed !== null) {
        await activateKek(tx, { id: proposed, provider: providerOf(proposed) }, now, true);
      }
      await insertFoundKeks(
        tx,
        found.filter(({ id }) => !before.some((kek) => kek.id === id)),
        now,
      );
      await addKekUses(tx, uses);
      const supersededBefore = new Date(now.getTime() - noticedAfterMs);
      const retired = await retireKeks(tx, inUse, supersededBefore, now);
      return { keks: await listKeks(tx), inUse, retired };
    })
    .catch((error: unknown) => {
      keyring.returnUses(uses);
      throw error;
    });
  const { keks, inUse, retired } = synced;
  const activeKekId = keks[0]?.state === 'active' ? keks[0].id : keyring.activeKekId;
  const isFollowing = keyring.activate(activeKekId);
  const staleKekIds = inUse.filter((id) => id !== activeKekId);
  return { keks, activeKekId, isFollowing, staleKekIds, retired };
}

/** A rotation tries its key; the first one nobody rotates to. Before the transaction: the service is across a network. */
async function probeFirstKey(store: Store, keyring: Keyring): Promise<void> {
  if (keyring.preferred.fromFile) return;
  const proposed = proposeActive(keyring, await store.transaction(scope, listKeks));
  if (proposed !== null) await probeKey(keyring.serviceOf(proposed), proposed);
}

/**
 * The key this process may make active: one that the table does not know.
 *
 * Changing the key file is a decision in itself; a list of KONTEXT_KMS_KEYS is not, because while replicas restart with it one
 * by one the others cannot use its new key yet. There it takes `keys rotate`.
 */
function proposeActive(keyring: Keyring, keks: readonly KekRow[]): string | null {
  const { kekId, fromFile } = keyring.preferred;
  if (keks.some(({ id }) => id === kekId)) return null;
  return fromFile || !keks.some(({ state }) => state === 'active') ? kekId : null;
}
