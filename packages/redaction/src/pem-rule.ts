import type { Rule } from './rule.ts';
import { charClasses } from './runs.ts';
import type { Scan } from './scan.ts';

const { pemBody, pemGap, pemLabel, line } = charClasses;

const DASHES = '-----';
const MIN_FIRST_RUN = 16;
/** Header lines of RFC 1421 §4.6 and of OpenPGP armour; there are never many. */
const MAX_HEADERS = 8;

/**
 * A private key in PEM (RFC 7468 §10, §11), OpenSSH or OpenPGP armour; the end may be missing. Certificates and public
 * keys stay, and so does code that only mentions the marker.
 */
export const pemRule: Rule = {
  id: 'private-key',
  anchors: ['-----begin '],
  match(scan, start, end) {
    const labelEnd = scan.runs.endOf(pemLabel, end);
    if (labelEnd - end > 64 || !scan.text(end, labelEnd).toUpperCase().includes('PRIVATE KEY')) return 0;
    if (!scan.hasAt(labelEnd, DASHES)) return 0;
    const bodyEnd = readBody(scan, skipHeaders(scan, labelEnd + DASHES.length));
    if (bodyEnd === 0) return 0;
    const to = readEndMarker(scan, bodyEnd);
    scan.mark('private-key', start, to);
    return to;
  },
};

/** What a listing puts before each line: `     3→`, `     3\t`, and `id_rsa:3:`. */
const lineNumber = /^(?:[\w./~-]{1,64}:)?\d{1,6}[\t→:|-][ \t]*/;

/** White space, quotes and signs between two lines, and the number of the line. */
function skipGap(scan: Scan, from: number): number {
  const at = scan.runs.endOf(pemGap, from);
  const number = lineNumber.exec(scan.text(at, Math.min(scan.codes.length, at + 80)));
  return at + (number?.[0].length ?? 0);
}

function skipHeaders(scan: Scan, from: number): number {
  let at = from;
  for (let count = 0; count < MAX_HEADERS; count += 1) {
    const word = skipGap(scan, at);
    const lineEnd = scan.runs.endOf(line, word);
    // A header is short; the base64 of a key on one line holds no colon, so a long line is none.
    if (lineEnd - word > 200 || !/^[A-Za-z-]{3,20}: /.test(scan.text(word, Math.min(lineEnd, word + 24))))
      return at;
    at = lineEnd;
  }
  return at;
}

/** One past the base64 that begins here, whatever line ends, quotes or plus signs stand between; 0 when none does. */
function readBody(scan: Scan, from: number): number {
  let end = 0;
  for (let at = from; ; ) {
    const runStart = skipGap(scan, at);
    const runEnd = scan.runs.endOf(pemBody, runStart);
    const length = runEnd - runStart;
    if (end === 0 && length < MIN_FIRST_RUN) return 0;
    // The last line may be short, unless it is a word of what follows the key.
    if (length === 0 || (length < MIN_FIRST_RUN && !isLineEnd(scan, runEnd))) return end;
    end = runEnd;
    if (length < MIN_FIRST_RUN) return end;
    at = runEnd;
  }
}

const isLineEnd = (scan: Scan, at: number): boolean =>
  at >= scan.codes.length || ['\n', '\r', '\\', '"', "'", '`', '-'].includes(scan.char(at));

function readEndMarker(scan: Scan, bodyEnd: number): number {
  const at = skipGap(scan, bodyEnd);
  if (!scan.hasAt(at, `${DASHES}END `)) return bodyEnd;
  const labelEnd = scan.runs.endOf(pemLabel, at + DASHES.length);
  return scan.hasAt(labelEnd, DASHES) ? labelEnd + DASHES.length : labelEnd;
}
