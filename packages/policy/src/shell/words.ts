import { expandBraces, type Piece, quotedPiece } from './expand-braces.ts';
import { type ShellNode, type ShellTree, textOf } from './syntax-tree.ts';
import { unquoteAnsiC, unquoteDouble, unquoteHeredoc } from './unquote.ts';

/** Stands for what only running tells. */
export const unknownText = '\ufffd';

/** Text in which every half of a surrogate pair that stands alone is U+FFFD. */
export const soundText = (text: string): string => text.replaceAll(/\p{Surrogate}/gu, unknownText);

/** One word as a command receives it. */
export interface Field {
  /** Without quotes; {@link unknownText} for what only running tells. */
  readonly text: string;
  /** Whether only running tells what exactly it is: a variable, a substitution, a pattern of file names. */
  readonly dynamic: boolean;
}

/** What words can be resolved with. */
export interface WordValues {
  /** Value of a variable; null when only running tells. */
  readonly variable: (name: string) => string | null;
  /** What `~` stands for; null when unknown. */
  readonly home: string | null;
  /** Whether an unquoted value is split at white space, as it is while nobody sets `IFS`. */
  readonly splits: boolean;
}

/** A word that was read before and needs no shell grammar. */
export const plainField = (text: string): Field => ({ text, dynamic: text.includes(unknownText) });

/** Field for what only running tells. */
export const unknownField: Field = { text: unknownText, dynamic: true };

/**
 * The words that neighbouring nodes become: quotes removed, braces expanded, known variables put in their place.
 *
 * @param nodes Nodes with nothing between them: one word.
 */
export function readWord(tree: ShellTree, nodes: readonly ShellNode[], values: WordValues): readonly Field[] {
  const pieces = nodes.flatMap((node) => piecesOf(tree, node, values));
  const words = expandBraces(replaceDollars(pieces));
  if (words === null) return [unknownField];
  return words.flatMap((word) => splitFields(expandTilde(word, values.home)));
}

/** The text of a word that is not split, such as the value of an assignment or a target; null when only running tells. */
export function readText(tree: ShellTree, nodes: readonly ShellNode[], values: WordValues): string {
  const pieces = replaceDollars(nodes.flatMap((node) => piecesOf(tree, node, values)));
  return joinPieces(expandTilde(pieces, values.home));
}

/** Text of a here document; expansions resolved unless its delimiter was quoted. */
export function readHeredocBody(
  tree: ShellTree,
  body: ShellNode,
  quoted: boolean,
  values: WordValues,
): string {
  if (quoted) return textOf(tree, body);
  return joinPieces(piecesBetween(tree, body.children, body.start, body.end, values, unquoteHeredoc));
}

const joinPieces = (pieces: readonly Piece[]): string => pieces.map((piece) => piece.text).join('');

const unknownPiece = (quoted: boolean): Piece => ({ text: unknownText, quoted, unknown: true, split: false });

function piecesOf(tree: ShellTree, node: ShellNode, values: WordValues): readonly Piece[] {
  switch (node.type) {
    case 'command_name':
    case 'concatenation':
      return node.children.flatMap((child) => piecesOf(tree, child, values));
    case 'string':
      return stringPieces(tree, node, values);
    case 'translated_string':
      return node.children.flatMap((child) =>
        child.type === 'string' ? stringPieces(tree, child, values) : [],
      );
    case 'raw_string':
      return [quotedPiece(tree.text.slice(node.start + 1, node.end - 1))];
    case 'ansi_c_string':
      return [quotedPiece(unquoteAnsiC(tree.text.slice(node.start + 2, node.end - 1)))];
    case 'simple_expansion':
    case 'expansion':
      return [expansionPiece(tree, node, values, false)];
    case 'command_substitution':
    case 'process_substitution':
    case 'arithmetic_expansion':
    case 'array':
      return [unknownPiece(false)];
    case '``':
      return [];
    default:
      return node.children.length > 0 && node.type !== 'brace_expression'
        ? [unknownPiece(false)]
        : rawPieces(textOf(tree, node));
  }
}

/** Text outside of quotes: a backslash quotes the next character and vanishes before a new line. */
function rawPieces(text: string): readonly Piece[] {
  const plain = { quoted: false, unknown: false, split: false };
  if (!text.includes('\\')) return [{ text, ...plain }];
  const pieces: Piece[] = [];
  for (const [all, escaped] of text.matchAll(/[^\\]+|\\([\s\S]?)/gu)) {
    if (escaped === undefined) pieces.push({ text: all, ...plain });
    else if (escaped !== '\n') pieces.push(quotedPiece(escaped === '' ? '\\' : escaped));
  }
  return pieces;
}

