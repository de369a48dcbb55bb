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

function removeAt(text: string, places: number[]): string {
  let joined = '';
  let from = 0;
  for (const place of places.sort((a, b) => a - b)) {
    joined += text.slice(from, place);
    from = place + 2;
  }
  return joined + text.slice(from);
}
