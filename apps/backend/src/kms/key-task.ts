import type { Logger } from '../log.ts';
import type { KekRow } from '../store/queries/keks.ts';
import type { Store } from '../store/store.ts';
import type { Keyring } from './keyring.ts';
import { rewrapSecrets } from './rewrap-secrets.ts';
import { type KeySync, syncKeys } from './sync-keys.ts';

/** How often a backend looks for a rotation. */
export const keyPollMs = 5_000;
/** Longest one run re-wraps; the next goes on. */
const runBudgetMs = 30_000;

/** A KEK is due after so many wraps (random nonces, NIST SP 800-38D §8.3, with a margin of two) … */
const dueUses = 2 ** 31;
/** … or this long. */
const dueAgeMs = 365 * 86_400_000;

/** What the background work on keys is made from. */
export interface KeyTaskParts {
  readonly store: Store;
  readonly keyring: Keyring;
  readonly logger: Logger;
  readonly nowMs: () => number;
}

/**
 * The background work on keys: follows rotations, re-wraps what lies under older keys, retires those, and says when the active
 * one is due. What it finds is logged once, not at every run.
 */
export function createKeyTask({ store, keyring, logger, nowMs }: KeyTaskParts) {
  const said = new Set<string>();
  const once = (what: string, say: () => void): void => {
    if (said.has(what)) return;
    said.add(what);
    say();
  };

  const tell = ({ keks, activeKekId, isFollowing, retired }: KeySync): void => {
    for (const kekId of retired) logger.info({ kekId }, 'a key is retired: nothing is wrapped under it');
    if (!isFollowing) {
      once(`behind ${activeKekId}`, () =>
        logger.error({ kekId: activeKekId }, 'the active key is not available here: copy the key file'),
      );
    }
    const active = keks.find(({ id }) => id === activeKekId);
    if (active && isDue(active, nowMs())) {
      once(`due ${active.id}`, () =>
        logger.warn({ kekId: active.id, uses: active.uses }, 'the active key is due: run keys rotate'),
      );
    }
  };

  const rewrapAll = async ({ staleKekIds }: KeySync): Promise<void> => {
    const endsAt = performance.now() + runBudgetMs;
    for (const kekId of staleKekIds) {
      if (!keyring.keyIds.includes(kekId)) {
        once(`gone ${kekId}`, () => logger.error({ kekId }, 'secrets are wrapped under a key that is gone'));
        continue;
      }
      const report = await rewrapSecrets(store, keyring, kekId, () => performance.now() < endsAt);
      if (report.rewrapped > 0) logger.info({ kekId, secrets: report.rewrapped }, 'secrets were re-wrapped');
      if (report.damaged.length > 0) {
        const ids = report.damaged.slice(0, 20);
        once(`damaged ${kekId}`, () => logger.error({ kekId, ids }, 'secrets cannot be re-wrapped'));
      }
    }
  };

  return {
    name: 'keys',
    intervalMs: keyPollMs,
    run: async (): Promise<void> => {
      const sync = await syncKeys(store, keyring, new Date(nowMs()));
      tell(sync);
      // A process that lacks the active key would put secrets back under an old one.
      if (sync.isFollowing) await rewrapAll(sync);
    },
  };
}

/** Whether a KEK should be replaced: 2³¹ wraps, or a year. */
export const isDue = ({ uses, activatedAt, createdAt }: KekRow, nowMs: number): boolean =>
  uses >= dueUses || nowMs - (activatedAt ?? createdAt).getTime() >= dueAgeMs;
