import { AsyncLocalStorage } from 'node:async_hooks';
import { KontextError } from '@kontext/errors';

/** Keeps a transaction from being opened inside another one. */
export interface TransactionGuard {
  /**
   * Runs `work` marked as being inside a transaction.
   *
   * @throws KontextError `KX_INTERNAL` when this async context is inside one already.
   */
  enter<T>(work: () => Promise<T>): Promise<T>;
}

/**
 * Creates a guard; one per store.
 *
 * The outer handle used inside a transaction waits for ever on PGlite and takes a second connection on Postgres, where it
 * sees nothing of the first. Work that was started inside but goes on after the end is not refused.
 */
export function createTransactionGuard(): TransactionGuard {
  const current = new AsyncLocalStorage<{ open: boolean }>();
  return {
    enter: async (work) => {
      if (current.getStore()?.open === true) {
        throw new KontextError('KX_INTERNAL', 'a transaction was opened inside another one', {
          why: 'inside a transaction only its own handle may be used',
        });
      }
      const mark = { open: true };
      try {
        return await current.run(mark, work);
      } finally {
        mark.open = false;
      }
    },
  };
}
