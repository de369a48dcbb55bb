/**
 * The offline verifier of one stream: everything it says follows from the rows, the head and the stream's nonce.
 *
 * - Every row is read in order of seq; each is checked against the one before, its own columns and its payload.
 * - After a finding it goes on where the rest can still be judged, so that one changed byte gives one finding.
 * - What it cannot see by itself: a whole stream, or its end, rewritten together with its head. That needs a
 *   witness: chain values known from elsewhere, such as those a client got acknowledged (`known`).
 * - A payload that is not there although the header names its hash was withheld or erased; that is counted, and is
 *   no finding: the header proves what is gone. An event written without a payload it should have had is counted too.
 */
import { type EventHeader, parseHeader } from './event-header.ts';
import { chainLink, firstLink, hashBytes, hashEvent } from './hashes.ts';
import {
  type KnownChains,
  lostKnown,
  missingRows,
  repeatedRow,
  wrongEnd,
  wrongKnown,
  wrongRow,
} from './judge-row.ts';
import type { StoredRow, StoredStream } from './stored-stream.ts';
import type { StreamHead } from './stream-writer.ts';
import { createNotes, type VerifyReport } from './verify-report.ts';

/** What the verifier may know besides the store. */
export interface VerifyOptions {
  /** Chain values by seq, from a witness; a stored one that differs is a fork, one past the end a truncation. */
  readonly known?: KnownChains;
  /** Most seqs listed as withheld, and as missing; default: all. */
  readonly keepSeqs?: number;
}

/** Verifies row by row, for streams that come in pages. */
export interface StreamVerifier {
  /** Takes the next row in order of seq. */
  add(row: StoredRow): void;
  /** @param head The head as read with the last page, when it moved since the stream was read. */
  finish(head?: StreamHead): VerifyReport;
}

/** Bound of the values a row may link to after bad rows, so that a stream of nothing else stays linear work. */
const maxLinks = 3;

/**
 * Verifies a stream from its stored rows.
 *
 * @param rows Every row in order of seq, up to the head and not beyond: on a live stream read the head first.
 */
export function verifyStream(
  stream: StoredStream,
  rows: Iterable<StoredRow>,
  options: VerifyOptions = {},
): VerifyReport {
  const verifier = createStreamVerifier(stream, options);
  for (const row of rows) verifier.add(row);
  return verifier.finish();
}

/** Creates a verifier that takes the rows one by one and keeps none of them. */
export function createStreamVerifier(stream: StoredStream, options: VerifyOptions = {}): StreamVerifier {
  const notes = createNotes(stream.streamId, options.keepSeqs);
  const { known = new Map() } = options;
  const start = firstLink(stream.orgId, stream.streamId, stream.nonce);
  let lastSeq = 0;
  // What the next row may link to: several values after a bad row; none, which means unknown, after a gap.
  let links: readonly Uint8Array[] = [start];

  const add = (row: StoredRow): void => {
    const header = readHeader(row.header);
    notes.count(row, header);
    if (row.seq <= lastSeq) {
      notes.find(repeatedRow(row.seq, lastSeq));
      links = [row.chain, ...links].filter(isLink).slice(0, maxLinks);
      return;
    }
    if (row.seq > lastSeq + 1) {
      notes.find({ code: 'KX_AUDIT_GAP', seq: lastSeq + 1, sentence: missingRows(lastSeq + 1, row.seq - 1) });
      links = [];
    }
    const wrong = wrongRow(stream, row, header, links) ?? wrongKnown(row, known);
    if (wrong !== null) notes.find(wrong);
    links = wrong === null ? [row.chain] : linksAfterBadRow(row, header, links);
    lastSeq = row.seq;
  };

  const finish = (head: StreamHead = stream.head): VerifyReport => {
    const wrong = wrongEnd(head, lastSeq, links) ?? lostKnown(lastSeq, known);
    if (wrong !== null) notes.find(wrong);
    return notes.report();
  };
  return { add, finish };
}

/**
 * The stored chain value, and what it would be if only that value and not the header was changed; nothing when the
 * event belongs to another place, since then its chain value does too.
 */
function linksAfterBadRow(
  row: StoredRow,
  header: EventHeader | null,
  before: readonly Uint8Array[],
): Uint8Array[] {
  if (header !== null && header.seq !== row.seq) return [];
  const guessed = before.slice(0, maxLinks - 1).map((link) => chainLink(link, hashEvent(row.header)));
  return [row.chain, ...guessed].filter(isLink);
}

const isLink = (bytes: Uint8Array): boolean => bytes.length === hashBytes;

function readHeader(text: string): EventHeader | null {
  try {
    return parseHeader(text);
  } catch {
    return null;
  }
}
