import type { Placeholder } from './env-template.ts';
import { parsePlaceholder } from './parse-placeholder.ts';
import type { RawValue } from './scan-lines.ts';

/** A piece of a value; `at` is its offset in the text of the template. */
export type ValuePart =
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'placeholder'; readonly at: number; readonly placeholder: Placeholder }
  | { readonly kind: 'malformed'; readonly at: number; readonly reason: string };

// Wider than the grammar: `{{ kontext:github }}` is meant as a placeholder, so it must not pass as a literal.
const looksLikePlaceholder = /(?:\{\{|<<)[ \t]{0,8}kontext\b/gi;
const openings = /(?:\{\{|<<)kontext:/y;
// Stops at brackets, so that many openings without an end are not each searched to the end of the value.
const body = /[^{}<>\s]*/y;

/**
 * Splits a value into literals and placeholders, in one pass.
 *
 * Placeholders are found before escapes are resolved: their grammar needs none, and their columns stay true.
 */
export function splitValue(text: string, value: RawValue): ValuePart[] {
  const raw = text.slice(value.start, value.end);
  const parts: ValuePart[] = [];
  let literalFrom = 0;
  const pushLiteral = (end: number) => {
    const piece = raw.slice(literalFrom, end);
    if (piece !== '')
      parts.push({ kind: 'literal', text: value.hasEscapes ? unescapeLiteral(piece) : piece });
  };
  for (const found of raw.matchAll(looksLikePlaceholder)) {
    if (found.index < literalFrom) continue;
    pushLiteral(found.index);
    const at = value.start + found.index;
    const { end, parsed } = readPlaceholder(raw, found.index);
    parts.push(parsed.ok ? { kind: 'placeholder', at, ...parsed } : { kind: 'malformed', at, ...parsed });
    literalFrom = end;
  }
  pushLiteral(raw.length);
  return parts;
}

function readPlaceholder(raw: string, at: number) {
  openings.lastIndex = at;
  if (!openings.test(raw)) {
    const reason = 'it must begin with `{{kontext:` or `<<kontext:`, in lower case and without spaces';
    return { end: at + 2, parsed: { ok: false, reason } as const };
  }
  body.lastIndex = openings.lastIndex;
  const inner = body.exec(raw)?.[0] ?? '';
  const bodyEnd = body.lastIndex;
  const close = raw.startsWith('{{', at) ? '}}' : '>>';
  if (!raw.startsWith(close, bodyEnd)) {
    return { end: bodyEnd, parsed: { ok: false, reason: `it must end with \`${close}\`` } as const };
  }
  return { end: bodyEnd + 2, parsed: parsePlaceholder(inner) };
}

const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\' };

/** Unknown escapes stay as they are, as dotenv leaves them: `\d` is a backslash and a `d`. */
const unescapeLiteral = (text: string): string =>
  text.replace(/\\([nrt"\\])/g, (whole, char: string) => escapes[char] ?? whole);
