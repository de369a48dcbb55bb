/**
 * Reads Cedar's text as far as strings, comments, brackets and operators go, and no further.
 *
 * Splitting a file here gives each policy its exact place, and lets those after a broken one be checked too; every piece is
 * parsed by Cedar itself. How deep a policy goes must be known before Cedar sees it: its WebAssembly has a stack of 1 MiB,
 * and when that overflows, which a few hundred `||` achieve, it never works again in this process.
 */

import type { CallPart } from './tool-call.ts';

/** One policy of a file. */
export interface PolicyPiece {
  /** From its first annotation or keyword to its `;`, or all of the rest when that is missing. */
  readonly text: string;
  /** Offset in the file, in UTF-16 code units. */
  readonly start: number;
}

/** Cuts a file after each `;`. Comments and space between policies, and a byte order mark, belong to none of them. */
export function splitPolicies(text: string): readonly PolicyPiece[] {
  const pieces: PolicyPiece[] = [];
  let start = -1;
  for (let at = text.startsWith('\ufeff') ? 1 : 0; at < text.length; ) {
    const next = pastSpace(text, at);
    if (next > at) {
      at = next;
      continue;
    }
    if (start < 0) start = at;
    const isEnd = text[at] === ';';
    at = pastToken(text, at);
    if (!isEnd) continue;
    pieces.push({ text: text.slice(start, at), start });
    start = -1;
  }
  if (start >= 0) pieces.push({ text: text.slice(start), start });
  return pieces;
}

/**
 * Whether what a policy says may depend on the resource. Errs towards true.
 *
 * False only when the word stands once in the whole text, comments included: that is the one of the head, which every
 * policy has. And when a sign follows at once that leaves it free.
 */
export function dependsOnResource(policy: string): boolean {
  const word = 'resource';
  const at = policy.indexOf(word);
  if (at < 0 || policy.indexOf(word, at + 1) >= 0) return true;
  let next = at + word.length;
  while (' \t\r\n'.includes(policy[next] ?? '.')) next += 1;
  return policy[next] !== ')' && policy[next] !== ',';
}

/** Entity types that a head can bind the resource to, and the kind of part that is one. */
const kindOfType: Readonly<Record<string, CallPart['kind'] | 'none'>> = {
  Tool: 'tool',
  McpTool: 'mcp',
  McpServer: 'mcp',
  Command: 'command',
  File: 'file',
  Host: 'host',
  Provider: 'none',
  Agent: 'none',
};

/**
 * The kind of part that the head of a policy binds the resource to: `resource is Command`, `== Command::"git"`, `in …`.
 *
 * @returns `none` for a resource that is no part of a call; null when the head leaves it open, or is not understood.
 */
export function boundKind(policy: string): CallPart['kind'] | 'none' | null {
  const tokens = headTokens(policy);
  const at = tokens.lastIndexOf('resource');
  if (at < 0 || tokens.indexOf('resource') !== at) return null;
  const [operator, ...rest] = tokens.slice(at + 1);
  const type =
    operator === '=' && rest[0] === '=' ? rest[1] : operator === 'is' || operator === 'in' ? rest[0] : '';
  const after = rest[operator === '=' ? 2 : 1];
  // A type with a name space, or more than a type after "is".
  const isPlain = operator === 'is' ? after === undefined || after === ',' : after === ':';
  if (type === undefined || !isPlain || !Object.hasOwn(kindOfType, type)) return null;
  return kindOfType[type] ?? null;
}

/** The tokens between the brackets after `forbid` or `permit`; empty when it does not look like that. */
function headTokens(policy: string): readonly string[] {
  const tokens: string[] = [];
  let opened = false;
  let keyword = '';
  for (let at = pastSpace(policy, 0); at < policy.length; ) {
    const end = pastToken(policy, at);
    const token = policy.slice(at, end);
    if (opened) {
      if (token === '(') return [];
      if (token === ')') return tokens;
      tokens.push(token);
    } else if (token === '(' && (keyword === 'forbid' || keyword === 'permit')) opened = true;
    // The name of an annotation is no keyword.
    else keyword = keyword === '@' ? '' : token;
    at = pastSpace(policy, end);
  }
  return [];
}

/** Deepest policy that is given to Cedar, in units of {@link depthOf}: about half of what its stack takes. */
export const maxDepth = 180;

/** What one bracket costs of the stack, compared with one operator. */
const bracketCost = 3;

interface Level {
  /** Operators that nest: each takes all before it as its left side. */
  operators: number;
  /** Attributes and calls in a row, and the longest such row. */
  row: number;
  longestRow: number;
  /** Of the brackets in it. */
  deepest: number;
}

/** How deep Cedar's recursion over a policy goes, estimated from above. */
export function depthOf(policy: string): number {
  const levels: Level[] = [];
  let level = newLevel();
  for (let at = pastSpace(policy, 0); at < policy.length; ) {
    const end = pastToken(policy, at);
    const token = policy.slice(at, end);
    if (token === '(' || token === '[' || token === '{') {
      countRow(level);
      levels.push(level);
      level = newLevel();
    } else if (token === ')' || token === ']' || token === '}') {
      level = closed(level, levels.pop());
    } else if (token === '.') countRow(level);
    else if (token === ',') level.row = 0;
    else if (nesting.has(token)) {
      level.operators += 1;
      level.row = 0;
    }
    at = pastSpace(policy, end);
  }
  while (levels.length > 0) level = closed(level, levels.pop());
  return depthWithin(level);
}

const nesting = new Set(['||', '&&', '+', '-', '*', '!', 'if', 'when', 'unless']);

const newLevel = (): Level => ({ operators: 0, row: 0, longestRow: 0, deepest: 0 });

const depthWithin = ({ operators, longestRow, deepest }: Level): number => operators + longestRow + deepest;

function countRow(level: Level): void {
  level.row += 1;
  level.longestRow = Math.max(level.longestRow, level.row);
}

function closed(inner: Level, outer: Level = newLevel()): Level {
  outer.deepest = Math.max(outer.deepest, bracketCost + depthWithin(inner));
  return outer;
}

/** The end of space and comments that begin at an offset; the offset itself when there are none. */
function pastSpace(text: string, from: number): number {
  for (let at = from; ; ) {
    const sign = text.charCodeAt(at);
    if (sign === 32 || (sign >= 9 && sign <= 13)) at += 1;
    else if (sign === 47 && text.charCodeAt(at + 1) === 47) at = endOfLine(text, at);
    else return at;
  }
}

function endOfLine(text: string, from: number): number {
  let at = from;
  while (at < text.length && text[at] !== '\n' && text[at] !== '\r') at += 1;
  return at;
}

/** The end of the string, name, number, doubled or single sign that begins at an offset. */
function pastToken(text: string, from: number): number {
  const first = text[from] ?? '';
  if (first === '"') return pastString(text, from);
  if ((first === '|' || first === '&') && text[from + 1] === first) return from + 2;
  let at = from;
  while (isWord(text.charCodeAt(at))) at += 1;
  return Math.max(at, from + 1);
}

const isWord = (sign: number): boolean =>
  (sign >= 97 && sign <= 122) || (sign >= 65 && sign <= 90) || (sign >= 48 && sign <= 57) || sign === 95;

function pastString(text: string, from: number): number {
  let at = from + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return Math.min(at + 1, text.length);
}
