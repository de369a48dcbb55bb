/** Whether a value beside a sensitive name is a literal secret, and not code, a reference or a type. */

/** Longest value that is judged by its look; a longer one is a literal. */
export const MAX_JUDGED = 256;

const plainWords = new Set(
  `true false null nil none undefined nan yes no on off required optional string str number int integer float bool
   boolean bytes any unknown never void object array self this await async new function typeof secret password passwd
   token credential credentials secrets tokens passwords redacted hidden masked option flag argument parameter prompt stdin value is or and to for the from if in with
   as of a an be are was must should can
   bearer basic include omit same-origin`.split(/\s+/),
);

/** Whole texts that stand for a value without being one. Each is one bounded scan from the left. */
const references = [
  /^\$\{\{[^{}]*\}\}$/,
  /^\$\{(?:(?!:-)[^{}])*\}$/,
  /^\$\([^()]*\)$/,
  /^\$(?:[A-Za-z_]+|[A-Z_][A-Z0-9_]*|\d+)$/,
  /^\{\{[^{}]*\}\}$/,
  /^\{[A-Za-z_.]*\}$/,
  /^<[A-Za-z0-9 _.:-]*>?$/,
  /^%[A-Za-z_]+%?$/,
  /^%\([A-Za-z_]+\)s$/,
  /^\[(?:redacted|secret)\]$/,
  /^!(?:\d|vault|Ref|Sub|GetAtt|ImportValue|reference|env|secret)$/,
  // Where a secret manager or a variable of the environment holds it, and what a format puts there.
  /^(?:op|vault|secret|keyring):\/\/\S*$/,
  /^env:[A-Z_][A-Z0-9_]*$/,
  /^%[sdqv](?:\\n)?$/,
  // Words of a manual: `[--token TOKEN]`, and what stands where the reader's own value goes.
  /^[A-Z][A-Z_]*\]+$/,
  /^(?:your|my-own|insert|replace|enter|paste|put)[-_ ][a-z_ -]+$/i,
  /^(?:change[-_ ]?me|todo|tbd|fixme|example|placeholder|dummy)$/i,
  /^[A-Za-z][A-Za-z_-]{0,15}[-_](?:x{3,}|X{3,}|\*{3,}|\.{3})$/,
  // A version of a package.
  /^[\^~=<>]{0,2}\d+\.\d+\.\d+(?:[-+][\w.]{1,20})?$/,
  // A path of words, and an address; what an address gives away other rules know.
  /^(?:\/[a-z][a-z_.-]{0,24}\d?)+\/?$/,
  /^https?:\/\/[^\s@]*$/,
];

/** Whether a value stands for another one: `$TOKEN`, `${{ secrets.X }}`, `{{kontext:github}}`, `<your token>`, `***`. */
export function isReference(value: string): boolean {
  const credentials = value.replace(/^(?:bearer|basic|dpop|token) +/i, '');
  if (references.some((reference) => reference.test(credentials)) || isOneCharacter(value)) return true;
  // A template: what stands between the references is no token.
  const rest = value.replace(/\$\{[^{}]{0,200}\}/g, ' ');
  return (
    rest !== value &&
    !value.includes(':-') &&
    !rest.split(/[^A-Za-z0-9+]/).some((part) => isTokenLike(part, 8))
  );
}

/** Whether a value is a word that says nothing: `null`, `string`, `true`, or the name of the field itself. */
export const isPlainWord = (value: string): boolean => plainWords.has(value.toLowerCase());

/** `***`, `xxxx`, `...`: what stands where a value was taken out. */
const isOneCharacter = (value: string): boolean => /^(?:\*+|x+|X+|\.+|-+|_+|\?+|•+|…+)$/.test(value);

/** Whether a text looks like a random token: has a digit between letters, or both cases in no known spelling of words. */
export function isTokenLike(text: string, minLength: number): boolean {
  if (text.length < minLength) return false;
  if (!/[A-Za-z]/.test(text)) return false;
  return /\d/.test(text) || (/[A-Z]/.test(text.slice(1)) && /[a-z]/.test(text) && !isCodeName(text));
}

