/** Programs that start a shell: of another user or group, or one that is recorded. */
import { type Reader, texts } from './outer-command.ts';
import { readWrapped } from './read-wrapped.ts';
import { inside, noOutcome, type Outcome } from './reading.ts';
import { feedShell, readGivenText } from './run-shell.ts';
import { copyScope } from './scope.ts';
import { plainField } from './words.ts';
import { wrappers } from './wrappers.ts';

/** `su -c text`, `script -c text`; without one, a shell that reads its input. */
export const readTextOption: Reader = ({ reading, program, args, place }) => {
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
export const readGroup: Reader = ({ reading, program, args, place }) => {
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
export const readRunuser: Reader = (outer) => {
  const spec = wrappers.get('runuser');
  const asUser = outer.args.some(({ text }) => /^(?:-u|--u)/.test(text));
  return asUser && spec !== undefined ? readWrapped(outer, spec) : readTextOption(outer);
};

/** BSD's `script file command …` runs the words behind the file. */
export const readScript: Reader = (outer) => {
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
