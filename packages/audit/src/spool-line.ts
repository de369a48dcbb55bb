/**
 * The lines of the client's spool, version 1.
 *
 * - A spool is a row of segments, numbered from 1, each one NDJSON file of ASCII lines ended by a line feed:
 *   `{"v":1,"kind":"intent","line":1,"length":210,"body":"…","sum":"…"}`. Fields, order and spelling are fixed.
 * - `kind`: `open` holds what a later run must know to go on with the session; `intent` stands before an answer,
 *   unsynced; `record` is the event in its final form. Lines count from 1 in each segment.
 * - `body` is base64url of IV (12 fresh random bytes) ‖ ciphertext ‖ tag (16): AES-256-GCM under the spool key.
 *   Its AAD names this format, session, segment, line number and kind, and holds the sum of the line before, so
 *   a line opens in its own place only. `length` is the length of `body` in characters.
 * - `sum` is base64url of SHA-256("kontext-spool-v1" ‖ sum before ‖ everything of the line before `,"sum"`). The sum
 *   before line 1 is SHA-256("kontext-spool-start-v1" ‖ session ‖ LF ‖ segment). It needs no key.
 * - A segment is read up to its first bad line. Unended bytes after the last line feed are a torn tail, which a kill
 *   or power loss leaves and which may be cut off; a bad line that was ended is corruption and must be reported.
 *   Lines lost from the end as whole lines cannot be seen here: the intent of a lost record stands before it.
 * - One key seals at most 2³² lines (NIST SP 800-38D §8.3); 50,000 a session leave room for 85,000 full sessions.
 */
import { createCipheriv, createDecipheriv, createHash } from 'node:crypto';
import { eventInvalid } from './event-invalid.ts';
import { isId } from './ids.ts';
import { pooledRandomBytes, type RandomBytes } from './random-pool.ts';
import { parseSpoolEntry, type SpoolEntry, type SpoolKind, spellSpoolEntry } from './spool-entry.ts';

/** The place in a segment after a line, which the next line is sealed for. */
export interface SpoolTail {
  readonly sessionId: string;
  readonly segment: number;
  /** Number of the line before; 0 at the start. */
  readonly line: number;
  /** Sum of the line before, 32 bytes. */
  readonly sum: Buffer;
}

/** A line that was opened, and the offset in bytes of the first byte after it. */
export interface OpenedSpoolLine {
  readonly line: number;
  readonly endOffset: number;
  readonly entry: SpoolEntry;
}

/** The first line of a segment that was ended but is wrong. */
export interface SpoolCorruption {
  readonly line: number;
  readonly offset: number;
  /** `frame`: not a line of this format; `chain`: not the next line; `seal`: other key or other bytes; `body`: no entry. */
  readonly reason: 'frame' | 'chain' | 'seal' | 'body';
}

/** What a segment holds. */
export interface OpenedSpoolSegment {
  /** The intact lines from the start. */
  readonly lines: readonly OpenedSpoolLine[];
  /** Where to go on writing, once anything after the intact lines was cut off. */
  readonly tail: SpoolTail;
  /** Offset of an unended last line, which may be cut off; null when the segment ends with a whole line. */
  readonly tornAt: number | null;
  /** What ended the reading early; null when every ended line is good. */
  readonly corrupt: SpoolCorruption | null;
}

const ivBytes = 12;
const tagBytes = 16;
const lineShape =
  /^(\{"v":1,"kind":"(open|intent|record)","line":([1-9]\d{0,9}),"length":([1-9]\d{0,9}),"body":"([\w-]+)"),"sum":"([\w-]{43})"\}$/;

/**
 * The place before line 1 of a segment.
 *
 * @param segment From 1.
 * @throws KontextError `KX_EVENT_INVALID` when the session id is not one: the sums and AADs rely on its form.
 */
export function startSpoolSegment(sessionId: string, segment: number): SpoolTail {
  if (!isId('ses', sessionId)) throw eventInvalid('a spool needs a session id');
  const sum = createHash('sha256').update(`kontext-spool-start-v1${sessionId}\n${segment}`).digest();
  return { sessionId, segment, line: 0, sum };
}

