import { checkLexing } from './check-lexing.ts';
import { evaluatesLate } from './late-evaluation.ts';
import { limitText, maskHolds, maxScriptLength } from './limit-text.ts';
import type { ShellGrammar } from './load-grammar.ts';
import { readNode } from './read-node.ts';
import { noOutcome, type Outcome, type Place, type Reading } from './reading.ts';
import { createScope, unite } from './scope.ts';
import type { ShellTree } from './syntax-tree.ts';
import { soundText } from './words.ts';

/** Texts inside of texts, altogether, code units. */
const maxTotalLength = 2 * maxScriptLength;
/** Texts of one call. */
const maxTexts = 200;

/** Starts reading one call. */
export function createReading(grammar: ShellGrammar): Reading {
  const spent = { length: 0, texts: 0, depth: 0 };
  const causes: Reading['causes'] = new Set();
  const reading: Reading = {
    ...{ commands: [], files: [], hosts: [], causes },
    late: { holds: false, evaluates: false },
    readText: (text, place) => {
      spent.length += Math.min(text.length, maxScriptLength);
      spent.texts += 1;
      if (spent.length > maxTotalLength || spent.texts > maxTexts) {
        causes.add('clipped');
        return noOutcome;
      }
      return readText(reading, grammar, text, place);
    },
    readNode: (tree, node, place) => {
      if (spent.depth >= maxNesting) {
        causes.add('clipped');
        return noOutcome;
      }
      spent.depth += 1;
      try {
        return readNode(reading, tree, node, place);
      } finally {
        spent.depth -= 1;
      }
    },
  };
  return reading;
}

/** Nodes inside of nodes that are followed, over all texts: far from the end of the stack. */
const maxNesting = 500;

function readText(reading: Reading, grammar: ShellGrammar, whole: string, place: Place): Outcome {
  const tree = parseChecked(reading, grammar, soundText(whole));
  if (tree === null) return noOutcome;
  if (evaluatesLate(tree, reading.late)) reading.causes.add('dynamic');
  const { world, directories, aliases } = place.scope;
  const scope = createScope(tree, world, directories, aliases);
  const own = place.via.length === 0;
  // `eval` works on the shell's own directory and aliases.
  if (place.via.at(-1) === 'eval') {
    const outcome = reading.readNode(tree, tree.root, { ...place, scope });
    place.scope.directories = unite(place.scope.directories, scope.directories);
    for (const [name, value] of scope.aliases) place.scope.aliases.set(name, value);
    return outcome;
  }
  return reading.readNode(tree, tree.root, { ...place, scope, straight: own });
}

/** Parses, and joins lines as bash does; what differs from bash makes the call opaque. */
function parseChecked(reading: Reading, grammar: ShellGrammar, text: string): ShellTree | null {
  const first = parse(reading, grammar, text);
  if (first === null) return null;
  const lexing = checkLexing(first);
  if (lexing.joined === null) {
    if (lexing.differs) reading.causes.add('unparsed');
    return first;
  }
  const joined = parse(reading, grammar, lexing.joined);
  if (joined === null) return null;
  const again = checkLexing(joined);
  if (again.differs || again.joined !== null) reading.causes.add('unparsed');
  return joined;
}

function parse(reading: Reading, grammar: ShellGrammar, whole: string): ShellTree | null {
  const { text, clipped, masked } = limitText(whole);
  if (clipped) reading.causes.add('clipped');
  const tree = grammar.parse(text);
  if (tree === null || tree.broken || !maskHolds(tree, masked)) reading.causes.add('unparsed');
  if (tree === null) return null;
  if (tree.clipped) reading.causes.add('clipped');
  // What was masked for the parser is read as it was written.
  return { ...tree, text: whole.slice(0, text.length) };
}
