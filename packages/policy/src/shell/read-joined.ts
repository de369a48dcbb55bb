/** Programs that put the words behind their options together to one text. */
import { fillLater, type OuterCommand, type Reader, texts } from './outer-command.ts';
import { elsewhere, inside, noOutcome, type Outcome, type Place } from './reading.ts';
import { feedShell, type Inner, readGivenText } from './run-shell.ts';
import { type Field, plainField } from './words.ts';
import { findWrapped, type WrapperSpec } from './wrappers.ts';

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

export const joinedSpec = (shortValues: string, operands: number): WrapperSpec => ({
  ...{
    shortValues,
    longValues: new Set(['--interval', '--jobs', '--arg-file', '--joblog', '--colsep', '--sshlogin']),
  },
  ...{ gluedValues: '', operands, assignments: false, inert: '', needs: '' },
});

export const readWatch: Reader = (outer) => {
  const { start } = findWrapped(texts(outer.args), joinedSpec('nqs', 0));
  return readJoined(outer, start, outer.place.scope);
};

/** `ssh host command`: what runs there is a part as well, with paths of another machine. */
export const readSsh: Reader = (outer) => {
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
export const readParallel: Reader = (outer) => {
  const { start } = findWrapped(texts(outer.args), joinedSpec('jNnLSaIdPsElX', 0));
  const words = outer.args.slice(0, start + Math.max(0, commandLength(outer.args.slice(start))));
  const joined = readJoined(
    { ...outer, args: words.map((word) => fillLater(word, '{}')) },
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
