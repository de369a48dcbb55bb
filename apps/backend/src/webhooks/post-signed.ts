import { KontextError } from '@kontext/errors';
import type { SecretRow } from '../store/queries/secrets.ts';
import type { SenderDeps } from './deps.ts';
import { signMessage } from './sign-message.ts';
import { openSigningKey, type Receiver } from './signing-key.ts';

/** Longest a receiver may take, from the first byte out to the last byte in. */
const timeoutMs = 10_000;
/** What a receiver says is not read, only counted. */
const maxAnswerBytes = 64 * 1024;
/** Longest a receiver can ask us to stay away. */
const longestRetryAfterMs = 24 * 60 * 60_000;

/** What came back: an HTTP status, or 0 and why none came. */
export interface Attempt {
  readonly status: number;
  /** Empty for 2xx; never what the receiver sent. */
  readonly error: string;
  /** The receiver's `Retry-After` (RFC 9110 §10.2.3) in milliseconds, at most a day; 0 without one. */
  readonly retryAfterMs: number;
}

/** One message, and who gets it. */
export interface SignedMessage {
  readonly receiver: Receiver;
  readonly url: string;
  /** The receiver's signing key as it is stored. */
  readonly sealed: SecretRow;
  /** The same for every attempt. */
  readonly id: string;
  readonly body: string;
}

/** Opens the receiver's key, signs a message and sends it once; never rejects. */
export async function postSigned(
  deps: Pick<SenderDeps, 'kms' | 'fetch' | 'nowMs'>,
  { receiver, url, sealed, id, body }: SignedMessage,
): Promise<Attempt> {
  try {
    const secret = await openSigningKey(deps.kms, receiver, sealed);
    const headers = signMessage(secret, id, new Date(deps.nowMs()), body);
    const answer = await deps.fetch(url, {
      ...{ method: 'POST', headers, body, timeoutMs, maxBodyBytes: maxAnswerBytes },
    });
    const isTaken = answer.status >= 200 && answer.status < 300;
    return {
      status: answer.status,
      error: isTaken ? '' : `it answered ${answer.status}`,
      retryAfterMs: isTaken ? 0 : parseRetryAfter(answer.headers['retry-after'], deps.nowMs()),
    };
  } catch (error) {
    return failedAttempt(error);
  }
}

/** The attempt that came to nothing before an answer. */
const failedAttempt = (error: unknown): Attempt => ({
  status: 0,
  error: error instanceof KontextError ? error.why || error.message : 'it could not be sent',
  retryAfterMs: 0,
});

/** Seconds or an HTTP date; whatever is neither counts for nothing. */
function parseRetryAfter(text: string | undefined, nowMs: number): number {
  if (text === undefined) return 0;
  const waitMs = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return Number.isFinite(waitMs) ? Math.min(longestRetryAfterMs, Math.max(0, waitMs)) : 0;
}
