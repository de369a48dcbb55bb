import { eventKinds } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EventQuery } from '../../store/queries/event-query.ts';
import { formatQuery, parseQuery } from './parse-query.ts';

const ses = 'ses_01900000-0000-7000-8000-000000000000';

/** The error a query is refused with; undefined when it is none. */
function refusal(text: string): KontextError | undefined {
  try {
    parseQuery(text);
    return undefined;
  } catch (error) {
    if (error instanceof KontextError) return error;
    throw error;
  }
}

/** Any query, made from what the grammar can say. */
const word = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 30 })
  .filter((text) => !/[^\P{Cc}\t\n\r]|\p{Surrogate}/u.test(text));
const free = fc.constantFrom('actor', 'agent', 'repo', 'rule', 'tool');
const field = fc.oneof(
  fc.record({ field: free, value: word, prefix: fc.boolean() }),
  fc.record({ field: free, value: fc.constant(''), prefix: fc.constant(true) }),
  fc.record({
    field: fc.constant('decision'),
    value: fc.constantFrom('allow', 'deny', 'ask'),
    prefix: fc.constant(false),
  }),
  fc.record({ field: fc.constant('kind'), value: fc.constantFrom(...eventKinds), prefix: fc.boolean() }),
  fc.record({ field: fc.constant('session'), value: fc.constant(ses), prefix: fc.constant(false) }),
);
const negated = fc.boolean();
const time = fc.oneof(
  fc.constant(null),
  fc.record({ agoSeconds: fc.nat(3_000_000) }),
  fc
    .date({ min: new Date(0), max: new Date('9998-12-31'), noInvalidDate: true })
    .map((at) => ({ at: at.toISOString() })),
);
const query = fc.record({
  terms: fc.array(
    fc.oneof(
      fc.tuple(field, negated).map(([term, not]) => ({ ...term, negated: not })),
      fc.record({ field: fc.constant('text'), value: word, negated }),
    ),
    { maxLength: 20 },
  ),
  since: time,
  until: time,
}) as fc.Arbitrary<EventQuery>;

