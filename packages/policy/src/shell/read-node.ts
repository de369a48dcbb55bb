import { isCommandVariable } from './option-texts.ts';
import { readArgv, readDeclared } from './read-command.ts';
import { readList, readPipeline } from './read-list.ts';
import { readRedirections } from './read-redirections.ts';
import { readSubstitution, readSubstitutions } from './read-substitution.ts';
import { inside, noOutcome, type Outcome, type Place, type Reading } from './reading.ts';
import { readGivenText } from './run-shell.ts';
import { assignVariable, copyScope, unite, valuesOf } from './scope.ts';
import { type ShellNode, type ShellTree, textOf } from './syntax-tree.ts';
import { type Field, plainField, readText, readWord } from './words.ts';

/** Reads a node: notes the commands in it, in the order in which they stand. */
export function readNode(reading: Reading, tree: ShellTree, node: ShellNode, place: Place): Outcome {
  switch (node.type) {
    case 'command':
    case 'redirected_statement':
      return readRedirected(reading, tree, node, place);
    case 'pipeline':
      return readPipeline(reading, tree, node.children, noOutcome, place);
    case 'list':
      return readList(reading, tree, node, place);
    case 'declaration_command':
    case 'unset_command':
      return readDeclaration(reading, tree, node, place);
    case 'variable_assignment':
      readAssignment(reading, tree, node, place);
      return noOutcome;
    case 'function_definition':
      return readFunction(reading, tree, node, place);
    case 'subshell':
      return readAll(reading, tree, node, { ...place, scope: copyScope(place.scope) });
    case 'command_substitution':
    case 'process_substitution':
      return readSubstitution(reading, tree, node, place);
    case 'for_statement':
    case 'c_style_for_statement':
    case 'while_statement':
      return readLoop(reading, tree, node, place);
    case 'program':
    case 'compound_statement':
    case 'negated_command':
    case 'variable_assignments':
      return readAll(reading, tree, node, place);
    default:
      return readAll(reading, tree, node, { ...place, straight: false });
  }
}

/** Reads what is inside of a node, one after the other. */
function readAll(reading: Reading, tree: ShellTree, node: ShellNode, place: Place): Outcome {
  let last = noOutcome;
  let ran = 0;
  node.children.forEach((child, index) => {
    if (child.children.length === 0) return;
    const background = node.children[index + 1]?.type === '&';
    const before = place.scope.directories;
    const scope = background ? copyScope(place.scope) : place.scope;
    const outcome = reading.readNode(tree, child, {
      ...place,
      scope,
      straight: place.straight && !background,
    });
    // It may have failed, or not have run.
    place.scope.directories = unite(before, place.scope.directories);
    if (outcome.program === '') return;
    ran += 1;
    last = outcome;
  });
  return ran > 1 ? { ...last, prints: null } : last;
}

/** In a loop the second round begins where the first one ended. */
function readLoop(reading: Reading, tree: ShellTree, node: ShellNode, place: Place): Outcome {
  if (place.scope.facts.moves) place.scope.directories = unite(place.scope.directories, [null]);
  return readAll(reading, tree, node, { ...place, straight: false });
}

/** A body is read where it is defined, though it runs where it is called. */
function readFunction(reading: Reading, tree: ShellTree, node: ShellNode, place: Place): Outcome {
  const name = node.children.find((child) => child.field === 'name');
  const body = node.children.find((child) => child.field === 'body');
  const scope = copyScope(place.scope);
  if (scope.facts.moves) scope.directories = unite(scope.directories, [null]);
  const own: Place = { ...place, scope, straight: false, pipedFrom: '', stdin: { kind: 'terminal' } };
  for (const child of node.children) {
    if (child.children.length === 0) continue;
    if (child === body) reading.readNode(tree, child, own);
    else
      readRedirections(reading, tree, [child], own, (_words, { stdin }) => {
        // The body was read without what each call of it is given.
        if (stdin.kind === 'text' || stdin.kind === 'unknown') reading.causes.add('dynamic');
        return noOutcome;
      });
  }
  if (name !== undefined && body !== undefined) {
    place.scope.functions.set(plainField(textOf(tree, name)).text, { tree, node: body });
  }
  return noOutcome;
}

