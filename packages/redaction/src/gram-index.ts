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

/** The grams of some forms, all of one length. */
export class GramIndex {
  /** Length of a gram in code units. */
  readonly length: number;
  readonly #wholeWords: boolean;
  /** All forms, one after the other; the table holds offsets into it, plus one. */
  readonly #codes: Int32Array;
  readonly #table: Int32Array;
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
    let work = codes.length;
    this.#eachWindow(codes, 0, codes.length, (start, hash) => {
      let slot = this.#slot(hash);
      for (let entry = this.#table[slot]; entry; entry = this.#table[slot]) {
        work += this.length;
        if (this.#equals(entry - 1, codes, start)) {
          const end = start + this.length;
          if (!this.#wholeWords || isWholeWord(codes, start, end)) onHit(start, end);
          return;
        }
        slot = (slot + 1) & (this.#table.length - 1);
      }
    });
    return work;
  }

  #addForm(offset: number, length: number): void {
    this.#eachWindow(this.#codes, offset, offset + length, (start, hash) => {
      if (this.#isBlank(start)) return;
      let slot = this.#slot(hash);
      for (let entry = this.#table[slot]; entry; entry = this.#table[slot]) {
        if (this.#equals(entry - 1, this.#codes, start)) return;
        slot = (slot + 1) & (this.#table.length - 1);
      }
      this.#table[slot] = start + 1;
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

  /** Mixes the hash before taking its low bits, which hang on few characters otherwise. */
  #slot(hash: number): number {
    const mixed = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    return (mixed ^ (mixed >>> 13)) & (this.#table.length - 1);
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

const isWholeWord = (codes: Int32Array, start: number, end: number): boolean =>
  !isWordCode(codes[start - 1] ?? BARRIER) && !isWordCode(codes[end] ?? BARRIER);
