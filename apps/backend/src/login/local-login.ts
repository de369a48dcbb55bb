import { findLocalAccount } from '../store/queries/local-accounts.ts';
import type { Store } from '../store/store.ts';
import { createPasscode, hashPasscode, verifyPasscode } from './passcode.ts';
import { type RateLimiter, wrongPasscode } from './rate-limiter.ts';

/** Who logged in, or that nobody did. Why is not told apart: which names exist must not be guessable. */
export type LocalLogin =
  | { readonly ok: true; readonly userId: string; readonly orgId: string }
  | { readonly ok: false; readonly retryAfterSeconds: number | null };

/** Checks passcodes of local accounts. */
export interface LocalLogins {
  /**
   * Checks account and passcode, at most 10 wrong ones per account in 15 minutes.
   *
   * @returns `retryAfterSeconds` when the limit was reached; then even the right passcode is refused.
   */
  logIn(account: string, passcode: string): Promise<LocalLogin>;
}

/** Creates the checker; one per process, because it works one passcode at a time (scrypt takes 32 MB each). */
export function createLocalLogins(store: Store, limiter: RateLimiter): LocalLogins {
  // Checked in place of an account that does not exist, so that both take the same time.
  const decoy = hashPasscode(createPasscode());
  let queue: Promise<unknown> = Promise.resolve();
  const oneAtATime = <T>(work: () => Promise<T>): Promise<T> => {
    const result = queue.then(work);
    queue = result.catch(() => undefined);
    return result;
  };
  return {
    logIn: async (account, passcode) => {
      // Counted before it is looked at: of many that come at once no more than the limit are.
      const verdict = await limiter.count(wrongPasscode, account);
      if (!verdict.allowed) return { ok: false, retryAfterSeconds: verdict.retryAfterSeconds };
      const row = await store.transaction({ role: 'system', orgId: null }, (tx) =>
        findLocalAccount(tx, account),
      );
      const matches = await oneAtATime(async () => verifyPasscode(passcode, row ?? (await decoy)));
      if (!matches || !row || row.userDisabled) return { ok: false, retryAfterSeconds: null };
      await limiter.giveBack(wrongPasscode, account);
      return { ok: true, userId: row.userId, orgId: row.orgId };
    },
  };
}
