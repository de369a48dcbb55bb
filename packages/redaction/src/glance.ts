import { charClasses, isIn } from './runs.ts';
import { nameStrength } from './sensitive-names.ts';

const { name, blank, closing, operatorStart, address } = charClasses;

const BACKSLASH = 0x5c;
const QUOTE = 0x22;
/** Longest name a rule judges, with room for the letter of an escape before it. */
const MAX_RUN = 130;
/** Longest key that is judged. */
const MAX_KEY = 256;
/** As it is written: a short escape takes two characters. */
const MAX_WRITTEN = 2 * MAX_KEY;

/**
 * A text as it is written, looked at without reading its escapes. What is said of a place holds for every reading: of the
 * text itself, of the strings in it when it is JSON, and of both with their escapes resolved. Escapes that stand for
 * letters, digits or a slash are none of its business: {@link isPlainlyWritten} sorts such texts out before.
 */
export class Glance {
  readonly text: string;
  readonly codes: Uint16Array;
  #nameEnd = 0;
  #addressEnd = 0;
  #quote = -1;
  #hasPairs: boolean | null = null;

  /** @param codes The code units of the text. */
  constructor(text: string, codes: Uint16Array) {
    this.text = text;
    this.codes = codes;
  }

  /** Whether an anchor in a name may make a secret of what follows, as an assignment, an option or a key of JSON. */
  mayAssign(start: number): boolean {
    if (start < this.#nameEnd) return false;
    let from = start;
    while (from > 0 && start - from <= MAX_RUN && isIn(name, this.codes[from - 1])) from -= 1;
    let to = start;
    while (isIn(name, this.codes[to])) to += 1;
    this.#nameEnd = to;
    if (isEmptyMember(this.text, to)) return false;
    if (this.#mayBeInKey(from, to)) return true;
    if (!this.#hasOperator(to) && !this.#isOption(from, to) && !this.#mayBeFollowed(to)) return false;
    return to - from > MAX_RUN - 2 || this.#saysSomething(from, to);
  }

  /** Whether an `@` follows in the same address. */
  mayHoldUser(from: number): boolean {
    if (from < this.#addressEnd) return false;
    let at = from;
    while (isIn(address, this.codes[at])) {
      if (this.codes[at] === 0x40) return true;
      at += 1;
    }
    this.#addressEnd = at;
    // A backspace ends no address, nor does what looks like one: a backslash, written as two, before a `b`.
    let after = at;
    while (this.codes[after] === BACKSLASH) after += 1;
    return after > at && this.codes[after] === 0x62;
  }

  /** Whether a text of ASCII stands at an index, case included, and so many characters of a class behind it. */
  hasToken(at: number, prefix: string, body: Parameters<typeof isIn>[0], min: number): boolean {
    for (let i = 0; i < prefix.length; i += 1) {
      if (this.codes[at + i] !== prefix.charCodeAt(i)) return false;
    }
    const from = at + prefix.length;
    let to = from;
    while (to < from + min && isIn(body, this.codes[to])) to += 1;
    return to === from + min;
  }

  /** Whether a word may begin here: what stands before it is no part of it, or the letter of an escape. */
  mayBegin(at: number): boolean {
    return !isIn(name, this.codes[at - 1]) || this.codes[at - 2] === BACKSLASH;
  }

  #hasOperator(end: number): boolean {
    if (this.codes[end] === 0x3e) return true;
    let at = end;
    for (; ; at += 1) {
      const code = this.codes[at];
      const isTab = code === 0x74 && this.codes[at - 1] === BACKSLASH;
      if (code !== BACKSLASH && !isTab && !isIn(closing, code) && !isIn(blank, code)) break;
    }
    return isIn(operatorStart, this.codes[at]);
  }

  /** Whether a value may follow without an operator, through whatever white space and quotes are written as. */
  #mayBeFollowed(to: number): boolean {
    const code = this.codes[to];
    if (code === undefined) return false;
    return following.test(this.text.slice(to, to + MAX_FOLLOWING));
  }

  #isOption(from: number, to: number): boolean {
    const next = this.codes[to];
    if (next !== BACKSLASH && !isIn(blank, next)) return false;
    return this.codes[from] === 0x2d || (this.#followsEscape(from) && this.codes[from + 1] === 0x2d);
  }

  /** The letter of an escape may be taken for the first one of the name. */
  #followsEscape(from: number): boolean {
    return this.codes[from - 1] === BACKSLASH;
  }

  #saysSomething(from: number, to: number): boolean {
    const run = this.text.slice(from, to);
    if (nameStrength(run) !== null) return true;
    if (this.#followsEscape(from) && nameStrength(run.slice(1)) !== null) return true;
    // "API key: …": two words of a sentence.
    return this.codes[from - 1] === 0x20 && /^(?:key|token)s?$/i.test(run);
  }

  /** Whether a name stands in a key of JSON that says something, or in the name of a pair: `"name":"API_KEY","value":…`. */
  #mayBeInKey(from: number, to: number): boolean {
    if (this.#quote < to) this.#findQuote(to);
    while (this.#quote - to <= MAX_WRITTEN && this.codes[this.#quote - 1] === BACKSLASH) {
      if (this.codes[this.#quote - 2] === BACKSLASH) return true;
      this.#findQuote(this.#quote + 1);
    }
    const quote = this.#quote;
    if (quote - to > MAX_WRITTEN) return false;
    const next = this.codes[quote + 1];
    if (next === 0x2c || next === 0x7d || next === 0x5d) return this.#mayHoldPairs();
    const isWhole = next === 0x3a && quote === to && this.codes[from - 1] === QUOTE;
    if (!isWhole || this.codes[from - 2] === BACKSLASH) return true;
    return nameStrength(this.text.slice(from, to)) !== null;
  }

  /** Remembered, so that a text without quotes is looked through once. */
  #findQuote(from: number): void {
    const at = this.text.indexOf('"', from);
    this.#quote = at < 0 ? Number.POSITIVE_INFINITY : at;
  }

  #mayHoldPairs(): boolean {
    this.#hasPairs ??= /"value"\s*:/i.test(this.text);
    return this.#hasPairs;
  }
}

/** What the rule of assignments reads, as it may be written: each character may take four. */
const MAX_FOLLOWING = 256;
const following =
  /^(?:[\\"'`\snrtfv]*[,{]?[\\"'`\snrtfv]*(?:value|default)|\\*["'`][\\\snrtfv]*,[\\\snrtfv]*["'`]|[\\\snrtfv]+(?:is|'))/i;

const emptyMember = /":(?:true|false|null|\[\]|\{\})[,}\]]/y;

/** Whether a key of JSON ends here whose value has no texts and no numbers: no name makes a secret of that. */
function isEmptyMember(text: string, at: number): boolean {
  emptyMember.lastIndex = at;
  return emptyMember.test(text);
}

/** Whether no escape in a text stands for a letter, a digit, a slash or nothing, however often it is read. */
export function isPlainlyWritten(text: string): boolean {
  if (text.includes('\u001b') || text.includes('\\u') || text.includes('\\x') || text.includes('\\/'))
    return false;
  return !text.includes('%') || !/%[0-9a-f]{2}/i.test(text);
}
