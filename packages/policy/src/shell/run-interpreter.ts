import { noOutcome, type Place, type Reading } from './reading.ts';
import type { Inner } from './run-shell.ts';
import type { Field } from './words.ts';

// `-c text`, `-e text`, `-m module`, `-r text`, and what only prints a version.
const ownProgram = /^(?:-[A-Za-z0-9]*[ceEmrpRVh]|--(?:eval|print|version|help|run|test|check)\b)/;

/** Reads `python …`: when it is fed by another program, what it does is not to be seen. */
export function readInterpreter(reading: Reading, args: readonly Field[], place: Place): Inner {
  const texts = args.map((arg) => arg.text);
  const operand = texts.find((text) => !text.startsWith('-') || text === '-');
  const fed = (operand === undefined || operand === '-') && !texts.some((text) => ownProgram.test(text));
  return {
    ownArgs: texts,
    run: () => {
      if (fed && place.stdin.kind === 'unknown') reading.causes.add('dynamic');
      return noOutcome;
    },
  };
}
