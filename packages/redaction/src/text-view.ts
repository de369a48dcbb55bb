/**
 * Views of a text in which copies of a secret are looked for. Each remembers where in the original its characters
 * come from, so that what is found in a view is removed from the original.
 */
import { BARRIER, isSeparator } from './characters.ts';
import { readEscape } from './read-escape.ts';

/** What replaces a secret. */
export const REPLACEMENT = '[redacted]';

/** A text as UTF-16 code units, each with its span in the original text. */
export class TextView {
  /** Code units, or {@link BARRIER} where the original was already redacted. */
  readonly codes: Int32Array;
  readonly #starts: Int32Array | undefined;
  readonly #ends: Int32Array | undefined;

  /** Without spans, the view is the original itself. */
  constructor(codes: Int32Array, spans?: { readonly starts: Int32Array; readonly ends: Int32Array }) {
    this.codes = codes;
    this.#starts = spans?.starts;
    this.#ends = spans?.ends;
  }

  /** Where the code unit at `index` begins in the original. */
  startOf(index: number): number {
    return this.#starts?.[index] ?? index;
  }

  /** One past where the code unit at `index` ends in the original. */
  endOf(index: number): number {
    return this.#ends?.[index] ?? index + 1;
  }
}

/** The text itself, with a barrier over each earlier replacement. */
function viewText(text: string): TextView {
  const codes = new Int32Array(text.length);
  for (let i = 0; i < text.length; i += 1) codes[i] = text.charCodeAt(i);
  for (let at = text.indexOf(REPLACEMENT); at >= 0; at = text.indexOf(REPLACEMENT, at + REPLACEMENT.length)) {
    codes.fill(BARRIER, at, at + REPLACEMENT.length);
  }
  return new TextView(codes);
}

/** The text as written, and with its escapes resolved once where it has any. */
export function viewsOf(text: string): readonly TextView[] {
  const plain = viewText(text);
  return /[\\%]/.test(text) ? [plain, unescapeView(plain)] : [plain];
}

/** The view without separators: copies that were wrapped, spaced or joined from pieces become whole. */
export function squeezeView(view: TextView): TextView {
  const { codes } = view;
  const squeezed = newBuffers(codes.length);
  let length = 0;
  for (let i = 0; i < codes.length; i += 1) {
    const code = codes[i] as number;
    if (code !== BARRIER && (code < 0x80 ? asciiSeparators[code] === 1 : isSeparator(code))) continue;
    squeezed.codes[length] = code;
    squeezed.starts[length] = view.startOf(i);
    squeezed.ends[length] = view.endOf(i);
    length += 1;
  }
  return new TextView(squeezed.codes.subarray(0, length), squeezed);
}

const asciiSeparators = Uint8Array.from({ length: 0x80 }, (_, code) => (isSeparator(code) ? 1 : 0));

/** The view with JSON, unicode and percent escapes resolved once. */
function unescapeView(view: TextView): TextView {
  const { codes } = view;
  const resolved = newBuffers(codes.length);
  let length = 0;
  for (let i = 0; i < codes.length; ) {
    const code = codes[i] as number;
    const sequence = code === BACKSLASH || code === PERCENT ? readEscape(codes, i) : undefined;
    const end = i + (sequence?.length ?? 1);
    const count = sequence?.codes.length ?? 1;
    for (let k = 0; k < count; k += 1, length += 1) {
      resolved.codes[length] = sequence?.codes[k] ?? code;
      resolved.starts[length] = view.startOf(i);
      resolved.ends[length] = view.endOf(end - 1);
    }
    i = end;
  }
  return new TextView(resolved.codes.subarray(0, length), resolved);
}

const BACKSLASH = 0x5c;
const PERCENT = 0x25;

/** Room for a view, which is never longer than the one it is made from. */
const newBuffers = (length: number) => ({
  codes: new Int32Array(length),
  starts: new Int32Array(length),
  ends: new Int32Array(length),
});
