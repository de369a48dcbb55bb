import { REPLACEMENT } from './text-view.ts';

/** Shortest value that is looked for elsewhere, and the longest. */
const MIN_TAKEN = 6;
const MAX_TAKEN = 1024;
/** Shortest beginning of one that is taken for it at the end of a text. */
const MIN_START = 12;
/** Values kept of one payload; each costs a look at all of it. */
const MAX_COUNT = 32;

/** What was taken out of a payload in one place and may stand in another one without what gave it away. */
export class TakenValues {
  readonly #values = new Set<string>();

  /** How many there are; to look for them costs a look at everything for each. */
  get count(): number {
    return this.#values.size;
  }

  /** Adds every stretch of a text that is marked to go. */
  addMarked(text: string, mask: Uint8Array): void {
    for (let start = mask.indexOf(1); start >= 0; ) {
      const end = mask.indexOf(0, start);
      this.add(text.slice(start, end < 0 ? text.length : end));
      start = end < 0 ? -1 : mask.indexOf(1, end);
    }
  }

  /** Adds one value. Short ones and plain words of prose stand everywhere, and are not looked for. */
  add(value: string): void {
    if (this.#values.size >= MAX_COUNT || value.includes(REPLACEMENT)) return;
    for (const form of new Set([value, value.replace(/\\(.)/gs, '$1').replace(/["'`]/g, '')])) {
      if (form.length >= MIN_TAKEN && form.length <= MAX_TAKEN && !/^[A-Z]?[a-z]+$|^\d{1,7}$|\s/.test(form))
        this.#values.add(form);
    }
  }

  /** Replaces all of them in a text, the longest first; null when there are none. */
  replacer(): ((text: string) => string) | null {
    if (this.#values.size === 0) return null;
    const values = [...this.#values].sort((a, b) => b.length - a.length);
    return (text) => values.reduce((left, value) => replaceAll(left, value), text);
  }
}

/** As a word where it is short: part of a longer word it may be anything. Also its beginning where the text was cut. */
function replaceAll(uncut: string, value: string): string {
  const text = withoutStartAtEnd(uncut, value);
  const pieces = text.split(value);
  if (pieces.length === 1) return text;
  const isShort = value.length < 8;
  return pieces.reduce((left, right) => {
    const isPart = isShort && (/\w$/.test(left) || /^\w/.test(right));
    return left + (isPart ? value : REPLACEMENT) + right;
  });
}

function withoutStartAtEnd(text: string, value: string): string {
  const at = text.length < MIN_START ? -1 : value.indexOf(text.slice(-MIN_START));
  const start = value.slice(0, at + MIN_START);
  return at < 0 || start === value || !text.endsWith(start)
    ? text
    : text.slice(0, text.length - start.length) + REPLACEMENT;
}

/** A copy of a JSON value with every text in it changed, keys left as they are. */
export function mapTexts(value: unknown, change: (text: string) => string): unknown {
  if (typeof value === 'string') return change(value);
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => mapTexts(item, change));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mapTexts(item, change)]));
}
