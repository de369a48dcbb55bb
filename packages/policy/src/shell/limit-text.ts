import type { ShellNode, ShellTree } from './syntax-tree.ts';

/** Text that is safe to parse: as long as the original, or shorter. */
export interface LimitedText {
  readonly text: string;
  /** Something of the end is missing. */
  readonly clipped: boolean;
  /** Places where quoted text was made harmless; the tree must hold text there, nothing else. */
  readonly masked: readonly number[];
}

/** Longest text that is parsed, UTF-16 code units: a megabyte would block the process for half a second. */
export const maxScriptLength = 64 * 1024;

// What the parser's time grows with the square of: at these numbers a hostile text costs some 50 ms.
const maxHeavy = 1500;
const maxMarks = 5000;

const heavy = new Set('|()[]{}<>?!'.split(''));
const light = new Set(';&$`"\'\\\n#='.split(''));

/**
 * Bounds what parsing a text can cost.
 *
 * The parser is quick with ordinary text, but keeps every reading of a hostile one alive: 4,096 opening brackets take it a
 * second. So marks are counted first. A long here document of code or tables has many too, and costs nothing: with too many
 * marks those inside of quotes and here documents are replaced by letters. Where those begin and end is only guessed here;
 * {@link maskHolds} compares the guess with the tree.
 */
export function limitText(whole: string): LimitedText {
  const text = whole.slice(0, maxScriptLength);
  const clipped = text.length < whole.length;
  if (endOfMarks(text) === text.length) return { text, clipped, masked: [] };
  const masked = quotedMarks(text);
  const units = text.split('');
  for (const at of masked) units[at] = 'x';
  const harmless = units.join('');
  const end = endOfMarks(harmless);
  return {
    text: harmless.slice(0, end),
    clipped: clipped || end < text.length,
    masked: masked.filter((at) => at < end),
  };
}

/** Where a text has to end so that it has few enough marks. */
function endOfMarks(text: string): number {
  let heavyMarks = 0;
  let marks = 0;
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charAt(at);
    if (heavy.has(char)) heavyMarks += 1;
    else if (light.has(char)) marks += 1;
    if (heavyMarks > maxHeavy || marks > maxMarks) return at;
  }
  return text.length;
}

/** Marks inside of what look like single quotes and here documents. */
function quotedMarks(text: string): readonly number[] {
  const found: number[] = [];
  const take = (from: number, to: number): void => {
    for (let at = from; at < to; at += 1) {
      const char = text.charAt(at);
      // Line ends stay: they end here documents.
      if (char !== '\n' && (heavy.has(char) || light.has(char))) found.push(at);
    }
  };
  let quote = false;
  let pending: Delimiter[] = [];
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charAt(at);
    if (char === '\\') at += 1;
    else if (char === '"') quote = !quote;
    else if (char === "'" && !quote) {
      const end = text.indexOf("'", at + 1);
      if (end < 0) break;
      take(at + 1, end);
      at = end;
    } else if (char === '<' && !quote) {
      const start = delimiterAt(text, at);
      if (start === null) continue;
      pending.push(start);
      at = start.end - 1;
    } else if (char === '\n' && pending.length > 0) {
      for (const delimiter of pending) {
        const end = bodyEnd(text, at + 1, delimiter);
        if (delimiter.quoted) take(at + 1, end);
        at = end;
      }
      pending = [];
    }
  }
  return found;
}

interface Delimiter {
  readonly word: string;
  readonly tabs: boolean;
  readonly quoted: boolean;
  readonly end: number;
}

function delimiterAt(text: string, at: number): Delimiter | null {
  const start = /^<<(-?)[ \t]*(?:'([^'\n]+)'|"([^"\n]+)"|\\?([\w.-]+))/.exec(text.slice(at, at + 100));
  if (start === null) return null;
  const [all, dash, single, double, bare] = start;
  const word = single ?? double ?? bare ?? '';
  return { word, tabs: dash === '-', quoted: bare === undefined || all.includes('\\'), end: at + all.length };
}

/** Where the line of the delimiter begins; the end of the text without one. */
function bodyEnd(text: string, from: number, { word, tabs }: Delimiter): number {
  for (let line = from; line < text.length; ) {
    const next = text.indexOf('\n', line);
    const end = next < 0 ? text.length : next;
    if ((tabs ? text.slice(line, end).replace(/^\t+/, '') : text.slice(line, end)) === word)
      return end - word.length;
    line = end + 1;
  }
  return text.length;
}

const textNodes = new Set(['raw_string', 'heredoc_body', 'ansi_c_string']);

/** Whether every masked place lies in quoted text of the tree, so that its commands are those of the original. */
export function maskHolds(tree: ShellTree, masked: readonly number[]): boolean {
  if (masked.length === 0) return true;
  const spans: (readonly [number, number])[] = [];
  const stack: ShellNode[] = [tree.root];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (textNodes.has(node.type)) spans.push([node.start, node.end]);
    else stack.push(...node.children);
  }
  spans.sort(([a], [b]) => a - b);
  let index = 0;
  return masked.every((at) => {
    while (index < spans.length && (spans[index]?.[1] ?? 0) <= at) index += 1;
    return (spans[index]?.[0] ?? Number.POSITIVE_INFINITY) <= at;
  });
}
