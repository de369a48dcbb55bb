import { createHash, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createId,
  createStreamWriter,
  openSpoolSegment,
  type SpoolEntry,
  sealSpoolLine,
  startSpoolSegment,
} from './index.ts';

const key = randomBytes(32);
const sessionId = createId('ses');
const start = startSpoolSegment(sessionId, 1);

function someEntries(count: number): SpoolEntry[] {
  const writer = createStreamWriter({
    orgId: createId('org'),
    streamId: createId('str'),
    from: { nonce: randomBytes(32) },
  });
  const entries: SpoolEntry[] = [{ kind: 'open', facts: { agent: 'claude', stream: 'str' } }];
  for (let n = 0; n < count; n += 1) {
    const place = writer.reserve();
    const fields = {
      kind: 'tool_call.decided',
      tool: 'Bash',
      toolUse: `toolu_${n}`,
      decision: 'deny',
      rule: 'starter.destructive-delete',
      policyVersion: 3,
      mode: 'enforce',
      occurredAt: '2026-01-02T03:04:05.678Z',
    } as const;
    entries.push({ kind: 'intent', intent: { ...place, ...fields } });
    entries.push({ kind: 'record', record: writer.append(fields, n % 2 ? '{"a":"\\u0000é"}' : null, place) });
  }
  return entries;
}

function seal(entries: readonly SpoolEntry[], from = start): Buffer[] {
  let tail = from;
  return entries.map((entry) => {
    const sealed = sealSpoolLine(key, tail, entry);
    tail = sealed.tail;
    return sealed.bytes;
  });
}

describe('spool lines', () => {
  it('open to the entries that were sealed, in order, with the offset after each', () => {
    const entries = someEntries(3);
    const lines = seal(entries);

    const opened = openSpoolSegment(Buffer.concat(lines), key, start);

    expect(opened.lines.map(({ entry }) => entry)).toEqual(entries);
    expect(opened.lines.at(-1)?.endOffset).toBe(Buffer.concat(lines).length);
    expect([opened.tornAt, opened.corrupt]).toEqual([null, null]);
  });

  it('hide tool, decision and payload', () => {
    const text = Buffer.concat(seal(someEntries(2))).toString('latin1');

    expect(text).not.toMatch(/Bash|destructive|"deny"|evt_/);
  });

  it('give exactly the intact prefix and the torn offset for a cut at every byte', () => {
    const entries = someEntries(2);
    const lines = seal(entries);
    const whole = Buffer.concat(lines);
    const ends = lines.map((_, n) => Buffer.concat(lines.slice(0, n + 1)).length);

    for (let cut = 0; cut <= whole.length; cut += 1) {
      const intact = ends.filter((end) => end <= cut);
      const opened = openSpoolSegment(whole.subarray(0, cut), key, start);

      expect(opened.lines.map(({ entry }) => entry)).toEqual(entries.slice(0, intact.length));
      expect(opened.tornAt).toBe(cut === (intact.at(-1) ?? 0) ? null : (intact.at(-1) ?? 0));
      expect(opened.corrupt).toBeNull();
    }
  });

  it('go on after a torn tail was cut off', () => {
    const [first, second] = seal(someEntries(1)) as [Buffer, Buffer];
    const torn = openSpoolSegment(Buffer.concat([first, second.subarray(0, 40)]), key, start);
    const [next] = seal(someEntries(0), torn.tail) as [Buffer];

    const opened = openSpoolSegment(
      Buffer.concat([first.subarray(0, torn.tornAt ?? 0), first, next]).subarray(first.length),
      key,
      start,
    );

    expect(opened.lines).toHaveLength(2);
    expect(opened.corrupt).toBeNull();
  });

  it('never open to anything but a prefix when one byte was changed', () => {
    const entries = someEntries(2);
    const whole = Buffer.concat(seal(entries));

    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = Buffer.from(whole);
        changed.writeUInt8(changed.readUInt8(at) ^ flip, at);
        const opened = openSpoolSegment(changed, key, start);
        expect(opened.lines.length).toBeLessThan(entries.length);
        expect(opened.lines.map(({ entry }) => entry)).toEqual(entries.slice(0, opened.lines.length));
        expect(opened.corrupt !== null || opened.tornAt !== null).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  it('report a deleted, repeated or swapped line as corrupt at its place', () => {
    const [a, b, c] = seal(someEntries(1)) as [Buffer, Buffer, Buffer];

    for (const lines of [
      [a, c],
      [a, a],
      [a, c, b],
    ]) {
      const opened = openSpoolSegment(Buffer.concat(lines), key, start);
      expect(opened.lines).toHaveLength(1);
      expect(opened.corrupt).toEqual({ line: 2, offset: a.length, reason: 'chain' });
    }
  });

  it('refuse another key, and the place of another session or segment', () => {
    const whole = Buffer.concat(seal(someEntries(1)));

    const reasons = [
      openSpoolSegment(whole, randomBytes(32), start),
      openSpoolSegment(whole, key, startSpoolSegment(createId('ses'), 1)),
      openSpoolSegment(whole, key, startSpoolSegment(sessionId, 2)),
    ].map(({ lines, corrupt }) => [lines.length, corrupt?.reason]);

    expect(reasons).toEqual([
      [0, 'seal'],
      [0, 'chain'],
      [0, 'chain'],
    ]);
  });

  it('stay shut when someone without the key gives them another place or kind and sums them anew', () => {
    const [, intent] = seal(someEntries(1)) as [Buffer, Buffer];
    const front = intent.toString().split(',"sum"')[0] as string;
    const moved = front.replace('"line":2', '"line":1');
    const renamed = moved.replace('"kind":"intent"', '"kind":"record"');
    const again = (text: string): Buffer => {
      const sum = createHash('sha256')
        .update('kontext-spool-v1')
        .update(start.sum)
        .update(text)
        .digest('base64url');
      return Buffer.from(`${text},"sum":"${sum}"}\n`);
    };

    const opened = [moved, renamed].map((text) => openSpoolSegment(again(text), key, start));

    expect(opened.map(({ lines, corrupt }) => [lines.length, corrupt?.reason])).toEqual([
      [0, 'seal'],
      [0, 'seal'],
    ]);
  });

  it('refuse lines of another format and sealed text that is no entry', () => {
    const other = Buffer.from('{"v":2,"kind":"intent","line":1}\n');
    const noEntry = sealSpoolLine(key, start, { kind: 'intent', intent: { seq: 'x' } as never }).bytes;
    const noRecord = sealSpoolLine(key, start, {
      kind: 'record',
      record: {
        seq: 1,
        id: 'e',
        header: '',
        payload: 'p',
        salt: null,
        prev: randomBytes(32),
        chain: randomBytes(32),
      },
    }).bytes;

    const reasons = [other, noEntry, noRecord].map(
      (line) => openSpoolSegment(line, key, start).corrupt?.reason,
    );

    expect(reasons).toEqual(['frame', 'body', 'body']);
  });

  it('never throw whatever the bytes of a segment are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(openSpoolSegment(bytes, key, start).lines).toEqual([]);
      }),
    );
  });

  it('need a session id', () => {
    expect(() => startSpoolSegment('ses_1\n', 1)).toThrow(
      expect.objectContaining({ code: 'KX_EVENT_INVALID' }),
    );
  });

  it('use a fresh IV for every line', () => {
    const [entry] = someEntries(0) as [SpoolEntry];

    expect(sealSpoolLine(key, start, entry).bytes).not.toEqual(sealSpoolLine(key, start, entry).bytes);
  });
});