/**
 * Seals one entry as the next line of a segment.
 *
 * @param key The spool key, 32 bytes.
 * @param randomBytes Makes the IV; anything but fresh random bytes breaks the seal.
 * @returns The line with its line feed, to be appended to the file, and the place after it.
 */
export function sealSpoolLine(
  key: Uint8Array,
  tail: SpoolTail,
  entry: SpoolEntry,
  randomBytes: RandomBytes = pooledRandomBytes,
): { readonly bytes: Buffer; readonly tail: SpoolTail } {
  const line = tail.line + 1;
  const iv = randomBytes(ivBytes);
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: tagBytes });
  cipher.setAAD(additionalData(tail, line, entry.kind));
  const ciphertext = cipher.update(spellSpoolEntry(entry), 'utf8');
  // GCM is a stream mode: `final` adds no bytes, but the tag exists only after it.
  cipher.final();
  const body = Buffer.concat([iv, ciphertext, cipher.getAuthTag()]).toString('base64url');
  const front = `{"v":1,"kind":"${entry.kind}","line":${line},"length":${body.length},"body":"${body}"`;
  const sum = sumOf(tail.sum, front);
  const bytes = Buffer.from(`${front},"sum":"${sum.toString('base64url')}"}\n`, 'latin1');
  return { bytes, tail: { ...tail, line, sum } };
}

/**
 * Opens the intact lines of a segment; never throws because of its bytes.
 *
 * @param key The spool key, 32 bytes.
 * @param start {@link startSpoolSegment} of the session and the segment's number.
 */
export function openSpoolSegment(bytes: Uint8Array, key: Uint8Array, start: SpoolTail): OpenedSpoolSegment {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const lines: OpenedSpoolLine[] = [];
  let tail = start;
  let offset = 0;
  while (offset < file.length) {
    const end = file.indexOf(0x0a, offset);
    if (end < 0) return { lines, tail, tornAt: offset, corrupt: null };
    const opened = openLine(file.toString('latin1', offset, end), key, tail);
    if (typeof opened === 'string') {
      return { lines, tail, tornAt: null, corrupt: { line: tail.line + 1, offset, reason: opened } };
    }
    offset = end + 1;
    tail = opened.tail;
    lines.push({ line: tail.line, endOffset: offset, entry: opened.entry });
  }
  return { lines, tail, tornAt: null, corrupt: null };
}

function openLine(
  text: string,
  key: Uint8Array,
  before: SpoolTail,
): { readonly entry: SpoolEntry; readonly tail: SpoolTail } | SpoolCorruption['reason'] {
  const [, front, kind, line, length, body, sumText] = lineShape.exec(text) ?? [];
  if (front === undefined || kind === undefined || body === undefined || body.length !== Number(length))
    return 'frame';
  const sum = sumOf(before.sum, front);
  if (Number(line) !== before.line + 1 || sum.toString('base64url') !== sumText) return 'chain';
  const tail = { ...before, line: before.line + 1, sum };
  const plain = unseal(key, before, kind as SpoolKind, Buffer.from(body, 'base64url'));
  if (plain === null) return 'seal';
  const entry = parseSpoolEntry(kind as SpoolKind, plain);
  return entry === null ? 'body' : { entry, tail };
}

function unseal(key: Uint8Array, before: SpoolTail, kind: SpoolKind, sealed: Buffer): string | null {
  if (sealed.length < ivBytes + tagBytes) return null;
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, ivBytes), {
    authTagLength: tagBytes,
  });
  decipher.setAAD(additionalData(before, before.line + 1, kind));
  decipher.setAuthTag(sealed.subarray(sealed.length - tagBytes));
  const plain = decipher.update(sealed.subarray(ivBytes, sealed.length - tagBytes));
  try {
    decipher.final();
  } catch {
    return null;
  }
  return plain.toString('utf8');
}

/** Session id, numbers and kind hold no line feed, so the parts cannot run into each other. */
function additionalData(before: SpoolTail, line: number, kind: SpoolKind): Buffer {
  const text = `kontext-spool-v1\n${before.sessionId}\n${before.segment}\n${line}\n${kind}\n`;
  return Buffer.concat([Buffer.from(text, 'latin1'), before.sum]);
}

function sumOf(before: Buffer, front: string): Buffer {
  return createHash('sha256').update('kontext-spool-v1').update(before).update(front, 'latin1').digest();
}
