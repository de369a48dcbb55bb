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
  const builder = new ViewBuilder(view);
  for (let i = 0; i < view.codes.length; i += 1) {
    const code = view.codes[i] as number;
    if (code === BARRIER || !isSeparator(code)) builder.push(code, i, i + 1);
  }
  return builder.build();
}

/** The view with JSON, unicode and percent escapes resolved once. */
function unescapeView(view: TextView): TextView {
  const builder = new ViewBuilder(view);
  for (let i = 0; i < view.codes.length; ) {
    const sequence = readEscape(view.codes, i);
    const end = i + (sequence?.length ?? 1);
    for (const code of sequence?.codes ?? [view.codes[i] as number]) builder.push(code, i, end);
    i = end;
  }
  return builder.build();
}

/** Collects code units of a view that is never longer than the one it is made from. */
class ViewBuilder {
  readonly #from: TextView;
  readonly #codes: Int32Array;
  readonly #starts: Int32Array;
  readonly #ends: Int32Array;
  #length = 0;

  constructor(from: TextView) {
    this.#from = from;
    this.#codes = new Int32Array(from.codes.length);
    this.#starts = new Int32Array(from.codes.length);
    this.#ends = new Int32Array(from.codes.length);
  }

  push(code: number, start: number, end: number): void {
    this.#codes[this.#length] = code;
    this.#starts[this.#length] = this.#from.startOf(start);
    this.#ends[this.#length] = this.#from.endOf(end - 1);
    this.#length += 1;
  }

  build(): TextView {
    return new TextView(this.#codes.subarray(0, this.#length), { starts: this.#starts, ends: this.#ends });
  }
}
