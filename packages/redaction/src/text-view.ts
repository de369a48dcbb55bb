/**
 * Views of a text in which copies of a secret are looked for. Each remembers where in the original its characters
 * come from, so that what is found in a view is removed from the original.
 */
import { BARRIER, isSeparator } from './characters.ts';
import { readEscape } from './read-escape.ts';
import { buffersFor, writeCodes } from './view-buffers.ts';

/** What replaces a secret. */
export const REPLACEMENT = '[redacted]';

/** Where the characters of a view come from. */
interface Origin {
  readonly view: TextView;
  /**
   * Finds the index in that view at which each code unit begins. Few views hold anything, so that this is asked for
   * rarely.
   */
  readonly locate: () => Int32Array;
  /** Whether a code unit reaches to where the next one begins; otherwise it is one code unit there. */
  readonly isContiguous: boolean;
}

/** A text as UTF-16 code units, each with its span in the original text. Holds until the next text is viewed. */
export class TextView {
  /** Code units, or {@link BARRIER} where the original was already redacted. */
  readonly codes: Uint16Array;
  readonly #origin: Origin | undefined;
  #from: Int32Array | null = null;

  /** Without an origin, the view is the original itself. */
  constructor(codes: Uint16Array, origin?: Origin) {
    this.codes = codes;
    this.#origin = origin;
  }

  /** Where the code unit at `index` begins in the original. */
  startOf(index: number): number {
    const origin = this.#origin;
    if (!origin) return index;
    return origin.view.startOf(this.#placesIn(origin)[index] as number);
  }

  /** One past where the code unit at `index` ends in the original. */
  endOf(index: number): number {
    const origin = this.#origin;
    if (!origin) return index + 1;
    const from = this.#placesIn(origin);
    const { view } = origin;
    if (!origin.isContiguous) return view.endOf(from[index] as number);
    // An escape may stand for several code units, which begin at one place.
    let next = index + 1;
    while (next < this.codes.length && from[next] === from[index]) next += 1;
    return view.endOf((next < this.codes.length ? (from[next] as number) : view.codes.length) - 1);
  }

  #placesIn(origin: Origin): Int32Array {
    this.#from ??= origin.locate();
    return this.#from;
  }
}

/** The text itself, with a barrier over each earlier replacement. */
function viewText(text: string): TextView {
  const plain = writeCodes(text);
  for (let at = text.indexOf(REPLACEMENT); at >= 0; at = text.indexOf(REPLACEMENT, at + REPLACEMENT.length)) {
    plain.fill(BARRIER, at, at + REPLACEMENT.length);
  }
  return new TextView(plain);
}

/** The text as written, and with its escapes resolved once where it has any. They hold until the next call. */
export function viewsOf(text: string): readonly TextView[] {
  const plain = viewText(text);
  return text.includes('\\') || text.includes('%') ? [plain, unescapeView(plain)] : [plain];
}

/**
 * The view without separators: copies that were wrapped, spaced or joined from pieces become whole. Holds until the next
 * view is squeezed.
 */
export function squeezeView(view: TextView): TextView {
  const { codes } = view;
  const { squeezed } = buffersFor(codes.length);
  let length = 0;
  for (let i = 0; i < codes.length; i += 1) {
    const code = codes[i] as number;
    // What is no separator stays; anything else is overwritten by the next.
    squeezed[length] = code;
    length += isKept(code);
  }
  const locate = () => placesKept(codes, length);
  return new TextView(squeezed.subarray(0, length), { view, locate, isContiguous: false });
}

function placesKept(codes: Uint16Array, count: number): Int32Array {
  const from = new Int32Array(count);
  for (let i = 0, length = 0; length < count; i += 1) {
    from[length] = i;
    length += isKept(codes[i] as number);
  }
  return from;
}

/** 1 for what stays when a text is squeezed. */
const isKept = (code: number): number =>
  code < 0x80 ? (asciiKept[code] as number) : isSeparator(code) ? 0 : 1;

const asciiKept = Uint8Array.from({ length: 0x80 }, (_, code) => (isSeparator(code) ? 0 : 1));

/** The view with JSON, unicode and percent escapes resolved once. */
function unescapeView(view: TextView): TextView {
  const { codes } = view;
  const { resolved } = buffersFor(codes.length);
  const length = resolveEscapes(codes, resolved, null);
  const locate = (): Int32Array => {
    const from = new Int32Array(length);
    resolveEscapes(codes, resolved, from);
    return from;
  };
  return new TextView(resolved.subarray(0, length), { view, locate, isContiguous: true });
}

function resolveEscapes(codes: Uint16Array, resolved: Uint16Array, from: Int32Array | null): number {
  let length = 0;
  for (let i = 0; i < codes.length; ) {
    const code = codes[i] as number;
    const sequence = code === BACKSLASH || code === PERCENT ? readEscape(codes, i) : undefined;
    if (sequence === undefined) {
      resolved[length] = code;
      if (from !== null) from[length] = i;
      length += 1;
      i += 1;
      continue;
    }
    for (let k = 0; k < sequence.codes.length; k += 1) {
      resolved[length] = sequence.codes[k] as number;
      if (from !== null) from[length] = i;
      length += 1;
    }
    i += sequence.length;
  }
  return length;
}

const BACKSLASH = 0x5c;
const PERCENT = 0x25;
