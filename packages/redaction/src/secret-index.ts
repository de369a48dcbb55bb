import { GramIndex } from './gram-index.ts';
import type { Secret } from './secret.ts';
import { GRAM, secretForms } from './secret-forms.ts';
import { REPLACEMENT, squeezeView, type TextView, unescapeView, viewText } from './text-view.ts';

/** A text after one pass. */
export interface Pass {
  readonly text: string;
  readonly hits: number;
  /** Characters looked at. */
  readonly work: number;
}

/** Everything that is searched for, ready to be searched. */
export class SecretIndex {
  readonly #substrings: readonly GramIndex[];
  readonly #words: readonly GramIndex[];

  constructor(secrets: readonly Secret[]) {
    const forms = secrets.map((secret) => secretForms(secret.reveal()));
    this.#substrings = indexByLength(new Set(forms.flatMap(({ substrings }) => substrings)), GRAM, false);
    this.#words = indexByLength(new Set(forms.flatMap(({ words }) => words)), Number.MAX_SAFE_INTEGER, true);
  }

  /** Length of the shortest thing searched for; a shorter text needs no look. Infinity when there is nothing. */
  get minLength(): number {
    return Math.min(...[...this.#substrings, ...this.#words].map((index) => index.length));
  }

  /** Replaces what one pass finds. What stands between replacements may, rarely, be found by the next pass only. */
  redactOnce(text: string): Pass {
    const mask = new Uint8Array(text.length);
    const plain = viewText(text);
    let work = this.#mark(plain, mask);
    if (/[\\%]/.test(text)) work += this.#mark(unescapeView(plain), mask);
    return { ...replaceMarked(text, mask), work };
  }

  /** Marks what is found in a view and in its squeezed twin. Words are not looked for where words have no borders. */
  #mark(view: TextView, mask: Uint8Array): number {
    let work = view.codes.length;
    for (const index of this.#words) work += markHits(index, view, mask);
    if (this.#substrings.length === 0) return work;
    const squeezed = squeezeView(view);
    work += view.codes.length;
    for (const index of this.#substrings) {
      work += markHits(index, view, mask) + markHits(index, squeezed, mask);
    }
    return work;
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

function markHits(index: GramIndex, view: TextView, mask: Uint8Array): number {
  // Hits come from left to right, so no character is marked twice, however many grams overlap.
  let reached = 0;
  return index.find(view, (start, end) => {
    const to = view.endOf(end - 1);
    mask.fill(1, Math.max(view.startOf(start), reached), to);
    reached = to;
  });
}

function replaceMarked(text: string, mask: Uint8Array): { text: string; hits: number } {
  const kept: string[] = [];
  let position = 0;
  for (let start = mask.indexOf(1); start >= 0; start = mask.indexOf(1, position)) {
    const end = mask.indexOf(0, start);
    const from = isInsidePair(text, start) ? start - 1 : start;
    const to = end < 0 ? text.length : end;
    kept.push(text.slice(position, Math.max(from, position)));
    position = isInsidePair(text, to) ? to + 1 : to;
  }
  return kept.length === 0
    ? { text, hits: 0 }
    : { text: [...kept, text.slice(position)].join(REPLACEMENT), hits: kept.length };
}

/** Whether a cut at `index` would leave half a surrogate pair. */
const isInsidePair = (text: string, index: number): boolean =>
  (text.charCodeAt(index) & 0xfc00) === 0xdc00 && (text.charCodeAt(index - 1) & 0xfc00) === 0xd800;
