import { Glance, isPlainlyWritten } from './glance.ts';
import { MAX_DEPTH } from './limits.ts';
import { mayHoldPattern } from './pattern-set.ts';
import { viewText } from './text-view.ts';

/** Longest text that is glanced at; whether a longer one keeps within its budget, only the search itself says. */
const MAX_LENGTH = 131_072;

/**
 * Whether a stored payload certainly shows no secret by any rule or key, at a fraction of the cost of a search.
 *
 * One scan of the text as it is written: JSON is not parsed and nothing is copied. A false says nothing: then the search has
 * to be done.
 *
 * @param text A payload, JSON or any other text.
 */
export function isSurelyClean(text: string): boolean {
  if (text.length > MAX_LENGTH || !isPlainlyWritten(text) || mayBeDeep(text)) return false;
  return !mayHoldPattern(new Glance(text, viewText(text).codes));
}

/** Whether a text may be JSON that is nested too deep to be searched. */
function mayBeDeep(text: string): boolean {
  if (!/^\s*[[{]/.test(text)) return false;
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at + 1);
    else if (code === 0x5b || code === 0x7b) depth += 1;
    else if (code === 0x5d || code === 0x7d) depth -= 1;
    if (depth >= MAX_DEPTH) return true;
  }
  return false;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Where the quote stands that ends a string; the end of the text when there is none. */
function endOfString(text: string, from: number): number {
  for (let quote = text.indexOf('"', from); quote >= 0; quote = text.indexOf('"', quote + 1)) {
    let before = quote;
    while (before > from && text.charCodeAt(before - 1) === BACKSLASH) before -= 1;
    if ((quote - before) % 2 === 0) return quote;
  }
  return text.length;
}
