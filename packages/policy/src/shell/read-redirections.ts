import { readPipeline } from './read-list.ts';
import { readBackquoted, readSubstitutions } from './read-substitution.ts';
import { noteRedirection, type Outcome, type Place, type Reading } from './reading.ts';
import { copyScope, unite, valuesOf } from './scope.ts';
import { type ShellNode, type ShellTree, textOf } from './syntax-tree.ts';
import { type Field, readHeredocBody, readText, readWord, unknownText } from './words.ts';

interface Target {
  readonly field: Field;
  readonly access: 'read' | 'write';
}

/** What the redirections of a command say. */
interface Found {
  readonly targets: Target[];
  readonly words: ShellNode[];
  /** Stages and operands that stand behind a here document. */
  readonly pipelines: ShellNode[];
  readonly following: ShellNode[];
  place: Place;
}

/**
 * Reads redirections and the command they belong to.
 *
 * @param run Reads the command, given the words that stand between and behind its redirections, and where it then stands.
 */
export function readRedirections(
  reading: Reading,
  tree: ShellTree,
  nodes: readonly ShellNode[],
  place: Place,
  run: (words: readonly ShellNode[], place: Place) => Outcome,
): Outcome {
  const found: Found = { targets: [], words: [], pipelines: [], following: [], place };
  for (const node of nodes) gather(reading, tree, node, found);
  let outcome = run(found.words, found.place);
  const program = outcome.program === '' || outcome.program === unknownText ? 'sh' : outcome.program;
  for (const { field, access } of found.targets)
    noteRedirection(reading, field, access, program, place.scope);
  for (const pipeline of found.pipelines) {
    outcome = readPipeline(reading, tree, pipeline.children, outcome, place);
  }
  for (const node of found.following) {
    const before = place.scope.directories;
    outcome = reading.readNode(tree, node, { ...place, straight: false });
    place.scope.directories = unite(before, place.scope.directories);
  }
  return found.targets.some((target) => target.access === 'write') ? { ...outcome, prints: null } : outcome;
}

function gather(reading: Reading, tree: ShellTree, node: ShellNode, found: Found): void {
  switch (node.type) {
    case 'file_redirect':
      gatherFile(reading, tree, node, found);
      break;
    case 'herestring_redirect':
      gatherHerestring(reading, tree, node, found);
      break;
    case 'heredoc_redirect':
      gatherHeredoc(reading, tree, node, found);
      break;
    default:
      // What stands in a broken place.
      if (node.children.length > 0) reading.readNode(tree, node, { ...found.place, straight: false });
  }
}

const feedsInput = (tree: ShellTree, node: ShellNode): boolean => {
  const descriptor = node.children.find((child) => child.type === 'file_descriptor');
  return descriptor === undefined || textOf(tree, descriptor) === '0';
};

function gatherFile(reading: Reading, tree: ShellTree, node: ShellNode, found: Found): void {
  const destinations = node.children.filter((child) => child.field === 'destination');
  const target: ShellNode[] = [];
  for (const child of destinations) {
    const joins = target.length === 0 || target.at(-1)?.end === child.start;
    if (joins && found.words.length === 0) target.push(child);
    else if (target.at(-1)?.end === child.start) target.push(child);
    else if (target.length === 0) target.push(child);
    else found.words.push(child);
  }
  const operator = node.children.find((child) => /^[&<>|]+-?$/.test(child.type))?.type ?? '';
  readSubstitutions(reading, tree, target, found.place);
  const reads = operator.startsWith('<');
  const feeds = reads && feedsInput(tree, node);
  const text = readText(tree, target, valuesOf(found.place.scope));
  const isProcess = target.some((child) => child.type === 'process_substitution');
  // `2>&1` and `3<&-` name no file.
  if (operator.endsWith('-') || (operator.endsWith('&') && /^(?:\d+-?|-)$/.test(text))) {
    if (feeds) found.place = { ...found.place, stdin: { kind: 'unknown' }, pipedFrom: '' };
    return;
  }
  if (feeds) {
    found.place = { ...found.place, stdin: { kind: isProcess ? 'unknown' : 'file' }, pipedFrom: '' };
  }
  if (isProcess || target.length === 0) return;
  const fields = readWord(tree, target, valuesOf(found.place.scope));
  // Braces in a target are one word for every name: which it is depends on what else is there.
  const dynamic = fields.length !== 1 || fields.some((field) => field.dynamic) || text.includes(unknownText);
  if (feeds && dynamic) found.place = { ...found.place, stdin: { kind: 'unknown' } };
  found.targets.push({
    field: { text: fields.length > 1 ? unknownText : text, dynamic },
    access: reads ? 'read' : 'write',
  });
}

function gatherHerestring(reading: Reading, tree: ShellTree, node: ShellNode, found: Found): void {
  const words = node.children.filter((child) => child.type !== '<<<' && child.type !== 'file_descriptor');
  readSubstitutions(reading, tree, words, found.place);
  if (!feedsInput(tree, node)) return;
  const text = `${readText(tree, words, valuesOf(found.place.scope))}\n`;
  found.place = { ...found.place, stdin: { kind: 'text', text }, pipedFrom: '' };
}

function gatherHeredoc(reading: Reading, tree: ShellTree, node: ShellNode, found: Found): void {
  const start = node.children.find((child) => child.type === 'heredoc_start');
  const body = node.children.find((child) => child.type === 'heredoc_body');
  const quoted = start !== undefined && /['"\\]/.test(textOf(tree, start));
  for (const child of node.children) {
    if (child.field === 'argument') found.words.push(child);
    else if (child.field === 'redirect') gather(reading, tree, child, found);
    else if (child.type === 'pipeline') found.pipelines.push(child);
    else if (child.field === 'right') found.following.push(child);
    else if (child.type === 'ERROR')
      reading.readNode(tree, child, { ...found.place, scope: copyScope(found.place.scope) });
  }
  if (body === undefined) return;
  if (!quoted) {
    readSubstitutions(reading, tree, [body], found.place);
    readBackquotes(reading, tree, body, found.place);
  }
  if (!feedsInput(tree, node)) return;
  const raw = readHeredocBody(tree, body, quoted, valuesOf(found.place.scope));
  const tabbed = node.children.some((child) => child.type === '<<-');
  const text = tabbed ? raw.replaceAll(/^\t+/gm, '') : raw;
  found.place = { ...found.place, stdin: { kind: 'text', text }, pipedFrom: '' };
}

const backquoted = /\\[\s\S]|`((?:[^`\\]|\\[\s\S])*)(`?)/g;

/** The grammar takes backquotes in a here document for text. */
function readBackquotes(reading: Reading, tree: ShellTree, body: ShellNode, place: Place): void {
  let text = textOf(tree, body);
  for (const child of [...body.children].reverse()) {
    if (child.type === 'heredoc_content') continue;
    text = `${text.slice(0, child.start - body.start)} ${text.slice(child.end - body.start)}`;
  }
  // Nor does it see a substitution behind white space at the beginning.
  if (/^(?:[^\\]|\\[\s\S])*?\$[({[]/.test(text)) reading.causes.add('unparsed');
  for (const [, inner, end] of text.matchAll(backquoted)) {
    if (end === '') reading.causes.add('unparsed');
    else if (inner !== undefined) readBackquoted(reading, inner, { ...place, scope: copyScope(place.scope) });
  }
}
