import { maxPayloadBytes } from '@kontext/audit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { clipUtf8, maxKeptBytes, payloadText } from './payload-text.ts';

describe('payload', () => {
  it('keeps small parts whole', () => {
    expect(JSON.parse(payloadText({ a: { b: [1] } }))).toEqual({ schema: 1, a: { b: [1] } });
  });

  it('cuts a large part, and says how long it was', () => {
    const call = { input: 'é'.repeat(100_000) };
    const { call: kept } = JSON.parse(payloadText({ call }));
    expect(kept.bytes).toBe(Buffer.byteLength(JSON.stringify(call)));
    expect(Buffer.byteLength(kept.clipped)).toBeLessThanOrEqual(maxKeptBytes);
  });

  it('stays within what a record may hold, whatever it is given', () => {
    fc.assert(
      fc.property(fc.constantFrom('"', '\\', '\0', '\ud800', 'é', 'a'), fc.nat(200_000), (unit, count) => {
        const text = payloadText({ reason: 'r'.repeat(500), call: { input: unit.repeat(count) } });
        expect(Buffer.byteLength(text)).toBeLessThanOrEqual(maxPayloadBytes);
        expect(JSON.parse(text).schema).toBe(1);
      }),
      { numRuns: 60 },
    );
  });

  it('cuts on a border of characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.nat(60), (text, maxBytes) => {
        const cut = clipUtf8(text, maxBytes);
        expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(Math.max(maxBytes, 0));
        expect(text.startsWith(cut)).toBe(true);
      }),
    );
  });
});