function stringPieces(tree: ShellTree, node: ShellNode, values: WordValues): readonly Piece[] {
  const pieces = piecesBetween(tree, node.children, node.start + 1, node.end - 1, values, unquoteDouble);
  // Even "" is a word.
  return pieces.length > 0 ? pieces : [quotedPiece('')];
}

const expansions = new Set(['simple_expansion', 'expansion', 'command_substitution', 'arithmetic_expansion']);

function piecesBetween(
  tree: ShellTree,
  children: readonly ShellNode[],
  start: number,
  end: number,
  values: WordValues,
  unquote: (text: string) => string,
): readonly Piece[] {
  const pieces: Piece[] = [];
  let from = start;
  // White space and line ends lie between the nodes, so literal text is taken from the source.
  for (const child of children) {
    if (!expansions.has(child.type)) continue;
    if (child.start > from) pieces.push(quotedPiece(unquote(tree.text.slice(from, child.start))));
    pieces.push(
      child.type.endsWith('expansion') && child.type !== 'arithmetic_expansion'
        ? expansionPiece(tree, child, values, true)
        : unknownPiece(true),
    );
    from = child.end;
  }
  if (from < end) pieces.push(quotedPiece(unquote(tree.text.slice(from, end))));
  return pieces;
}

function expansionPiece(tree: ShellTree, node: ShellNode, values: WordValues, quoted: boolean): Piece {
  const inner = node.children.filter((child) => child.type === 'variable_name');
  const plain = node.children.every((child) => ['$', '${', '}', 'variable_name'].includes(child.type));
  const [name] = inner;
  const value = plain && inner.length === 1 && name ? values.variable(textOf(tree, name)) : null;
  if (value === null) return unknownPiece(quoted);
  if (quoted) return quotedPiece(value);
  return values.splits ? { text: value, quoted: false, unknown: false, split: true } : unknownPiece(false);
}

/** A lone dollar in front of something, such as that of `$$"a"`, is a value the grammar did not see. */
function replaceDollars(pieces: readonly Piece[]): readonly Piece[] {
  return pieces.map((piece, index) => {
    // Braces come before variables: `$a{1,2}` is `$a1 $a2`.
    if (piece.split && pieces[index + 1]?.text.startsWith('{')) return unknownPiece(false);
    const literal = piece.quoted || piece.unknown || piece.split || !piece.text.endsWith('$');
    return literal || index === pieces.length - 1 ? piece : unknownPiece(false);
  });
}

function expandTilde(pieces: readonly Piece[], home: string | null): readonly Piece[] {
  const [first, ...rest] = pieces;
  if (first === undefined || first.quoted || first.unknown || first.split) return pieces;
  // Also behind the = of a word that looks like an assignment, as bash does.
  const match = /^((?:[A-Za-z_]\w*\+?=)?)~([^/:]*)(.*)$/s.exec(first.text);
  if (match === null) return pieces;
  const [, assign = '', user = '', tail = ''] = match;
  if (tail === '' && rest.length > 0 && !startsPath(rest[0])) return pieces;
  const value = user === '' && home !== null ? quotedPiece(home) : unknownPiece(true);
  return [{ ...first, text: assign }, value, { ...first, text: tail }, ...rest];
}

/** The value of a variable is no path behind the tilde: `~$HOME` stays as it is. */
const startsPath = (piece: Piece | undefined): boolean =>
  piece?.text.startsWith('/') === true && !piece.quoted && !piece.split;

const pattern = /[*?]|\[[^\]]*\]|[@!+]\(/;

function splitFields(pieces: readonly Piece[]): readonly Field[] {
  if (!pieces.some((piece) => piece.split))
    return [fieldOf(pieces)].filter((field) => isThere(field, pieces));
  const groups: Piece[][] = [[]];
  for (const piece of pieces) {
    if (!piece.split) {
      groups.at(-1)?.push(piece);
      continue;
    }
    const parts = piece.text.split(/[ \t\n]+/);
    parts.forEach((text, index) => {
      if (index > 0) groups.push([]);
      if (text !== '') groups.at(-1)?.push({ ...piece, text, split: false });
    });
  }
  return groups.filter((group) => group.length > 0).map(fieldOf);
}

/** A word without a character is one only when it has quotes. */
const isThere = (field: Field, pieces: readonly Piece[]): boolean =>
  field.text !== '' || pieces.some((piece) => piece.quoted);

function fieldOf(pieces: readonly Piece[]): Field {
  const text = joinPieces(pieces);
  const unquoted = pieces.map((piece) => (piece.quoted ? '_' : piece.text)).join('');
  return { text, dynamic: text.includes(unknownText) || pattern.test(unquoted) };
}