function readDeclaration(reading: Reading, tree: ShellTree, node: ShellNode, place: Place): Outcome {
  const [program, ...rest] = node.children;
  if (program === undefined) return noOutcome;
  // `export$ x` is a word of its own.
  if (rest[0]?.start === program.end) reading.causes.add('unparsed');
  readSubstitutions(reading, tree, rest, place);
  const values = valuesOf(place.scope);
  const fields = rest.flatMap((child): readonly Field[] => {
    if (child.type !== 'variable_assignment') return readWord(tree, [child], values);
    const { name, value } = assignmentOf(reading, tree, child, place);
    if (textOf(tree, program) === 'export') assignVariable(place.scope, name, value, place.straight);
    return [plainField(`${name}=${value}`)];
  });
  return readDeclared(reading, [plainField(textOf(tree, program)), ...fields], [], place);
}

function readAssignment(reading: Reading, tree: ShellTree, node: ShellNode, place: Place): void {
  readSubstitutions(reading, tree, [node], place);
  const { name, value } = assignmentOf(reading, tree, node, place);
  assignVariable(place.scope, name, value, place.straight);
}

function assignmentOf(
  reading: Reading,
  tree: ShellTree,
  node: ShellNode,
  place: Place,
): { name: string; value: string } {
  const [left, , ...value] = node.children;
  const name = left === undefined ? '' : textOf(tree, left);
  // The grammar takes `--x="y"` for one; bash runs a program of that name.
  if (!/^[A-Za-z_]\w*(?:\[|$)/.test(name)) reading.causes.add('unparsed');
  const text = readText(tree, value, valuesOf(place.scope));
  if (isCommandVariable(name))
    readGivenText(reading, plainField(text), inside(place, name.split('[')[0] ?? name));
  // Another meaning for names that come later.
  if (/^BASH_(?:ALIASES|CMDS)\b/.test(name)) reading.causes.add('dynamic');
  return { name, value: text };
}

/** A command with its redirections, or any statement with some. */
function readRedirected(reading: Reading, tree: ShellTree, node: ShellNode, place: Place): Outcome {
  if (node.type === 'command') return readCommand(reading, tree, node, [], place);
  const body = node.children.find((child) => child.field === 'body');
  const others = node.children.filter((child) => child !== body);
  return readRedirections(reading, tree, others, place, (words, inner) => {
    const last = body?.type === 'negated_command' ? body.children.at(-1) : body;
    if (last?.type === 'command') return readCommand(reading, tree, last, words, inner);
    // Words behind the target of `export x >y z`.
    if (words.length > 0) reading.causes.add('unparsed');
    const outcome = body === undefined ? noOutcome : reading.readNode(tree, body, inner);
    readSubstitutions(reading, tree, words, inner);
    return words.length === 0 ? outcome : readArgv(reading, wordsOf(tree, words, inner), [], inner);
  });
}

const redirections = new Set(['file_redirect', 'herestring_redirect', 'heredoc_redirect']);

function readCommand(
  reading: Reading,
  tree: ShellTree,
  node: ShellNode,
  moreWords: readonly ShellNode[],
  place: Place,
): Outcome {
  const assignments = node.children.filter((child) => child.type === 'variable_assignment');
  const redirects = node.children.filter((child) => redirections.has(child.type));
  const words = node.children.filter((child) => !assignments.includes(child) && !redirects.includes(child));
  return readRedirections(reading, tree, redirects, place, (redirectWords, inner) => {
    // A subshell is no word: `time (a)`.
    const groups = words.filter((word) => word.type === 'subshell');
    const plain = words.filter((word) => !groups.includes(word) && word.type !== 'comment');
    const all = [...plain, ...redirectWords, ...moreWords];
    readSubstitutions(reading, tree, [...assignments, ...all], inner);
    const assigns = assignments.map(
      (child) => assignmentOf(reading, tree, child, inner).name.split('[')[0] ?? '',
    );
    let outcome = readArgv(reading, wordsOf(tree, all, inner), assigns, inner);
    for (const group of groups) outcome = reading.readNode(tree, group, inner);
    return outcome;
  });
}

/** Words of a command: nodes with nothing between them are one. */
function wordsOf(tree: ShellTree, nodes: readonly ShellNode[], place: Place): readonly Field[] {
  const values = valuesOf(place.scope);
  const words: ShellNode[][] = [];
  let end = -1;
  for (const node of nodes) {
    if (node.start === end) words.at(-1)?.push(node);
    else words.push([node]);
    end = node.end;
  }
  return words.flatMap((word) => readWord(tree, word, values));
}
