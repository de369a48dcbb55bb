import { BARRIER, codeAt, hexValue } from './characters.ts';

/** An escape sequence and what it stands for. */
export interface Escape {
  /** Length of the sequence in code units; never less than the number of `codes`. */
  readonly length: number;
  /** The code units it stands for. */
  readonly codes: readonly number[];
}

const BACKSLASH = 0x5c;
const PERCENT = 0x25;
const ESCAPE = 0x1b;
/** Longest control sequence that is read. */
const MAX_CONTROL = 24;

/** RFC 8259 §7, and the quotes of JavaScript and shells: what stands at the place of each character after a backslash. */
const shortEscapes: readonly (Escape | undefined)[] = Array.from({ length: 0x80 }, (_, code) => {
  const at = 'nrtbf"\'`/\\'.indexOf(String.fromCharCode(code));
  return at < 0 ? undefined : { length: 2, codes: ['\n\r\t\b\f"\'`/\\'.charCodeAt(at)] };
});

/**
 * Reads one escape sequence: `\n`, `\"`, `\x41`, `\u0041`, `\u{41}`, `%41` and percent-encoded UTF-8. A colour of a terminal
 * stands for nothing.
 *
 * @param codes Code units of a text; a barrier belongs to no sequence.
 * @returns Undefined when no sequence begins at `at`.
 */
export function readEscape(codes: Uint16Array, at: number): Escape | undefined {
  if (codes[at] === PERCENT) return readPercent(codes, at);
  if (codes[at] === ESCAPE) return readColour(codes, at);
  if (codes[at] !== BACKSLASH) return undefined;
  const kind = codes[at + 1] ?? BARRIER;
  if (kind === 0x75) return readUnicode(codes, at);
  if (kind === 0x78) return readFixed(codes, at, 2);
  return kind < shortEscapes.length ? shortEscapes[kind] : undefined;
}

function readUnicode(codes: Uint16Array, at: number): Escape | undefined {
  if (codes[at + 2] !== 0x7b) return readFixed(codes, at, 4);
  for (let digits = 1, value = 0; digits <= 6; digits += 1) {
    const digit = hexValue(codes[at + 2 + digits] ?? -1);
    if (digit < 0) return undefined;
    value = value * 16 + digit;
    if (value > 0x10ffff) return undefined;
    if (codes[at + 3 + digits] !== 0x7d) continue;
    const char = String.fromCodePoint(value);
    return { length: digits + 4, codes: codeUnits(char) };
  }
  return undefined;
}

function readFixed(codes: Uint16Array, at: number, digits: number): Escape | undefined {
  let value = 0;
  for (let i = at + 2; i < at + 2 + digits; i += 1) {
    const digit = hexValue(codes[i] ?? -1);
    if (digit < 0) return undefined;
    value = value * 16 + digit;
  }
  return { length: 2 + digits, codes: [codeAt(String.fromCharCode(value), 0)] };
}

/** A percent-encoded character, of up to four UTF-8 bytes (RFC 3986 §2.1). */
function readPercent(codes: Uint16Array, at: number): Escape | undefined {
  const first = percentByte(codes, at);
  if (first < 0) return undefined;
  if (first < 0x80) return { length: 3, codes: [first] };
  const count = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  const bytes = Array.from({ length: count }, (_, i) => percentByte(codes, at + 3 * i));
  if (bytes.some((byte) => byte < 0)) return undefined;
  const char = Buffer.from(bytes).toString('utf8');
  return char.includes('\ufffd') ? undefined : { length: 3 * count, codes: codeUnits(char) };
}

function percentByte(codes: Uint16Array, at: number): number {
  if (codes[at] !== PERCENT) return -1;
  const high = hexValue(codes[at + 1] ?? -1);
  const low = hexValue(codes[at + 2] ?? -1);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

const codeUnits = (text: string): number[] => Array.from({ length: text.length }, (_, i) => codeAt(text, i));

/** A control sequence of a terminal (ECMA-48 §5.4): digits and `;`, and one letter. */
function readColour(codes: Uint16Array, at: number): Escape | undefined {
  if (codes[at + 1] !== 0x5b) return undefined;
  for (let i = at + 2; i < at + MAX_CONTROL; i += 1) {
    const code = codes[i] ?? BARRIER;
    if ((code >= 0x30 && code <= 0x39) || code === 0x3b) continue;
    const letter = code | 0x20;
    return letter >= 0x61 && letter <= 0x7a ? { length: i - at + 1, codes: [] } : undefined;
  }
  return undefined;
}
