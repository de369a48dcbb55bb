import type { ChainedEvent } from '@kontext/audit';
import { type Acknowledged, type UploadTrouble, writeAcknowledged } from './acknowledged.ts';
import type { LinePlace, Segments } from './segments.ts';

/** Where the uploader takes events from. */
export interface UploadSource {
  /** Synced events that were not taken yet, oldest first. */
  take(maxEvents: number, maxBytes: number): ChainedEvent[];
  /** Offers everything that is not acknowledged again. */
  rewind(): void;
  /** Everything up to this seq is stored. */
  acknowledge(seq: number): void;
  /**
   * The backend's head is at `seq`: goes on from the event after it.
   *
   * @param chain Chain value the backend has there.
   * @returns False when the event after it is no longer here, or another one than ours is stored at `seq`.
   */
  resendFrom(seq: number, chain: Uint8Array): boolean;
}

/** Records on disk that are not acknowledged. */
export interface UploadQueue extends UploadSource {
  readonly length: number;
  /** Seq of the newest record on disk. */
  readonly lastSeq: number;
  add(event: ChainedEvent, place: LinePlace): void;
  /** Records up to this seq are durable. @returns Whether any can be taken. */
  markSynced(seq: number): boolean;
  /** The upload has come to a halt, or goes on (null); written down at once. */
  noteTrouble(trouble: UploadTrouble | null): void;
  /** Writes down where it stands, for the run that comes after; no timer fires any more. */
  close(): void;
}

/** Written events kept in memory, so that the usual upload reads nothing back. */
const maxCachedBytes = 4_194_304;

/** The side file is written no more often. */
const writeEveryMs = 1000;

interface Waiting {
  readonly seq: number;
  readonly chain: Buffer;
  readonly bytes: number;
  readonly atMs: number;
  readonly place: LinePlace;
  readonly cached: ChainedEvent | null;
}

/** Makes the queue of one spool. @param directory Where the acknowledged seq and the backlog are kept. */
export function createUploadQueue(
  segments: Segments,
  directory: string,
  nowMs: () => number = Date.now,
): UploadQueue {
  const waiting: Waiting[] = [];
  let acknowledged: Acknowledged = { seq: 0, chain: null };
  let taken = 0;
  let syncedSeq = 0;
  let cachedBytes = 0;
  let writtenAtMs = Number.NEGATIVE_INFINITY;
  let trouble: UploadTrouble | null = null;
  let timer: NodeJS.Timeout | null = null;
  const cancel = (): void => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
  };
  const writeState = (): void => {
    cancel();
    writtenAtMs = performance.now();
    const [oldest] = waiting;
    const oldestAt = oldest === undefined ? null : new Date(oldest.atMs).toISOString();
    try {
      writeAcknowledged(directory, acknowledged, { events: waiting.length, oldestAt, trouble });
    } catch {
      // A full disk: the next run sends these again, which is answered as a duplicate.
    }
  };
  /** Hooks wait while a file is renamed: no more than once a second, and never late by more than that. */
  const writeSoon = (): void => {
    timer ??= setTimeout(writeState, writeEveryMs).unref();
  };
  const queue: UploadQueue = {
    take(maxEvents, maxBytes) {
      const batch: ChainedEvent[] = [];
      let bytes = 0;
      for (; batch.length < maxEvents; taken += 1) {
        const item = waiting[taken];
        if (item === undefined || item.seq > syncedSeq) break;
        bytes += item.bytes;
        if (batch.length > 0 && bytes > maxBytes) break;
        batch.push(item.cached ?? readBack(segments, item.place));
      }
      return batch;
    },
    rewind() {
      taken = 0;
    },
    acknowledge(seq) {
      const left = waiting.findIndex((item) => item.seq > seq);
      const done = waiting.splice(0, left < 0 ? waiting.length : left);
      for (const item of done) if (item.cached !== null) cachedBytes -= item.bytes;
      const last = done.at(-1);
      if (last === undefined) return;
      taken = Math.max(0, taken - done.length);
      acknowledged = { seq: last.seq, chain: last.chain };
      // Hooks wait while a file is renamed. An old state costs no more than sending again, unless what it leads to is deleted.
      const isDue = performance.now() - writtenAtMs >= writeEveryMs;
      if (isDue || segments.canRelease(last.seq)) writeState();
      else writeSoon();
      segments.release(last.seq);
    },
    resendFrom(seq, chain) {
      const ours = seq === acknowledged.seq ? acknowledged : waiting.find((item) => item.seq === seq);
      // Before the first event there is no chain value of ours; the backend checks the first link.
      if (ours === undefined || (ours.chain !== null && Buffer.compare(ours.chain, chain) !== 0))
        return false;
      queue.acknowledge(seq);
      taken = 0;
      return true;
    },
    get length() {
      return waiting.length;
    },
    get lastSeq() {
      return waiting.at(-1)?.seq ?? acknowledged.seq;
    },
    add(event, place) {
      const cached = cachedBytes + place.length <= maxCachedBytes ? event : null;
      if (cached !== null) cachedBytes += place.length;
      waiting.push({ seq: event.seq, chain: event.chain, bytes: place.length, atMs: nowMs(), place, cached });
    },
    markSynced(seq) {
      syncedSeq = Math.max(syncedSeq, seq);
      writeSoon();
      return waiting.length > taken;
    },
    noteTrouble(next) {
      trouble = next;
      writeState();
    },
    close() {
      cancel();
      if (waiting.length > 0) writeState();
    },
  };
  return queue;
}

function readBack(segments: Segments, place: LinePlace): ChainedEvent {
  const entry = segments.read(place);
  if (entry.kind !== 'record') throw new Error('a spool line is not the record it was');
  return entry.record;
}
