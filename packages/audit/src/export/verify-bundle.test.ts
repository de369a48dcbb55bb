import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import {
  type BundleReport,
  bundleLine,
  createId,
  createStreamWriter,
  readBundleLines,
  verifyBundle,
} from '../index.ts';
import { createTestLog, createTestSigner, withDone, writeTestBundle } from './test-bundle.ts';

const plan = [
  ...[
    { stream: 0, events: 1 },
    { stream: 1, events: 4 },
    { stream: 2, events: 2 },
    { stream: 1, events: 3 },
  ],
  ...[
    { stream: 0, events: 2 },
    { stream: 3, events: 5 },
    { stream: 2, events: 1 },
  ],
];
const log = createTestLog(plan);
const whole = writeTestBundle(log);
const part = writeTestBundle(log, [0, 2]);
const trust = { keys: [log.key] };

const bytesOf = (lines: readonly string[]): Buffer => Buffer.from(lines.join(''));
const verify = (
  lines: readonly string[] | Buffer,
  by: Parameters<typeof verifyBundle>[1] = trust,
): Promise<BundleReport> =>
  verifyBundle(readBundleLines([Buffer.isBuffer(lines) ? lines : bytesOf(lines)]), by);
const exitOf = async (lines: readonly string[], by = trust): Promise<number> =>
  (await verify(lines, by)).exitCode;
/** Index of the nth line of a kind. */
const at = (kind: string, nth = 0, lines = whole): number =>
  lines.flatMap((line, index) => (line.startsWith(`{"${kind}"`) ? [index] : []))[nth]!;
const without = (...indexes: readonly number[]): string[] =>
  whole.filter((_, index) => !indexes.includes(index));
const changed = (index: number, from: string | RegExp, to: string): string[] =>
  whole.map((line, n) => (n === index ? line.replace(from, to) : line));

