/**
 * Sends a spool's events to the backend: batches in order, one at a time, idempotent.
 *
 * - At most 500 events or 1 MiB a batch; halved when the backend calls it too large. A single event that is refused
 *   for its payload goes without it: the header stays, and says what the payload's hash was.
 * - What failed for now is sent again after a full-jitter back-off of 0.2 to 30 s; a longer wait the backend asks for
 *   is kept.
 * - A gap is answered by sending from the backend's head on. A fork, or a head that does not match ours, stops the
 *   upload for good: it cannot be repaired by the one it accuses.
 * - Idle, it has no timer.
 */
import type { ChainedEvent } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { UploadSource } from './upload-queue.ts';

/** One call of AppendEvents. */
export interface AppendBatch {
  /** Chain value before the first event, 32 bytes. */
  readonly prev: Uint8Array;
  readonly events: readonly ChainedEvent[];
}

/** What the backend made of a batch. */
export interface AppendAnswer {
  readonly status: 'ok' | 'dup' | 'gap' | 'fork';
  readonly headSeq: number;
  readonly headHash: Uint8Array;
  /** Signed note of the organisation's log that came with the answer; empty or left out when none did. */
  readonly checkpoint?: string;
}

/** How the upload is doing; told once at each change. */
export type UploadState =
  | { readonly kind: 'flowing' }
  | { readonly kind: 'waiting'; readonly error: unknown }
  /** Nothing more will be sent by this process. */
  | { readonly kind: 'stopped'; readonly error: KontextError };

/** What the uploader needs. */
export interface UploaderOptions {
  readonly source: UploadSource;
  /** @throws KontextError as the backend answers. */
  readonly append: (batch: AppendBatch) => Promise<AppendAnswer>;
  readonly onState?: (state: UploadState) => void;
  /** From 0 up to, not including, 1; default `Math.random`. */
  readonly random?: () => number;
}

/** Sends while there is something to send. */
export interface Uploader {
  /** Events wait. Does nothing while a batch or a back-off runs. */
  notify(): void;
  /** Resolves when nothing waits, when the upload has stopped, or after so many milliseconds. */
  flush(deadlineMs: number): Promise<void>;
  /** Sends nothing more; a running call is not waited for. */
  close(): void;
}

const maxBatchEvents = 500;
const maxBatchBytes = 1_048_576;
/** Gaps in a row; each is answered with what the backend asks for, so a second one is already odd. */
const maxGaps = 3;
const firstWaitMs = 200;
const longestWaitMs = 30_000;

/** Codes that time cannot heal. */
const finalCodes: ReadonlySet<string> = new Set([
  'KX_SESSION_ENDED',
  'KX_NOT_FOUND',
  'KX_FORBIDDEN',
  'KX_AUDIT_FORK',
  'KX_AUDIT_GAP',
]);

