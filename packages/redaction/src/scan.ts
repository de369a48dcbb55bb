import { BARRIER } from './characters.ts';
import { Runs } from './runs.ts';
import type { TextView } from './text-view.ts';

/** What a rule sees of a text while it is searched, and where it says what must go. */
export class Scan {
  /** Code units of the view; {@link BARRIER} where the text was already redacted. */
  readonly codes: Uint16Array;
  readonly runs: Runs;
  /** Names of the rules that found something. */
  readonly found: Set<string>;
  readonly #view: TextView;
  readonly #mask: Uint8Array;
  #work = 0;

  constructor(view: TextView, mask: Uint8Array, found: Set<string>) {
    this.codes = view.codes;
    this.runs = new Runs(view.codes);
    this.found = found;
    this.#view = view;
    this.#mask = mask;
  }

  /** Characters looked at so far. */
  get work(): number {
    return this.#work + this.runs.work;
  }

  /** Counts characters a rule looks at by itself. */
  spend(characters: number): void {
    this.#work += characters;
  }

  /** Marks a stretch for removal, unless everything in it is gone already. */
  mark(rule: string, start: number, end: number): void {
    this.#work += end - start;
    for (let i = start; i < end; i += 1) {
      if (this.codes[i] === BARRIER) continue;
      this.#mask.fill(1, this.#view.startOf(start), this.#view.endOf(end - 1));
      this.found.add(rule);
      return;
    }
  }

  /** A short stretch as text; what was already redacted shows as `[redacted]`. */
  text(start: number, end: number): string {
    this.#work += Math.max(0, end - start);
    let text = '';
    for (let i = start; i < end; i += 1) {
      const code = this.codes[i] as number;
      if (code !== BARRIER) text += String.fromCharCode(code);
      else if (this.codes[i - 1] !== BARRIER || i === start) text += '[redacted]';
    }
    return text;
  }

  /** The character at an index; empty outside the text and where it was already redacted. */
  char(at: number): string {
    const code = this.codes[at];
    return code === undefined || code === BARRIER ? '' : String.fromCharCode(code);
  }

  /** Whether a text of ASCII stands at an index, case included. */
  hasAt(at: number, text: string): boolean {
    this.#work += 1;
    for (let i = 0; i < text.length; i += 1) {
      if (this.codes[at + i] !== text.charCodeAt(i)) return false;
    }
    return true;
  }
}
