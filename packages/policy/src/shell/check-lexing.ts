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
  let unsound = false;
  const continuations: number[] = [];
  const stack: ShellNode[] = [tree.root];
  const lookAt = (start: number, end: number): void => {
    if (start >= end) return;
    const gap = tree.text.slice(start, end);
    for (const match of gap.matchAll(/\\\n/g)) continuations.push(start + match.index);
    // The grammar drops the word `-` of `python3 - <<E`, which only says what the here document says anyway.
    const isDash = /^[ \t]+-[ \t]*$/.test(gap) && tree.text.startsWith('<<', end);
    if (!isDash && /[^ \t\n]/.test(gap.replaceAll('\\\n', ''))) differs = true;
  };
  lookAt(0, tree.root.start);
  lookAt(tree.root.end, tree.text.length);
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (node.children.length === 0 && hidesCommand(tree, node)) differs = true;
    if (!startsAsInBash(tree, node) || keywordClings(node)) differs = true;
    if (node.type === 'heredoc_redirect' && !endsAsInBash(tree, node)) unsound = true;
    if (node.type === 'concatenation' && hasGaps(node)) differs = true;
    if (redirects.has(node.type) && !standsAlone(tree, node)) differs = true;
    if (hereRedirects.has(node.type) && /[\d}]/.test(tree.text.charAt(node.start - 1))) differs = true;
    if (node.type === 'expansion' && quotesCommand(tree, node)) differs = true;
    const checked = !textual.has(node.type) && node.children.length > 0;
    let from = node.start;
    for (const child of node.children) {
      if (checked) lookAt(from, child.start);
      from = child.end;
      stack.push(child);
    }
    if (checked) lookAt(from, node.end);
  }
  // Joining lines cannot mend where a here document ends.
  const joins = continuations.length > 0 && !unsound;
  return { differs: differs || unsound, joined: joins ? removeAt(tree.text, continuations) : null };
}

const redirects = new Set(['file_redirect', 'herestring_redirect']);

/** Whether a redirection has all of its words: the grammar takes `0` of `0< <(a)`, `{x}` of `{x}>a` and `b` of `>"a"b` for others. */
function standsAlone({ text }: ShellTree, { start, end }: ShellNode): boolean {
  if (end < text.length && !' \t\n;&|<>()`}'.includes(text.charAt(end)) && !text.startsWith('\\\n', end))
    return false;
  const before = text.slice(Math.max(0, start - 40), start);
  return (
    !/(?:^|[\s;&|()<>`])(?:\d+|\{\w+(?:\[[^\]]*\])?\})$/.test(before) ||
    /(?:^|[\s;&|(])exec\s+\{\w+\}$/.test(before)
  );
}

// A descriptor in front of one is taken for a word.
const hereRedirects = new Set(['herestring_redirect', 'heredoc_redirect']);

/** Nodes that bash sees only where a word may begin, or only with an end of their own. */
function startsAsInBash(tree: ShellTree, { type, start, end }: ShellNode): boolean {
  if (type === 'comment') return startsComment(tree.text, start);
  if (type === 'file_descriptor') return start === 0 || ' \t\n;&|()<>'.includes(tree.text.charAt(start - 1));
  // A word that begins with a line end joins what bash keeps apart.
  if (type === 'word' && /\s/.test(tree.text.charAt(start))) return false;
  return type !== 'ansi_c_string' || /^\$'(?:[^'\\]|\\[\s\S])*'$/.test(tree.text.slice(start, end));
}

const keywords = new Set([
  ...[
    '!',
    '{',
    '[',
    '[[',
    'if',
    'then',
    'elif',
    'else',
    'while',
    'until',
    'do',
    'for',
    'select',
    'case',
    'in',
  ],
  'function',
]);

/** `{a`, `!a` and `[[a` are words in bash, not keywords and what follows them. */
function keywordClings(node: ShellNode): boolean {
  if (!statements.has(node.type)) return false;
  return node.children.some((child, index) => {
    const next = node.children[index + 1];
    const open = child.type !== '(' && keywords.has(child.type) && child.children.length === 0;
    return open && next !== undefined && next.start === child.end && next.type !== '(';
  });
}

const statements = new Set([
  ...['negated_command', 'compound_statement', 'test_command', 'if_statement', 'while_statement', 'do_group'],
  ...['for_statement', 'case_statement', 'elif_clause', 'else_clause', 'function_definition'],
]);

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

// `<(` opens nothing in double quotes.
const openingInQuotes = /^(?:[^\\]|\\[\s\S])*?(?:`|\$\(|\$\{)/;

/** The grammar takes some patterns and defaults, such as that of ${x:-`rm`}, for plain text. */
function hidesCommand(tree: ShellTree, node: ShellNode): boolean {
  const length = node.end - node.start;
  // Punctuation opens what its neighbours hold.
  if (length < 3 || verbatim.has(node.type) || node.type === 'heredoc_body') return false;
  if (/^(?:`+|\$`|\$\(+|\$\{|[<>]\(|\$\[)$/.test(node.type)) return false;
  const text = tree.text.slice(node.start, node.end);
  return (node.type === 'string_content' ? openingInQuotes : opening).test(text);
}

/** Within double quotes single ones are text, so that `"${x:-'$(rm)'}"` runs `rm`; the grammar sees a quoted text. */
const quotesCommand = (tree: ShellTree, { children }: ShellNode): boolean =>
  children.some(
    (child) =>
      (child.type === 'raw_string' && opening.test(tree.text.slice(child.start, child.end))) ||
      (child.type === 'concatenation' && quotesCommand(tree, child)),
  );

/** A here document ends at the first line that is its delimiter; unquoted, a backslash joins that line to the one before. */
function endsAsInBash(tree: ShellTree, node: ShellNode): boolean {
  const part = (type: string): ShellNode | undefined => node.children.find((child) => child.type === type);
  const [start, body, end] = [part('heredoc_start'), part('heredoc_body'), part('heredoc_end')];
  if (start === undefined || end === undefined) return false;
  const written = tree.text.slice(start.start, start.end);
  const quoted = /['"\\]/.test(written);
  if (!/^(?:[^'"\\$`\s]|\\.|'[^'\n]*'|"[^"\n$`\\]*")+$/.test(written)) return false;
  const word = written.replaceAll(/\\([\s\S])|['"]/g, '$1');
  const line = node.children.filter((child) => child.field === 'argument');
  if (line.some((child) => tree.text.slice(start.end, child.start).includes('\n'))) return false;
  if (body === undefined)
    return tree.text.slice(start.end, end.start).indexOf('\n') === end.start - start.end - 1;
  // Two here documents of one line: the grammar mixes up their bodies.
  if (holdsHeredoc(node)) return false;
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

const hasGaps = (node: ShellNode): boolean =>
  node.children.some((child, index) => index > 0 && node.children[index - 1]?.end !== child.start);

function holdsHeredoc(node: ShellNode): boolean {
  const stack = node.children.filter((child) => child.type !== 'heredoc_body');
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    if (next.type === 'heredoc_redirect') return true;
    stack.push(...next.children);
  }
  return false;
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
