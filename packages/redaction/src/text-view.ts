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
export function viewText(text: string): TextView {
  const plain = writeCodes(text);
  for (let at = text.indexOf(REPLACEMENT); at >= 0; at = text.indexOf(REPLACEMENT, at + REPLACEMENT.length)) {
    plain.fill(BARRIER, at, at + REPLACEMENT.length);
  }
  return new TextView(plain);
}

/** What begins a colour of a terminal. */
const ESCAPE = '\u001b';

/** The text as written, and with its escapes resolved once where it has any. They hold until the next call. */
export function viewsOf(text: string): readonly TextView[] {
  const plain = viewText(text);
  const hasEscapes = text.includes('\\') || text.includes('%') || text.includes(ESCAPE);
  return hasEscapes ? [plain, unescapeView(plain, text)] : [plain];
}

/**
 * The view without separators: copies that were wrapped, spaced or joined from pieces become whole. Holds until the next
 * view is squeezed.
 */
export function squeezeView(view: TextView): TextView {
  const { codes } = view;
  const { squeezed } = buffersFor(codes.length);
  const length = squeeze(codes, squeezed, kept);
  const locate = () => placesKept(codes, length);
  return new TextView(squeezed.subarray(0, length), { view, locate, isContiguous: false });
}

/** What is no separator stays; anything else is overwritten by the next. Four at once, which takes half the time. */
function squeeze(codes: Uint16Array, squeezed: Uint16Array, keeps: Uint8Array): number {
  const end = codes.length;
  let length = 0;
  let i = 0;
  for (; i + 3 < end; i += 4) {
    const first = codes[i] as number;
    const second = codes[i + 1] as number;
    const third = codes[i + 2] as number;
    const fourth = codes[i + 3] as number;
    squeezed[length] = first;
    length = (length + (keeps[first] as number)) | 0;
    squeezed[length] = second;
    length = (length + (keeps[second] as number)) | 0;
    squeezed[length] = third;
    length = (length + (keeps[third] as number)) | 0;
    squeezed[length] = fourth;
    length = (length + (keeps[fourth] as number)) | 0;
  }
  for (; i < end; i += 1) {
    squeezed[length] = codes[i] as number;
    length += keeps[codes[i] as number] as number;
  }
  return length;
}

function placesKept(codes: Uint16Array, count: number): Int32Array {
  const from = new Int32Array(count);
  for (let i = 0, length = 0; length < count; i += 1) {
    from[length] = i;
    length += kept[codes[i] as number] as number;
  }
  return from;
}

/** For every code unit, 1 when it stays where a text is squeezed. */
const kept = new Uint8Array(0x10000).map((_, code) => (isSeparator(code) ? 0 : 1));

/** The view with JSON, unicode and percent escapes resolved once, and without colours. */
function unescapeView(view: TextView, text: string): TextView {
  const { codes } = view;
  const { resolved } = buffersFor(codes.length);
  const length = resolveEscapes(text, codes, resolved, null);
  const locate = (): Int32Array => {
    const from = new Int32Array(length);
    resolveEscapes(text, codes, resolved, from);
    return from;
  };
  return new TextView(resolved.subarray(0, length), { view, locate, isContiguous: true });
}

/** Escapes are looked for in the text, which is searched for one character many times as fast as an array. */
function resolveEscapes(
  text: string,
  codes: Uint16Array,
  resolved: Uint16Array,
  from: Int32Array | null,
): number {
  let length = 0;
  let backslash = -1;
  let percent = -1;
  let colour = -1;
  for (let i = 0; i < codes.length; ) {
    if (backslash < i) backslash = nextOf(text, '\\', i);
    if (percent < i) percent = nextOf(text, '%', i);
    if (colour < i) colour = nextOf(text, ESCAPE, i);
    const next = Math.min(backslash, percent, colour);
    copyCodes(codes, i, next, resolved, length);
    if (from !== null) for (let at = i; at < next; at += 1) from[length + at - i] = at;
    length += next - i;
    if (next === codes.length) break;
    const sequence = readEscape(codes, next);
    const stands = sequence?.codes;
    if (stands === undefined) resolved[length] = codes[next] as number;
    else for (let k = 0; k < stands.length; k += 1) resolved[length + k] = stands[k] as number;
    const count = stands?.length ?? 1;
    if (from !== null) from.fill(next, length, length + count);
    length += count;
    i = next + (sequence?.length ?? 1);
  }
  return length;
}

/** Where a character stands next; the end of the text when it does not. */
function nextOf(text: string, char: string, from: number): number {
  const at = text.indexOf(char, from);
  return at < 0 ? text.length : at;
}

/** Stretches that are shorter are copied faster one by one. */
const MIN_COPIED = 96;

function copyCodes(codes: Uint16Array, from: number, to: number, target: Uint16Array, at: number): void {
  if (to - from >= MIN_COPIED) target.set(codes.subarray(from, to), at);
  else for (let i = from; i < to; i += 1) target[at + i - from] = codes[i] as number;
}