/** Makes the uploader of one spool. */
export function createUploader(options: UploaderOptions): Uploader {
  const { source, append, onState, random = Math.random } = options;
  let batchEvents = maxBatchEvents;
  const backoff = createBackoff(random);
  let gaps = 0;
  let wanted = false;
  // Written from callbacks, so its type is not narrowed by what stands between.
  let state = 'flowing' as UploadState['kind'];
  let running: Promise<void> | null = null;

  const enter = (next: UploadState): void => {
    if (state === 'stopped' || state === next.kind) return;
    state = next.kind;
    onState?.(next);
  };
  const stop = (error: KontextError): void => enter({ kind: 'stopped', error });

  const settle = (answer: AppendAnswer, batch: readonly ChainedEvent[]): void => {
    if (answer.status === 'ok' || answer.status === 'dup') {
      source.acknowledge(batch.at(-1)?.seq ?? 0);
      batchEvents = Math.min(maxBatchEvents, batchEvents + 10);
      backoff.reset();
      gaps = 0;
      enter({ kind: 'flowing' });
    } else if (answer.status === 'fork') {
      stop(new KontextError('KX_AUDIT_FORK', 'the backend holds other events than this session sent'));
    } else if (++gaps > maxGaps || !source.resendFrom(answer.headSeq, answer.headHash)) {
      const why = `it stands at event ${answer.headSeq}, which is not where this session was`;
      stop(new KontextError('KX_AUDIT_GAP', 'the backend lost events of this session', { why }));
    }
  };

  const send = async (batch: readonly ChainedEvent[]): Promise<void> => {
    try {
      settle(await append(toBatch(batch)), batch);
    } catch (error) {
      source.rewind();
      if (isRefusedForItself(error)) {
        if (batch.length > 1) batchEvents = Math.ceil(batch.length / 2);
        else await sendBare(batch, error);
      } else if (isFinal(error)) stop(error);
      else await pause(error);
    }
  };

  const pause = async (error: unknown): Promise<void> => {
    enter({ kind: 'waiting', error });
    await backoff.wait(error);
  };

  const sendBare = async ([event]: readonly ChainedEvent[], refusal: unknown): Promise<void> => {
    const error =
      refusal instanceof KontextError ? refusal : new KontextError('KX_EVENT_INVALID', 'an event is refused');
    if (event === undefined || event.payload === null) return stop(error);
    const bare = { ...event, payload: null, salt: null };
    try {
      settle(await append(toBatch([bare])), [event]);
    } catch (again) {
      // The header is refused, too: the chain cannot go on without it.
      if (isRefusedForItself(again) || isFinal(again)) stop(error);
      else await pause(again);
    }
  };

  const run = async (): Promise<void> => {
    while (state !== 'stopped') {
      const batch = source.take(batchEvents, maxBatchBytes);
      if (batch.length === 0) return;
      await send(batch);
    }
  };
  const notify = (): void => {
    wanted = true;
    if (running !== null) return;
    wanted = false;
    running = run()
      .catch((error: unknown) =>
        stop(new KontextError('KX_SPOOL_CORRUPT', 'the local spool cannot be read', { cause: error })),
      )
      .finally(() => {
        running = null;
        // What became ready while the last look was on its way out.
        if (wanted) notify();
      });
  };
  return {
    notify,
    async flush(deadlineMs) {
      let isLate = false;
      let timer: NodeJS.Timeout | undefined;
      const deadline = new Promise<void>((resolve) => {
        timer = setTimeout(() => {
          isLate = true;
          resolve();
        }, deadlineMs);
      });
      notify();
      backoff.wake();
      // A run that was on its way out is followed by another for what became ready meanwhile.
      while (running !== null && !isLate) await Promise.race([running, deadline]);
      clearTimeout(timer);
    },
    close() {
      state = 'stopped';
      backoff.wake();
    },
  };
}

/** Full jitter: anything up to a ceiling that doubles, but never below the first wait or what the backend asks for. */
function createBackoff(random: () => number) {
  let failures = 0;
  let wake: () => void = () => undefined;
  return {
    reset() {
      failures = 0;
    },
    wait(error: unknown): Promise<void> {
      const asked = error instanceof KontextError ? Number(error.details.retry_after_seconds ?? 0) * 1000 : 0;
      const ceiling = Math.min(longestWaitMs, firstWaitMs * 2 ** failures);
      failures += 1;
      return new Promise((resolve) => {
        const timer = setTimeout(resolve, Math.max(firstWaitMs, asked, random() * ceiling));
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    },
    wake: () => wake(),
  };
}

const toBatch = (events: readonly ChainedEvent[]): AppendBatch => ({
  prev: events[0]?.prev ?? new Uint8Array(),
  events,
});

const isFinal = (error: unknown): error is KontextError =>
  error instanceof KontextError && finalCodes.has(error.code);

/** The batch itself is the trouble: too large for the backend, or one of its events refused. */
function isRefusedForItself(error: unknown): boolean {
  if (!(error instanceof KontextError)) return false;
  if (error.code === 'KX_EVENT_INVALID' || error.code === 'KX_REQUEST_INVALID') return true;
  return /too large|larger than|\b413\b/i.test(`${error.message} ${error.why}`);
}
