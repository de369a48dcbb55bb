import { checkPayload } from './check-payload.ts';
import type { EventHeader } from './event-header.ts';
import { chainLink, hashBytes, hashEvent, sameBytes } from './hashes.ts';
import { findWrongColumn } from './stored-columns.ts';
import type { StoredRow, StoredStream } from './stored-stream.ts';
import type { StreamHead } from './stream-writer.ts';
import type { Finding } from './verify-report.ts';

/** Chain values by seq, as a witness has them. */
export type KnownChains = ReadonlyMap<number, Uint8Array>;

/** A row that comes again, or too late. */
export function repeatedRow(seq: number, lastSeq: number): Finding {
  if (seq === lastSeq) return { code: 'KX_AUDIT_FORK', seq, sentence: `event ${seq} is stored twice` };
  return { code: 'KX_AUDIT_ALTERED', seq, sentence: `event ${seq} stands after event ${lastSeq}` };
}

/** The sentence about rows that are not there. */
export const missingRows = (from: number, to: number): string =>
  from === to ? `event ${from} is missing` : `events ${from} to ${to} are missing`;

/** What is wrong with a row by itself, and after what it follows; null when nothing is. */
export function wrongRow(
  stream: StoredStream,
  row: StoredRow,
  header: EventHeader | null,
  links: readonly Uint8Array[],
): Finding | null {
  const altered = (sentence: string): Finding => ({ code: 'KX_AUDIT_ALTERED', seq: row.seq, sentence });
  if (header === null) return altered(`the header of event ${row.seq} cannot be read`);
  if (header.org !== stream.orgId || header.stream !== stream.streamId) {
    return altered(`event ${row.seq} belongs to another stream`);
  }
  if (stream.sessionId && header.session !== stream.sessionId) {
    return altered(`event ${row.seq} names another session than its stream`);
  }
  if (header.seq !== row.seq) return altered(`event ${header.seq} stands in the place of event ${row.seq}`);
  const eventHash = hashEvent(row.header);
  if (links.length > 0 && !links.some((link) => sameBytes(chainLink(link, eventHash), row.chain))) {
    return altered(
      `the chain is broken at event ${row.seq}: its header, chain value or what it follows was changed`,
    );
  }
  if (row.chain.length !== hashBytes) return altered(`the chain value of event ${row.seq} is not 32 bytes`);
  const column = findWrongColumn(header, row);
  if (column !== null) return altered(`the column ${column} of event ${row.seq} does not match its header`);
  if (checkPayload(header, row) !== 'wrong') return null;
  return altered(`the payload of event ${row.seq} does not match its hash`);
}

/** A row that a witness knows otherwise. */
export function wrongKnown(row: StoredRow, known: KnownChains): Finding | null {
  const chain = known.get(row.seq);
  if (chain === undefined || sameBytes(chain, row.chain)) return null;
  const sentence = `event ${row.seq} is another one than was acknowledged`;
  return { code: 'KX_AUDIT_FORK', seq: row.seq, sentence };
}

/** What is wrong with where the rows end; null when nothing is. */
export function wrongEnd(head: StreamHead, lastSeq: number, links: readonly Uint8Array[]): Finding | null {
  if (lastSeq < head.seq) {
    const sentence = missingRows(lastSeq + 1, head.seq);
    return { code: 'KX_AUDIT_TRUNCATED', seq: lastSeq + 1, sentence: `the stream ends early: ${sentence}` };
  }
  if (lastSeq > head.seq) {
    const seq = head.seq + 1;
    return { code: 'KX_AUDIT_ALTERED', seq, sentence: `event ${seq} stands after the head of the stream` };
  }
  if (links.length === 0 || links.some((link) => sameBytes(link, head.hash))) return null;
  if (lastSeq === 0)
    return { code: 'KX_AUDIT_ALTERED', seq: 0, sentence: 'the head of the empty stream is wrong' };
  const sentence = `the head of the stream names another event ${lastSeq} than is stored`;
  return { code: 'KX_AUDIT_FORK', seq: lastSeq, sentence };
}

/** A row that a witness knows, past the last one stored. */
export function lostKnown(lastSeq: number, known: KnownChains): Finding | null {
  const lost = [...known.keys()].filter((seq) => seq > lastSeq).sort((a, b) => a - b)[0];
  if (lost === undefined) return null;
  return { code: 'KX_AUDIT_TRUNCATED', seq: lost, sentence: `event ${lost} was acknowledged and is gone` };
}
