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
import { type ErrorCode, type ErrorSpec, errorTable } from '@kontext/errors';
import { checkPayload, type PayloadParts } from './check-payload.ts';
import { type EventHeader, parseHeader } from './event-header.ts';
import { chainLink, firstLink, hashBytes, hashEvent, sameBytes } from './hashes.ts';
import { findWrongColumn, type StoredColumns } from './stored-columns.ts';
import type { StreamHead } from './stream-writer.ts';

/** The codes a finding can have, the worst first. */
const auditCodes = [
  'KX_AUDIT_FORK',
  'KX_AUDIT_ALTERED',
  'KX_AUDIT_GAP',
  'KX_AUDIT_TRUNCATED',
] as const satisfies readonly ErrorCode[];

/** One of the codes a finding can have. */
export type AuditCode = (typeof auditCodes)[number];

/** A raw row, as the store gives it. */
export interface StoredRow extends StoredColumns, PayloadParts {
  readonly seq: number;
  readonly header: string;
  readonly chain: Uint8Array;
}

/** The stream as the store describes it. */
export interface StoredStream {
  readonly orgId: string;
  readonly streamId: string;
  /** Null or empty for the organisation's admin stream, whose events may name any session. */
  readonly sessionId: string | null;
  readonly nonce: Uint8Array;
  readonly head: StreamHead;
}

/** One thing that is wrong. */
export interface Finding {
  readonly code: AuditCode;
  readonly seq: number;
  /** What is wrong, lower case, no full stop. */
  readonly sentence: string;
}

/** What the verifier found. */
export interface VerifyReport {
  readonly streamId: string;
  readonly ok: boolean;
  /** Rows read. */
  readonly events: number;
  /** Seqs whose payload is not there although its hash is; of those over {@link VerifyOptions.keepSeqs} only the count. */
  readonly withheld: readonly number[];
  readonly withheldCount: number;
  /** Seqs written without the payload they should have had: orphan intents. */
  readonly missing: readonly number[];
  readonly missingCount: number;
  /** In order of seq; at most 100 are kept. */
  readonly findings: readonly Finding[];
  readonly findingCount: number;
  /** Code of the first finding, the worst of those at its seq. */
  readonly code: AuditCode | null;
  /** Exit code of that finding; 0 when there is none. */
  readonly exitCode: ErrorSpec['exitCode'] | 0;
}

/** What the verifier may know besides the store. */
export interface VerifyOptions {
  /** Chain values by seq, from a witness; a stored one that differs is a fork, one past the end a truncation. */
  readonly known?: ReadonlyMap<number, Uint8Array>;
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

const maxFindings = 100;

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
    const wrong = wrongRow(stream, row, header, links) ?? wrongKnown(row, options.known);
    if (wrong !== null) notes.find(wrong);
    links = wrong === null ? [row.chain] : linksAfterBadRow(row, header, links);
    lastSeq = row.seq;
  };

  const finish = (head: StreamHead = stream.head): VerifyReport => {
    const wrong = wrongEnd(head, lastSeq, links) ?? lostKnown(lastSeq, options.known);
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

function repeatedRow(seq: number, lastSeq: number): Finding {
  if (seq === lastSeq) return { code: 'KX_AUDIT_FORK', seq, sentence: `event ${seq} is stored twice` };
  return { code: 'KX_AUDIT_ALTERED', seq, sentence: `event ${seq} stands after event ${lastSeq}` };
}

const missingRows = (from: number, to: number): string =>
  from === to ? `event ${from} is missing` : `events ${from} to ${to} are missing`;

function wrongRow(
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

function wrongKnown(row: StoredRow, known: VerifyOptions['known']): Finding | null {
  const chain = known?.get(row.seq);
  if (chain === undefined || sameBytes(chain, row.chain)) return null;
  const sentence = `event ${row.seq} is another one than was acknowledged`;
  return { code: 'KX_AUDIT_FORK', seq: row.seq, sentence };
}

function wrongEnd(head: StreamHead, lastSeq: number, links: readonly Uint8Array[]): Finding | null {
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

function lostKnown(lastSeq: number, known: VerifyOptions['known'] = new Map()): Finding | null {
  const lost = [...known.keys()].filter((seq) => seq > lastSeq).sort((a, b) => a - b)[0];
  if (lost === undefined) return null;
  return { code: 'KX_AUDIT_TRUNCATED', seq: lost, sentence: `event ${lost} was acknowledged and is gone` };
}

function readHeader(text: string): EventHeader | null {
  try {
    return parseHeader(text);
  } catch {
    return null;
  }
}

/** Collects what goes into the report. */
function createNotes(streamId: string, keepSeqs = Number.POSITIVE_INFINITY) {
  let events = 0;
  let withheldCount = 0;
  let missingCount = 0;
  let findingCount = 0;
  let worst: Finding | null = null;
  const findings: Finding[] = [];
  const withheld: number[] = [];
  const missing: number[] = [];
  return {
    count(row: StoredRow, header: EventHeader | null): void {
      events += 1;
      if (header === null) return;
      if (row.payload === null && header.payloadHash !== null) {
        withheldCount += 1;
        if (withheld.length < keepSeqs) withheld.push(row.seq);
      }
      if (header.missing !== null) {
        missingCount += 1;
        if (missing.length < keepSeqs) missing.push(row.seq);
      }
    },
    find(finding: Finding): void {
      findingCount += 1;
      if (findings.length < maxFindings) findings.push(finding);
      if (worst === null || byPlace(finding, worst) < 0) worst = finding;
    },
    report(): VerifyReport {
      const code = worst?.code ?? null;
      const exitCode = code === null ? 0 : errorTable[code].exitCode;
      const sorted = findings.sort(byPlace);
      return {
        streamId,
        ok: code === null,
        events,
        withheld,
        withheldCount,
        missing,
        missingCount,
        findings: sorted,
        findingCount,
        code,
        exitCode,
      };
    },
  };
}

function byPlace(a: Finding, b: Finding): number {
  return a.seq - b.seq || auditCodes.indexOf(a.code) - auditCodes.indexOf(b.code);
}
