/**
 * The local durable queue of one session's audit events: what the hook server writes, what the uploader sends.
 *
 * - `intend` writes an intent line before the answer, unsynced; the record follows after it. Records are chained and
 *   written in the order of their intents.
 * - Written records are synced in groups, every 100 ms or 100 lines, and only then offered for upload: an event that
 *   was sent cannot come back from a crash with other bytes.
 * - Limits per session: 64 MiB or 50,000 events that are not acknowledged yet. Beyond three quarters of the size
 *   payloads are left out. Beyond a limit, and while the disk refuses lines, events are dropped before they get a
 *   seq; one `events.lost` with their number and times takes the next.
 */
import { createStreamWriter } from '@kontext/audit';
import type { EventSink } from '../hooks/event-sink.ts';
import type { UploadTrouble } from './acknowledged.ts';
import { createGroupSync } from './group-sync.ts';
import { createRecordWriter, type SpoolLimits } from './record-writer.ts';
import { createSegments, type Segments } from './segments.ts';
import { type ClaimedDirectory, claimDirectory, spoolFailed } from './spool-directory.ts';
import { createUploadQueue, type UploadSource } from './upload-queue.ts';

/** What a later run must know to upload what this one leaves. */
export interface SpoolFacts {
  readonly apiUrl: string;
  readonly org: string;
  readonly session: string;
  readonly user: string;
  readonly agent: string;
  readonly stream: string;
  /** Base64 of the stream's nonce, 32 bytes. */
  readonly nonce: string;
}

/** The spool of a running session. */
export interface Spool extends EventSink {
  readonly source: UploadSource;
  /** Events and bytes that wait, and events dropped so far. */
  readonly state: { readonly events: number; readonly bytes: number; readonly lost: number };
  /** Ties the next event to the newest event of the server stream. @param hash 32 bytes. */
  noteServerEvent(hash: Uint8Array): void;
  /** The upload has come to a halt, or goes on (null): kept beside the spool, for `kontext status`. */
  noteTrouble(trouble: UploadTrouble | null): void;
  /** Writes what is still in memory and syncs it. */
  settle(): Promise<void>;
  /** Settles and gives up the directory; removes it when everything is acknowledged. @returns Whether it was. */
  close(): Promise<boolean>;
}

/** What a spool is opened with. */
export interface SpoolOptions {
  /** Directory of all spools; made when missing. */
  readonly root: string;
  /** The spool key, 32 bytes. */
  readonly key: Uint8Array;
  readonly facts: SpoolFacts;
  /** Default {@link defaultLimits}. */
  readonly limits?: SpoolLimits;
  /** Size at which a new segment begins; default 4 MiB. */
  readonly segmentBytes?: number;
  /** Called when synced events wait for upload. */
  readonly onReady?: () => void;
  /** Default `Date.now`. */
  readonly nowMs?: () => number;
}

/** 64 MiB or 50,000 events. */
export const defaultLimits: SpoolLimits = { maxBytes: 67_108_864, maxEvents: 50_000 };

/** Opens the spool of a new session. @throws KontextError `KX_SPOOL_CORRUPT` when it cannot be begun; nothing is left then. */
export function createSpool(options: SpoolOptions): Spool {
  const { facts, key, limits = defaultLimits, segmentBytes, onReady, nowMs = Date.now } = options;
  const directory = claimDirectory(options.root, facts.session);
  const segments = beginSegments(directory, {
    directory: directory.path,
    sessionId: facts.session,
    key,
    facts: () => ({ v: 1, ...facts }),
    ...(segmentBytes === undefined ? {} : { segmentBytes }),
  });
  const stream = createStreamWriter({
    orgId: facts.org,
    streamId: facts.stream,
    from: { nonce: Buffer.from(facts.nonce, 'base64') },
    nowMs,
  });
  const queue = createUploadQueue(segments, directory.path, nowMs);
  const group = createGroupSync(async () => {
    const { lastSeq } = queue;
    await segments.sync();
    if (queue.markSynced(lastSeq)) onReady?.();
  });
  const { session, user, agent } = facts;
  const common = { session, user, agent };
  const records = createRecordWriter({ common, limits, nowMs, stream, segments, queue, onLine: group.note });
  return {
    source: queue,
    intend: records.intend,
    noteServerEvent: records.noteServerEvent,
    noteTrouble: queue.noteTrouble,
    get full() {
      return records.full;
    },
    get state() {
      return { events: queue.length, bytes: segments.bytes, lost: records.lost };
    },
    async settle() {
      records.settle();
      await group.sync();
    },
    async close() {
      records.settle();
      await group.sync();
      group.stop();
      queue.close();
      const drained = queue.length === 0 && records.drained;
      segments.close();
      directory.release(drained);
      return drained;
    },
  };
}

function beginSegments(directory: ClaimedDirectory, options: Parameters<typeof createSegments>[0]): Segments {
  try {
    return createSegments(options);
  } catch (cause) {
    directory.release(true);
    throw spoolFailed(directory.path, cause);
  }
}
