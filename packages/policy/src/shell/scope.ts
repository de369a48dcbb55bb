import type { CallWorld } from '../call-world.ts';
import { joinLexically } from './paths.ts';
import { assigningBuiltins } from './programs.ts';
import { type ShellNode, type ShellTree, textOf } from './syntax-tree.ts';
import { unknownText, type WordValues } from './words.ts';

/** What a text says about its own variables, found before it is read. */
interface ScriptFacts {
  /** How often each variable is assigned. */
  readonly assigned: ReadonlyMap<string, number>;
  /** Whether a variable that is assigned once can be trusted to hold that value. */
  readonly trusts: boolean;
  /** Whether something of it may run more than once, or later than it stands: loops, functions. */
  readonly repeats: boolean;
  /** Whether it changes the directory, anywhere. */
  readonly moves: boolean;
}

/** A function's body, in the tree it stands in. */
export interface FunctionBody {
  readonly tree: ShellTree;
  readonly node: ShellNode;
}

/** What is known at one place of a text: variables, aliases, the directory. */
export interface Scope {
  readonly facts: ScriptFacts;
  readonly variables: Map<string, string>;
  readonly aliases: Map<string, string>;
  /** Bodies of the functions that are defined. */
  readonly functions: Map<string, FunctionBody>;
  /** Directories it may be in; null stands for any other. */
  directories: readonly (string | null)[];
  readonly world: CallWorld;
}

const maxDirectories = 4;
const moving = new Set(['cd', 'pushd', 'popd', 'eval', 'source', '.', 'chdir']);

/** A scope for the beginning of a text. Variables of the text around it are not handed down. */
export function createScope(
  tree: ShellTree,
  world: CallWorld,
  directories: readonly (string | null)[],
  aliases: ReadonlyMap<string, string> = new Map(),
): Scope {
  return {
    facts: gatherFacts(tree),
    variables: new Map(),
    aliases: new Map(aliases),
    functions: new Map(),
    directories,
    world,
  };
}

/** The scope around a call's text. */
export const emptyScope = (world: CallWorld): Scope => ({
  facts: { assigned: new Map(), trusts: true, repeats: false, moves: false },
  variables: new Map(),
  aliases: new Map(),
  functions: new Map(),
  directories: [world.cwd],
  world,
});

/** A scope whose changes stay inside, as those of a subshell. */
export const copyScope = (scope: Scope): Scope => ({
  ...scope,
  variables: new Map(scope.variables),
  aliases: new Map(scope.aliases),
  functions: new Map(scope.functions),
});

const repeating = new Set([
  'for_statement',
  'while_statement',
  'c_style_for_statement',
  'function_definition',
]);

function gatherFacts(tree: ShellTree): ScriptFacts {
  const assigned = new Map<string, number>();
  let trusts = true;
  let moves = false;
  let repeats = false;
  let sources = false;
  const stack: ShellNode[] = [tree.root];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    stack.push(...node.children);
    if (repeating.has(node.type)) repeats = true;
    if (node.type === 'variable_assignment' || node.type === 'for_statement') {
      const name = node.children.find(
        (child) => child.type === 'variable_name' || child.type === 'subscript',
      );
      // An array cannot be told from its elements.
      const count = name?.type === 'variable_name' && node.type === 'variable_assignment' ? 1 : 2;
      if (name) {
        const key = textOf(tree, name).split('[')[0] ?? '';
        assigned.set(key, (assigned.get(key) ?? 0) + count);
      }
      if (node.children.some((child) => child.type === '+=')) trusts = false;
    } else if (node.type === 'unset_command' || node.type === 'declaration_command') {
      trusts &&= node.type === 'declaration_command' && isPlainExport(tree, node);
    } else if (node.children.length === 0 && node.type !== 'comment') {
      const word = textOf(tree, node).replaceAll(/[\\'"]/g, '');
      // What a file assigns comes behind it, and variables are forgotten there.
      if (word === '.' || word === 'source') sources = true;
      else if (assigningBuiltins.has(word) || /^-v/.test(word)) trusts = false;
      // By another builtin than it is a keyword of the grammar for: `command export x=y`, `read HOME`.
      if (node.type === 'word' && word === 'export') trusts = false;
      if (node.type === 'word' && (word === 'HOME' || word === 'IFS')) assigned.set(word, 2);
      if (moving.has(word)) moves = true;
      // Arithmetic assigns, and so does ${name:=value}.
      if (['=', ':=', '++', '--'].includes(node.type) && node.field === 'operator') trusts = false;
    }
  }
  return { assigned, trusts: trusts && !(sources && repeats), repeats, moves };
}

const isPlainExport = (tree: ShellTree, node: ShellNode): boolean =>
  tree.text.startsWith('export', node.start) &&
  node.children.slice(1).every((child) => ['variable_name', 'variable_assignment'].includes(child.type));

// Their value changes by itself, or says where the shell is.
const special =
  /^(?:RANDOM|SRANDOM|SECONDS|LINENO|BASH.*|EPOCH.*|OLDPWD|_|\d+|DIRSTACK|FUNCNAME|GROUPS|OPTARG|OPTIND|PIPESTATUS|PPID|REPLY|UID|EUID|SHELLOPTS|COLUMNS|LINES)$/;

/** Remembers an assignment, when this is its only one in the text and nothing can have skipped it. */
export function assignVariable(scope: Scope, name: string, value: string, straight: boolean): void {
  if (
    straight &&
    scope.facts.trusts &&
    scope.facts.assigned.get(name) === 1 &&
    !value.includes(unknownText)
  ) {
    scope.variables.set(name, value);
  }
}

/** What the words of a place are resolved with. */
export function valuesOf(scope: Scope): WordValues {
  const ownHome = scope.facts.assigned.has('HOME');
  const home = ownHome ? (scope.variables.get('HOME') ?? null) : scope.world.home;
  const variable = (name: string): string | null => {
    if (special.test(name)) return null;
    if (scope.variables.has(name)) return scope.variables.get(name) ?? null;
    if (scope.facts.assigned.has(name)) return null;
    if (name === 'HOME') return home;
    if (name === 'PWD') return scope.directories.length === 1 ? (scope.directories[0] ?? null) : null;
    return name === 'IFS' ? ' \t\n' : null;
  };
  return { variable, home, splits: !scope.facts.assigned.has('IFS') };
}

/** Both lists of directories; too many stand for any. */
export function unite(
  some: readonly (string | null)[],
  others: readonly (string | null)[],
): readonly (string | null)[] {
  const all = [...new Set([...some, ...others])];
  return all.length > maxDirectories ? [null] : all;
}

/** Goes where `cd` goes. The caller adds the old place once it may have failed. */
export function changeDirectory(scope: Scope, args: readonly string[]): void {
  const operands = args.filter((arg) => !/^-[LPe@]+$/.test(arg) && arg !== '--');
  const [target = scope.world.home ?? unknownText] = operands;
  scope.directories = [
    ...new Set(scope.directories.map((directory) => placeOf(target, directory, scope.world.home))),
  ];
}

function placeOf(target: string, directory: string | null, home: string | null): string | null {
  if (target.includes(unknownText) || /^[-+]/.test(target) || /[*?[]/.test(target)) return null;
  if (target === '~' || target.startsWith('~/'))
    return home === null ? null : joinLexically(home, `.${target.slice(1)}`);
  if (target.startsWith('~')) return null;
  if (target.startsWith('/')) return joinLexically('/', target);
  return directory === null ? null : joinLexically(directory, target);
}
