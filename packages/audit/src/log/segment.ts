import type { Id } from '../ids.ts';
import { hashLeaf } from './merkle-tree.ts';

/** A run of one stream's events, as it was accepted at once: a leaf of the organisation's log. */
export interface Segment {
  readonly stream: Id<'str'>;
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** Chain value before the first event and of the last one; 32 bytes each. */
  readonly prev: Uint8Array;
  readonly head: Uint8Array;
}

/**
 * The bytes of a leaf: six lines of ASCII, each ended by a line feed. None of the values can hold one.
 *
 * ```
 * kontext-segment-v1
 * str_0198…
 * 1
 * 50
 * base64 of prev
 * base64 of head
 * ```
 */
export function encodeSegment({ stream, firstSeq, lastSeq, prev, head }: Segment): Buffer {
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
  const lines = ['kontext-segment-v1', stream, firstSeq, lastSeq, base64(prev), base64(head)];
  return Buffer.from(`${lines.join('\n')}\n`, 'ascii');
}

/** Hash of a segment as the log holds it. */
export const hashSegment = (segment: Segment): Buffer => hashLeaf(encodeSegment(segment));
