/** Commands that are run once for each word or file that comes from elsewhere. */
import { fillLater, knowDynamic, type OuterCommand, texts } from './outer-command.ts';
import { inside, noOutcome, type Outcome } from './reading.ts';
import type { Inner } from './run-shell.ts';
import { copyScope } from './scope.ts';
import { type Field, plainField, unknownField } from './words.ts';
import { findWrapped, wrappers } from './wrappers.ts';

const xargsSpec = wrappers.get('xargs');

/** `xargs`: the words it is given come from its input. */
export function readXargs(outer: OuterCommand): Inner | null {
  if (xargsSpec === undefined) return null;
  const { reading, program, args, place } = outer;
  const { start, options } = findWrapped(texts(args), xargsSpec);
  const mark = options.get('I') ?? options.get('J') ?? options.get('--replace') ?? options.get('i');
  const words = args.slice(start);
  const argv =
    mark === undefined
      ? [...words, unknownField]
      : words.map((word) => fillLater(word, mark === '' ? '{}' : mark));
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

const findStart = /^-(?:exec|ok)(?:dir)?$/;
// Letters without a value may stand in front: `-Hx`; the program may follow at once: `-xrm`.
const fdStart = /^(?:-[HIasiLplFgu01q]*[xX]|--exec(?:-batch)?(?:=|$))([\s\S]*)$/;

/** `find … -exec rm {} \;`, any number of times. */
export function readFind(outer: OuterCommand): Inner | null {
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
    inner.push([...attached, ...words].map((word) => fillLater(word, '{}')));
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
