/**
 * The files of one session's spool: `000001.ndjson`, `000002.ndjson`, …, mode 0600 in a directory of mode 0700.
 * The lines are those of `packages/audit`; this knows files, sync and rotation.
 *
 * - Every segment begins with an `open` line.
 * - A line that could not be written whole is cut off again, so that the next one is not lost behind it.
 * - Segments whose events are all acknowledged are deleted.
 */
import { closeSync, fdatasync, ftruncateSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import {
  openSpoolSegment,
  type SpoolEntry,
  type SpoolTail,
  sealSpoolLine,
  startSpoolSegment,
} from '@kontext/audit';

/** Where a line lies, so that it can be read again. */
export interface LinePlace {
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
  /** The place in the chain of lines before it. */
  readonly before: SpoolTail;
}

/** Writes and reads a session's segments. All calls but `sync` are synchronous: they lie on the way of an answer. */
export interface Segments {
  /** Bytes on disk. */
  readonly bytes: number;
  /**
   * Appends a line.
   *
   * @param seq Seq of the event it belongs to, which keeps the segment until that is acknowledged.
   * @throws Error of the file system; nothing was written then.
   */
  append(entry: SpoolEntry, seq: number): LinePlace;
  /** Reads a line back. @throws Error when it cannot be read as it was written. */
  read(place: LinePlace): SpoolEntry;
  /** Makes what was appended before the call durable. */
  sync(): Promise<void>;
  /** Whether {@link Segments.release} would delete anything. */
  canRelease(seq: number): boolean;
  /** Deletes the segments whose every event is at most `seq`, but for the one being written. */
  release(seq: number): void;
  close(): void;
}

/** Name of a segment's file. */
export const segmentName = (segment: number): string => `${String(segment).padStart(6, '0')}.ndjson`;

/** Opens the spool of a new session. The directory must exist and be empty. */
export function createSegments(options: {
  readonly directory: string;
  readonly sessionId: string;
  readonly key: Uint8Array;
  /** Content of each segment's `open` line. */
  readonly facts: () => Readonly<Record<string, unknown>>;
  /** Size at which a new segment begins, default 4 MiB. */
  readonly segmentBytes?: number;
}): Segments {
  const { directory, sessionId, key, facts, segmentBytes = 4_194_304 } = options;
  const files = new Map<number, SegmentFile>();
  const releasable = (seq: number): readonly SegmentFile[] =>
    [...files.values()].filter((file) => file !== current && file.lastSeq <= seq);
  const append = (file: SegmentFile, entry: SpoolEntry, seq: number): LinePlace => {
    const before = file.tail;
    const sealed = sealSpoolLine(key, before, entry);
    writeWhole(file, sealed.bytes);
    const place = { segment: file.number, offset: file.length, length: sealed.bytes.length, before };
    file.tail = sealed.tail;
    file.length += sealed.bytes.length;
    file.lastSeq = Math.max(file.lastSeq, seq);
    return place;
  };
  const start = (number: number): SegmentFile => {
    const descriptor = openSync(join(directory, segmentName(number)), 'wx+', 0o600);
    const file = { number, descriptor, tail: startSpoolSegment(sessionId, number), length: 0, lastSeq: 0 };
    try {
      append(file, { kind: 'open', facts: facts() }, 0);
    } catch (error) {
      // Or the next attempt would find the file there.
      closeSync(descriptor);
      rmSync(join(directory, segmentName(number)), { force: true });
      throw error;
    }
    files.set(number, file);
    return file;
  };
  let current = start(1);
  /** Number of the oldest segment with lines that may not be durable. */
  let firstUnsynced = 1;
  return {
    get bytes() {
      return [...files.values()].reduce((sum, file) => sum + file.length, 0);
    },
    append(entry, seq) {
      if (current.length >= segmentBytes) current = start(current.number + 1);
      return append(current, entry, seq);
    },
    read(place) {
      const bytes = Buffer.alloc(place.length);
      const file = files.get(place.segment);
      if (file !== undefined) readSync(file.descriptor, bytes, 0, place.length, place.offset);
      const entry = openSpoolSegment(bytes, key, place.before).lines[0]?.entry;
      if (entry === undefined) throw new Error('a spool line cannot be read back');
      return entry;
    },
    async sync() {
      // Segments that were left since the last sync hold lines that count, too; while one takes its time there can be several.
      const upTo = current.number;
      const open = [...files.values()].filter(({ number }) => number >= firstUnsynced);
      await Promise.all(open.map((file) => dataSync(file.descriptor)));
      firstUnsynced = Math.max(firstUnsynced, upTo);
    },
    canRelease: (seq) => releasable(seq).length > 0,
    release(seq) {
      for (const file of releasable(seq)) {
        files.delete(file.number);
        closeSync(file.descriptor);
        rmSync(join(directory, segmentName(file.number)), { force: true });
      }
    },
    close() {
      for (const file of files.values()) closeSync(file.descriptor);
      files.clear();
    },
  };
}

interface SegmentFile {
  readonly number: number;
  readonly descriptor: number;
  tail: SpoolTail;
  length: number;
  lastSeq: number;
}

function writeWhole(file: SegmentFile, bytes: Buffer): void {
  let written = 0;
  try {
    while (written < bytes.length) {
      written += writeSync(file.descriptor, bytes, written, bytes.length - written, file.length + written);
    }
  } catch (error) {
    if (written > 0) ftruncateSync(file.descriptor, file.length);
    throw error;
  }
}

const dataSync = (descriptor: number): Promise<void> =>
  new Promise((resolve, reject) => {
    fdatasync(descriptor, (error) => (error === null || error === undefined ? resolve() : reject(error)));
  });
