import { isCommandVariable, optionTexts, programsWithTexts } from './option-texts.ts';
import { assigningBuiltins } from './programs.ts';
import { elsewhere, inside, noOutcome, type Outcome, type Place, type Reading } from './reading.ts';
import { feedShell, type Inner, namesDescriptor, namesInput, readGivenText } from './run-shell.ts';
import { copyScope } from './scope.ts';
import { type Field, plainField, unknownField, unknownText } from './words.ts';
import { findWrapped, type WrappedPlace, type WrapperSpec, wrappers } from './wrappers.ts';

/** A command that may run another one. */
export interface OuterCommand {
  readonly reading: Reading;
  readonly program: string;
  readonly args: readonly Field[];
  readonly place: Place;
  /** Reads the inner one. */
  readonly readArgv: (
    reading: Reading,
    argv: readonly Field[],
    assigns: readonly string[],
    place: Place,
  ) => Outcome;
}

type Reader = (outer: OuterCommand) => Inner | null;

const texts = (args: readonly Field[]): readonly string[] => args.map((arg) => arg.text);

/** Reads what a program runs that is no shell: the words behind it, or a text it is given. Null for any other program. */
export function readWrapper(outer: OuterCommand): Inner | null {
  const reader = readers.get(outer.program);
  if (reader !== undefined) return reader(outer);
  const spec = wrappers.get(outer.program);
  return spec === undefined ? null : readWrapped(outer, spec);
}