describe('the grammar of searches', () => {
  it('reads every kind of term', () => {
    expect(parseQuery('  actor:alice -tool:mcp__* "rm -rf \\"x\\"" push since:7d ')).toEqual({
      terms: [
        { field: 'actor', value: 'alice', prefix: false, negated: false },
        { field: 'tool', value: 'mcp__', prefix: true, negated: true },
        { field: 'text', value: 'rm -rf "x"', negated: false },
        { field: 'text', value: 'push', negated: false },
      ],
      since: { agoSeconds: 604_800 },
      until: null,
    });
    expect(parseQuery('')).toEqual({ terms: [], since: null, until: null });
  });

  it.each([
    ['since:2026-11-01', { since: { at: '2026-11-01T00:00:00.000Z' } }],
    ['until:2026-11-01', { until: { at: '2026-11-02T00:00:00.000Z' } }],
    ['since:2026-11-01T12:00:00+02:00', { since: { at: '2026-11-01T10:00:00.000Z' } }],
    ['until:30m', { until: { agoSeconds: 1800 } }],
  ])('reads the time of %s', (text, wanted) => {
    expect(parseQuery(text)).toMatchObject(wanted);
  });

  it.each([
    ['KIND:Tool_Call.*', 'kind:tool_call.*'],
    ['decision:DENY', 'decision:deny'],
    ['provider:GitHub', 'provider:github'],
    ['tool:"Ba*"', 'tool:"Ba*"'],
    ['tool:"a b"*', 'tool:"a b"*'],
    ['tool:*', 'tool:*'],
    ['"C:\\dir"', '"C:\\\\dir"'],
  ])('spells %s as %s', (text, spelled) => {
    expect(formatQuery(parseQuery(text))).toBe(spelled);
  });

  it.each([
    ['a AND b', 3, /all terms/],
    ['tool:a OR tool:b', 8, /of several values/],
    ['NOT tool:a', 1, /write - before/],
    ['(tool:a)', 1, /./],
    ['(a b)', 1, /parentheses|quotes/],
    ['tool=Bash', 1, /write tool: and/],
    ['decision!=deny', 1, /write decision: and/],
    ['a && b', 3, /all terms/],
    ['user:alice', 1, /actor/],
    ['https://example.com', 1, /quotes/],
    ['a  "b', 4, /write "/],
    ['"a\\"', 1, /write "/],
    ['"a"b', 4, /space/],
    ['to"ol', 3, /quotes/],
    ['tool:', 1, /tool:Bash/],
    ['tool:""', 1, /tool:Bash/],
    ['tool:B*h', 1, /quotes/],
    ['decision:maybe', 1, /decision:deny/],
    ['decision:de*', 1, /decision:deny/],
    ['kind:nothing', 1, /audit-events/],
    ['session:ses_1', 1, /whole id/],
    ['since:tomorrow', 1, /since:7d/],
    ['since:2026-02-30', 1, /since:7d/],
    ['since:2026-02-30T00:00:00Z', 1, /since:7d/],
    ['since:7d since:8d', 10, /leave one/],
    ['-since:7d', 1, /until/],
    ['- x', 1, /text/],
    ['--x', 1, /one -/],
    ['foo*', 1, /leave it out/],
    ['"foo"*', 1, /anywhere/],
    ['a\0b', 2, /leave it out/],
    ['a\ud800b', 2, /leave it out/],
    ['constructor:x __proto__:y', 1, /fields are/],
    [`tool:${'a'.repeat(513)}`, 1, /tool:Bash/],
    ['x'.repeat(513), 1, /part of it/],
    ['x '.repeat(33), 65, /twice/],
    ['x'.repeat(10_240), 2001, /fewer/],
  ])('refuses %j at character %i and says what to write', (text, position, instead) => {
    const error = refusal(text);
    expect(error).toMatchObject({ code: 'KX_QUERY_INVALID', details: { position: String(position) } });
    expect(error?.hint).toMatch(instead);
  });

  it.each(["'; DROP TABLE audit_events; --", "' OR 1=1", '%', '_', '\\', '${jndi}', '<script>', '$1', "a'b"])(
    'takes %j in quotes for nothing but text',
    (text) => {
      expect(parseQuery(`"${text.replace(/[\\"]/g, '\\$&')}"`).terms).toEqual([
        { field: 'text', value: text, negated: false },
      ]);
    },
  );

  it('answers any text with a query or a typed error, and what it read it reads again', () => {
    const pieces = fc.constantFrom(
      '"',
      '\\',
      '*',
      ':',
      '-',
      '(',
      ')',
      ' ',
      'tool',
      'since',
      'OR',
      '\0',
      'a',
      '7d',
      "'",
    );
    const anyText = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 100 }),
      fc.array(pieces, { maxLength: 60 }).map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(anyText, (text) => {
        const error = refusal(text);
        if (error !== undefined) return error.code === 'KX_QUERY_INVALID' && error.hint !== '';
        const read = parseQuery(text);
        expect(parseQuery(formatQuery(read))).toEqual(read);
        return true;
      }),
      { numRuns: 500 },
    );
  });

  it('reads back what it writes', () => {
    fc.assert(
      fc.property(query, (wanted) => {
        const text = formatQuery(wanted);
        fc.pre(text.length <= 2000);
        expect(parseQuery(text)).toEqual(wanted);
      }),
      { numRuns: 300 },
    );
  });

  // A pattern that backtracks would need more than a lifetime for one of them.
  it.each(['\\', '"', '"\\', ' ', '-', '*', 'a:', '(', 'since:', '\\"'])(
    'comes to an end with 2,000 characters of %j',
    (unit) => {
      for (const text of [unit.repeat(2000), `"${unit.repeat(2000)}`]) {
        const error = refusal(text.slice(0, 2000));
        expect([undefined, 'KX_QUERY_INVALID']).toContain(error?.code);
      }
    },
  );
});
