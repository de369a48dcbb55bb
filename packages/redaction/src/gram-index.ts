/**
 * Finds every run of k characters that also stands in one of many forms, in one pass over the text.
 *
 * Most windows are passed over by the last three characters alone: when no form holds these three, no window that holds
 * them is a gram, and the next one worth a look begins behind the first of them (Wu and Manber 1994). What is left is
 * hashed, looked up in an open-addressing table and compared character by character, so that collisions cost time but
 * never redact. The work per character is bounded.
 *
 * Grams of white space alone are left out: an indented secret must not redact every indentation.
 */
import { BARRIER, codeAt, isWhiteSpace, isWordCode } from './characters.ts';
import type { TextView } from './text-view.ts';

const BASE = 0x01000193;
/** Characters at the end of a window that are asked for first. */
const TAIL = 3;
/** Bits per tail of a form, so that few other tails are taken for one; together they stay in the processor's cache. */
const BITS_PER_TAIL = 32;
const MAX_FILTER_BITS = 131_072;

/** The grams of some forms, all of one length. */
export class GramIndex {
  /** Length of a gram in code units. */
  readonly length: number;
  readonly #wholeWords: boolean;
  /** All forms, one after the other; the table holds offsets into it, plus one. */
  readonly #codes: Uint16Array;
  readonly #table: Int32Array;
  /** One bit for each hash of three characters in a row that stand in a form. */
  readonly #tails: Int32Array;
  /** What a window without them may be moved on by. */
  readonly #skip: number;
  /** What the characters before the last count in the hash of a tail; a short gram has none. */
  readonly #factors: readonly [number, number];

  /**
   * @param length Length of a gram in code units; no form is shorter.
   * @param wholeWords Whether a match counts only between non-word characters.
   */
  constructor(length: number, forms: readonly string[], wholeWords: boolean) {
    this.length = length;
    this.#wholeWords = wholeWords;
    const total = forms.reduce((sum, form) => sum + form.length, 0);
    this.#codes = new Uint16Array(total);
    this.#table = new Int32Array(2 ** Math.ceil(Math.log2(2 * total + 1)));
    const bits = Math.min(MAX_FILTER_BITS, 2 ** Math.ceil(Math.log2(BITS_PER_TAIL * total + BITS_PER_TAIL)));
    this.#tails = new Int32Array(bits / 32);
    this.#skip = Math.max(1, length - TAIL + 1);
    this.#factors = [length > 1 ? 0x9e3779b1 : 0, length > 2 ? 0x85ebca77 : 0];
    let offset = 0;
    for (const form of forms) {
      for (let i = 0; i < form.length; i += 1) this.#codes[offset + i] = codeAt(form, i);
      this.#addForm(offset, form.length);
      offset += form.length;
    }
  }

  /**
   * Reports every window of the view that is a gram, from left to right.
   *
   * @param onHit Gets the first index of the window and one past its last.
   * @returns The work done, in characters looked at.
   */
  find(view: TextView, onHit: (start: number, end: number) => void): number {
    const { codes } = view;
    const tails = this.#tails;
    const [second, third] = this.#factors;
    const bits = 32 * tails.length - 1;
    const skip = this.#skip;
    let work = codes.length;
    for (let last = this.length - 1; last < codes.length; ) {
      const before =
        Math.imul(codes[last - 1] as number, second) + Math.imul(codes[last - 2] as number, third);
      const bit = mix((codes[last] as number) + before) & bits;
      // A shift counts by the lowest five bits of its right side.
      if ((((tails[bit >>> 5] as number) >>> bit) & 1) === 0) {
        last += skip;
        continue;
      }
      work += this.#visit(codes, last - this.length + 1, onHit);
      last += 1;
    }
    return work;
  }

  /** Compares a window with the grams of its hash, and says what that cost. */
  #visit(codes: Uint16Array, start: number, onHit: (start: number, end: number) => void): number {
    let work = 0;
    let slot = this.#slotOf(codes, start);
    for (let entry = this.#table[slot]; entry; entry = this.#table[slot]) {
      work += this.length;
      if (this.#equals(entry - 1, codes, start)) {
        const end = start + this.length;
        if (!this.#wholeWords || isWholeWord(codes, start, end)) onHit(start, end);
        return work;
      }
      slot = (slot + 1) & (this.#table.length - 1);
    }
    return work;
  }

  #addForm(offset: number, length: number): void {
    for (let start = offset; start + this.length <= offset + length; start += 1) {
      if (!this.#isBlank(start)) this.#addGram(start);
    }
  }

  #addGram(start: number): void {
    let slot = this.#slotOf(this.#codes, start);
    for (let entry = this.#table[slot]; entry; entry = this.#table[slot]) {
      if (this.#equals(entry - 1, this.#codes, start)) return;
      slot = (slot + 1) & (this.#table.length - 1);
    }
    this.#table[slot] = start + 1;
    // Every tail of the gram, not its last alone: a window may end anywhere in it.
    for (let last = start + Math.min(TAIL, this.length) - 1; last < start + this.length; last += 1)
      this.#addTail(last);
  }

  #addTail(last: number): void {
    const [second, third] = this.#factors;
    const before =
      Math.imul(this.#codes[last - 1] ?? 0, second) + Math.imul(this.#codes[last - 2] ?? 0, third);
    const bit = mix((this.#codes[last] as number) + before) & (32 * this.#tails.length - 1);
    this.#tails[bit >>> 5] = (this.#tails[bit >>> 5] as number) | (1 << bit);
  }

  /** Where the search for a window begins in the table. */
  #slotOf(codes: Uint16Array, start: number): number {
    let hash = 0;
    for (let i = start; i < start + this.length; i += 1)
      hash = (Math.imul(hash, BASE) + (codes[i] as number)) | 0;
    return mix(hash) & (this.#table.length - 1);
  }

  #isBlank(start: number): boolean {
    for (let i = start; i < start + this.length; i += 1) {
      if (!isWhiteSpace(this.#codes[i] as number)) return false;
    }
    return true;
  }

  #equals(offset: number, codes: Uint16Array, start: number): boolean {
    for (let i = 0; i < this.length; i += 1) {
      if (this.#codes[offset + i] !== codes[start + i]) return false;
    }
    return true;
  }
}

/** Mixes a hash before its low bits are taken, which hang on few characters otherwise. */
function mix(hash: number): number {
  const mixed = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return mixed ^ (mixed >>> 13);
}

const isWholeWord = (codes: Uint16Array, start: number, end: number): boolean =>
  !isWordCode(codes[start - 1] ?? BARRIER) && !isWordCode(codes[end] ?? BARRIER);
