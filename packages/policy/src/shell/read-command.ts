import { baseName } from './describe-command.ts';
import { hidesSubstitution } from './late-evaluation.ts';
import { assigningBuiltins, familyOf, inputInterpreters, reservedWords, shells } from './programs.ts';
import {
  noOutcome,
  noteCommand,
  noteUnknownCommand,
  type Outcome,
  type Place,
  type Reading,
} from './reading.ts';
import { readInterpreter } from './run-interpreter.ts';
import { type Inner, readShellProgram } from './run-shell.ts';
import { readWrapper } from './run-wrapper.ts';
import { changeDirectory } from './scope.ts';
import { type Field, unknownText } from './words.ts';

/** Most wrappers around a command that are followed. */
const maxLevels = 5;

/**
 * Reads one simple command: notes it, and follows what it runs in its turn.
 *
 * @param argv Program and arguments.
 * @param assigns Names assigned in front of it.
 */
export function readArgv(
  reading: Reading,
  argv: readonly Field[],
  assigns: readonly string[],
  place: Place,
): Outcome {
  if (assignsUnseen(argv, place) || namesSubstitution(argv)) reading.causes.add('dynamic');
  return readDeclared(reading, argv, assigns, place);
}

/** As {@link readArgv}, for a declaration, whose names were seen before it is read. */
export function readDeclared(
  reading: Reading,
  argv: readonly Field[],
  assigns: readonly string[],
  place: Place,
): Outcome {
  const [first, ...args] = argv;
  if (first === undefined) return noOutcome;
  if (place.via.length > maxLevels) {
    reading.causes.add('clipped');
    return { program: unknownText, prints: null };
  }
  const program = baseName(first.text);
  // In zsh `=rm` is the path of rm.
  if (first.dynamic || program === '' || first.text.startsWith('=')) {
    return noteUnknownCommand(reading, argv, assigns, place);
  }
  if (reservedWords.has(first.text)) {
    // The grammar takes `time { rm x; }` for a command.
    reading.causes.add('unparsed');
    return readArgv(reading, args, assigns, place);
  }
  const inner = innerOf(reading, program, args, assigns, place);
  const ownArgs = inner?.ownArgs ?? args.map((arg) => arg.text);
  const wraps = inner?.wraps === true;
  noteCommand(reading, { program, path: first.text, args, ownArgs, wraps, assigns }, place);
  const outcome = inner?.run() ?? noOutcome;
  const called = readCall(reading, first.text, args, place);
  moveDirectory(program, args, place);
  if (place.scope.variables.size > 0 && assigningBuiltins.has(program)) place.scope.variables.clear();
  if (outcome.program !== '') return outcome;
  return { program, prints: called ? null : printsOf(program, args, place) };
}

/** Whether a builtin gives a variable a value that was overlooked when the text was searched: `re''ad x`. */
function assignsUnseen([first, ...args]: readonly Field[], { scope: { facts } }: Place): boolean {
  if (first === undefined || !facts.trusts || facts.assigned.size === 0) return false;
  if (first.text === '.' || first.text === 'source') return facts.repeats;
  const isPrintf = first.text === 'printf' && args.some(({ text }) => text.startsWith('-v'));
  return isPrintf || first.text === 'export' || assigningBuiltins.has(first.text);
}

/** Builtins that take the name of a variable and evaluate its index. */
const nameReaders = new Set(
  'test [ printf read unset wait mapfile readarray getopts let declare typeset local'.split(' '),
);

/** `unset 'a[$(rm y)]'` runs `rm`, however its words are quoted. */
const namesSubstitution = ([first, ...args]: readonly Field[]): boolean =>
  nameReaders.has(first?.text ?? '') && args.some(({ text }) => hidesSubstitution.test(text));

/** The command inside of a command, when it is one that has such. */
function innerOf(
  reading: Reading,
  program: string,
  args: readonly Field[],
  assigns: readonly string[],
  place: Place,
): Inner | null {
  const around = assigns.includes('HOME') ? withoutHome(place) : place;
  const family = familyOf(program);
  if (shells.has(family)) return readShellProgram(reading, program, args, around);
  if (inputInterpreters.has(family)) return readInterpreter(reading, args, around);
  return readWrapper({ reading, program, args, place: around, readArgv });
}

const withoutHome = (place: Place): Place => ({
  ...place,
  scope: { ...place.scope, world: { ...place.scope.world, home: null } },
});

/** Aliases, and functions that are given a pipe to read: what they do is read again at the place of the call. */
function readCall(reading: Reading, name: string, args: readonly Field[], place: Place): boolean {
  const alias = place.scope.aliases.get(name);
  if (alias !== undefined && !place.via.includes(name)) {
    reading.readText([alias, ...args.map((arg) => quoteWord(arg.text))].join(' '), {
      ...place,
      via: [...place.via, name],
    });
    return true;
  }
  const body = place.scope.functions.get(name);
  if (body === undefined) return false;
  if (place.stdin.kind !== 'terminal' && !place.callers.includes(name)) {
    reading.readNode(body.tree, body.node, { ...place, straight: false, callers: [...place.callers, name] });
  }
  return true;
}

/** A word in single quotes, as a shell reads it back. */
export const quoteWord = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

const sameShell = new Set(['command', 'builtin', 'eval']);

function moveDirectory(program: string, args: readonly Field[], { scope, via }: Place): void {
  if (!via.every((wrapper) => sameShell.has(wrapper))) return;
  if (program === 'cd' || program === 'chdir') {
    changeDirectory(
      scope,
      args.map((arg) => (arg.dynamic ? unknownText : arg.text)),
    );
  } else if (program === 'pushd') {
    changeDirectory(scope, args.length === 0 ? [unknownText] : args.map((arg) => arg.text));
  } else if (program === 'popd') {
    scope.directories = [null];
  }
}

/** What a command writes, when its text tells. */
function printsOf(program: string, args: readonly Field[], place: Place): string | null {
  const texts = args.map((arg) => (arg.dynamic ? unknownText : arg.text));
  if (program === 'echo') return echoed(texts);
  if (program === 'printf') return printed(texts);
  if (program === 'cat' && texts.every((text) => text === '-') && place.stdin.kind === 'text')
    return place.stdin.text;
  return null;
}

function echoed(texts: readonly string[]): string | null {
  const from = texts.findIndex((text) => !/^-[nE]+$/.test(text));
  const words = from < 0 ? [] : texts.slice(from);
  // Whether a backslash is decoded depends on the shell.
  if (words[0]?.startsWith('-') === true || words.some((word) => word.includes('\\'))) return null;
  return `${words.join(' ')}\n`;
}

function printed([format, ...texts]: readonly string[]): string | null {
  if (format === undefined || format.startsWith('-')) return null;
  const pattern = format.replaceAll('\\n', '\n');
  if (pattern.includes('\\')) return null;
  if (!pattern.includes('%')) return pattern;
  // One value per round, as printf repeats its format.
  return /^[^%]*%s[^%]*$/.test(pattern)
    ? texts.map((text) => pattern.replace('%s', () => text)).join('')
    : null;
}
