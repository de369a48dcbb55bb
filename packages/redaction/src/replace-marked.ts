import { REPLACEMENT } from './text-view.ts';

/** Replaces every marked stretch of a text, and counts them. */
export function replaceMarked(text: string, mask: Uint8Array): { text: string; hits: number } {
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