/** The usual wrapper: options, operands, then the command. */
function readWrapped(outer: OuterCommand, spec: WrapperSpec): Inner {
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

const xargsSpec = wrappers.get('xargs');

/** `xargs`: the words it is given come from its input. */
function readXargs(outer: OuterCommand): Inner | null {
  if (xargsSpec === undefined) return null;
  const { reading, program, args, place } = outer;
  const { start, options } = findWrapped(texts(args), xargsSpec);
  const mark = options.get('I') ?? options.get('J') ?? options.get('--replace') ?? options.get('i');
  const words = args.slice(start);
  const argv =
    mark === undefined
      ? [...words, unknownField]
      : words.map(({ text, dynamic }) => ({ dynamic, ...replaced(text, mark === '' ? '{}' : mark) }));
  const run = (): Outcome =>
    words.length === 0
      ? noOutcome
      : outer.readArgv(
          reading,
          argv.map(knowDynamic),
          [],
          inside(place, program, { stdin: { kind: 'terminal' } }),
        );
  return { ownArgs: texts(args.slice(0, start)), wraps: true, run };
}

const replaced = (text: string, mark: string): { text: string } => ({
  text: text.replaceAll(mark, unknownText),
});

const knowDynamic = ({ text, dynamic }: Field): Field => ({
  text,
  dynamic: dynamic || text.includes(unknownText),
});

const findStart = /^-(?:exec|ok)(?:dir)?$/;
// Letters without a value may stand in front: `-Hx`; the program may follow at once: `-xrm`.
const fdStart = /^(?:-[HIasiLplFgu01q]*[xX]|--exec(?:-batch)?(?:=|$))([\s\S]*)$/;

/** `find … -exec rm {} \;`, any number of times. */
function readFind(outer: OuterCommand): Inner | null {
  const { reading, program, args, place } = outer;
  const start = program === 'find' || program === 'gfind' ? findStart : fdStart;
  const own: string[] = [];
  const inner: (readonly Field[])[] = [];
  for (let at = 0; at < args.length; at += 1) {
    const text = args[at]?.text ?? '';
    own.push(text);
    const started = start.exec(text);
    if (started === null) continue;
    const attached = started[1] ? [plainField(started[1])] : [];
    const rest = args.slice(at + 1);
    const end = rest.findIndex(
      (arg, index) => arg.text === ';' || (arg.text === '+' && rest[index - 1]?.text.includes('{}') === true),
    );
    const words = end < 0 ? rest : rest.slice(0, end);
    inner.push(
      [...attached, ...words].map(({ text: word, dynamic }) =>
        knowDynamic({ dynamic, ...replaced(word, '{}') }),
      ),
    );
    at += words.length + (end < 0 ? 0 : 1);
  }
  const run = (): Outcome => {
    // -execdir runs beside what it found.
    const scope = { ...copyScope(place.scope), directories: [null] };
    for (const argv of inner)
      outer.readArgv(reading, argv, [], inside(place, program, { scope, straight: false }));
    return noOutcome;
  };
  return { ownArgs: own, run };
}

/** `eval`: the words, with a space between, are the text. */
const readEval: Reader = ({ reading, program, args, place }) => ({
  ownArgs: [],
  run: () => {
    const words = args[0]?.text === '--' ? args.slice(1) : args;
    const field = { text: texts(words).join(' '), dynamic: words.some((word) => word.dynamic) };
    return words.length === 0 ? noOutcome : readGivenText(reading, field, inside(place, program));
  },
});

/** `trap 'text' SIGNAL`. */
const readTrap: Reader = ({ reading, program, args, place }) => ({
  ownArgs: [],
  run: () => {
    const [text, ...signals] = args[0]?.text === '--' ? args.slice(1) : args;
    if (text === undefined || signals.length === 0 || text.text === '-' || text.text.startsWith('-'))
      return noOutcome;
    // Any but that of the end runs between the commands that follow.
    if (signals.some((signal) => !/^(?:EXIT|0)$/i.test(signal.text))) changesLater(reading, text.text, place);
    readGivenText(reading, text, inside(place, program, { scope: copyScope(place.scope) }));
    return noOutcome;
  },
});

/** Whether a text that runs at another place may change a variable that this one relies on. */
function changesLater({ causes }: Reading, text: string, { scope }: Place): void {
  if (scope.facts.assigned.size === 0) return;
  if (/=|\$\{!/.test(text) || text.split(/[^\w.]+/).some((word) => assigningBuiltins.has(word)))
    causes.add('dynamic');
}

/** `source file`: the file is a part; a substitution or a variable is not to be seen. */
const readSource: Reader = ({ reading, program, args, place }) => ({
  ownArgs: texts(args),
  run: () => {
    const file = args[0]?.text === '--' ? args[1] : args[0];
    if (file?.dynamic || namesDescriptor(file?.text ?? '')) reading.causes.add('dynamic');
    place.scope.variables.clear();
    const fromInput = file !== undefined && file.text !== '-' && namesInput(file.text);
    return fromInput ? feedShell(reading, program, place) : noOutcome;
  },
});

/** `alias name='text'`: read here, and again where it is used. */
const readAlias: Reader = ({ reading, program, args, place }) => ({
  ownArgs: texts(args),
  run: () => {
    for (const { text } of args) {
      const [, name, value] = /^([^=/\s-][^=/\s]*)=([\s\S]*)$/.exec(text) ?? [];
      if (name === undefined || value === undefined) continue;
      place.scope.aliases.set(name, value);
      changesLater(reading, value, place);
      // The word behind it is then looked up as well.
      if (/\s$/.test(value)) reading.causes.add('dynamic');
      reading.readText(value, inside(place, program, { straight: false }));
    }
    return noOutcome;
  },
});

/** `mapfile -C text`, `compgen -C text`: a text that is run. */
const readCallback: Reader = ({ reading, program, args, place }) => {
  const { options } = findWrapped(texts(args), { ...joinedSpec('CcdnOsuAFGPSWXo', 0) });
  const text = options.get('C');
  return {
    ownArgs: texts(args),
    run: () => {
      // It is given more words than stand here.
      if (text !== undefined)
        readGivenText(reading, plainField(`${text} ${unknownText}`), inside(place, program));
      return noOutcome;
    },
  };
};

/** `hash -p path name`: the name runs another program from then on. */
const readHash: Reader = ({ reading, args }) => ({
  ownArgs: texts(args),
  run: () => {
    if (args.some(({ text }) => /^-[a-z]*p/.test(text))) reading.causes.add('dynamic');
    return noOutcome;
  },
});

/** Text in the words behind the options, as `watch` and `ssh` put it together. */
function readJoined(
  { reading, program, args, place }: OuterCommand,
  start: number,
  scope: Place['scope'],
): Inner {
  return {
    ownArgs: texts(args.slice(0, start)),
    run: () => {
      const words = args.slice(start);
      // A login reads what it is to run.
      if (words.length === 0)
        return program === 'ssh' ? feedShell(reading, program, { ...place, scope }) : noOutcome;
      const field = { text: texts(words).join(' '), dynamic: words.some((word) => word.dynamic) };
      return readGivenText(reading, field, inside(place, program, { scope }));
    },
  };
}

const joinedSpec = (shortValues: string, operands: number): WrapperSpec => ({
  ...{
    shortValues,
    longValues: new Set(['--interval', '--jobs', '--arg-file', '--joblog', '--colsep', '--sshlogin']),
  },
  ...{ gluedValues: '', operands, assignments: false, inert: '', needs: '' },
});

const readWatch: Reader = (outer) => {
  const { start } = findWrapped(texts(outer.args), joinedSpec('nqs', 0));
  return readJoined(outer, start, outer.place.scope);
};

/** `ssh host command`: what runs there is a part as well, with paths of another machine. */
const readSsh: Reader = (outer) => {
  const { reading, args, place } = outer;
  const { start } = findWrapped(texts(args), joinedSpec('BbcDEeFIiJLlmOoPpQRSWw', 1));
  const joined = readJoined(outer, start, elsewhere(place.scope));
  const run = (): Outcome => {
    for (const { text } of args.slice(0, start)) {
      const [, command] =
        /^(?:-o)?(?:proxycommand|localcommand|knownhostscommand)[= ](.*)$/is.exec(text) ?? [];
      if (command !== undefined) readGivenText(reading, plainField(command), inside(place, 'ssh'));
    }
    return joined.run();
  };
  return { ...joined, run };
};

/** GNU parallel has a language of its own: what can be seen is noted, and the call is opaque. */
const readParallel: Reader = (outer) => {
  const { start } = findWrapped(texts(outer.args), joinedSpec('jNnLSaIdPsElX', 0));
  const words = outer.args.slice(0, start + Math.max(0, commandLength(outer.args.slice(start))));
  const joined = readJoined(
    { ...outer, args: words.map((word) => knowDynamic({ ...word, ...replaced(word.text, '{}') })) },
    start,
    outer.place.scope,
  );
  const run = (): Outcome => {
    outer.reading.causes.add('dynamic');
    return joined.run();
  };
  return { ownArgs: [...joined.ownArgs, ...texts(outer.args.slice(words.length))], run };
};

function commandLength(words: readonly Field[]): number {
  const end = words.findIndex((word) => /^::::?\+?$/.test(word.text));
  return end < 0 ? words.length : end;
}

/** `su -c text`, `script -c text`; without one, a shell that reads its input. */
const readTextOption: Reader = ({ reading, program, args, place }) => {
  const at = args.findIndex(({ text }) => /^(?:-[A-Za-z]*c|--(?:c|se)[a-z-]*)$/.test(text));
  const [, attached] =
    args.map(({ text }) => /^(?:--(?:c|se)[a-z-]*=|-[a-z]*?c)([\s\S]+)$/.exec(text)).find(Boolean) ?? [];
  const given = at >= 0 ? args[at + 1] : attached === undefined ? undefined : plainField(attached);
  const changesUser = program === 'su' || program === 'runuser';
  const scope = changesUser ? { ...copyScope(place.scope), directories: [null] } : copyScope(place.scope);
  return {
    ownArgs: texts(args.filter((arg) => arg !== given)),
    run: () => {
      if (given !== undefined) return readGivenText(reading, given, inside(place, program, { scope }));
      return feedShell(reading, program, place);
    },
  };
};

/** `sg group text`, with or without a `-c` in front of the text. */
const readGroup: Reader = ({ reading, program, args, place }) => {
  const words = args[0]?.text === '-' ? args.slice(1) : args;
  const text = words[1]?.text === '-c' ? words[2] : words[1];
  return {
    ownArgs: texts(args.filter((arg) => arg !== text)),
    run: () =>
      text === undefined
        ? feedShell(reading, program, place)
        : readGivenText(reading, text, inside(place, program)),
  };
};

/** `runuser -u name command …`, or all that `su` takes. */
const readRunuser: Reader = (outer) => {
  const spec = wrappers.get('runuser');
  const asUser = outer.args.some(({ text }) => /^(?:-u|--u)/.test(text));
  return asUser && spec !== undefined ? readWrapped(outer, spec) : readTextOption(outer);
};

/** BSD's `script file command …` runs the words behind the file. */
const readScript: Reader = (outer) => {
  const plain = readTextOption(outer);
  if (outer.args.some(({ text }) => /^(?:-[a-z]*c|--c)/.test(text))) return plain;
  const operand = outer.args.findIndex(({ text }) => !text.startsWith('-'));
  const argv = operand < 0 ? [] : outer.args.slice(operand + 1);
  const run = (): Outcome =>
    argv.length === 0
      ? (plain?.run() ?? noOutcome)
      : outer.readArgv(outer.reading, argv, [], inside(outer.place, outer.program));
  return { ownArgs: texts(outer.args.slice(0, operand + 1)), run };
};

/** `docker exec box command`, `kubectl exec pod -- command`: on another machine. */
const readContainer: Reader = (outer) => {
  const { reading, program, args, place } = outer;
  const words = texts(args);
  const exec = words.indexOf('exec');
  if (exec < 0 || words.slice(0, exec).includes('--')) return null;
  const dashes = words.indexOf('--', exec);
  const spec = joinedSpec('euwcn', 1);
  const start = dashes >= 0 ? dashes + 1 : exec + 1 + findWrapped(words.slice(exec + 1), spec).start;
  const argv = args.slice(start);
  if (argv.length === 0) return null;
  const run = (): Outcome =>
    outer.readArgv(
      reading,
      argv,
      [],
      inside(place, program, { scope: elsewhere(place.scope), straight: false }),
    );
  return { ownArgs: words.slice(0, start), run };
};

/** Project tools that run the words behind a subcommand. */
const runners: ReadonlyMap<string, string> = new Map([
  ...['uv', 'poetry', 'pipenv', 'pdm', 'hatch', 'rye'].map((name) => [name, 'run'] as const),
  ...['npm', 'pnpm', 'yarn', 'bundle', 'mise', 'asdf', 'direnv'].map((name) => [name, 'exec'] as const),
]);

const runnerValues = 'with python package project env-file directory extra group workspace filter'.split(' ');

/** `uv run rm x`, `bundle exec rm x`, `npm exec -c 'rm x'`. */
const readRunner: Reader = (outer) => {
  const { reading, program, args, place } = outer;
  const at = args.findIndex(({ text }) => text === runners.get(program));
  if (at < 0 || args.slice(0, at).some(({ text }) => !text.startsWith('-'))) return null;
  const longValues = new Set(['call', ...runnerValues].map((name) => `--${name}`));
  const spec = { ...joinedSpec('pcC', program === 'direnv' ? 1 : 0), longValues };
  const { start, options } = findWrapped(texts(args.slice(at + 1)), spec);
  const argv = args.slice(at + 1 + start);
  const text = program === 'npm' ? (options.get('c') ?? options.get('--call')) : undefined;
  const next = inside(place, program, { straight: false });
  const run = (): Outcome => {
    if (text !== undefined) readGivenText(reading, plainField(text), next);
    return outer.readArgv(reading, argv, [], next);
  };
  return { ownArgs: texts(args.slice(0, at + 1 + start)), run };
};

const readOptionTexts: Reader = ({ reading, program, args, place }) => ({
  ownArgs: texts(args),
  run: () => {
    for (const text of optionTexts(program, texts(args))) {
      const scope = { ...copyScope(place.scope), directories: [null] };
      readGivenText(reading, plainField(text), inside(place, program, { scope }));
    }
    return noOutcome;
  },
});

const readers: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ['eval', readEval],
  ['trap', readTrap],
  ['source', readSource],
  ['.', readSource],
  ['alias', readAlias],
  ['hash', readHash],
  ...programsWithTexts.map((name) => [name, readOptionTexts] as const),
  ...['mapfile', 'readarray', 'compgen', 'complete'].map((name) => [name, readCallback] as const),
  ['xargs', readXargs],
  ['find', readFind],
  ['gfind', readFind],
  ['fd', readFind],
  ['fdfind', readFind],
  ['watch', readWatch],
  ['ssh', readSsh],
  ['parallel', readParallel],
  ['su', readTextOption],
  ['sg', readGroup],
  ['runuser', readRunuser],
  ['script', readScript],
  ...[...runners.keys()].map((name) => [name, readRunner] as const),
  ...['docker', 'podman', 'nerdctl', 'kubectl', 'oc'].map((name) => [name, readContainer] as const),
]);
