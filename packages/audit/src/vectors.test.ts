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

  it('tell streams apart whose parts run together alike', () => {
    expect(firstLink('ab', 'c', Buffer.alloc(32))).not.toEqual(firstLink('a', 'bc', Buffer.alloc(32)));
  });
});
