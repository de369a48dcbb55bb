/**
 * The grammar of audit searches (docs/audit-search.md), pure: text in, query or typed error out, and back.
 *
 * - `query = { [ "-" ] ( field ":" value | text ) }`, separated by white space; `value` and `text` are a word or `"…"` with `\"` and
 *   `\\` inside; a `*` at the end of some fields' values means "begins with".
 * - Terms are ANDed. Of one field without `-`, one has to hold; each text has to be there.
 */
import { eventKinds, isEventKind, isId } from '@kontext/audit';
import type {
  EventQuery,
  FieldTerm,
  QueryField,
  QueryTime,
  TextTerm,
} from '../../store/queries/event-query.ts';
import { type QueryWord, queryInvalid, splitQuery } from './split-query.ts';

/** Longest value, in UTF-16 code units. */
const maxValueLength = 512;
const prefixFields: ReadonlySet<QueryField> = new Set(['actor', 'agent', 'kind', 'repo', 'rule', 'tool']);

/** @returns The value as it is compared; null when it cannot be one. */
type Normalise = (value: string, prefix: boolean) => string | null;

const oneOf =
  (...values: readonly string[]): Normalise =>
  (value) =>
    values.includes(value.toLowerCase()) ? value.toLowerCase() : null;
const anything: Normalise = (value) => value;

/** Every field, what its values are, and an example for whoever wrote another. */
const fields: Readonly<Record<QueryField, { readonly normalise: Normalise; readonly example: string }>> = {
  actor: { normalise: anything, example: 'actor:alice, actor:alice@example.com or actor:usr_…' },
  agent: { normalise: anything, example: 'agent:claude' },
  decision: {
    normalise: oneOf('allow', 'deny', 'ask'),
    example: 'decision:allow, decision:deny or decision:ask',
  },
  kind: {
    normalise: (value, prefix) => {
      const kind = value.toLowerCase();
      return (prefix ? eventKinds.some((one) => one.startsWith(kind)) : isEventKind(kind)) ? kind : null;
    },
    example: 'a kind of docs/audit-events.md, such as kind:tool_call.decided, or kind:tool_call.*',
  },
  mode: { normalise: oneOf('observe', 'enforce'), example: 'mode:observe or mode:enforce' },
  provider: {
    normalise: (value) => (/^[a-z0-9][a-z0-9-]*$/i.test(value) ? value.toLowerCase() : null),
    example: 'provider:github',
  },
  repo: { normalise: anything, example: 'repo:acme/shop or repo:github.com/acme/*' },
  rule: { normalise: anything, example: 'rule:no-force-push' },
  session: {
    normalise: (value) => (isId('ses', value) ? value : null),
    example: 'the whole id: session:ses_…',
  },
  stream: {
    normalise: (value) => (isId('str', value) ? value : null),
    example: 'the whole id: stream:str_…',
  },
  tool: { normalise: anything, example: 'tool:Bash or tool:mcp__github__*' },
};

const isField = (name: string): name is QueryField => Object.hasOwn(fields, name);
const names = [...Object.keys(fields), 'since', 'until'].join(', ');

/**
 * Reads a query.
 *
 * @param text At most 2,000 characters and 32 terms; empty: everything.
 * @throws KontextError `KX_QUERY_INVALID` with the position and what to write instead.
 */
export function parseQuery(text: string): EventQuery {
  const terms: (FieldTerm | TextTerm)[] = [];
  const times: { since: QueryTime | null; until: QueryTime | null } = { since: null, until: null };
  for (const word of splitQuery(text)) {
    if (word.field === 'since' || word.field === 'until') {
      if (times[word.field] !== null) {
        throw queryInvalid(word.position, `${word.field} stands there twice`, 'leave one of them out');
      }
      times[word.field] = readTime(word, word.field);
    } else terms.push(word.field === null ? readText(word) : readField(word, word.field));
  }
  return { terms, ...times };
}

function readField(word: QueryWord, name: string): FieldTerm {
  const { position, negated, value, star } = word;
  if (!isField(name)) {
    const instead = `the fields are ${names}; to search for the text, put it in quotes`;
    throw queryInvalid(position, `there is no field "${name.slice(0, 40)}"`, instead);
  }
  const { normalise, example } = fields[name];
  if (value === '' && !star) throw queryInvalid(position, `${name}: has no value`, `write ${example}`);
  if (value.length > maxValueLength) {
    throw queryInvalid(position, `the value is longer than ${maxValueLength} characters`, `write ${example}`);
  }
  if (star && !prefixFields.has(name)) {
    throw queryInvalid(position, `${name} takes no *`, `write ${example}`);
  }
  if (!word.quoted && value.includes('*')) {
    throw queryInvalid(
      position,
      'a * stands elsewhere than at the end',
      `write ${example}, or put it in quotes`,
    );
  }
  const normal = normalise(value, star);
  if (normal === null) throw queryInvalid(position, `this is no ${name}`, `write ${example}`);
  return { field: name, value: normal, prefix: star, negated };
}

