/**
 * Where a run of characters of one class begins and ends, at a cost in proportion to the text however often it is asked.
 *
 * Each class remembers the last run it measured in each direction; a question inside that run is answered without
 * looking again. Rules ask from left to right, so that each class looks at each character a bounded number of times.
 */
import { BARRIER } from './characters.ts';

/** A set of UTF-16 code units. */
export interface CharClass {
  /** Place among all classes, from 0. */
  readonly index: number;
  /** One byte per ASCII code, 1 for members. */
  readonly ascii: Uint8Array;
  /** Whether everything beyond ASCII belongs to it. */
  readonly beyondAscii: boolean;
  /** Whether text that was already redacted belongs to it. */
  readonly redacted: boolean;
}

const alphanumeric = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';
const white = ' \t\n\v\f\r';
const printable = Array.from({ length: 95 }, (_, i) => String.fromCharCode(0x20 + i)).join('');
let count = 0;

function only(members: string): CharClass {
  const ascii = new Uint8Array(128);
  for (const char of members) ascii[char.charCodeAt(0)] = 1;
  count += 1;
  return { index: count - 1, ascii, beyondAscii: false, redacted: false };
}

/** Everything but `others`; text beyond ASCII and what was already redacted are members. */
function allBut(others: string): CharClass {
  const ascii = new Uint8Array(128).fill(1);
  for (const char of others) ascii[char.charCodeAt(0)] = 0;
  count += 1;
  return { index: count - 1, ascii, beyondAscii: true, redacted: true };
}

/** The classes the rules speak of. */
export const charClasses = {
  alnum: only(alphanumeric),
  word: only(`${alphanumeric}_`),
  base64url: only(`${alphanumeric}-_`),
  base64: only(`${alphanumeric}+/=`),
  token68: only(`${alphanumeric}-._~+/=`),
  dotted: only(`${alphanumeric}-_.`),
  slack: only(`${alphanumeric}-_.%/+=`),
  name: only(`${alphanumeric}-_.$`),
  scheme: only(`${alphanumeric}+-.`),
  white: only(white),
  blank: only(' \t'),
  line: allBut('\n\r'),
  authority: allBut(`${white}"'\`<>\\/?#`),
  address: allBut(`${white}"'\`<>\\`),
  /** Text between two tags. */
  elementText: allBut('<>'),
  webhookPath: only(`${alphanumeric}-_./@`),
  /** A value without quotes inside code, a query or a list. */
  bare: allBut(`${white}"'\`,;)}]<>&|`),
  /** A value without quotes in an environment file or on a command line. */
  solid: allBut(`${white}"'\``),
  /** A word of a command line or a netrc file. */
  argument: allBut(white),
  /** What may stand between a name and its operator. */
  closing: only('"\'`]'),
  operatorStart: only('=:!?+'),
  pemBody: only(`${alphanumeric}+/=`),
  pemGap: only(`${white}"'\`+\\,|>`),
  pemLabel: only(`${printable.replaceAll('-', '')}`),
} as const satisfies Readonly<Record<string, CharClass>>;

/** Whether a code unit belongs to a class. Outside the text (undefined) nothing does. */
export function isIn(charClass: CharClass, code: number | undefined): boolean {
  if (code === undefined) return false;
  if (code < 128) return charClass.ascii[code] === 1;
  return code === BARRIER ? charClass.redacted : charClass.beyondAscii;
}

/** What is known of the text that is searched: one set serves all, for one is done with before the next begins. */
const forward = new Int32Array(2 * count);
const backward = new Int32Array(2 * count);

/** The runs of one text. Hold until the runs of another one are made. */
export class Runs {
  /** Characters looked at so far. */
  work = 0;
  readonly #codes: Uint16Array;
  readonly #forward = forward.fill(0);
  readonly #backward = backward.fill(0);

  constructor(codes: Uint16Array) {
    this.#codes = codes;
  }

  /** One past the last member of the run that begins at `at`; `at` itself when there is none. */
  endOf(charClass: CharClass, at: number): number {
    const known = 2 * charClass.index;
    const from = this.#forward[known] as number;
    const to = this.#forward[known + 1] as number;
    if (at >= from && at < to) return to;
    let end = at;
    while (end < this.#codes.length && isIn(charClass, this.#codes[end])) end += 1;
    this.work += end - at + 1;
    this.#forward[known] = at;
    this.#forward[known + 1] = end;
    return end;
  }

  /** First member of the run that ends before `at`; `at` itself when there is none. */
  startOf(charClass: CharClass, at: number): number {
    const known = 2 * charClass.index;
    const from = this.#backward[known] as number;
    const to = this.#backward[known + 1] as number;
    let start = at;
    // Looking left it stops as soon as it meets what was measured before.
    while (start > 0 && isIn(charClass, this.#codes[start - 1])) {
      if (start <= to && start > from) {
        start = from;
        break;
      }
      start -= 1;
      this.work += 1;
    }
    this.work += 1;
    this.#backward[known] = start;
    this.#backward[known + 1] = at;
    return start;
  }
}
