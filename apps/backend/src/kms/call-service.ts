import { setTimeout as delay } from 'node:timers/promises';
import { KontextError } from '@kontext/errors';

/** How a key service is asked. */
export interface CallOptions {
  /** Longest one try may take; default 5,000, sensible 1,000 to 15,000. */
  readonly timeoutMs?: number;
}

const defaultTimeoutMs = 5_000;
const [leastPauseMs, mostPauseMs] = [50, 250];

/**
 * Asks a key service with a deadline, and once more when it did not answer: wrapping twice does no harm.
 *
 * @param service Its name in messages.
 * @param attempt One try; it throws a KontextError for an answer it understood, anything else for one that never came.
 * @throws KontextError what `attempt` threw, or `KX_KMS_UNAVAILABLE` when there was no answer in time, twice.
 */
export async function callService<T>(
  service: string,
  { timeoutMs = defaultTimeoutMs }: CallOptions,
  attempt: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const once = async (): Promise<T> => {
    try {
      return await attempt(AbortSignal.timeout(timeoutMs));
    } catch (error) {
      throw error instanceof KontextError
        ? error
        : unavailable(service, 'there was no answer in time', error);
    }
  };
  try {
    return await once();
  } catch (error) {
    if (!(error instanceof KontextError) || error.code !== 'KX_KMS_UNAVAILABLE') throw error;
    await delay(leastPauseMs + Math.random() * (mostPauseMs - leastPauseMs));
    return once();
  }
}

/** The service is down or overloaded; worth another try. */
export const unavailable = (service: string, why: string, cause?: unknown): KontextError =>
  new KontextError('KX_KMS_UNAVAILABLE', `${service} does not answer`, { why, cause });

/** The service says no; another try changes nothing. */
export const refused = (service: string, why: string, cause?: unknown): KontextError =>
  new KontextError('KX_KMS_REFUSED', `${service} refuses the key-encryption key`, { why, cause });

/** Wrapped key, KEK and context do not belong together; looks as when a local key refuses. */
export const doesNotUnwrap = (): KontextError =>
  new KontextError('KX_VAULT_OPEN', 'a sealed secret cannot be opened', {
    why: 'the record, its context or its key-encryption key is not the one it was sealed with',
  });

/**
 * Checks the length of an unwrapped data key.
 *
 * @throws KontextError `KX_VAULT_OPEN` when it has not 32 bytes; it is zeroed.
 */
export function checkDek(dek: Buffer): Buffer {
  if (dek.length === 32) return dek;
  dek.fill(0);
  throw doesNotUnwrap();
}
