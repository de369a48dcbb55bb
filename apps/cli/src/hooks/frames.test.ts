import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createRequestDecoder,
  createServerFrameDecoder,
  encodeHold,
  encodeReply,
  encodeRequest,
  FrameError,
  type HookRequest,
  maxHeadBytes,
} from './frames.ts';
import vectors from './testdata/frames.json' with { type: 'json' };

const hex = (text: string): Buffer => Buffer.from(text, 'hex');

/** Pushes bytes in pieces; the last answer is what counts. */
function decodeInPieces(frame: Buffer, sizes: readonly number[]): HookRequest | null {
  const decoder = createRequestDecoder();
  let request: HookRequest | null = null;
  let offset = 0;
  for (let turn = 0; offset < frame.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    request = decoder.push(frame.subarray(offset, offset + size));
    offset += size;
  }
  return request;
}

describe('frame vectors', () => {
  it.each(vectors.requests)('encodes and decodes a request: $name', (vector) => {
    const { frame, name: _, key, head, tail, ...rest } = vector;
    const request = { ...rest, key: hex(key), head: hex(head), tail: hex(tail) } as HookRequest;

    expect(encodeRequest(request).toString('hex')).toBe(frame);
    const decoded = createRequestDecoder().push(hex(frame));

    expect(decoded).toMatchObject({ kind: vector.kind, agent: vector.agent, event: vector.event });
    expect(Buffer.from(decoded!.head).toString('hex')).toBe(head);
    expect(decoded!.trueLength).toBe(vector.trueLength);
  });

  it.each(vectors.clipped)('encodes and decodes clipped input: $name', (vector) => {
    const head = Buffer.alloc(vector.headLength, hex(vector.headByte));
    const tail = Buffer.alloc(vector.tailLength, hex(vector.tailByte));
    const { agent, event, trueLength } = vector;

    const frame = encodeRequest({ kind: 'hook', key: hex(vector.key), agent, event, trueLength, head, tail });

    expect(frame.length).toBe(vector.frameLength);
    expect(createHash('sha256').update(frame).digest('hex')).toBe(vector.frameSha256);
    expect(decodeInPieces(frame, [65_536])).toMatchObject({ trueLength, event });
  });

  it.each(vectors.replies)('encodes and decodes a reply: $name', ({ exitCode, stdout, stderr, frame }) => {
    const reply = { exitCode, stdout: hex(stdout), stderr: hex(stderr) };
    expect(encodeReply(reply).toString('hex')).toBe(frame);
    expect(createServerFrameDecoder().push(hex(frame))).toEqual([{ type: 'reply', ...reply }]);
  });

  it.each(vectors.holds)('encodes and decodes a hold: $name', ({ holdMs, frame }) => {
    expect(encodeHold(holdMs).toString('hex')).toBe(frame);
    expect(createServerFrameDecoder().push(hex(frame))).toEqual([{ type: 'hold', holdMs }]);
  });

  it.each(vectors.badRequests)('refuses a request: $name', ({ frame }) => {
    expect(() => createRequestDecoder().push(hex(frame))).toThrow(FrameError);
    expect(() => decodeInPieces(hex(frame), [1])).toThrow(FrameError);
  });

  it.each(vectors.badAnswers)('refuses an answer: $name', ({ frame }) => {
    expect(() => createServerFrameDecoder().push(hex(frame))).toThrow(FrameError);
  });
});

const requests = fc.record({
  kind: fc.constantFrom('hook' as const, 'credential' as const, 'selfTest' as const),
  key: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  agent: fc.string({ maxLength: 40, unit: 'grapheme' }),
  event: fc.string({ maxLength: 40, unit: 'grapheme' }),
  head: fc.uint8Array({ maxLength: 300 }),
});

describe('request decoder', () => {
  it('gives back what was encoded, in whatever pieces it comes', () => {
    fc.assert(
      fc.property(requests, fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }), (parts, sizes) => {
        const request = { ...parts, trueLength: parts.head.length, tail: new Uint8Array() };
        const decoded = decodeInPieces(encodeRequest(request), sizes);
        expect({ ...decoded, key: [...decoded!.key], head: [...decoded!.head], tail: [] }).toEqual({
          ...request,
          key: [...request.key],
          head: [...request.head],
          tail: [],
        });
      }),
    );
  });

  it('gives nothing for any beginning of a request', () => {
    fc.assert(
      fc.property(requests, fc.nat(), (parts, cut) => {
        const frame = encodeRequest({ ...parts, trueLength: parts.head.length, tail: new Uint8Array() });
        expect(createRequestDecoder().push(frame.subarray(0, cut % frame.length))).toBeNull();
      }),
    );
  });

  it('meets arbitrary bytes with a frame error or patience', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        try {
          createRequestDecoder().push(Buffer.concat([Buffer.of(1, 1), bytes]));
        } catch (error) {
          expect(error).toBeInstanceOf(FrameError);
        }
      }),
    );
  });

  it('shows the key as soon as it has arrived', () => {
    const frame = hex(vectors.requests[0]!.frame);
    const decoder = createRequestDecoder();
    decoder.push(frame.subarray(0, 33));
    expect(decoder.key).toBeNull();
    decoder.push(frame.subarray(33, 34));
    expect(Buffer.from(decoder.key!).toString('hex')).toBe(vectors.requests[0]!.key);
  });
});

describe('answer decoder', () => {
  it('reads holds and the reply however they are cut', () => {
    const reply = { exitCode: 2, stdout: Buffer.alloc(0), stderr: Buffer.from('no') };
    const bytes = Buffer.concat([encodeHold(10), encodeHold(20), encodeReply(reply)]);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: bytes.length }), (size) => {
        const decoder = createServerFrameDecoder();
        const frames = [];
        for (let at = 0; at < bytes.length; at += size)
          frames.push(...decoder.push(bytes.subarray(at, at + size)));
        expect(frames).toEqual([
          { type: 'hold', holdMs: 10 },
          { type: 'hold', holdMs: 20 },
          { type: 'reply', ...reply },
        ]);
      }),
    );
  });
});

describe('encoders', () => {
  const parts = { kind: 'hook', key: new Uint8Array(32), agent: 'a', event: 'e', trueLength: 0 } as const;
  const none = new Uint8Array();

  it.each([
    ['a key of 31 bytes', { ...parts, key: new Uint8Array(31), head: none, tail: none }],
    ['a name over 255 bytes', { ...parts, agent: 'é'.repeat(128), head: none, tail: none }],
    ['a head over 1 MiB', { ...parts, head: new Uint8Array(maxHeadBytes + 1), tail: none }],
    ['a tail over 4 KiB', { ...parts, head: none, tail: new Uint8Array(4097) }],
  ])('refuse %s', (_name, request) => {
    expect(() => encodeRequest(request)).toThrow(FrameError);
  });

  it.each([[-1], [256], [1.5]])('refuse exit code %s', (exitCode) => {
    expect(() => encodeReply({ exitCode, stdout: none, stderr: none })).toThrow(FrameError);
  });
});
