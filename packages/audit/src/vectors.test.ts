import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import hashVectors from '../testdata/hash-vectors.json' with { type: 'json' };
import spoolVectors from '../testdata/spool-vectors.json' with { type: 'json' };
import {
  chainLink,
  encodeHeader,
  firstLink,
  hashEvent,
  hashPayload,
  openSpoolSegment,
  parseHeader,
  sealSpoolLine,
  startSpoolSegment,
} from './index.ts';

const hex = (text: string): Buffer => Buffer.from(text, 'hex');

describe('published vectors', () => {
  it('agree on the first link of a stream', () => {
    const { org, stream, nonce } = hashVectors;

    expect(firstLink(org, stream, hex(nonce)).toString('hex')).toBe(hashVectors.firstLink);
  });

  it('agree on header bytes, payload hash, event hash and chain of each event', () => {
    let prev = hex(hashVectors.firstLink);
    for (const event of hashVectors.events) {
      const header = parseHeader(event.header);
      expect(encodeHeader(header)).toBe(event.header);
      expect(header.payloadHash).toBe(event.payloadHash);
      if (event.payload !== null && event.salt !== null) {
        expect(hashPayload(hex(event.salt), event.payload).toString('hex')).toBe(event.payloadHash);
      }
      expect(hashEvent(event.header).toString('hex')).toBe(event.eventHash);
      prev = chainLink(prev, hex(event.eventHash));
      expect(prev.toString('hex')).toBe(event.chain);
    }
  });

  it('agree on sealed spool lines, written and read', () => {
    const { session, segment, lines } = spoolVectors;
    const key = hex(spoolVectors.key);
    const start = startSpoolSegment(session, segment);
    const file = Buffer.from(lines.map(({ line }) => `${line}\n`).join(''));

    const opened = openSpoolSegment(file, key, start);

    expect(opened.lines.map(({ entry }) => entry.kind)).toEqual(['open', 'intent', 'record']);
    let tail = start;
    for (const [index, { entry }] of opened.lines.entries()) {
      const sealed = sealSpoolLine(key, tail, entry, () => hex(lines[index]!.iv));
      expect(sealed.bytes.toString()).toBe(`${lines[index]!.line}\n`);
      tail = sealed.tail;
    }
  });
});

describe('hashes', () => {
  it('refuse a salt, chain value or event hash of another length', () => {
    const short = Buffer.alloc(8);
    const full = Buffer.alloc(32);

    for (const call of [
      () => hashPayload(short, ''),
      () => chainLink(short, full),
      () => chainLink(full, short),
    ]) {
      expect(call).toThrow(expect.objectContaining({ code: 'KX_EVENT_INVALID' }));
    }
  });

  it('are those of their parts side by side, whatever a payload holds and however long it is', () => {
    const unit = fc.constantFrom('a', 'é', '☂', '😀', '\ud800', '\0');
    const payloads = fc.tuple(unit, fc.constantFrom(0, 1, 100, 21_833, 21_834, 65_502, 65_503, 131_072));
    const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
    const sha256 = (...parts: readonly (string | Uint8Array)[]): Buffer =>
      parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();
    fc.assert(
      fc.property(payloads, bytes(16), bytes(32), bytes(32), ([text, times], salt, prev, eventHash) => {
        const payload = text.repeat(times);
        const found = [hashPayload(salt, payload), hashEvent(payload), chainLink(prev, eventHash)];
        expect(found).toEqual([
          sha256('kontext-payload-v1', salt, payload),
          sha256('kontext-event-v1', payload),
          sha256('kontext-chain-v1', prev, eventHash),
        ]);
      }),
    );
  });

  it('tell streams apart whose parts run together alike', () => {
    expect(firstLink('ab', 'c', Buffer.alloc(32))).not.toEqual(firstLink('a', 'bc', Buffer.alloc(32)));
  });
});
