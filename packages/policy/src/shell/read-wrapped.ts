import { isCommandVariable } from './option-texts.ts';
import { type OuterCommand, texts } from './outer-command.ts';
import { elsewhere, inside, noOutcome, type Outcome, type Place, type Reading } from './reading.ts';
import { feedShell, type Inner, readGivenText } from './run-shell.ts';
import { copyScope } from './scope.ts';
import { type Field, plainField, unknownText } from './words.ts';
import { findWrapped, type WrappedPlace, type WrapperSpec } from './wrappers.ts';

/** The usual wrapper: options, operands, then the command. */
export function readWrapped(outer: OuterCommand, spec: WrapperSpec): Inner {
  const { reading, program, args, place } = outer;
  const found = findWrapped(texts(args), spec);
  const ownArgs = texts(args.slice(0, found.start));
  const argv = args.slice(found.start);
  const run = (): Outcome => {
    // Another shell takes a function out of such a variable.
    if (found.assigns.some((name) => name.startsWith('BASH_FUNC_'))) reading.causes.add('dynamic');
    // What the shell and all it starts reads from now on.
    if (program === 'exec' && argv.length === 0 && place.stdin.kind !== 'terminal')
      reading.causes.add('dynamic');
    const next = inside(place, program, { scope: scopeOf(place, program, found), straight: false });
    readCommandVariables(reading, found.assigns, ownArgs, next);
    const given = textGiven(program, found, argv);
    if (given !== null) return readGivenText(reading, given, next);
    if (argv.length > 0) return outer.readArgv(reading, argv, found.assigns, next);
    return startsShell(program, found) ? feedShell(reading, program, place) : noOutcome;
  };
  return { ownArgs, wraps: true, run };
}

/** `env GIT_EDITOR=text git commit`. */
function readCommandVariables(
  reading: Reading,
  names: readonly string[],
  words: readonly string[],
  place: Place,
): void {
  for (const name of names.filter(isCommandVariable)) {
    const text = words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
    if (text !== undefined) readGivenText(reading, plainField(text), place);
  }
}

/** Another directory, another home, another machine. */
function scopeOf(place: Place, program: string, { options, assigns }: WrappedPlace): Place['scope'] {
  // A builtin works on the shell's own directory.
  if (['command', 'builtin', 'exec', 'time', 'noglob', 'nocorrect'].includes(program)) return place.scope;
  const scope = copyScope(place.scope);
  if (['chroot', 'nsenter', 'firejail'].includes(program)) return elsewhere(scope);
  const directory =
    program === 'env'
      ? (options.get('C') ?? options.get('--chdir'))
      : (options.get('D') ?? options.get('--chdir'));
  const moves = directory !== undefined && (program === 'env' || program === 'sudo');
  if (moves)
    scope.directories = [directory.startsWith('/') && !directory.includes(unknownText) ? directory : null];
  if (program === 'sudo' && (options.has('i') || options.has('--login'))) scope.directories = [null];
  const homeless =
    assigns.includes('HOME') || (program === 'env' && (options.has('i') || options.get('u') === 'HOME'));
  return homeless ? { ...scope, world: { ...scope.world, home: null } } : scope;
}

/** The text a wrapper is given instead of words. */
function textGiven(program: string, { options }: WrappedPlace, argv: readonly Field[]): Field | null {
  if (program === 'env') {
    const long = [...options].find(([name]) => /^--s/.test(name))?.[1];
    const text = options.get('S') ?? long;
    const rest = texts(argv).map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
    if (text === undefined) return null;
    // It has escapes and variables of its own.
    return { text: [text, ...rest].join(' '), dynamic: /[\\$]/.test(text) || text.includes(unknownText) };
  }
  if (program !== 'flock' && program !== 'runuser') return null;
  if (argv[0]?.text === '-c' || argv[0]?.text === '--command') return argv[1] ?? null;
  const text = options.get('c') ?? options.get('--command');
  return text === undefined ? null : plainField(text);
}

/** These start a shell when they are given no command. */
const shellStarters = new Set(
  'chroot newgrp unshare nsenter setarch fakeroot pkexec firejail linux32 linux64'.split(' '),
);

const startsShell = (program: string, { options }: WrappedPlace): boolean =>
  shellStarters.has(program) ||
  (['sudo', 'doas', 'systemd-run'].includes(program) &&
    ['s', 'i', 'S', '--shell', '--login'].some((name) => options.has(name)));
