/**
 * Finds where policies begin and end in Cedar's text, by its tokens: strings, comments, names and single signs.
 *
 * It knows nothing else of the grammar; every piece is parsed by Cedar itself. Splitting here gives each piece its exact
 * place in the file, and lets the pieces after a broken one be checked too.
 */

/** One policy of a file. */
export interface PolicyPiece {
  /** From its first annotation or keyword to its `;`, or to the end of the file when that is missing. */
  readonly text: string;
  /** Offset in the file, in UTF-16 code units. */
  readonly start: number;
}

/** Cuts a file after each `;`. Comments and space between policies belong to none of them. */
export function splitPolicies(text: string): readonly PolicyPiece[] {
  const pieces: PolicyPiece[] = [];
  let start = -1;
  for (const token of tokens(text)) {
    if (start < 0) start = token.start;
    if (token.text === ';') {
      pieces.push({ text: text.slice(start, token.end), start });
      start = -1;
    }
  }
  if (start >= 0) pieces.push({ text: text.slice(start).trimEnd(), start });
  return pieces;
}

/**
 * Whether what a policy says may depend on the resource. Errs towards true.
 *
 * False only when the name stands once, as the unconstrained `resource` of the head.
 */
export function dependsOnResource(policy: string): boolean {
  let seen = 0;
  let isFree = false;
  let previous = '';
  for (const { text } of tokens(policy)) {
    if (previous === 'resource') isFree = text === ')' || text === ',';
    if (text === 'resource') seen += 1;
    previous = text;
  }
  return seen !== 1 || !isFree;
}

interface Token {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

const token = /(?<skip>\s+|\/\/[^\r\n]*)|"[^"\\]*(?:\\[\s\S][^"\\]*)*(?:"|$)|[A-Za-z_][A-Za-z0-9_]*|[\s\S]/gy;

function* tokens(text: string): Generator<Token> {
  for (const match of text.matchAll(token)) {
    if (match.groups?.skip !== undefined) continue;
    yield { text: match[0], start: match.index, end: match.index + match[0].length };
  }
}
