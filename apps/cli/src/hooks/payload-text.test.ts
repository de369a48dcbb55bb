import { maxPayloadBytes } from '@kontext/audit';
import { createPayloadRedactor } from '@kontext/redaction';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { clipUtf8, createRecordRedactor, maxKeptBytes, payloadText, redactQuestion } from './payload-text.ts';

const redactor = createRecordRedactor(10_000);
const backend = createPayloadRedactor({
  ...{ secrets: [], nowMs: () => 0, plainNames: { call: { credentials: true } } },
});
const write = (parts: Readonly<Record<string, unknown>>): string => payloadText(redactor, parts) ?? 'null';
const token = `ghp_${'q7Xk2Lm9Rt4V'.repeat(3)}`;

describe('payload', () => {
  it('keeps small parts whole', () => {
    expect(JSON.parse(write({ a: { b: [1] } }))).toEqual({ schema: 1, a: { b: [1] } });
  });

  it('cuts a large part, and says how long it was', () => {
    const call = { input: 'é'.repeat(100_000) };
    const { call: kept } = JSON.parse(write({ call }));
    expect(kept.bytes).toBe(Buffer.byteLength(JSON.stringify(call)));
    expect(Buffer.byteLength(kept.clipped)).toBeLessThanOrEqual(maxKeptBytes);
  });

  it('stays within what a record may hold, whatever it is given', () => {
    fc.assert(
      fc.property(fc.constantFrom('"', '\\', '\0', '\ud800', 'é', 'a'), fc.nat(200_000), (unit, count) => {
        const text = write({ reason: 'r'.repeat(500), call: { input: unit.repeat(count) } });
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

describe('what looks like a secret', () => {
  it('is kept nowhere, and a call it was taken out of says so', () => {
    const text = write({
      reason: 'x',
      details: { error: `no ${token}` },
      call: { command: `echo ${token}` },
    });
    expect(JSON.parse(text)).toEqual({
      ...{ schema: 1, reason: 'x', details: { error: 'no [redacted]' } },
      ...{ call: { command: 'echo [redacted]' }, callRedacted: true },
    });
  });

  it('leaves a call without it unmarked, names of providers included', () => {
    const call = { command: 'ls', credentials: ['github', 'stripe'] };
    expect(JSON.parse(write({ details: { error: token }, call }))).toEqual({
      ...{ schema: 1, details: { error: '[redacted]' }, call },
    });
  });

  it('is taken out of the words of a command, which give nothing away one by one', () => {
    const part = { kind: 'command', program: 'mysql', path: 'mysql', via: [], dynamic: false };
    const words = {
      args: ['-u', 'root', '-phunter2', 'app'],
      subcommand: 'hunter2',
      flags: ['-u', '-p', '-h'],
    };
    const { call } = JSON.parse(write({ call: { command: 'mysql', parts: [{ ...part, ...words }] } }));
    expect(call.parts).toEqual([
      { ...part, args: ['-u', 'root', '-p[redacted]', 'app'], subcommand: '', flags: ['-u'] },
    ]);
  });

  it('is not half seen where a detail is cut', () => {
    for (let before = 960; before <= 1000; before += 1) {
      const { details } = JSON.parse(
        write({ details: { error: `${'. '.repeat(before / 2)}${token} failed` } }),
      );
      expect(details.error.length).toBeLessThanOrEqual(1000);
      expect(details.error).not.toContain('ghp_');
    }
  });

  it('is shown to nobody who decides', () => {
    const call = { command: `deploy ${token}`, parts: [], credentials: ['github'] };
    const shown = redactQuestion(redactor, call as never, `command deploy ${token}`);
    expect(shown).toEqual({
      call: { command: 'deploy [redacted]', parts: [], credentials: ['github'] },
      part: 'command deploy [redacted]',
    });
  });

  it('costs the payload when it cannot be looked for in time', () => {
    expect(
      payloadText(createRecordRedactor(0), { call: { command: `echo ${token} ${'x'.repeat(5000)}` } }),
    ).toBe(null);
    const command = `echo ${token} `.repeat(200);
    expect(redactQuestion(createRecordRedactor(0), { command } as never, '')).toBe(null);
  });

  it('is not half seen where a part is cut, nor found by the backend in what is left', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        `${token} `,
        'PASSWORD=hunter22 ',
        'é"\\',
        '-----BEGIN PRIVATE KEY-----\nabc',
        '{"token":"',
      ),
      fc.string({ maxLength: 40 }),
    );
    fc.assert(
      fc.property(
        fc.array(piece, { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 90_000 }),
        (list, size) => {
          const unit = list.join('');
          const text = write({
            call: { input: { content: unit.repeat(Math.ceil(size / (unit.length + 1))) } },
          });
          expect(text).not.toContain(token.slice(0, 16));
          expect(backend.checkPayload(text)).toEqual({ kind: 'clean' });
        },
      ),
      { numRuns: 60 },
    );
  });
});
