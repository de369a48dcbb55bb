/**
 * The audit bundle that a backend exports: JSON Lines, UTF-8, each line ended by a line feed and one JSON object with one key.
 *
 * 1. `{"kontext":"audit-bundle","v":1,"made":"export",…}`, {@link BundleFacts}: the first line;
 * 2. `{"key":"name+id+base64"}`: a verifier key of the log, as the backend says it. Whether it is trusted is for the reader;
 * 3. `{"checkpoint":"…"}`: the signed note. All that follows is what the log of that size holds, along its leaves:
 * 4. `{"stream":{…}}` before the first segment of each stream;
 * 5. `{"segment":{…}}`, a leaf, and after it the lines of its events, `{"event":{…}}`, in order of seq;
 * 6. `{"skip":{"from","to","nodes"}}` for leaves that are not in the file: the complete nodes they make, from the left;
 * 7. `{"end":{"stream","seq","hash"}}` after the last segment of each stream;
 * 8. `{"done":{…}}`, {@link BundleSums}: the last line, with the SHA-256 of all bytes before it.
 *
 * Every leaf of the log stands there or is skipped, in order, so the signed root follows from the file in one pass, without a
 * proof per segment. Bytes are base64; headers and payloads are the very texts that were hashed. What nothing vouches for is
 * said with the field. The bundle of `kontext start --local` (`"made":"local"`) has other lines and no signature.
 */
import type { NodePlace } from '../log/merkle-tree.ts';
import type { Segment } from '../log/segment.ts';
import type { StoredColumns } from '../stored-columns.ts';
import type { StreamHead } from '../stream-writer.ts';

/** What the first line says. Only `org`, `log` and `size` are verified. */
export interface BundleFacts {
  readonly org: string;
  /** Origin of the log: `<host>/<org>`. */
  readonly log: string;
  /** Leaves of the log the file is about: the size of its checkpoint. */
  readonly size: number;
  /** `whole`: every leaf is there. `part`: those of some streams, each of them whole up to the checkpoint. */
  readonly scope: 'whole' | 'part';
  /** The query that chose the streams; empty for all. */
  readonly query: string;
  /** False: payloads were left out. */
  readonly payloads: boolean;
  /** RFC 3339. */
  readonly createdAt: string;
}

/** A stream as the file describes it; the chain begins with org, id and nonce. */
export interface BundleStream {
  readonly id: string;
  /** Held against the kinds of the events and their sessions; no hash and no signature is over it. */
  readonly kind: 'client' | 'server' | 'admin';
  readonly org: string;
  /** Null for the admin stream. */
  readonly session: string | null;
  /** 32 bytes. */
  readonly nonce: Uint8Array;
}

/** An event as stored. */
export interface BundleEvent {
  readonly stream: string;
  readonly seq: number;
  readonly header: string;
  readonly payload: string | null;
  readonly salt: Uint8Array | null;
  readonly chain: Uint8Array;
  /** RFC 3339; when the backend took it, as it says itself. Nothing vouches for it. */
  readonly receivedAt: string;
  /** What the store searches by; compared with the header. */
  readonly columns: StoredColumns;
}

/** What the last line says of the lines before it. */
export interface BundleSums {
  readonly lines: number;
  readonly streams: number;
  readonly segments: number;
  readonly events: number;
  /** Of every byte before this line; 32 bytes. */
  readonly sha256: Uint8Array;
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
const line = (value: object): string => `${JSON.stringify(value)}\n`;

/** Writes the lines of a bundle, each with its line feed. */
export const bundleLine = {
  facts: ({ org, log, size, scope, query, payloads, createdAt }: BundleFacts): string =>
    line({
      kontext: 'audit-bundle',
      v: 1,
      made: 'export',
      org,
      log,
      size,
      scope,
      query,
      payloads,
      createdAt,
    }),
  key: (key: string): string => line({ key }),
  checkpoint: (note: string): string => line({ checkpoint: note }),
  stream: ({ id, kind, org, session, nonce }: BundleStream): string =>
    line({ stream: { id, kind, org, session, nonce: base64(nonce) } }),
  segment: (leaf: number, { stream, firstSeq, lastSeq, prev, head }: Segment): string =>
    line({ segment: { leaf, stream, firstSeq, lastSeq, prev: base64(prev), head: base64(head) } }),
  event: ({ stream, seq, header, payload, salt, chain, receivedAt, columns }: BundleEvent): string => {
    const { eventId, kind, sessionId, userId, tool, decision } = columns;
    return line({
      event: {
        ...{ stream, seq, header, payload, salt: salt === null ? null : base64(salt), chain: base64(chain) },
        ...{ receivedAt, columns: { eventId, kind, sessionId, userId, tool, decision } },
      },
    });
  },
  /** @param nodes Hashes of {@link coverLeaves}, same order. */
  skip: (from: number, to: number, nodes: readonly Uint8Array[]): string =>
    line({ skip: { from, to, nodes: nodes.map(base64) } }),
  end: (stream: string, { seq, hash }: StreamHead): string =>
    line({ end: { stream, seq, hash: base64(hash) } }),
  done: ({ lines, streams, segments, events, sha256 }: BundleSums): string =>
    line({ done: { lines, streams, segments, events, sha256: Buffer.from(sha256).toString('hex') } }),
};

/** The fewest complete nodes that a run of leaves is made of, from the left. @param to Exclusive. */
export function coverLeaves(from: number, to: number): NodePlace[] {
  const places: NodePlace[] = [];
  for (let at = from; at < to; ) {
    let width = 1;
    let level = 0;
    while (at % (width * 2) === 0 && at + width * 2 <= to) {
      width *= 2;
      level += 1;
    }
    places.push({ level, index: at / width });
    at += width;
  }
  return places;
}
