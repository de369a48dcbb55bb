import { inside, noOutcome, type Outcome, type Place, type Reading } from './reading.ts';
import { type Field, unknownText } from './words.ts';

/** What a command runs in its turn. */
export interface Inner {
  /** Arguments of the outer command alone. */
  readonly ownArgs: readonly string[];
  /** Whether the rest of the arguments is the inner one, word for word. */
  readonly wraps?: boolean;
  /** Reads the inner one; called once the outer one is noted. */
  readonly run: () => Outcome;
}

/** `-`, `/dev/stdin`, `/proc/self/fd/0`, in any spelling. */
export const namesInput = (text: string): boolean => text === '-' || /\/(?:stdin|fd\/+0*)$/.test(text);

/** Another descriptor, which something of the same call was given to. */
export const namesDescriptor = (text: string): boolean => /\/fd\/+0*[1-9]\d*$/.test(text);

/** Reads `sh …`: the text of `-c`, the input, or the name of a script. */
export function readShellProgram(
  reading: Reading,
  program: string,
  args: readonly Field[],
  place: Place,
): Inner {
  const { at, text, fromInput } = readOptions(args);
  const operand = args[at];
  const ownArgs = args.slice(0, text ? at : args.length).map((arg) => arg.text);
  const run = (): Outcome => {
    if (args.slice(0, at).some((arg) => arg.dynamic)) reading.causes.add('dynamic');
    if (text)
      return operand === undefined ? noOutcome : readGivenText(reading, operand, inside(place, program));
    if (fromInput || operand === undefined || namesInput(operand.text))
      return feedShell(reading, program, place);
    if (operand.dynamic || namesDescriptor(operand.text)) reading.causes.add('dynamic');
    return noOutcome;
  };
  return { ownArgs, run };
}

function readOptions(args: readonly Field[]): { at: number; text: boolean; fromInput: boolean } {
  let at = 0;
  let text = false;
  let fromInput = false;
  for (; at < args.length; at += 1) {
    const arg = args[at]?.text ?? '';
    if (arg === '--' || arg === '-') {
      at += 1;
      break;
    }
    if (/^--(?:rcfile|init-file)$/.test(arg)) at += 1;
    // fish has a long name for it.
    else if (arg === '--command') text = true;
    else if (/^[-+][^-]/.test(arg)) {
      // bash takes `+c` for `-c`.
      if (arg.includes('c')) text = true;
      if (arg.includes('s')) fromInput = true;
      at += [...arg].filter((letter) => letter === 'o' || letter === 'O').length;
    } else if (!arg.startsWith('--')) break;
  }
  return { at, text, fromInput };
}

/** Reads a text that a command is given as an argument. */
export function readGivenText(reading: Reading, field: Field, place: Place): Outcome {
  if (field.dynamic || field.text.includes(unknownText)) reading.causes.add('dynamic');
  return reading.readText(field.text, { ...place, straight: false });
}

/** Reads what a shell is given as its input. */
export function feedShell(reading: Reading, program: string, place: Place): Outcome {
  const { stdin } = place;
  if (stdin.kind === 'unknown') reading.causes.add('dynamic');
  if (stdin.kind !== 'text') return noOutcome;
  if (stdin.text.includes(unknownText)) reading.causes.add('dynamic');
  const next = inside(place, program, { stdin: { kind: 'terminal' }, pipedFrom: '', straight: false });
  return reading.readText(stdin.text, next);
}
