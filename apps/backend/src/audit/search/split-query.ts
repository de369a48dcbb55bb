import { KontextError } from '@kontext/errors';

/** A word of a query, quotes and escapes taken away. */
export interface QueryWord {
  /** Where it begins, in characters from 1. */
  readonly position: number;
  readonly negated: boolean;
  /** What stands before the first colon, in lower case; null for a text. */
  readonly field: string | null;
  readonly value: string;
  readonly quoted: boolean;
  /** A `*` stood at the end, outside of quotes. */
  readonly star: boolean;
}

/** Longest query, in UTF-16 code units. */
export const maxQueryLength = 2000;
/** Most words. */
export const maxTerms = 32;

/** What can be no part of a query: no payload holds it unescaped, and Postgres has no text for some of it. */
const unsearchable = /[^\P{Cc}\t\n\r]|\p{Surrogate}/u;

/**
 * @param position In characters from 1.
 * @param instead What to write instead.
 */
export const queryInvalid = (position: number, what: string, instead: string): KontextError =>
  new KontextError('KX_QUERY_INVALID', `the query cannot be read at character ${position}: ${what}`, {
    hint: instead,
    details: { position: String(position) },
  });

/**
 * Splits a query into its words. Each character is looked at a bounded number of times.
 *
 * @throws KontextError `KX_QUERY_INVALID` with position and what to write instead.
 */
export function splitQuery(text: string): QueryWord[] {
  if (text.length > maxQueryLength) {
    const why = `it is longer than ${maxQueryLength} characters`;
    throw queryInvalid(maxQueryLength + 1, why, 'write fewer terms, or begin a text elsewhere');
  }
  const bad = unsearchable.exec(text);
  if (bad !== null) {
    throw queryInvalid(bad.index + 1, 'a control character', 'leave it out; payloads hold none');
  }
  const words: QueryWord[] = [];
  let at = 0;
  for (;;) {
    at = skipSpace(text, at);
    if (at >= text.length) return words;
    if (words.length === maxTerms) {
      throw queryInvalid(
        at + 1,
        `there are more than ${maxTerms} terms`,
        'search twice, or use a * at the end',
      );
    }
    const { word, end } = readWord(text, at);
    words.push(word);
    at = end;
  }
}

function skipSpace(text: string, from: number): number {
  const space = /\s*/y;
  space.lastIndex = from;
  return from + (space.exec(text)?.[0].length ?? 0);
}

function readWord(text: string, start: number): { readonly word: QueryWord; readonly end: number } {
  const negated = text[start] === '-';
  const named = /([A-Za-z_]+):/y;
  named.lastIndex = negated ? start + 1 : start;
  const name = named.exec(text)?.[1];
  const from = name === undefined ? (negated ? start + 1 : start) : named.lastIndex;
  const common = { position: start + 1, negated, field: name?.toLowerCase() ?? null };
  if (text[from] === '"') {
    const { value, end } = readQuoted(text, from);
    const star = text[end] === '*';
    const next = star ? end + 1 : end;
    if (next < text.length && skipSpace(text, next) === next) {
      throw queryInvalid(
        next + 1,
        'something follows the closing quote',
        'put a space there, or write \\" for a quote',
      );
    }
    return { word: { ...common, value, quoted: true, star }, end: next };
  }
  const bare = /[^\s"]*/y;
  bare.lastIndex = from;
  const value = bare.exec(text)?.[0] ?? '';
  const end = from + value.length;
  if (text[end] === '"') {
    throw queryInvalid(end + 1, 'a quote inside of a word', 'put the whole value in quotes: tool:"a b"');
  }
  const star = name !== undefined && value.endsWith('*');
  return { word: { ...common, value: star ? value.slice(0, -1) : value, quoted: false, star }, end };
}

/** @param open Where the opening quote stands. */
function readQuoted(text: string, open: number): { readonly value: string; readonly end: number } {
  // A backslash before anything but a quote and itself stands for itself.
  const quoted = /"((?:[^"\\]|\\["\\]|\\(?!["\\]))*)"/y;
  quoted.lastIndex = open;
  const [whole, inner] = quoted.exec(text) ?? [];
  if (whole === undefined || inner === undefined) {
    throw queryInvalid(
      open + 1,
      'the quote is never closed',
      'write " at the end, and \\" for a quote inside',
    );
  }
  return { value: inner.replace(/\\(["\\])/g, '$1'), end: open + whole.length };
}
