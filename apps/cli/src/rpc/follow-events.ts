import { setTimeout as sleep } from 'node:timers/promises';
import { KontextError } from '@kontext/errors';
import type { StoredEvent } from '@kontext/protocol';
import type { Clients } from './clients.ts';

/** What to follow. */
export interface FollowRequest {
  /** Empty: all the caller may see. */
  readonly sessionId: string;
  readonly sinceSeconds: number;
  readonly signal: AbortSignal;
  /** Wait before a cut stream is opened again; default 1 s. */
  readonly retryMs?: number;
}

const temporary = ['KX_BACKEND_UNREACHABLE', 'KX_TEMPORARY', 'KX_RATE_LIMITED'];

/**
 * Follows events as they are stored, over cuts of the connection: after one it goes on behind the last answer that was seen, with
 * nothing left out and nothing twice. Ends with the signal.
 *
 * @param onCut Called when the stream broke off and will be opened again.
 * @throws KontextError what the backend answers for good, such as `KX_NOT_FOUND`.
 */
export async function* followEvents(
  clients: Clients,
  request: FollowRequest,
  onCut: (error: Error) => void,
): AsyncGenerator<StoredEvent> {
  const { sessionId, sinceSeconds, signal } = request;
  let cursor = '';
  // A unary call first: it settles token and nonce, and a stream cannot be repeated.
  await clients.organisation.getCaller({}, { signal });
  while (!signal.aborted) {
    try {
      // No deadline: the stream lives as long as somebody looks.
      const answers = clients.audit.watchEvents(
        { sessionId, sinceSeconds, cursor },
        { signal, timeoutMs: 0 },
      );
      for await (const answer of answers) {
        yield* answer.events.sort(byArrival);
        cursor = answer.cursor;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof KontextError) || !temporary.includes(error.code)) throw error;
      onCut(error);
    }
    await sleep(request.retryMs ?? 1_000, undefined, { signal }).catch(() => undefined);
  }
}

/** A batch comes in the order of the log; a person reads it in the order of arrival. */
const byArrival = (a: StoredEvent, b: StoredEvent): number => arrivedAt(a) - arrivedAt(b);

const arrivedAt = ({ receivedAt }: StoredEvent): number =>
  Number(receivedAt?.seconds ?? 0) * 1000 + (receivedAt?.nanos ?? 0) / 1e6;
