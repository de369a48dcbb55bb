import type { Outcome, Place, Reading } from './reading.ts';
import type { Inner } from './run-shell.ts';
import { type Field, unknownText } from './words.ts';

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

/** Finds what a command runs; null when it runs nothing that is given to it. */
export type Reader = (outer: OuterCommand) => Inner | null;

export const texts = (args: readonly Field[]): readonly string[] => args.map((arg) => arg.text);

/** A word in which what is not known yet stands where its mark stood. */
export const fillLater = ({ text, dynamic }: Field, mark: string): Field =>
  knowDynamic({ dynamic, text: text.replaceAll(mark, unknownText) });

export const knowDynamic = ({ text, dynamic }: Field): Field => ({
  text,
  dynamic: dynamic || text.includes(unknownText),
});
