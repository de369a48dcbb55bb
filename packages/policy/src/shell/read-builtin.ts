/** Builtins of the shell that run a text, or change what a later command means. */
import { type Reader, texts } from './outer-command.ts';
import { assigningBuiltins } from './programs.ts';
import { joinedSpec } from './read-joined.ts';
import { inside, noOutcome, type Place, type Reading } from './reading.ts';
import { feedShell, namesDescriptor, namesInput, readGivenText } from './run-shell.ts';
import { copyScope } from './scope.ts';
import { plainField, unknownText } from './words.ts';
import { findWrapped } from './wrappers.ts';

/** `eval`: the words, with a space between, are the text. */
export const readEval: Reader = ({ reading, program, args, place }) => ({
  ownArgs: [],
  run: () => {
    const words = args[0]?.text === '--' ? args.slice(1) : args;
    const field = { text: texts(words).join(' '), dynamic: words.some((word) => word.dynamic) };
    return words.length === 0 ? noOutcome : readGivenText(reading, field, inside(place, program));
  },
});

/** `trap 'text' SIGNAL`. */
export const readTrap: Reader = ({ reading, program, args, place }) => ({
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
export const readSource: Reader = ({ reading, program, args, place }) => ({
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
export const readAlias: Reader = ({ reading, program, args, place }) => ({
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
export const readCallback: Reader = ({ reading, program, args, place }) => {
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
export const readHash: Reader = ({ reading, args }) => ({
  ownArgs: texts(args),
  run: () => {
    if (args.some(({ text }) => /^-[a-z]*p/.test(text))) reading.causes.add('dynamic');
    return noOutcome;
  },
});
