import { GramIndex } from './gram-index.ts';
import { replaceMarked } from './replace-marked.ts';
import type { Secret } from './secret.ts';
import { GRAM, secretForms } from './secret-forms.ts';
import { squeezeView, type TextView, viewsOf } from './text-view.ts';
import { emptyMask } from './view-buffers.ts';

/** A text after one pass. */
export interface Pass {
  readonly text: string;
  readonly hits: number;
  /** Characters looked at. */
  readonly work: number;
}

/** What came of searching a view. */
interface Marked {
  /** Characters looked at. */
  work: number;
  isFound: boolean;
}

/** Everything that is searched for, ready to be searched. */
export class SecretIndex {
  readonly #substrings: readonly GramIndex[];
  readonly #words: readonly GramIndex[];
  readonly #minSubstring: number;
  /** Length of the shortest thing searched for; a shorter text needs no look. Infinity when there is nothing. */
  readonly minLength: number;

  constructor(secrets: readonly Secret[]) {
    const forms = secrets.map((secret) => secretForms(secret.reveal()));
    this.#substrings = indexByLength(new Set(forms.flatMap(({ substrings }) => substrings)), GRAM, false);
    this.#minSubstring = Math.min(...this.#substrings.map((index) => index.length));
    this.#words = indexByLength(new Set(forms.flatMap(({ words }) => words)), Number.MAX_SAFE_INTEGER, true);
    this.minLength = Math.min(this.#minSubstring, ...this.#words.map((index) => index.length));
  }

  /** Whether there is nothing to search for. */
  get isEmpty(): boolean {
    return this.minLength === Number.POSITIVE_INFINITY;
  }

  /** Replaces what one pass finds. What stands between replacements may, rarely, be found by the next pass only. */
  redactOnce(text: string): Pass {
    const mask = emptyMask(text.length);
    let work = 0;
    for (const view of viewsOf(text)) work += this.mark(view, mask).work;
    return { ...replaceMarked(text, mask), work };
  }

  /** Marks what is found in a view and in its squeezed twin. Words are not looked for where words have no borders. */
  mark(view: TextView, mask: Uint8Array): Marked {
    const all: Marked = { work: view.codes.length, isFound: false };
    for (const index of this.#words) search(index, view, mask, all);
    if (view.codes.length < this.#minSubstring) return all;
    const squeezed = squeezeView(view);
    all.work += view.codes.length;
    for (const index of this.#substrings) {
      search(index, view, mask, all);
      search(index, squeezed, mask, all);
    }
    return all;
  }
}

function indexByLength(forms: ReadonlySet<string>, maxGram: number, wholeWords: boolean): GramIndex[] {
  const groups = new Map<number, string[]>();
  for (const form of forms) {
    const length = Math.min(form.length, maxGram);
    const group = groups.get(length);
    if (group) group.push(form);
    else groups.set(length, [form]);
  }
  return [...groups].map(([length, group]) => new GramIndex(length, group, wholeWords));
}

function search(index: GramIndex, view: TextView, mask: Uint8Array, all: Marked): void {
  // Hits come from left to right, so no character is marked twice, however many grams overlap.
  let reached = 0;
  all.work += index.find(view, (start, end) => {
    const to = view.endOf(end - 1);
    mask.fill(1, Math.max(view.startOf(start), reached), to);
    reached = to;
    all.isFound = true;
  });
}
