import { noOutcome, type Outcome, type Place, type Reading } from './reading.ts';
import { copyScope } from './scope.ts';
import { type ShellNode, type ShellTree, textOf } from './syntax-tree.ts';
import { unknownText } from './words.ts';

const substitutions = new Set(['command_substitution', 'process_substitution']);

/** Reads every substitution inside of some nodes. */
export function readSubstitutions(
  reading: Reading,
  tree: ShellTree,
  nodes: readonly ShellNode[],
  place: Place,
): void {
  const stack = [...nodes].reverse();
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (substitutions.has(node.type)) reading.readNode(tree, node, place);
    else stack.push(...[...node.children].reverse());
  }
}

/** Reads `$(…)`, `` `…` ``, `<(…)` and `>(…)`: a shell of its own. */
export function readSubstitution(reading: Reading, tree: ShellTree, node: ShellNode, place: Place): Outcome {
  const text = textOf(tree, node);
  const scope = copyScope(place.scope);
  const fed: Partial<Place> = text.startsWith('>(')
    ? { stdin: { kind: 'unknown' }, pipedFrom: reading.commands.at(-1)?.program || unknownText }
    : {};
  const inner: Place = { ...place, ...fed, scope, straight: false };
  if (text.startsWith('`')) {
    const [, body] = /^`((?:[^`\\]|\\[\s\S])*)`$/.exec(text) ?? [];
    if (body === undefined) reading.causes.add('unparsed');
    // In backquotes a backslash is taken away before the text is read.
    else if (body.includes('\\')) return readBackquoted(reading, body, inner);
  }
  for (const child of node.children) {
    if (child.children.length === 0) continue;
    reading.readNode(tree, { ...node, type: 'redirected_statement', children: [child] }, inner);
  }
  return noOutcome;
}

/** Reads what stood between backquotes, where a backslash quotes a backquote, a dollar and itself. */
export function readBackquoted(reading: Reading, body: string, place: Place): Outcome {
  reading.readText(
    body.replaceAll(/\\([$`\\])/g, (_, char: string) => char),
    place,
  );
  return noOutcome;
}