const operators: Readonly<Record<string, string>> = {
  AND: 'leave AND out: all terms have to hold',
  OR: 'leave OR out: of several values of one field, one has to hold, as in tool:Bash tool:Read',
  NOT: 'write - before the term',
  '&&': 'leave && out: all terms have to hold',
  '||': 'leave || out: of several values of one field, one has to hold, as in tool:Bash tool:Read',
};

function readText({ position, negated, value, quoted, star }: QueryWord): TextTerm {
  const refuse = (what: string, instead: string) => queryInvalid(position, what, instead);
  if (star) throw refuse('a text takes no *', 'leave the * out: a text is found anywhere');
  if (value === '') throw refuse('there is nothing to search for', 'write a text behind it, or leave it out');
  if (value.length > maxValueLength) {
    throw refuse(`the text is longer than ${maxValueLength} characters`, 'search for a part of it');
  }
  if (!quoted) checkBare(value, refuse);
  return { field: 'text', value, negated };
}

/** What looks like another search language is not taken for text: finding nothing would say that there is nothing. */
function checkBare(value: string, refuse: (what: string, instead: string) => Error): void {
  const operator = Object.hasOwn(operators, value) ? operators[value] : undefined;
  if (operator !== undefined)
    throw refuse(`there is no ${value}`, `${operator}; put it in quotes to search for it`);
  if (value.startsWith('(') || value.endsWith(')')) {
    throw refuse('there are no parentheses', 'leave them out, or put them in quotes to search for them');
  }
  if (value.startsWith('-')) throw refuse('it begins with --', 'write one - , or put the text in quotes');
  if (value.includes('*')) throw refuse('a text takes no *', 'leave it out, or put the text in quotes');
  const [, name] = /^([A-Za-z_]+)(?:[=<>~]|!=)/.exec(value) ?? [];
  if (name !== undefined && (isField(name.toLowerCase()) || /^(since|until)$/i.test(name))) {
    throw refuse(`${name} needs a colon`, `write ${name.toLowerCase()}: and the value`);
  }
}

const unitSeconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };
const dayMs = 86_400_000;

function readTime({ position, negated, value, star }: QueryWord, name: 'since' | 'until'): QueryTime {
  const example = `write ${name}:24h, ${name}:7d, ${name}:2026-11-01 or ${name}:2026-11-01T12:00:00Z`;
  if (negated) {
    const other = name === 'since' ? 'until' : 'since';
    throw queryInvalid(position, `${name} takes no -`, `write ${other}: instead`);
  }
  const time = star ? null : (agoOf(value) ?? dayOf(value, name) ?? instantOf(value));
  if (time === null) throw queryInvalid(position, 'this is no time', example);
  return time;
}

function agoOf(value: string): QueryTime | null {
  const [, count, unit] = /^(\d{1,9})([smhdw])$/.exec(value) ?? [];
  const seconds = Number(count) * (unitSeconds[unit ?? ''] ?? Number.NaN);
  // A hundred years; beyond, dates stop being dates.
  return seconds <= 3_155_760_000 ? { agoSeconds: seconds } : null;
}

/** A day in UTC: from its beginning, and until its end. */
function dayOf(value: string, name: 'since' | 'until'): QueryTime | null {
  if (!/^\d{4}-\d\d-\d\d$/.test(value)) return null;
  const ms = Date.parse(value);
  const exists = !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(value);
  return exists ? instantAt(name === 'since' ? ms : ms + dayMs) : null;
}

/** RFC 3339 §5.6. */
function instantOf(value: string): QueryTime | null {
  const upper = value.toUpperCase();
  const [, day] =
    /^(\d{4}-\d\d-\d\d)T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/.exec(
      upper,
    ) ?? [];
  return day !== undefined && dayOf(day, 'since') !== null ? instantAt(Date.parse(upper)) : null;
}

function instantAt(ms: number): QueryTime | null {
  const inRange = ms >= 0 && ms < Date.parse('9999-01-01');
  return inRange ? { at: new Date(ms).toISOString() } : null;
}

/** Writes a query so that {@link parseQuery} gives it back. */
export function formatQuery({ terms, since, until }: EventQuery): string {
  const words = terms.map((term) => {
    const sign = term.negated ? '-' : '';
    if (term.field === 'text') return `${sign}${quote(term.value)}`;
    const value = /^[^\s"*]*$/.test(term.value) ? term.value : quote(term.value);
    return `${sign}${term.field}:${value}${term.prefix ? '*' : ''}`;
  });
  if (since !== null) words.push(`since:${formatTime(since)}`);
  if (until !== null) words.push(`until:${formatTime(until)}`);
  return words.join(' ');
}

const quote = (value: string): string => `"${value.replace(/["\\]/g, '\\$&')}"`;
const formatTime = (time: QueryTime): string => ('at' in time ? time.at : `${time.agoSeconds}s`);
