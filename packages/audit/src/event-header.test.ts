import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createId,
  type EventHeader,
  encodeHeader,
  eventKinds,
  headerLimits,
  isEventKind,
  parseHeader,
} from './index.ts';

const base: EventHeader = {
  v: 1,
  org: createId('org'),
  stream: createId('str'),
  seq: 1,
  id: createId('evt'),
  kind: 'tool_call.decided',
  session: createId('ses'),
  user: createId('usr'),
  agent: 'claude',
  tool: 'Bash',
  toolUse: 'toolu_01',
  decision: 'deny',
  rule: 'starter.destructive-delete',
  policyVersion: 3,
  mode: 'enforce',
  occurredAt: '2026-01-02T03:04:05.678Z',
  lineage: {
    leases: [createId('lea')],
    connection: createId('con'),
    approval: null,
    serverEvent: 'ab'.repeat(32),
  },
  redaction: 'exact-v1',
  payloadHash: 'cd'.repeat(32),
  missing: null,
};

const codeUnits = (maxLength: number) =>
  fc.array(fc.nat(0xffff), { minLength: 1, maxLength }).map((units) => String.fromCharCode(...units));
const freeText = (limit: number) =>
  fc.option(fc.oneof(codeUnits(limit), fc.string({ unit: 'binary', minLength: 1, maxLength: limit / 2 })));

const headers: fc.Arbitrary<EventHeader> = fc
  .record({
    seq: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    kind: fc.constantFrom(...eventKinds),
    agent: freeText(headerLimits.agent),
    tool: freeText(headerLimits.tool),
    toolUse: freeText(headerLimits.toolUse),
    rule: freeText(headerLimits.rule),
    policyVersion: fc.option(fc.nat()),
    decision: fc.option(fc.constantFrom('allow' as const, 'deny' as const, 'ask' as const)),
    mode: fc.option(fc.constantFrom('observe' as const, 'enforce' as const)),
    payloadHash: fc.option(fc.constant('cd'.repeat(32))),
  })
  .map((fields) => ({ ...base, ...fields }));

const invalid = expect.objectContaining({ code: 'KX_EVENT_INVALID' });