/** Whether a text has a stretch of letters and digits that is no word: tells a token from `sk-circle-fade-dot`. */
export function hasDenseStretch(text: string, minLength: number): boolean {
  return text.split(/[-_.]/).some((part) => isTokenLike(part, minLength));
}

/** Whether a value quoted in the text is a secret. `weak` names need one that looks random. */
export function isQuotedSecret(value: string, strength: 'strong' | 'weak'): boolean {
  if (value.trim() === '' || isReference(value) || isPlainWord(value.trim()) || isLabel(value)) return false;
  return strength === 'strong' || isRandomLooking(value);
}

/** Two words or more, the first with a capital, no digits, and one of them is what such a field is called. */
const isLabel = (value: string): boolean =>
  /^\p{Lu}[\p{L}'’]*(?: [\p{L}'’,:().!?…-]+)+$/u.test(value) &&
  /pass|contra|kenn|senha|token|key|clé|secret|required|invalid|enter/i.test(value);

/** Whether a value under a weak name is a secret: no path, and random or a list of cookies. */
export function isRandomLooking(value: string): boolean {
  return (
    !/^(?:[/~.]|[A-Za-z]:\\)/.test(value) &&
    !/^[\w-]+=\$/.test(value) &&
    (isTokenLike(value, 8) || /^[\w-]+=[^\s$]/.test(value))
  );
}

/** Where an unquoted value stands. */
export interface BareContext {
  /** The character after it; empty at the end of the text. */
  readonly next: string;
  /** Whether nothing follows on its line. */
  readonly endsLine: boolean;
  /** Whether its name is the first thing on its line. */
  readonly startsLine: boolean;
}

/** Whether a value without quotes is a secret: no call, no property path, no type, no word of a sentence. */
export function isBareSecret(value: string, strength: 'strong' | 'weak', context: BareContext): boolean {
  if (value === '' || isReference(value) || isPlainWord(value) || isCode(value, context.next)) return false;
  // The last word of a sentence.
  if (!context.startsLine && /^[a-z]+[.!?]$/.test(value)) return false;
  if (strength === 'weak') return isRandomLooking(value);
  if (/^\d+$/.test(value)) return value.length >= 4;
  if (isTokenLike(value, 16)) return true;
  if (!/^[A-Za-z_$]+(?:[-.:/][A-Za-z_$]+)*$/.test(value)) return /[A-Za-z0-9]/.test(value);
  // Words: a value where a line is a setting, words of code or of a sentence anywhere else.
  return context.startsLine && context.endsLine && /^[a-z-]+$/.test(value);
}

function isCode(value: string, next: string): boolean {
  if (/[([{]/.test(value) || next === '(' || /[:-]$/.test(value)) return true;
  // Settings of a program that was made small: `e.pass=t.value,e.key=1`.
  if (/[,;][\w$]{1,3}\.[A-Za-z_$]+=/.test(value)) return true;
  if (/^(?:\/\^|\?)/.test(value) || /^\d+(?:_\d+)+$/.test(value)) return true;
  return isCodeName(value) || /^[A-Za-z_$][\w$]{0,24}(?:\??\.[A-Za-z_$][\w$]{0,24})+!?$/.test(value);
}

const codeNames = [
  /^[a-z]+(?:[A-Z][a-z]+)+\d?$/,
  /^(?:[A-Z][a-z]+)+$/,
  /^[A-Z][a-z]{2,}\d{1,2}(?:[A-Z][a-z]{2,})+$/,
  /^[A-Z]{2,5}(?:[A-Z][a-z]{2,})+$/,
  /^(?:[A-Z][a-z]{2,})+[A-Z]{2,5}$/,
  /^[a-z]{2,12}\d[a-z]{0,12}(?:[A-Z][a-z]{2,})+$/,
  /^_*[a-z]+(?:_[a-z]+)+\d?$/,
  /^_*[A-Z]+(?:_[A-Z]+)+\d?$/,
];

/** A name as programs write them: words joined by case or underscores. */
const isCodeName = (value: string): boolean =>
  value.length <= 40 && codeNames.some((form) => form.test(value));
