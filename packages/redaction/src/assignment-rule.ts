import { isBareSecret, isQuotedSecret, isReference, isTokenLike, MAX_JUDGED } from './judge-value.ts';
import type { Rule } from './rule.ts';
import { charClasses, isIn } from './runs.ts';
import type { Scan } from './scan.ts';
import { type NameStrength, nameStrength } from './sensitive-names.ts';

const { name, blank, white, bare, solid, line, closing, operatorStart } = charClasses;

/** Longest name that is judged. */
const MAX_NAME = 128;

/** A stretch of text. */
interface Span {
  readonly from: number;
  readonly to: number;
}

/**
 * A value given to a sensitive name: `TOKEN=…`, `export TOKEN="…"`, `password: …`, `"password": "…"`, `client_secret => '…'`,
 * `<password>…</password>`, `api key: …`, `x-api-key: …`.
 */
export const assignmentRule: Rule = {
  id: 'assignment',
  anchors: ['pass', 'pwd', 'pswd', 'secret', 'token', 'key', 'cred', 'auth', 'cookie', 'jwt', 'pat'],
  mayMatch: (glance, start) => glance.mayAssign(start),
  match(scan, start) {
    const from = scan.runs.startOf(name, start);
    const to = scan.runs.endOf(name, start);
    const value = to - from > MAX_NAME ? null : readValue(scan, { from, to });
    if (value) scan.mark('assignment', value.from, value.to);
    // All anchors of one name lead to the same question.
    return value ? Math.max(value.to, to) : to;
  },
};

function readValue(scan: Scan, named: Span): Span | null {
  if (scan.char(named.from - 1) === '<' && scan.char(named.to) === '>') return readElement(scan, named);
  const operator = readOperator(scan, named.to);
  if (!operator) return readFollowing(scan, named);
  const strength = strengthOf(scan, named);
  if (!strength) return null;
  const from = scan.runs.endOf(blank, operator.to);
  const quote = scan.char(from);
  const isEnvironment = isEnvironmentStyle(scan, named, operator, from);
  // In a shell a command stands between backquotes.
  if (quote === '`' && isEnvironment && / /.test(restOfLine(scan, from, MAX_NAME))) return null;
  if (isQuote(quote)) return readQuoted(scan, from, strength);
  if (operator.isComparison) return null;
  const typed = scan.char(operator.from) === ':' ? typeAt(scan, from) : 0;
  if (typed > 0) return readQuoted(scan, from + typed, strength);
  const isBlock = (quote === '|' || quote === '>') && /^[|>][+-]?$/.test(restOfLine(scan, from, 3));
  const block = isBlock ? scan.runs.endOf(white, from + 2) : from;
  return readBare(scan, named, block, isEnvironment, strength);
}

const isQuote = (char: string): boolean => char === '"' || char === "'" || char === '`';

