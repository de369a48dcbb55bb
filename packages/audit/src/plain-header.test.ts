import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAnyHeader } from './event-header.ts';
import { createId, type EventHeader, encodeHeader, eventKinds, headerLimits } from './index.ts';
import { readPlainHeader } from './plain-header.ts';
import { mutations } from './test-mutations.ts';

const base: EventHeader = {
  ...{ v: 1, org: createId('org'), stream: createId('str'), seq: 1, id: createId('evt') },
  ...{ kind: 'tool_call.decided', session: null, user: null, agent: null, tool: null, toolUse: null },
  ...{ decision: null, rule: null, policyVersion: null, mode: null, occurredAt: '2026-01-02T03:04:05.678Z' },
  lineage: { leases: [], connection: null, approval: null, serverEvent: null },
  ...{ redaction: 'none', payloadHash: null, missing: null },
};

const anyText = (limit: number) =>
  fc.oneof(
    fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: limit }),
    fc.array(fc.nat(0xffff), { minLength: 1, maxLength: 8 }).map((units) => String.fromCharCode(...units)),
  );
const plainText = fc.stringMatching(/^[ !#-[\]-~é☂\u007f\u2028]{1,64}$/);
const headersOf = (text: (limit: number) => fc.Arbitrary<string>): fc.Arbitrary<EventHeader> =>
  fc
    .record({
      seq: fc.integer({ min: 1, max: 999_999_999_999_999 }),
      kind: fc.constantFrom(...eventKinds),
      session: fc.option(fc.constant(createId('ses'))),
      user: fc.option(fc.constant(createId('usr'))),
      agent: fc.option(text(headerLimits.agent)),
      tool: fc.option(text(headerLimits.tool)),
      toolUse: fc.option(text(headerLimits.toolUse)),
      rule: fc.option(text(headerLimits.rule)),
      decision: fc.option(fc.constantFrom('allow', 'deny', 'ask')),
      policyVersion: fc.option(fc.nat()),
      mode: fc.option(fc.constantFrom('observe', 'enforce')),
      lineage: fc.record({
        leases: fc.array(fc.constant(createId('lea')), { maxLength: headerLimits.leases, size: 'max' }),
        connection: fc.option(fc.constant(createId('con'))),
        approval: fc.option(fc.constant(createId('apr'))),
        serverEvent: fc.option(fc.constant('ab'.repeat(32))),
      }),
      redaction: fc.constantFrom('full-v1', 'exact-v1', 'none'),
      ends: fc.constantFrom(
        ...[
          { payloadHash: null, missing: null },
          { payloadHash: null, missing: 'payload' },
          { payloadHash: 'cd'.repeat(32), missing: null },
        ],
      ),
    })
    .map(({ ends, ...fields }) => ({ ...base, ...fields, ...ends }) as EventHeader);

/** What reading by parsing, checking and writing anew says; null when it refuses. */
function readSlowly(text: string): EventHeader | null {
  try {
    return parseAnyHeader(text);
  } catch {
    return null;
  }
}

describe('readPlainHeader', () => {
  it('reads every header without escapes, as the slow way does', () => {
    fc.assert(
      fc.property(
        headersOf(() => plainText),
        (header) => {
          expect(readPlainHeader(encodeHeader(header))).toEqual(header);
        },
      ),
    );
  });

  it('reads none of a header whose texts hold escapes or surrogates', () => {
    for (const tool of ['a"b', 'a\\b', 'a\nb', 'a\0b', 'a\ud800b', 'a😀b'])
      expect(readPlainHeader(encodeHeader({ ...base, tool }))).toBeNull();
  });

  it('takes nothing that the slow way refuses, nor as something else, whatever the texts are', () => {
    fc.assert(
      fc.property(headersOf(anyText), (header) => {
        expect([null, header]).toContainEqual(readPlainHeader(encodeHeader(header)));
      }),
    );
  });

  it('takes nothing that the slow way refuses, nor as something else, however the spelling was changed', () => {
    fc.assert(
      fc.property(headersOf(anyText), mutations, (header, mutate) => {
        const text = mutate(encodeHeader(header));
        const found = readPlainHeader(text);
        if (found !== null) expect(readSlowly(text)).toEqual(found);
      }),
      { numRuns: 3000 },
    );
  });

  it('knows the same instants as the slow way, but for 29 February', () => {
    const two = (max: number) => fc.nat(max).map((n) => String(n).padStart(2, '0'));
    const year = fc.oneof(fc.constantFrom(0, 1, 1900, 2000, 2024), fc.nat(9999));
    fc.assert(
      fc.property(year, two(13), two(32), two(25), two(61), two(61), (y, month, day, h, m, s) => {
        const occurredAt = `${String(y).padStart(4, '0')}-${month}-${day}T${h}:${m}:${s}.000Z`;
        const text = encodeHeader(base).replace(base.occurredAt, occurredAt);
        const slow = month === '02' && day === '29' ? null : readSlowly(text);
        expect(readPlainHeader(text)).toEqual(slow);
      }),
      { numRuns: 3000 },
    );
  });

  it.each([
    ['a kind nobody knows', '"tool_call.decided"', '"tool_call.forgotten"'],
    ['a seq of 0', '"seq":1', '"seq":0'],
    ['a seq with a leading zero', '"seq":1', '"seq":01'],
    ['a policy version with a leading zero', '"policyVersion":null', '"policyVersion":01'],
    ['a control character that is not escaped', '"tool":null', '"tool":"a\0"'],
    ['an empty text', '"tool":null', '"tool":""'],
    ['a text that is too long', '"agent":null', `"agent":"${'a'.repeat(65)}"`],
    [
      'a payload and its absence',
      '"payloadHash":null,"missing":null',
      `"payloadHash":"${'cd'.repeat(32)}","missing":"payload"`,
    ],
    ['a lease too many', '[]', JSON.stringify(Array.from({ length: 101 }, () => createId('lea')))],
    ['leases that end in a comma', '[]', `["${createId('lea')}",]`],
    ['something after it', /$/, '\n'],
    ['something before it', /^/, ' '],
  ])('does not take %s', (_what, from, to) => {
    const text = encodeHeader(base).replace(from, to);

    expect(text).not.toBe(encodeHeader(base));
    expect(readPlainHeader(text)).toBeNull();
  });
});
