/**
 * Views of a text in which copies of a secret are looked for. Each remembers where in the original its characters
 * come from, so that what is found in a view is removed from the original.
 */
import { BARRIER, isSeparator } from './characters.ts';
import { readEscape } from './read-escape.ts';

/** What replaces a secret. */
export const REPLACEMENT = '[redacted]';

/** Where the characters of a view come from. */
interface Origin {
  readonly view: TextView;
  /** Index in that view at which each code unit begins; as long as the codes or longer. */
  readonly from: Int32Array;
  /** Whether a code unit reaches to where the next one begins; otherwise it is one code unit there. */
  readonly isContiguous: boolean;
}

/** A text as UTF-16 code units, each with its span in the original text. */
export class TextView {
  /** Code units, or {@link BARRIER} where the original was already redacted. */
  readonly codes: Int32Array;
  readonly #origin: Origin | undefined;

  /** Without an origin, the view is the original itself. */
  constructor(codes: Int32Array, origin?: Origin) {
    this.codes = codes;
    this.#origin = origin;
  }

  /** Where the code unit at `index` begins in the original. */
  startOf(index: number): number {
    const origin = this.#origin;
    return origin ? origin.view.startOf(origin.from[index] as number) : index;
  }

  /** One past where the code unit at `index` ends in the original. */
  endOf(index: number): number {
    const origin = this.#origin;
    if (!origin) return index + 1;
    const { view, from } = origin;
    if (!origin.isContiguous) return view.endOf(from[index] as number);
    // An escape may stand for several code units, which begin at one place.
    let next = index + 1;
    while (next < this.codes.length && from[next] === from[index]) next += 1;
    return view.endOf((next < this.codes.length ? (from[next] as number) : view.codes.length) - 1);
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
  const squeezed = new Int32Array(codes.length);
  const from = new Int32Array(codes.length);
  let length = 0;
  for (let i = 0; i < codes.length; i += 1) {
    const code = codes[i] as number;
    if (code !== BARRIER && (code < 0x80 ? asciiSeparators[code] === 1 : isSeparator(code))) continue;
    squeezed[length] = code;
    from[length] = i;
    length += 1;
  }
  return new TextView(squeezed.subarray(0, length), { view, from, isContiguous: false });
}

const asciiSeparators = Uint8Array.from({ length: 0x80 }, (_, code) => (isSeparator(code) ? 1 : 0));

/** The view with JSON, unicode and percent escapes resolved once. */
function unescapeView(view: TextView): TextView {
  const { codes } = view;
  const resolved = new Int32Array(codes.length);
  const from = new Int32Array(codes.length);
  let length = 0;
  for (let i = 0; i < codes.length; ) {
    const code = codes[i] as number;
    const sequence = code === BACKSLASH || code === PERCENT ? readEscape(codes, i) : undefined;
    const count = sequence?.codes.length ?? 1;
    for (let k = 0; k < count; k += 1, length += 1) {
      resolved[length] = sequence?.codes[k] ?? code;
      from[length] = i;
    }
    i += sequence?.length ?? 1;
  }
  return new TextView(resolved.subarray(0, length), { view, from, isContiguous: true });
}

const BACKSLASH = 0x5c;
const PERCENT = 0x25;
