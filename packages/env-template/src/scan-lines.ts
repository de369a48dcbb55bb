/**
 * Splits the text of a template into assignments, in one pass.
 *
 * Never quadratic: a quoted value ends at the next quote of its kind at the latest at the next line that opens one, so
 * the texts scanned for quotes of one kind do not overlap even when every quote turns out to be broken.
 */

/** Where the raw text of a value stands, and how it is to be read. */
export interface RawValue {
  /** First character of the value, behind the quote if there is one. */
  readonly start: number;
  /** One past the last character. */
  readonly end: number;
  /** Only a double-quoted value has escapes. */
  readonly hasEscapes: boolean;
}

/** A line that is neither blank nor a comment. Offsets are UTF-16 code units from the start of the text. */
export type ScannedLine =
  | { readonly kind: 'assignment'; readonly name: string; readonly at: number; readonly value: RawValue }
  | {
      readonly kind: 'broken';
      readonly name: string | undefined;
      readonly at: number;
      /** Where the trouble is; `at` is where the line begins. */
      readonly problemAt: number;
      readonly reason: string;
    };

const blankOrComment = /[ \t]*(?:#[^\n]*)?(?:\n|$)/y;
const assignmentHead = /[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*/dy;
const restOfQuotedLine = /[ \t]*(?:#[^\n]*)?(?:\n|$)/y;

/**
 * Yields the lines of a template that mean something.
 *
 * @param text Text with `\n` line ends only.
 */
export function* scanLines(text: string): Generator<ScannedLine> {
  let position = 0;
  while (position < text.length) {
    const blankEnd = matchEnd(blankOrComment, text, position);
    if (blankEnd !== undefined) {
      position = blankEnd;
      continue;
    }
    const { line, next } = scanLine(text, position);
    yield line;
    position = next;
  }
}

interface Scanned {
  readonly line: ScannedLine;
  /** Where scanning goes on. */
  readonly next: number;
}

function scanLine(text: string, lineStart: number): Scanned {
  assignmentHead.lastIndex = lineStart;
  const head = assignmentHead.exec(text);
  const name = head?.[1];
  const at = head?.indices?.[1]?.[0];
  if (!head || name === undefined || at === undefined) return scanNonAssignment(text, lineStart);
  const valueAt = lineStart + head[0].length;
  const quote = text[valueAt];
  if (quote === '"' || quote === "'" || quote === '`') return scanQuoted(text, name, at, valueAt, quote);
  return scanUnquoted(text, name, at, valueAt);
}

function scanNonAssignment(text: string, lineStart: number): Scanned {
  let at = lineStart;
  while (text[at] === ' ' || text[at] === '\t') at += 1;
  const reason =
    'the line is not `NAME=value`; a name is letters, digits and `_`, not beginning with a digit';
  return broken(text, undefined, at, at, reason);
}

function scanUnquoted(text: string, name: string, at: number, valueAt: number): Scanned {
  const lineEnd = endOfLine(text, valueAt);
  let end = valueAt;
  // A comment begins at `#` behind a space; `NAME=#5` and `NAME=a#b` are values.
  for (let i = valueAt; i < lineEnd && !(text[i] === '#' && isBlank(text[i - 1])); i += 1) {
    if (!isBlank(text[i])) end = i + 1;
  }
  const value = { start: valueAt, end, hasEscapes: false };
  return { line: { kind: 'assignment', name, at, value }, next: lineEnd + 1 };
}

function scanQuoted(text: string, name: string, at: number, quoteAt: number, quote: string): Scanned {
  const hasEscapes = quote === '"';
  const closeAt = hasEscapes ? closingDoubleQuote(text, quoteAt + 1) : text.indexOf(quote, quoteAt + 1);
  if (closeAt < 0) return broken(text, name, at, quoteAt, 'the quote opened here is never closed');
  const next = matchEnd(restOfQuotedLine, text, closeAt + 1);
  if (next !== undefined) {
    const value = { start: quoteAt + 1, end: closeAt, hasEscapes };
    return { line: { kind: 'assignment', name, at, value }, next };
  }
  // Text behind the end of a multi-line value: more likely the closing quote is missing and a later line's was met.
  const sameLine = closeAt < endOfLine(text, quoteAt);
  return sameLine
    ? broken(text, name, at, closeAt + 1, 'only a comment may follow the closing quote')
    : broken(text, name, at, quoteAt, 'the quote opened here is not closed, or text follows its end');
}

function closingDoubleQuote(text: string, from: number): number {
  for (let i = from; i < text.length; i += 1) {
    if (text[i] === '"') return i;
    if (text[i] === '\\') i += 1;
  }
  return -1;
}

/** A broken line takes only itself along: scanning goes on with the next one. */
const broken = (
  text: string,
  name: string | undefined,
  at: number,
  problemAt: number,
  reason: string,
): Scanned => ({
  line: { kind: 'broken', name, at, problemAt, reason },
  next: endOfLine(text, at) + 1,
});

function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end < 0 ? text.length : end;
}

function matchEnd(pattern: RegExp, text: string, at: number): number | undefined {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : undefined;
}

const isBlank = (char: string | undefined): boolean => char === ' ' || char === '\t';
