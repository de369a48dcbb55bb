import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  createId,
  createStreamWriter,
  type EventFields,
  firstLink,
  maxPayloadBytes,
  parseHeader,
  type StreamWriterOptions,
} from './index.ts';

const orgId = createId('org');
const streamId = createId('str');
const nonce = Buffer.alloc(32, 7);
const fields: EventFields = { kind: 'agent.event' };
const open = (options: Partial<StreamWriterOptions> = {}) =>
  createStreamWriter({ orgId, streamId, from: { nonce }, ...options });
const withCode = (code: string) => expect.objectContaining({ code });

describe('stream writer', () => {
  it('begins at seq 1 after the first link and goes on from a head', () => {
    const writer = open();
    const first = writer.append(fields);
    const second = open({ from: { head: writer.head } }).append(fields);

    expect([first.seq, second.seq]).toEqual([1, 2]);
    expect(first.prev).toEqual(firstLink(orgId, streamId, nonce));
    expect(second.prev).toEqual(first.chain);
  });

  it('writes the same event from the same clock and randomness', () => {
    const options = { nowMs: () => 1_767_323_045_678, randomBytes: (size: number) => Buffer.alloc(size, 1) };

    expect(open(options).append(fields, 'p')).toEqual(open(options).append(fields, 'p'));
    expect(parseHeader(open(options).append(fields).header).occurredAt).toBe('2026-01-02T03:04:05.678Z');
  });

  it('takes the owner for every event unless the event says otherwise', () => {
    const session = createId('ses');
    const writer = open({ owner: { session, user: createId('usr'), agent: 'claude' } });

    const header = parseHeader(writer.append({ ...fields, agent: 'run' }).header);

    expect([header.session, header.agent]).toEqual([session, 'run']);
  });

  it('never hashes two equal payloads alike', () => {
    const writer = open();

    const hashes = [writer.append(fields, 'same'), writer.append(fields, 'same')].map(
      ({ header }) => parseHeader(header).payloadHash,
    );

    expect(hashes[0]).not.toBe(hashes[1]);
  });

  it('keeps a reserved place and its id for the event that follows', () => {
    const writer = open();
    const places = [writer.reserve(), writer.reserve()] as const;

    const events = places.map((place) => writer.append(fields, null, place));

    expect(events.map(({ seq, id }) => ({ seq, id }))).toEqual(places);
    expect(parseHeader(events[1]!.header).id).toBe(places[1].id);
    expect(writer.append(fields).seq).toBe(3);
  });

  it('goes on from an intent of an earlier run', () => {
    const place = { seq: 1, id: createId('evt') };

    const event = open().append({ ...fields, missing: 'payload' }, null, place);

    expect(parseHeader(event.header)).toMatchObject({ ...place, missing: 'payload', payloadHash: null });
  });

  it('refuses an event out of order, also one without reservation while a reserved one is due', () => {
    const writer = open();
    const [first, second] = [writer.reserve(), writer.reserve()];

    expect(() => writer.append(fields, null, second)).toThrow(withCode('KX_INTERNAL'));
    expect(() => writer.append(fields)).toThrow(withCode('KX_INTERNAL'));
    expect(writer.append(fields, null, first).seq).toBe(1);
    expect(() => writer.append(fields, null, first)).toThrow(withCode('KX_INTERNAL'));
  });

  it('stays where it was when an event is refused, and takes the same place again', () => {
    const writer = open();
    const place = writer.reserve();
    const before = writer.head;

    const refused = [
      () => writer.append({ ...fields, tool: '' }, null, place),
      () => writer.append({ ...fields, session: 'ses_1' }, null, place),
      () => writer.append({ ...fields, missing: 'payload' }, 'but here it is', place),
      () => writer.append(fields, 'a\0b', place),
      () => writer.append(fields, 'a\ud800b', place),
      () => writer.append(fields, 'a'.repeat(maxPayloadBytes + 1), place),
      () => writer.append(fields, 'é'.repeat(maxPayloadBytes / 2 + 1), place),
    ];

    for (const call of refused) expect(call).toThrow(withCode('KX_EVENT_INVALID'));
    expect(writer.head).toEqual(before);
    expect(writer.append(fields, '😀'.repeat(maxPayloadBytes / 4), place).seq).toBe(1);
  });

  it('draws salts and ids of the sizes they need', () => {
    const sizes: number[] = [];
    const counted = (size: number): Buffer => {
      sizes.push(size);
      return randomBytes(size);
    };

    open({ randomBytes: counted }).append(fields, 'p');

    expect(sizes.sort()).toEqual([10, 16]);
  });
});
