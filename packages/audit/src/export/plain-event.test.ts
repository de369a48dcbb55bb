import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mutations } from '../test-mutations.ts';
import { type BundleEvent, bundleLine } from './bundle-format.ts';
import { parseAnyLine } from './parse-lines.ts';
import { readPlainEvent } from './plain-event.ts';

const codeUnits = fc.array(fc.nat(0xffff), { maxLength: 12 }).map((units) => String.fromCharCode(...units));
const json = fc.jsonValue().map((value) => JSON.stringify(value));
const paths = fc.constantFrom(
  'C:\\users\\tmp',
  '{"a":"\\u00e9\\/"}',
  '","payload":null,"salt":',
  '\\',
  '"',
  '\ud83d\ude00',
);
const anyText = fc.oneof(json, paths, codeUnits, fc.string({ unit: 'binary' }));
const plainText = fc.stringMatching(/^[ !#-[\]-~é☂\u007f\u2028]{0,40}$/);
const bytes = (...lengths: readonly number[]): fc.Arbitrary<Buffer> =>
  fc
    .constantFrom(...lengths)
    .chain((length) => fc.uint8Array({ minLength: length, maxLength: length }))
    .map((list) => Buffer.from(list));

interface Parts {
  /** Of the header and the payload. */
  readonly long: fc.Arbitrary<string>;
  /** Of all others. */
  readonly short: fc.Arbitrary<string>;
  readonly salt: fc.Arbitrary<Buffer>;
  readonly chain: fc.Arbitrary<Buffer>;
  readonly maxSeq: number;
}

const eventsOf = ({ long, short, salt, chain, maxSeq }: Parts): fc.Arbitrary<BundleEvent> =>
  fc.record({
    ...{ stream: short, seq: fc.nat(maxSeq), header: long, payload: fc.option(long), receivedAt: short },
    ...{ salt: fc.option(salt), chain },
    columns: fc.record({
      ...{ eventId: fc.option(short), kind: fc.option(short), sessionId: fc.option(short) },
      ...{ userId: fc.option(short), tool: fc.option(short), decision: fc.option(short) },
    }),
  });

const usual = eventsOf({
  long: anyText,
  short: plainText,
  salt: bytes(16),
  chain: bytes(32),
  maxSeq: 2 ** 31,
});
const odd = eventsOf({
  ...{ long: anyText, short: fc.oneof(plainText, anyText) },
  ...{ salt: bytes(0, 15, 16, 17), chain: bytes(0, 31, 32, 33), maxSeq: Number.MAX_SAFE_INTEGER },
});

const lineOf = (event: BundleEvent): string => bundleLine.event(event).slice(0, -1);

describe('readPlainEvent', () => {
  it('reads every event as a backend writes it, whatever header and payload hold', () => {
    fc.assert(
      fc.property(usual, (event) => {
        expect(readPlainEvent(lineOf(event))).toEqual(event);
      }),
      { numRuns: 500 },
    );
  });

  it('takes nothing that parsing and writing anew refuses, nor as something else', () => {
    fc.assert(
      fc.property(odd, (event) => {
        const line = lineOf(event);
        const found = readPlainEvent(line);
        expect(parseAnyLine(line)).toEqual({ type: 'event', event });
        if (found !== null) expect(found).toEqual(event);
      }),
      { numRuns: 500 },
    );
  });

  it('takes nothing that parsing and writing anew refuses, however the spelling was changed', () => {
    fc.assert(
      fc.property(fc.oneof(usual, odd), mutations, (event, mutate) => {
        const line = mutate(lineOf(event));
        const found = readPlainEvent(line);
        if (found !== null) expect(parseAnyLine(line)).toEqual({ type: 'event', event: found });
      }),
      { numRuns: 5000 },
    );
  });

  it.each([
    ['an escape of what needs none in the header', 'header', '\\u0061'],
    ['an escaped slash in the header', 'header', '\\/'],
    ['an escape in upper case in the payload', 'payload', '\\u001F'],
    ['an escape with digits where a short one is right', 'payload', '\\u000a'],
    ['an escaped pair of surrogates', 'payload', '\\ud83d\\ude00'],
    ['a lone surrogate that is not escaped', 'payload', '\ud800'],
    ['a line feed that is not escaped', 'header', '\n'],
  ])('does not take %s', (_what, name, piece) => {
    const [event] = fc.sample(usual, { numRuns: 1, seed: 1 });
    const line = lineOf({ ...(event as BundleEvent), [name]: 'a' });
    const other = line.replace(`"${name}":"a"`, `"${name}":"${piece}"`);

    expect(readPlainEvent(line)).not.toBeNull();
    expect(other).not.toBe(line);
    expect(readPlainEvent(other)).toBeNull();
    expect(parseAnyLine(other)).toBeNull();
  });

  it.each([' ', '\t', '\r'])('does not take a blank (%j) beside a payload', (blank) => {
    const [event] = fc.sample(usual, { numRuns: 1, seed: 1 });
    const line = lineOf({ ...(event as BundleEvent), payload: 'abc' });
    for (const other of [`"abc"${blank}`, `${blank}"abc"`].map((text) => line.replace('"abc"', text))) {
      expect(other).not.toBe(line);
      expect(readPlainEvent(other)).toBeNull();
      expect(parseAnyLine(other)).toBeNull();
    }
  });

  it.each(['01', '-0', '1.0', '1e0', '"1"', 'null'])('does not take %s as a seq', (seq) => {
    const [event] = fc.sample(usual, { numRuns: 1, seed: 1 });
    const line = lineOf({ ...(event as BundleEvent), seq: 1 });
    const other = line.replace('"seq":1,', `"seq":${seq},`);

    expect(other).not.toBe(line);
    expect(readPlainEvent(other)).toBeNull();
    expect(parseAnyLine(other)).toBeNull();
  });

  it('does not take bytes in another spelling of base64', () => {
    const [event] = fc.sample(usual, { numRuns: 1, seed: 1 });
    const line = lineOf({ ...(event as BundleEvent), salt: Buffer.alloc(16), chain: Buffer.alloc(32) });

    for (const [from, to] of [
      ['AA==', 'AB=='],
      ['AA==', 'AA'],
      ['AAA=', 'AAB='],
      ['AAA=', 'AAA'],
      ['AAA=', 'A-A='],
    ] as const) {
      const other = line.replace(`${from}"`, `${to}"`);
      expect(other).not.toBe(line);
      expect(readPlainEvent(other)).toBeNull();
      expect(parseAnyLine(other)).toBeNull();
    }
  });
});
