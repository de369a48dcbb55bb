import type { ShellNode, ShellTree } from './syntax-tree.ts';

/** Where the text between the words differs from what bash reads there. */
export interface Lexing {
  /** bash reads other words than the tree holds. */
  readonly differs: boolean;
  /** Text without the line continuations that stand between words; null when there are none. */
  readonly joined: string | null;
}

/** Inside of these, white space and line ends are text. */
const textual = new Set([
  ...['string', 'translated_string', 'heredoc_body', 'expansion', 'regex', 'extglob_pattern'],
  ...['arithmetic_expansion', 'heredoc_redirect'],
]);

/**
 * Compares what lies between the nodes with bash's own rules.
 *
 * The grammar is kinder than bash: it takes every white space of Unicode, and a backslash before one, as a gap between words.
 * bash knows space, tab and new line, and a word goes on behind a backslash and a new line. Without this check
 * `x<no-break space>#y; rm` would hide `rm` in a comment.
 */
export function checkLexing(tree: ShellTree): Lexing {
  let differs = false;
  const continuations: number[] = [];
  const stack: ShellNode[] = [tree.root];
  const lookAt = (start: number, end: number): void => {
    if (start >= end) return;
    const gap = tree.text.slice(start, end);
    for (const match of gap.matchAll(/\\\n/g)) continuations.push(start + match.index);
    if (/[^ \t\n]/.test(gap.replaceAll('\\\n', ''))) differs = true;
  };
  lookAt(0, tree.root.start);
  lookAt(tree.root.end, tree.text.length);
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (node.children.length === 0 && hidesCommand(tree, node)) differs = true;
    if (node.type === 'heredoc_redirect' && !endsAsInBash(tree, node)) differs = true;
    if (node.type === 'comment' && !startsComment(tree.text, node.start)) differs = true;
    const checked = !textual.has(node.type) && node.children.length > 0;
    let from = node.start;
    for (const child of node.children) {
      if (checked) lookAt(from, child.start);
      from = child.end;
      stack.push(child);
    }
    if (checked) lookAt(from, node.end);
  }
  return { differs, joined: continuations.length > 0 ? removeAt(tree.text, continuations) : null };
}

const startsComment = (text: string, at: number): boolean =>
  at === 0 || (' \t\n;&|()<>`'.includes(text.charAt(at - 1)) && !text.slice(0, at).endsWith('\\\n'));

// Quoted by itself, or looked at by whoever reads here documents.
const verbatim = new Set([
  'comment',
  'raw_string',
  'ansi_c_string',
  'heredoc_start',
  'heredoc_end',
  'heredoc_content',
]);
const opening = /^(?:[^\\]|\\[\s\S])*?(?:`|\$\(|\$\{|[<>]\()/;

/** The grammar takes some patterns and defaults, such as that of ${x:-`rm`}, for plain text. */
function hidesCommand(tree: ShellTree, node: ShellNode): boolean {
  const length = node.end - node.start;
  // Punctuation opens what its neighbours hold.
  if (length < 3 || verbatim.has(node.type) || node.type === 'heredoc_body') return false;
  if (/^(?:`+|\$`|\$\(+|\$\{|[<>]\(|\$\[)$/.test(node.type)) return false;
  return opening.test(tree.text.slice(node.start, node.end));
}

/** A here document ends at the first line that is its delimiter; unquoted, a backslash joins that line to the one before. */
function endsAsInBash(tree: ShellTree, node: ShellNode): boolean {
  const part = (type: string): ShellNode | undefined => node.children.find((child) => child.type === type);
  const [start, body, end] = [part('heredoc_start'), part('heredoc_body'), part('heredoc_end')];
  if (start === undefined || end === undefined) return false;
  const written = tree.text.slice(start.start, start.end);
  const quoted = /['"\\]/.test(written);
  if (/[$`\n]|\\$/.test(written)) return false;
  const word = written.replaceAll(/\\([\s\S])|['"]/g, '$1');
  if (body === undefined) return true;
  const from = tree.text.lastIndexOf('\n', body.start - 1) + 1;
  if (tree.text.slice(from, body.start).trim() !== '') return false;
  const tabs = part('<<-') !== undefined;
  const lines = tree.text.slice(from, end.start).split('\n');
  const last = lines.pop() ?? '';
  if (tabs ? last.trim() !== '' : last !== '') return false;
  if (!quoted && lines.some((line) => /(?:^|[^\\])(?:\\\\)*\\$/.test(line)) && joinsDelimiter(lines))
    return false;
  const rest = tree.text.slice(end.start).split('\n', 1)[0];
  return rest === word && !lines.some((line) => (tabs ? line.replace(/^\t+/, '') : line) === word);
}

const joinsDelimiter = (lines: readonly string[]): boolean =>
  /(?:^|[^\\])(?:\\\\)*\\$/.test(lines.at(-1) ?? '');

function removeAt(text: string, places: number[]): string {
  let joined = '';
  let from = 0;
  for (const place of places.sort((a, b) => a - b)) {
    joined += text.slice(from, place);
    from = place + 2;
  }
  return joined + text.slice(from);
}