describe('event header', () => {
  it('comes back the same from its text, whatever the free fields hold', () => {
    fc.assert(
      fc.property(headers, (header) => {
        const text = encodeHeader(header);
        expect(parseHeader(text)).toEqual(header);
        expect(encodeHeader(parseHeader(text))).toBe(text);
      }),
    );
  });

  it('is text that UTF-8 and a Postgres text column keep unchanged', () => {
    fc.assert(
      fc.property(headers, (header) => {
        const text = encodeHeader(header);
        expect(Buffer.from(text, 'utf8').toString('utf8')).toBe(text);
        expect(text).not.toContain('\0');
      }),
    );
  });

  it('escapes NUL and lone surrogates', () => {
    const text = encodeHeader({ ...base, tool: 'a\0\ud800b\udfff' });

    expect(text).toContain(String.raw`"tool":"a\u0000\ud800b\udfff"`);
  });

  it('fits its limit of bytes with every field at its longest', () => {
    const longest = {
      agent: '\0'.repeat(headerLimits.agent),
      tool: '\0'.repeat(headerLimits.tool),
      toolUse: '\0'.repeat(headerLimits.toolUse),
      rule: '\0'.repeat(headerLimits.rule),
      lineage: {
        ...base.lineage,
        leases: Array.from({ length: headerLimits.leases }, () => createId('lea')),
      },
    };

    expect(encodeHeader({ ...base, ...longest }).length).toBeLessThan(headerLimits.bytes);
  });

  it.each(Object.keys(base) as (keyof EventHeader)[])('is refused without the field %s', (field) => {
    const { [field]: _, ...rest } = base;

    expect(() => encodeHeader(rest as EventHeader)).toThrow(invalid);
    expect(() => parseHeader(JSON.stringify(rest))).toThrow(invalid);
  });

  it.each([
    ['v', 2],
    ['org', createId('usr')],
    ['stream', 'str_1'],
    ['seq', 0],
    ['seq', 1.5],
    ['seq', '1'],
    ['seq', 2 ** 53],
    ['id', null],
    ['kind', 'tool_call.forgotten'],
    ['kind', 'toString'],
    ['session', ''],
    ['user', 7],
    ['agent', 'a'.repeat(headerLimits.agent + 1)],
    ['tool', ''],
    ['tool', 'a'.repeat(headerLimits.tool + 1)],
    ['toolUse', 'a'.repeat(headerLimits.toolUse + 1)],
    ['rule', 'a'.repeat(headerLimits.rule + 1)],
    ['decision', 'maybe'],
    ['policyVersion', -1],
    ['mode', 'audit'],
    ['occurredAt', '2026-01-02T03:04:05Z'],
    ['occurredAt', '2026-02-30T03:04:05.678Z'],
    ['occurredAt', '2026-01-02T24:00:00.000Z'],
    ['occurredAt', '0000-01-02T03:04:05.678Z'],
    ['occurredAt', 1],
    ['lineage', null],
    ['lineage', []],
    ['lineage', { ...base.lineage, leases: {} }],
    ['lineage', { ...base.lineage, leases: ['lea_1'] }],
    ['lineage', { ...base.lineage, leases: Array.from({ length: 101 }, () => createId('lea')) }],
    ['lineage', { ...base.lineage, connection: createId('lea') }],
    ['lineage', { ...base.lineage, approval: 'yes' }],
    ['lineage', { ...base.lineage, serverEvent: 'AB'.repeat(32) }],
    ['lineage', { ...base.lineage, more: 1 }],
    ['redaction', 'exact-v2'],
    ['payloadHash', 'ab'],
    ['missing', 'header'],
    ['missing', 'payload'],
    ['more', 1],
  ] as const)('is refused when %s is wrong (case %#)', (field, value) => {
    const wrong = { ...base, [field]: value };

    expect(() => encodeHeader(wrong as EventHeader)).toThrow(invalid);
    expect(() => parseHeader(JSON.stringify(wrong))).toThrow(invalid);
  });

  it('is refused in any other spelling of the same values', () => {
    const text = encodeHeader({ ...base, policyVersion: 0, tool: 'é/"\ud800' });
    const others = [
      ` ${text}`,
      text.replace('"v":1', '"v": 1'),
      text.replace('"v":1', '"v":1.0'),
      text.replace('"v":1', '"v":1,"v":1'),
      text.replace('"v":1', '"v":2,"v":1'),
      text.replace('"leases":[', '"leases":[],"leases":['),
      text.replace('é', String.raw`\u00e9`),
      text.replace('/', String.raw`\/`),
      text.replace(String.raw`\ud800`, '\ud800'),
      text.replace(String.raw`\ud800`, String.raw`\uD800`),
      text.replace('"seq":1', '"seq":1e0'),
      text.replace('"policyVersion":0', '"policyVersion":-0'),
      text.replace(/"seq":1,("id":"[^"]+")/, '$1,"seq":1'),
      text.replace('"v":1', '"v":1,"__proto__":{}'),
    ];

    for (const other of others) {
      expect(other).not.toBe(text);
      expect(() => parseHeader(other)).toThrow(invalid);
    }
  });

  it('is refused when it is no JSON object, too long, or deeply nested', () => {
    const wrong = [
      '',
      '{',
      'null',
      '[]',
      '"v"',
      '1',
      'x'.repeat(20_000),
      '['.repeat(16_000),
      `{"v":${'['.repeat(8_000)}`,
    ];

    for (const text of wrong) expect(() => parseHeader(text)).toThrow(invalid);
  });

  it('names the field at fault', () => {
    expect(() => encodeHeader({ ...base, seq: 0 })).toThrow(
      expect.objectContaining({ why: expect.stringContaining('"seq"') }),
    );
  });
});

describe('event kinds', () => {
  it('are known by their own names and no inherited ones', () => {
    expect(eventKinds.every(isEventKind)).toBe(true);
    expect(['', 'constructor', 'Tool_call.decided'].some(isEventKind)).toBe(false);
  });
});
