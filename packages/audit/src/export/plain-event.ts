/**
 * Reads lines of events, which are nearly all of a bundle, straight from the one spelling they have, instead of parsing them and
 * writing them anew to compare.
 *
 * It may refuse what `parse-lines.ts` takes, such as a column that needs an escape. It takes nothing that refuses, and reads
 * nothing in another way; a test holds the two against each other.
 */
import type { StoredColumns } from '../stored-columns.ts';
import type { BundleEvent } from './bundle-format.ts';

/** A text without escapes, between its quotes; and one that may be null. */
const text = '([^"\\\\\\u0000-\\u001f\\ud800-\\udfff]*)';
const orNull = (pattern: string): string => `(?:null|"${pattern}")`;

/** Base64 of 16 and of 32 bytes: bits that are left over at the end are 0. */
const salt = '([A-Za-z0-9+/]{21}[AQgw]==)';
const chain = '([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)';

const columns = ['eventId', 'kind', 'sessionId', 'userId', 'tool', 'decision'];

const begin = new RegExp(`^\\{"event":\\{"stream":"${text}","seq":(0|[1-9]\\d{0,14}),"header":(?=")`);
const afterHeader = '","payload":';
const afterPayload = ',"salt":';
const end = new RegExp(
  `${afterPayload}${orNull(salt)},"chain":"${chain}","receivedAt":"${text}","columns":` +
    `\\{${columns.map((name) => `"${name}":${orNull(text)}`).join(',')}\\}\\}\\}$`,
  'y',
);

/** The event, or null when the line has to be read in the other way: it may be right all the same. */
export function readPlainEvent(line: string): BundleEvent | null {
  const first = begin.exec(line);
  if (first === null) return null;
  const headerAt = first[0].length;
  const headerEnd = line.indexOf(afterHeader, headerAt) + 1;
  const payloadEnd = line.lastIndexOf(afterPayload);
  if (headerEnd === 0 || payloadEnd < headerEnd) return null;
  end.lastIndex = payloadEnd;
  const last = end.exec(line);
  const header = readText(line.slice(headerAt, headerEnd));
  const payload = readPayload(line.slice(headerEnd + afterHeader.length - 1, payloadEnd));
  if (last === null || header === null || payload === undefined) return null;
  const saltText = last[1];
  return {
    ...{ stream: first[1] ?? '', seq: Number(first[2]), header, payload, receivedAt: last[3] ?? '' },
    salt: saltText === undefined ? null : Buffer.from(saltText, 'base64'),
    chain: Buffer.from(last[2] ?? '', 'base64'),
    columns: toColumns(last, 4),
  };
}

/** @param at Index of the first column. */
const toColumns = (found: readonly (string | undefined)[], at: number): StoredColumns => ({
  eventId: found[at] ?? null,
  kind: found[at + 1] ?? null,
  sessionId: found[at + 2] ?? null,
  userId: found[at + 3] ?? null,
  tool: found[at + 4] ?? null,
  decision: found[at + 5] ?? null,
});

/** @returns Undefined when it is neither null nor a text in its one spelling. */
function readPayload(literal: string): string | null | undefined {
  return literal === 'null' ? null : (readText(literal) ?? undefined);
}

/** An escape that can be another spelling. What stands for itself after a backslash that is escaped looks like one, too. */
const longEscape = /\\[u/]/;

/** In Node since 20, in TypeScript's `lib` only from ES2024. */
type WellFormable = string & { isWellFormed(): boolean };

/** @param literal A text with its quotes. @returns Null when it is not in the one spelling that `JSON.stringify` gives. */
function readText(literal: string): string | null {
  // What is between the quotes alone: JSON.parse passes over blanks around them.
  if (!literal.startsWith('"') || !literal.endsWith('"')) return null;
  let value: unknown;
  try {
    value = JSON.parse(literal);
  } catch {
    return null;
  }
  if (typeof value !== 'string') return null;
  // The short escapes are the spelling of what they stand for; the same goes for every character but a lone surrogate.
  const isPlain = !longEscape.test(literal) && (literal as WellFormable).isWellFormed();
  return isPlain || JSON.stringify(value) === literal ? value : null;
}
