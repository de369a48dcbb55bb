/**
 * Finds every run of k characters that also stands in one of many forms, in one pass over the text.
 *
 * A rolling hash (Rabin–Karp) looks each window up in an open-addressing table; a hit is compared character by
 * character, so hash collisions cost time but never redact. The work per character is bounded.
 *
 * Grams of white space alone are left out: an indented secret must not redact every indentation.
 */
import { BARRIER, isWhiteSpace, isWordCode } from './characters.ts';
import type { TextView } from './text-view.ts';

const BASE = 0x01000193;
const MAX_FILTER_BYTES = 32_768;

/** The grams of some forms, all of one length. */
export class GramIndex {
  /** Length of a gram in code units. */
  readonly length: number;
  readonly #wholeWords: boolean;
  /** All forms, one after the other; the table holds offsets into it, plus one. */
  readonly #codes: Int32Array;
  readonly #table: Int32Array;
  /** One bit for each gram's hash: small enough for the cache, so that most windows never ask the table. */
  readonly #filter: Uint8Array;
  /** What the oldest character of a window counts in its hash. */
  readonly #oldestFactor: number;

  /**
   * @param length Length of a gram in code units; no form is shorter.
   * @param wholeWords Whether a match counts only between non-word characters.
   */
  constructor(length: number, forms: readonly string[], wholeWords: boolean) {
    this.length = length;
    this.#wholeWords = wholeWords;
    const total = forms.reduce((sum, form) => sum + form.length, 0);
    this.#codes = new Int32Array(total);
    this.#table = new Int32Array(2 ** Math.ceil(Math.log2(2 * total + 1)));
    this.#filter = new Uint8Array(Math.min(MAX_FILTER_BYTES, 2 * this.#table.length));
    let factor = 1;
    for (let i = 1; i < length; i += 1) factor = Math.imul(factor, BASE);
    this.#oldestFactor = factor;
    let offset = 0;
    for (const form of forms) {
      for (let i = 0; i < form.length; i += 1) this.#codes[offset + i] = form.charCodeAt(i);
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
    const { length } = this;
    const factor = this.#oldestFactor;
    const filter = this.#filter;
    const filterMask = 8 * filter.length - 1;
    let work = codes.length;
    // Written out and not shared with #eachWindow: this loop is most of what a redaction costs.
    for (let i = 0, hash = 0, filled = 0; i < codes.length; i += 1) {
      const code = codes[i] as number;
      if (code === BARRIER) {
        hash = 0;
        filled = 0;
        continue;
      }
      if (filled === length) hash -= Math.imul(codes[i - length] as number, factor);
      else filled += 1;
      hash = (Math.imul(hash, BASE) + code) | 0;
      if (filled !== length) continue;
      const mixed = mix(hash);
      const bit = mixed & filterMask;
      if (((filter[bit >>> 3] as number) & (1 << (bit & 7))) === 0) continue;
      work += this.#visit(codes, i - length + 1, mixed, onHit);
    }
    return work;
  }

  /** Compares a window with the grams of its hash, and says what that cost. */
  #visit(
    codes: Int32Array,
    start: number,
    mixed: number,
    onHit: (start: number, end: number) => void,
  ): number {
    let work = 0;
    let slot = mixed & (this.#table.length - 1);
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
    this.#eachWindow(this.#codes, offset, offset + length, (start, hash) => {
      if (this.#isBlank(start)) return;
      const mixed = mix(hash);
      let slot = mixed & (this.#table.length - 1);
      for (let entry = this.#table[slot]; entry; entry = this.#table[slot]) {
        if (this.#equals(entry - 1, this.#codes, start)) return;
        slot = (slot + 1) & (this.#table.length - 1);
      }
      this.#table[slot] = start + 1;
      const bit = mixed & (8 * this.#filter.length - 1);
      this.#filter[bit >>> 3] = (this.#filter[bit >>> 3] as number) | (1 << (bit & 7));
    });
  }

  #eachWindow(codes: Int32Array, from: number, to: number, visit: (start: number, hash: number) => void) {
    const length = this.length;
    let hash = 0;
    let filled = 0;
    for (let i = from; i < to; i += 1) {
      const code = codes[i] as number;
      if (code === BARRIER) {
        hash = 0;
        filled = 0;
        continue;
      }
      if (filled === length) hash -= Math.imul(codes[i - length] as number, this.#oldestFactor);
      else filled += 1;
      hash = (Math.imul(hash, BASE) + code) | 0;
      if (filled === length) visit(i - length + 1, hash);
    }
  }

  #isBlank(start: number): boolean {
    for (let i = start; i < start + this.length; i += 1) {
      if (!isWhiteSpace(this.#codes[i] as number)) return false;
    }
    return true;
  }

  #equals(offset: number, codes: Int32Array, start: number): boolean {
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

const isWholeWord = (codes: Int32Array, start: number, end: number): boolean =>
  !isWordCode(codes[start - 1] ?? BARRIER) && !isWordCode(codes[end] ?? BARRIER);
