import { noOutcome, type Outcome, type Place, type Reading } from './reading.ts';
import { copyScope, unite } from './scope.ts';
import type { ShellNode, ShellTree } from './syntax-tree.ts';
import { unknownText } from './words.ts';

/** `a && b || c`: what stands behind an operator may not run. */
export function readList(
  reading: Reading,
  tree: ShellTree,
  node: ShellNode,
  place: Place,
  first = place,
): Outcome {
  const before = place.scope.directories;
  const [left, operator, right] = node.children.filter((child) => child.type !== 'comment');
  let outcome = noOutcome;
  if (left !== undefined) {
    outcome =
      left.type === 'list'
        ? readList(reading, tree, left, place, first)
        : reading.readNode(tree, left, first);
  }
  const between = place.scope.directories;
  if (operator?.type === '||') place.scope.directories = unite(before, between);
  for (const child of node.children.slice(left === undefined ? 0 : node.children.indexOf(left) + 1)) {
    if (child !== right && child.children.length === 0) continue;
    outcome = reading.readNode(tree, child, { ...place, straight: false });
  }
  const after = place.scope.directories;
  if (operator?.type === '||') place.scope.directories = unite(between, after);
  return { ...outcome, prints: null };
}

/** Reads the stages of a pipe; `previous` is what stands in front of the first. */
export function readPipeline(
  reading: Reading,
  tree: ShellTree,
  children: readonly ShellNode[],
  previous: Outcome,
  place: Place,
): Outcome {
  let outcome = previous;
  for (const stage of children) {
    if (stage.children.length === 0) continue;
    const piped: Partial<Place> =
      outcome.program === ''
        ? {}
        : {
            pipedFrom: outcome.program,
            stdin: outcome.prints === null ? { kind: 'unknown' } : { kind: 'text', text: outcome.prints },
          };
    const plain = { ...place, scope: copyScope(place.scope), straight: false };
    // Behind a here document the grammar takes `| a && b` for one stage.
    outcome =
      stage.type === 'list'
        ? readList(reading, tree, stage, plain, { ...plain, ...piped })
        : reading.readNode(tree, stage, { ...plain, ...piped });
    if (outcome.program === '') outcome = { program: unknownText, prints: null };
  }
  return outcome;
}