/** Length of a type and its `=` before a quoted value, as in `token: string = "…"`; 0 when there is none. */
function typeAt(scan: Scan, from: number): number {
  const text = scan.text(from, Math.min(from + 56, scan.codes.length));
  return /^[&'A-Za-z][\w.<>[\]|&' ]{0,40}?=\s*(?=["'`])/.exec(text)?.[0].length ?? 0;
}

function strengthOf(scan: Scan, { from, to }: Span): NameStrength | null {
  const strength = nameStrength(scan.text(from, to));
  if (strength || scan.char(from - 1) !== ' ' || !/^(?:key|token)s?$/i.test(scan.text(from, to)))
    return strength;
  // "API key: …", "access token = …": two words of a sentence.
  const before = scan.runs.startOf(name, from - 1);
  if (from - before > MAX_NAME) return null;
  return nameStrength(scan.text(before, to));
}

/** `=`, `:`, `:=`, `?=`, `+=`, `=>`, `==` after an optional quote or bracket and blanks. */
function readOperator(scan: Scan, at: number): (Span & { isComparison: boolean }) | null {
  let end = at;
  while (end < at + 3 && isIn(closing, scan.codes[end])) end += 1;
  const from = scan.runs.endOf(blank, end);
  // Most names are followed by something else.
  if (!isIn(operatorStart, scan.codes[from])) return null;
  const text = scan.text(from, Math.min(from + 3, scan.codes.length));
  const operator = /^(?:===|!==|==|!=|=>|:=|\?=|\+=|::|=|:)/.exec(text)?.[0];
  if (operator === undefined || operator === '::') return null;
  const isComparison = ['===', '!==', '==', '!=', '=>'].includes(operator);
  return { from, to: from + operator.length, isComparison };
}

/** A value that follows its name without an operator: where it begins, and how it is told from a word. */
function readFollowing(scan: Scan, named: Span): Span | null {
  if (!mayBeFollowed(scan.char(named.to)) || strengthOf(scan, named) !== 'strong') return null;
  const text = scan.text(named.to, Math.min(named.to + MAX_BETWEEN, scan.codes.length));
  const pair = inPair.exec(text);
  if (pair) return readPaired(scan, named.to + pair[0].length);
  const argument = isQuote(scan.char(named.from - 1)) ? asArgument.exec(text) : null;
  if (argument) return readRandom(scan, named.to + argument[0].length, MIN_ARGUMENT);
  const said = inSentence.exec(text);
  if (said) return readRandom(scan, named.to + said[0].length, MIN_SAID);
  const isPassword = /password$/i.test(scan.text(Math.max(named.from, named.to - 8), named.to));
  const sql = isPassword ? /^\s+(?=')/.exec(text) : null;
  return sql && readQuoted(scan, named.to + sql[0].length, 'strong');
}

const mayBeFollowed = (char: string): boolean => char !== '' && ' \t\n\r"\'`,'.includes(char);

/** Characters between a name and a value that follows it. */
const MAX_BETWEEN = 64;
/** Shortest random value in a list of arguments, and in a sentence. */
const MIN_ARGUMENT = 10;
const MIN_SAID = 7;

/** `name: DB_PASSWORD⏎ value: …`, `key="ApiKey" value="…"`, `variable "db_password" { default = "…"`. */
const inPair = /^["'`]?\s*[,{]?\s*["']?(?:value|default)["']?\s*[:=]\s*/i;
/** `set("api_key", "…")`. */
const asArgument = /^["'`][ \t]*,[ \t]*(?=["'`])/;
/** `the password is …`. */
const inSentence = /^\s+is:?\s+(?=\S)/;

function readPaired(scan: Scan, from: number): Span | null {
  if (isQuote(scan.char(from))) return readQuoted(scan, from, 'strong');
  const to = scan.runs.endOf(bare, from);
  if (to - from > MAX_JUDGED) return { from, to };
  const after = scan.runs.endOf(blank, to);
  const endsLine = after >= scan.codes.length || isLineBreak(scan.codes[after]);
  const context = { next: scan.char(to), endsLine, startsLine: true };
  return isBareSecret(scan.text(from, to), 'strong', context) ? { from, to } : null;
}

/** Names of algorithms and encodings have digits too. */
const isNameOfMethod = (value: string): boolean =>
  /^(?:base|sha|md|utf|[hrep]s|oauth|http|ipv|x)-?\d/i.test(value);

/** A value with or without quotes that looks random, and has a digit. */
function readRandom(scan: Scan, at: number, minLength: number): Span | null {
  const from = isQuote(scan.char(at)) ? at + 1 : at;
  const end = scan.runs.endOf(bare, from);
  const to = scan.char(end - 1) === '.' ? end - 1 : end;
  if (to - from > MAX_JUDGED) return from > at ? { from, to } : null;
  const value = scan.text(from, to);
  if (!/\d/.test(value) || !isTokenLike(value, minLength) || isNameOfMethod(value)) return null;
  return isReference(value) || /[([{]/.test(value) ? null : { from, to };
}

/** From quote to quote on one line, or to the end of the line when the closing one is missing. */
function readQuoted(scan: Scan, open: number, strength: NameStrength): Span | null {
  const quote = scan.codes[open];
  let to = open + 1;
  while (to < scan.codes.length && scan.codes[to] !== quote && !isLineBreak(scan.codes[to])) {
    to += scan.char(to) === '\\' ? 2 : 1;
  }
  to = Math.min(to, scan.codes.length);
  scan.spend(to - open);
  const from = open + 1;
  if (to - from > MAX_JUDGED) return { from, to };
  const value = scan.text(from, to);
  const isName = value.toLowerCase().replace(/[\s_-]/g, '') === nameBefore(scan, open);
  // Backquotes quote words of a text more often than values.
  const isWord = quote === 0x60 && /^[a-z-]+$/.test(value);
  return !isName && !isWord && isQuotedSecret(value, strength) ? { from, to } : null;
}

/** The name a quoted value belongs to, bare: a label such as `"password": "Password"` says nothing. */
function nameBefore(scan: Scan, open: number): string {
  const text = scan.text(Math.max(0, open - MAX_NAME), open).toLowerCase();
  return (/[\w-]+(?=[^\w-]*$)/.exec(text.slice(-MAX_NAME))?.[0] ?? '').replace(/[_-]/g, '');
}

const isLineBreak = (code: number | undefined): boolean => code === 0x0a || code === 0x0d;

/** `<password>…</password>` (XML 1.0 §3.1), without looking into elements. */
function readElement(scan: Scan, named: Span): Span | null {
  const from = named.to + 1;
  const to = scan.runs.endOf(elementText, from);
  if (scan.char(to) !== '<' || scan.char(to + 1) !== '/') return null;
  const strength = nameStrength(scan.text(named.from, named.to));
  if (!strength) return null;
  if (to - from <= MAX_JUDGED && !isQuotedSecret(scan.text(from, to), strength)) return null;
  return { from, to };
}

const { elementText } = charClasses;

/** `NAME=value` with nothing between, as in a shell, a Dockerfile or an environment file. */
function isEnvironmentStyle(scan: Scan, named: Span, operator: Span, value: number): boolean {
  if (operator.from !== named.to || operator.to !== value || scan.char(operator.from) !== '=') return false;
  const before = scan.codes[named.from - 1];
  if (before !== undefined && !isIn(white, before)) return false;
  const text = scan.text(named.from, named.to);
  return /^[A-Z_][A-Z0-9_]*$/.test(text) || startsLine(scan, named.from);
}

function readBare(
  scan: Scan,
  named: Span,
  from: number,
  isEnvironment: boolean,
  strength: NameStrength,
): Span | null {
  const to = scan.runs.endOf(isEnvironment ? solid : bare, from);
  if (to - from > MAX_JUDGED) return { from, to };
  const value = scan.text(from, to);
  const isUpper = isEnvironment && /^[A-Z0-9_]+$/.test(scan.text(named.from, named.to));
  // What an environment file sets is a literal, whatever it looks like.
  if (isUpper && strength === 'strong') return isQuotedSecret(value, 'strong') ? { from, to } : null;
  // In a query or a form nothing is code.
  if (['?', '&'].includes(scan.char(named.from - 1)) && strength === 'strong' && isTokenLike(value, 8))
    return isReference(value) || /[([{]/.test(value) ? null : { from, to };
  const after = scan.runs.endOf(blank, to);
  const context = {
    next: scan.char(to),
    endsLine: after >= scan.codes.length || isLineBreak(scan.codes[after]),
    startsLine: startsLine(scan, named.from),
  };
  return isBareSecret(value, strength, context) ? { from, to } : null;
}

function startsLine(scan: Scan, at: number): boolean {
  const from = scan.runs.startOf(blank, at);
  const start = scan.char(from - 1) === '-' ? scan.runs.startOf(blank, from - 1) : from;
  return start === 0 || isLineBreak(scan.codes[start - 1]) || isExport(scan, start);
}

const isExport = (scan: Scan, at: number): boolean =>
  /(?:^|\s)(?:export|set|setenv|env|ENV|ARG)\s?$/.test(scan.text(Math.max(0, at - 8), at));

const restOfLine = (scan: Scan, from: number, max: number): string =>
  scan.text(from, Math.min(scan.runs.endOf(line, from), from + max + 1));
