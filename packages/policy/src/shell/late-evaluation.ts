import { baseName } from './describe-command.ts';
import { type ShellNode, type ShellTree, textOf } from './syntax-tree.ts';
import { unquoteAnsiC } from './unquote.ts';

/** What was seen so far of values that bash reads a second time. */
export interface LateEvaluation {
  /** A quoted text with a substitution in it was given to a variable. */
  holds: boolean;
  /** A variable's value is evaluated: in arithmetic, as an index, as a prompt. */
  evaluates: boolean;
}

/**
 * Whether bash may run what stands quoted: `x='a[$(rm y)]'; ((x))` runs `rm`, and so does `let 'a[$(rm y)]'`.
 *
 * Arithmetic, indexes, `-v`, name references and prompts expand the value of a variable once more (bash manual, "Shell
 * Arithmetic": a value is evaluated as an expression). Both halves may stand in different texts of one call.
 */
export function evaluatesLate(tree: ShellTree, late: LateEvaluation): boolean {
  let direct = false;
  const stack: ShellNode[] = [tree.root];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    stack.push(...node.children);
    const name = commandName(tree, node);
    if ((givesValue.has(node.type) || givers.has(name)) && holdsQuoted(tree, node)) {
      late.holds = true;
      if (isPrompt(tree, node)) direct = true;
    }
    if (mayHold.has(node.type) && hidesSubstitution.test(textOf(tree, node))) late.holds = true;
    if (isTest(tree, node) || readsTwice(tree, node)) late.evaluates = true;
    if (evaluatesText(tree, node)) direct = true;
    if ((evaluators.has(name) || isTest(tree, node)) && holdsQuoted(tree, node)) direct = true;
  }
  return direct || (late.holds && late.evaluates);
}

/** An index with a substitution, as text: a function, a file or a here document may hand it to arithmetic. */
export const hidesSubstitution = /\w\[[^\]]*(?:\$\(|`)/;
const mayHold = new Set(['raw_string', 'heredoc_body', 'word']);

/** Whether a text that is given elsewhere is expanded as a prompt or as the name of a file is. */
function evaluatesText(tree: ShellTree, node: ShellNode): boolean {
  if (node.type === 'expansion') return /@P\}$/.test(textOf(tree, node));
  if (node.type === 'variable_assignment') return /^(?:PS[0-4]|BASH_ENV)=[^']*\$/.test(textOf(tree, node));
  const isWord =
    node.type === 'concatenation' ||
    node.type === 'raw_string' ||
    node.type === 'string' ||
    node.type === 'word';
  return (
    isWord &&
    prompt.test(textOf(tree, node).replace(/^[$'"]+/, '')) &&
    holdsQuoted(tree, { ...node, children: [node] })
  );
}

const prompt = /^(?:PS[0-4]|BASH_ENV|ENV)["']*=/;

const givesValue = new Set(['variable_assignment', 'for_statement', 'herestring_redirect', 'expansion']);
const givers = new Set(['env', 'set', 'printf', 'sudo']);

/** Builtins that take names of variables, whose index is evaluated, or texts that are expanded. */
const evaluators = new Set([
  ...['let', 'read', 'unset', 'wait', 'printf -v', 'test -v', '[ -v', 'compgen', 'complete', 'mapfile'],
  ...['readarray', 'getopts', 'declare', 'typeset', 'local'],
]);

const commands = new Set(['command', 'declaration_command', 'unset_command', 'test_command']);

/** Name of a command, with the option that makes it evaluate a name. */
function commandName(tree: ShellTree, node: ShellNode): string {
  const [first, second] = node.children.filter((child) => child.type !== 'variable_assignment');
  if (!commands.has(node.type) || first === undefined) return '';
  const name = baseName(textOf(tree, first).replaceAll(/[\\'"]/g, ''));
  return second !== undefined && /^-v/.test(textOf(tree, second)) ? `${name} -v` : name;
}

const isTest = (tree: ShellTree, node: ShellNode): boolean =>
  node.type === 'test_command' && /(?:^|\s)-(?:v|R|eq|ne|lt|le|gt|ge)\s/.test(textOf(tree, node));

const isPrompt = (tree: ShellTree, node: ShellNode): boolean =>
  node.type === 'variable_assignment' && /^(?:PS[0-4]|BASH_ENV|ENV)\b/.test(textOf(tree, node));

/** `${x:1}` is arithmetic, `${x:-1}` is not. */
const slice = /^\$\{[!#]?[\w@*]+(?:\[[^\]]*\])?:(?![-=?+])/;

/** Whether a node evaluates the value of a variable. */
function readsTwice(tree: ShellTree, node: ShellNode): boolean {
  if (node.type === 'variable_name') return false;
  const arithmetic = node.type === 'arithmetic_expansion' || node.type === 'c_style_for_statement';
  if (arithmetic || node.type === 'subscript') return /[A-Za-z_]|\$[\d@*{]/.test(textOf(tree, node));
  if (node.children.some((child) => child.type === '((')) return true;
  if (node.type === 'expansion')
    return slice.test(textOf(tree, node)) || textOf(tree, node).startsWith('${!');
  return node.type === 'declaration_command' && /\s-[A-Za-z]*[in]/.test(textOf(tree, node));
}

/** Whether a quoted text with a substitution stands in a node. */
function holdsQuoted(tree: ShellTree, outer: ShellNode): boolean {
  const stack: ShellNode[] = [...outer.children];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    // What runs in there is looked at by itself.
    if (node.type === 'command_substitution' || node.type === 'process_substitution') continue;
    if (node.type === 'do_group') continue;
    stack.push(...node.children);
    const text = textOf(tree, node);
    if (node.type === 'raw_string' && /\$\(|`|\$'$/.test(text)) return true;
    if (node.type === 'ansi_c_string' && /\$\(|`|\$$/.test(unquoteAnsiC(text.slice(2, -1)))) return true;
    if (['word', 'string_content', 'string'].includes(node.type) && /\\[$`]/.test(text)) return true;
  }
  return false;
}