describe('verifyBundle', () => {
  it('proves a whole export, and says what it holds and who signed it', async () => {
    const report = await verify(whole);

    expect(report).toMatchObject({
      ...{ ok: true, exitCode: 0, code: null, findings: [], scope: 'whole', size: 7, skipped: 0 },
      ...{ streams: 4, segments: 7, events: 18, key: log.key, trust: 'given', witness: 'none' },
    });
    expect(Buffer.from(report.root, 'base64')).toEqual(log.rootAt(7));
  });

  it('proves a part with no more of the rest than its hashes', async () => {
    const report = await verify(part);

    expect(report).toMatchObject({ ok: true, scope: 'part', streams: 2, segments: 4, skipped: 3, events: 6 });
    expect(part.join('')).not.toContain(log.streams[1]!.id);
  });

  it('counts payloads that are not there and is no less sure of the rest', async () => {
    const bare = whole.map((line) =>
      line.replace(/"payload":"(?:[^"\\]|\\.)*","salt":"[^"]*"/, '"payload":null,"salt":null'),
    );

    expect(await verify(withDone(bare))).toMatchObject({ ok: true, withheld: 15 });
  });

  it('takes lines that arrive in pieces of any length', async () => {
    const bytes = bytesOf(whole);
    const pieces = Array.from({ length: Math.ceil(bytes.length / 7) }, (_, n) =>
      bytes.subarray(n * 7, n * 7 + 7),
    );

    expect(await verifyBundle(readBundleLines(pieces), trust)).toMatchObject({ ok: true, events: 18 });
  });

  it('says 14 when everything is right and nobody vouches for the key', async () => {
    expect(await verify(whole, {})).toMatchObject({
      exitCode: 14,
      code: 'KX_AUDIT_UNPINNED',
      trust: null,
      findingCount: 1,
    });
    expect(await exitOf(whole, { keys: [createTestLog(plan).key] })).toBe(14);
    expect(await verify(whole, { pinned: [{ key: log.key }] })).toMatchObject({
      exitCode: 0,
      trust: 'pinned',
    });
  });

  it('says 12 for a signature that is wrong, of another key than the pinned one, or not there', async () => {
    const forged = log.note(7, createTestSigner(log.origin));
    const replaced = (note: string): string[] =>
      withDone(whole.map((line, n) => (n === at('checkpoint') ? bundleLine.checkpoint(note) : line)));
    const own = log.note(7);

    expect(await exitOf(replaced(forged))).toBe(12);
    expect(await exitOf(replaced(own.replace(/.{6}\n$/, 'AAAA==\n')))).toBe(12);
    expect(await exitOf(replaced(own.replace('\n7\n', '\n8\n')))).toBe(12);
    expect(await exitOf(replaced('no note'))).toBe(12);
    expect(await exitOf(withDone(without(at('checkpoint'))))).toBe(12);
    const signer = createTestSigner(log.origin);
    const others = [createTestLog(plan).key];
    const rekeyed = replaced(log.note(7, signer)).map((line, n) =>
      n === at('key') ? bundleLine.key(others[0]!) : line,
    );
    expect(await exitOf(withDone(rekeyed), { keys: others })).toBe(12);
  });

  it('says 15 for an older checkpoint, and for the log of a history written anew', async () => {
    const old = whole.map((line, n) => (n === at('checkpoint') ? bundleLine.checkpoint(log.note(6)) : line));
    const other = writeTestBundle({
      ...createTestLog(plan),
      org: log.org,
      origin: log.origin,
      key: log.key,
      note: log.note,
    });

    expect(await exitOf(withDone(old))).toBe(15);
    expect(await exitOf(other)).toBe(15);
  });

  it('says 10 for an event, a segment, or all of a stream that was taken out', async () => {
    const last = at('end') - 1;
    const ofStream = (id: string): string[] => whole.filter((line) => !line.includes(id));

    for (const index of [at('event', 0), at('event', 3), at('event', 17), last])
      expect(await exitOf(withDone(without(index)))).toBe(10);
    expect(await exitOf(without(at('event', 3)))).toBe(10);
    for (const nth of [0, 1, 6]) expect(await exitOf(withDone(without(at('segment', nth))))).toBe(10);
    expect(await exitOf(withDone(without(at('stream', 1))))).toBe(10);
    expect(await exitOf(withDone(without(at('end', 1))))).toBe(10);
    for (const stream of log.streams) expect(await exitOf(withDone(ofStream(stream.id)))).toBe(10);
  });

  it('says 10 for a skip in a file that calls itself whole', async () => {
    const lines = part.map((line, n) => (n === 0 ? line.replace('"part"', '"whole"') : line));

    expect(await exitOf(withDone(lines))).toBe(10);
  });

  it('says 15 for events in another order, of another stream, or outside their segment', async () => {
    const swap = (a: number, b: number): string[] =>
      withDone(whole.map((line, n) => (n === a ? whole[b]! : n === b ? whole[a]! : line)));

    expect(await exitOf(swap(at('event', 2), at('event', 3)))).toBe(15);
    expect(await exitOf(swap(at('event', 1), at('event', 6)))).not.toBe(0);
    const moved = without(at('event', 1)).toSpliced(at('end') - 1, 0, whole[at('event', 1)]!);
    expect(await exitOf(withDone(moved))).not.toBe(0);
  });

  it('says 11 for an event, a segment or a stream that stands there twice', async () => {
    const twice = (index: number): string[] => withDone(whole.toSpliced(index, 0, whole[index]!));

    expect(await exitOf(twice(at('event', 3)))).toBe(11);
    expect(await exitOf(twice(at('segment', 3)))).toBe(11);
    expect(await exitOf(twice(at('stream', 2)))).toBe(11);
    const [from, to] = [at('stream', 0), at('stream', 1)];
    expect(await exitOf(withDone(whole.toSpliced(to, 0, ...whole.slice(from, to))))).toBe(11);
  });

  it('says 11 for a stream whose events were written anew under the signed log', async () => {
    const last = log.leaves[3]!;
    const stream = log.streams[1]!;
    const prev = log.leaves[1]!.segment.head;
    const writer = createStreamWriter({
      ...{ orgId: log.org, streamId: stream.id, from: { head: { seq: 4, hash: prev } } },
      owner: { session: stream.session },
    });
    const rows = last.rows.map(() => writer.append({ kind: 'tool_call.decided' }, '{"other":1}'));
    const leaves = log.leaves.map((leaf, n) => (n === 3 ? { ...leaf, rows } : leaf));

    expect(await exitOf(writeTestBundle({ ...log, leaves }))).toBe(11);
  });

  it.each([
    ['the header of an event', 'event', 2, /\\"tool_call.decided\\"/, '\\"tool_call.failed\\"'],
    ['the payload of an event', 'event', 2, /\\"n\\":1/, '\\"n\\":2'],
    ['a column', 'event', 2, /"decision":null}/, '"decision":"deny"}'],
    ['the chain value of an event', 'event', 2, /"chain":"./, '"chain":"_'],
    [
      'the chain value of an event by another',
      'event',
      2,
      /"chain":"[^"]*"/,
      `"chain":"${Buffer.alloc(32, 7).toString('base64')}"`,
    ],
    [
      'the salt of an event',
      'event',
      2,
      /"salt":"[^"]*"/,
      `"salt":"${Buffer.alloc(16, 7).toString('base64')}"`,
    ],
    [
      'the end of a segment',
      'segment',
      1,
      /"head":"[^"]*"/,
      `"head":"${Buffer.alloc(32, 7).toString('base64')}"`,
    ],
    [
      'the beginning of a segment',
      'segment',
      1,
      /"prev":"[^"]*"/,
      `"prev":"${Buffer.alloc(32, 7).toString('base64')}"`,
    ],
    [
      'the nonce of a stream',
      'stream',
      1,
      /"nonce":"[^"]*"/,
      `"nonce":"${Buffer.alloc(32, 7).toString('base64')}"`,
    ],
    ['the session of a stream', 'stream', 1, /"session":"[^"]*"/, `"session":"${createId('ses')}"`],
    ['the kind of a stream', 'stream', 0, '"admin"', '"client"'],
    ['the kind of a stream by that of the backend', 'stream', 1, '"client"', '"server"'],
    ['the kind of a stream by that of the organisation', 'stream', 1, '"client"', '"admin"'],
    ['the end of a stream', 'end', 1, /"hash":"[^"]*"/, `"hash":"${Buffer.alloc(32, 7).toString('base64')}"`],
    ['the organisation', 'kontext', 0, /"org":"[^"]*"/, `"org":"${createId('org')}"`],
  ])('says 15 when %s was changed, though the sum was made anew', async (_what, kind, nth, from, to) => {
    const lines = changed(at(kind, nth), from, to);

    expect(lines).not.toEqual(whole);
    expect(await exitOf(withDone(lines))).toBe(15);
  });

  it('says 15 when anything else was changed and the sum was not', async () => {
    expect(await exitOf(changed(at('event', 2), /"receivedAt":"2026/, '"receivedAt":"2025'))).toBe(15);
    expect(await exitOf(changed(0, '"query":""', '"query":"tool:Bash"'))).toBe(15);
    expect(await exitOf(changed(at('done'), /"events":18/, '"events":17'))).toBe(15);
    expect(await exitOf([...whole, whole[5]!])).toBe(15);
  });

  it('says 15 for what is skipped when it is not what it says', async () => {
    const index = at('skip', 0, part);
    const bad = part.map((line, n) => (n === index ? line.replace(/\["./, '["_') : line));
    const fewer = part.map((line, n) => (n === index ? bundleLine.skip(1, 2, []) : line));

    expect(await exitOf(withDone(bad))).toBe(15);
    expect(await exitOf(withDone(fewer))).toBe(15);
  });

  it('says 13 wherever the file is cut off, at a line or within one', async () => {
    for (let end = 3; end < whole.length; end += 1) expect(await exitOf(whole.slice(0, end))).toBe(13);
    const bytes = bytesOf(whole);
    const from = whole.slice(0, 3).join('').length;
    for (let end = from; end < bytes.length - 2; end += 97)
      expect((await verify(bytes.subarray(0, end))).exitCode).toBe(13);
  });

  it('says 13 when no more than the last line feed is missing, in whichever pieces the file arrives', async () => {
    const bytes = bytesOf(whole).subarray(0, -1);

    expect((await verify(bytes)).exitCode).toBe(13);
    expect((await verify(bytesOf(whole.slice(0, 1)).subarray(0, -1))).exitCode).toBe(13);
    const pieces = [bytes.subarray(0, -3), bytes.subarray(-3)];
    expect((await verifyBundle(readBundleLines(pieces), trust)).exitCode).toBe(13);
  });

  it('says of how many streams it cannot tell who wrote them, since either side could have', async () => {
    const kinds = ['session.opened', 'session.ended', 'approval.requested'] as const;
    const either = createTestLog(plan, 'Bash', (n) => kinds[n % kinds.length] ?? 'session.opened');
    const lines = writeTestBundle(either);
    const asServer = lines.map((line) => line.replace('"kind":"client","org"', '"kind":"server","org"'));
    const by = { keys: [either.key] };

    expect(await verify(whole)).toMatchObject({ exitCode: 0, unprovenKinds: 0 });
    expect(await verify(lines, by)).toMatchObject({ exitCode: 0, unprovenKinds: 3 });
    expect(asServer).not.toEqual(lines);
    expect(await verify(withDone(asServer), by)).toMatchObject({ exitCode: 0, unprovenKinds: 3 });
  });

  it('compares the log with what this machine saw signed before', async () => {
    const seen = (size: number, root = log.rootAt(size)) => ({
      pinned: [{ key: log.key, checkpoint: { size, root } }],
    });
    const other = createTestLog(plan);

    for (const size of [1, 3, 7])
      expect(await verify(whole, seen(size))).toMatchObject({ exitCode: 0, witness: 'agrees' });
    expect(await verify(whole, seen(8, other.rootAt(7)))).toMatchObject({
      exitCode: 0,
      witness: 'not comparable',
    });
    expect(await verify(whole, seen(4, other.rootAt(4)))).toMatchObject({ exitCode: 11, witness: 'differs' });
    expect(await verify(part, seen(7, other.rootAt(7)))).toMatchObject({ exitCode: 11, witness: 'differs' });
  });

  it('finds every changed, removed or inserted byte', async () => {
    const bytes = bytesOf(whole);
    const change = fc.record({
      place: fc.nat(bytes.length - 1),
      what: fc.constantFrom('flip', 'remove', 'insert'),
      bit: fc.nat(7),
    });
    await fc.assert(
      fc.asyncProperty(change, async ({ place, what, bit }) => {
        const own = bytes.subarray(place, place + 1);
        const flipped = Buffer.of(own.readUInt8() ^ (1 << bit));
        const middle =
          what === 'flip' ? flipped : what === 'remove' ? Buffer.of() : Buffer.concat([own, flipped]);
        const mutated = Buffer.concat([bytes.subarray(0, place), middle, bytes.subarray(place + 1)]);
        if (mutated.equals(bytes)) return;
        const code = await verify(mutated).then(
          (report) => report.exitCode,
          (error: { readonly code?: string }) => error.code,
        );
        expect([10, 11, 12, 13, 15, 'KX_BUNDLE_INVALID']).toContain(code);
      }),
      { numRuns: 400 },
    );
  });

  it('finds every line that was removed, repeated or swapped, though the sum was made anew', async () => {
    const inner = fc.integer({ min: 2, max: whole.length - 2 });
    await fc.assert(
      fc.asyncProperty(inner, inner, fc.constantFrom('remove', 'repeat', 'swap'), async (a, b, what) => {
        const swapped = whole.map((line, n) => (n === a ? whole[b]! : n === b ? whole[a]! : line));
        const repeated = whole.toSpliced(b, 0, whole[a]!);
        const lines = what === 'remove' ? without(a) : what === 'repeat' ? repeated : swapped;
        if (lines.join('') === whole.join('')) return;
        expect([10, 11, 12, 15]).toContain(await exitOf(withDone(lines)));
      }),
      { numRuns: 300 },
    );
  });

  it.each([
    ['a key that stands there twice', 'event', '"header":', '"header":"{}","header":'],
    ['a key nothing checks', 'event', '"columns":', '"command":"ls","columns":'],
    ['another order', 'event', /("stream":"[^"]+"),("seq":\d+)/, '$2,$1'],
    ['white space', 'segment', '{"segment":', '{ "segment":'],
    ['a number in another form', 'segment', '"firstSeq":1,', '"firstSeq":1.0,'],
    ['a second name', 'key', '{"key":', '{"key":"","key":'],
    ['a second nonce', 'stream', '"nonce":', '"nonce":"","nonce":'],
  ])(
    'says 15 for a line in another spelling, so that all readers read the same: %s',
    async (_what, kind, from, to) => {
      const lines = changed(at(kind), from, to);

      expect(lines).not.toEqual(whole);
      expect(await exitOf(withDone(lines))).toBe(15);
    },
  );

  it('says 15 for a key or a checkpoint that stands in another place, or a key that does so twice', async () => {
    const [first, key, checkpoint, stream, ...rest] = whole;

    for (const head of [
      [key, stream, checkpoint],
      [checkpoint, key, stream],
      [key, checkpoint, stream, key],
      [key, key, checkpoint, stream],
    ]) {
      expect(await exitOf(withDone([first, ...head, ...rest] as string[]))).toBe(15);
    }
  });

  it('says 15 for bytes that are no UTF-8, also where they would be read as the character that stands for such', async () => {
    const odd = createTestLog(plan, 'B\ufffd');
    const bytes = bytesOf(writeTestBundle(odd));
    const place = bytes.indexOf('\ufffd');
    const other = Buffer.concat([bytes.subarray(0, place), Buffer.of(0xff), bytes.subarray(place + 3)]);

    expect((await verify(bytes, { keys: [odd.key] })).exitCode).toBe(0);
    expect((await verify(other, { keys: [odd.key] })).exitCode).toBe(15);
  });

  it('proves any log and any part of it', async () => {
    const shapes = fc.array(fc.record({ stream: fc.nat(4), events: fc.integer({ min: 1, max: 3 }) }), {
      minLength: 1,
      maxLength: 20,
    });
    await fc.assert(
      fc.asyncProperty(shapes, fc.subarray([0, 1, 2, 3, 4]), async (shape, wanted) => {
        const any = createTestLog(shape);
        const only = wanted.filter((index) => index < any.streams.length);
        const by = { keys: [any.key] };

        expect(await verify(writeTestBundle(any), by)).toMatchObject({ exitCode: 0 });
        expect(await verify(writeTestBundle(any, only), by)).toMatchObject({ exitCode: 0 });
      }),
      { numRuns: 60 },
    );
  });
});

describe('a file that is no bundle', () => {
  const first = whole[0]!.trimEnd();

  test.each([
    ['an empty one', ''],
    ['binary', Buffer.from(Array.from({ length: 4096 }, (_, n) => (n * 37) % 256))],
    ['JSON of something else', '{"a":1}\n'],
    ['deep JSON', `${'['.repeat(100_000)}${']'.repeat(100_000)}\n`],
    ['a bundle of another version', first.replace('"v":1', '"v":2')],
    ['a first line that lacks something', first.replace(/"size":\d+,/, '')],
    ['a first line that says things twice', first.replace('"size":', '"size":1,"size":')],
    ['a version that cannot be shown', first.replace('"v":1', '"v":{"toString":1,"valueOf":1}')],
    ['a local one', '{"kontext":"audit-bundle","v":1,"made":"local"}\n'],
    ['a compressed one', Buffer.of(0x1f, 0x8b, 8, 0)],
  ])('is refused: %s', async (_what, content) => {
    await expect(verify(Buffer.from(content))).rejects.toMatchObject({ code: 'KX_BUNDLE_INVALID' });
  });

  it('is refused at a line over 4 MiB, without reading on', async () => {
    let read = 0;
    const endless = function* () {
      yield bytesOf([whole[0]!]);
      for (;;) {
        read += 1;
        yield Buffer.alloc(1 << 20, 'a');
      }
    };

    await expect(verifyBundle(readBundleLines(endless()), trust)).rejects.toMatchObject({
      code: 'KX_BUNDLE_INVALID',
    });
    expect(read).toBeLessThan(8);
  });

  it('is a bundle with an unreadable line when it goes deep, or names things twice', async () => {
    const deep = `{"event":${'['.repeat(100_000)}${']'.repeat(100_000)}}\n`;

    expect(await exitOf(withDone(whole.toSpliced(8, 0, deep)))).toBe(15);
    expect(await exitOf(withDone(whole.toSpliced(8, 0, '{"__proto__":{"event":1}}\n')))).toBe(15);
  });
});
