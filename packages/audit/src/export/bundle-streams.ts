/** The streams of a bundle that are open: a verifier of each, fed with events while its segments go by. */
import { isEventKind, writerOf } from '../event-kinds.ts';
import { firstLink, sameBytes } from '../hashes.ts';
import type { Segment } from '../log/segment.ts';
import type { StreamHead } from '../stream-writer.ts';
import type { VerifyReport } from '../verify-report.ts';
import { createStreamVerifier, type StreamVerifier } from '../verify-stream.ts';
import type { BundleEvent, BundleStream } from './bundle-format.ts';

/** What is known of a stream while the file is read. */
export interface OpenStream {
  readonly facts: BundleStream;
  readonly verifier: StreamVerifier;
  /** Chain value of the last event of the current segment, by its seq: what a row there must have. */
  readonly known: Map<number, Uint8Array>;
  /** End of its newest segment, as the log holds it. */
  promised: StreamHead;
  /** Newest row. */
  last: StreamHead;
  /** Whether its kind follows from signed headers: it has an event that only one side writes, or is of no session. */
  isKindProven: boolean;
}

/** Opens a stream at its first link. */
export function openBundleStream(facts: BundleStream): OpenStream {
  const { org: orgId, id: streamId, nonce, session: sessionId } = facts;
  const head: StreamHead = { seq: 0, hash: firstLink(orgId, streamId, nonce) };
  const known = new Map<number, Uint8Array>();
  const verifier = createStreamVerifier({ orgId, streamId, nonce, head, sessionId }, { known, keepSeqs: 0 });
  return { facts, verifier, known, promised: head, last: head, isKindProven: sessionId === null };
}

/**
 * Moves on to the next segment.
 *
 * @returns What does not fit what came before: a segment that leaves events out, or follows another chain value.
 */
export function beginSegment(
  stream: OpenStream,
  { firstSeq, lastSeq, prev, head }: Segment,
): { readonly rank: 'missing' | 'fork' | 'mismatch'; readonly sentence: string } | null {
  const { promised } = stream;
  stream.promised = { seq: lastSeq, hash: head };
  stream.known.clear();
  stream.known.set(lastSeq, head);
  if (firstSeq > promised.seq + 1) {
    return {
      rank: 'missing',
      sentence: `the log's segment of events ${promised.seq + 1} to ${firstSeq - 1} is missing`,
    };
  }
  if (firstSeq <= promised.seq) {
    return { rank: 'fork', sentence: `the log holds event ${firstSeq} in two segments` };
  }
  if (sameBytes(prev, promised.hash)) return null;
  return {
    rank: 'mismatch',
    sentence: `the segment of event ${firstSeq} does not follow from what is before it`,
  };
}

/** Takes an event of the current segment. @returns What is wrong with it besides what its stream's verifier says. */
export function addBundleEvent(stream: OpenStream, event: Omit<BundleEvent, 'receivedAt'>): string | null {
  const { seq, header, payload, salt, chain, columns } = event;
  if (event.stream !== stream.facts.id) return `event ${seq} stands outside its stream`;
  stream.verifier.add({ seq, header, payload, salt, chain, ...columns });
  if (seq > stream.last.seq) stream.last = { seq, hash: chain };
  return wrongWriter(stream, columns.kind ?? '', columns.sessionId, seq);
}

/**
 * Nothing that is signed names the kind of a stream, so it is held against what its events say: which side writes such, and
 * whether they are of a session. Columns are compared with the header elsewhere, so they can be believed here.
 */
function wrongWriter(stream: OpenStream, kind: string, session: string | null, seq: number): string | null {
  const { facts } = stream;
  const writer = isEventKind(kind) ? writerOf(kind) : 'both';
  if (writer !== 'both') stream.isKindProven = true;
  if (facts.kind === 'client' && writer === 'server')
    return `event ${seq} is one that no client may write, in a stream of a client`;
  if (facts.kind !== 'client' && writer === 'client')
    return `event ${seq} is one that only a client writes, in a stream of the backend`;
  if (facts.session === null && session !== null)
    return `event ${seq} names a session in the stream of the organisation`;
  return null;
}

/** Ends a stream at the end of its newest segment; in a file that was cut off, at its newest row. */
export function finishBundleStream(stream: OpenStream, isCut: boolean): VerifyReport {
  if (isCut) stream.known.clear();
  return stream.verifier.finish(isCut ? stream.last : stream.promised);
}
