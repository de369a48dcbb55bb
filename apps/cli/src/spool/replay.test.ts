import { spawn } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { parseHeader } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readLeftover, replayLeftovers } from './replay.ts';
import { createTestSpools, createTestStream, type TestSpools, testFacts } from './test-spool.ts';
import type { AppendBatch } from './uploader.ts';

let spools: TestSpools;
beforeEach(() => {
  spools = createTestSpools();
});
afterEach(() => spools.close());

const decided = {
  kind: 'tool_call.decided',
  tool: 'Bash',
  decision: 'deny',
  rule: 'r1',
  mode: 'observe',
} as const;
const directory = (): string => join(spools.root, spools.facts.session);

/** What a killed process leaves: its files, and no word that it is gone. */
async function leave(
  write: (spool: ReturnType<TestSpools['open']>) => void,
  segmentBytes = 8192,
): Promise<void> {
  const spool = spools.open({ segmentBytes });
  write(spool);
  await new Promise((resolve) => setTimeout(resolve, 5));
  const copy = join(spools.root, 'copy');
  mkdirSync(copy);
  for (const name of readdirSync(directory()))
    writeFileSync(join(copy, name), readFileSync(join(directory(), name)));
  await spool.close();
  rmSync(directory(), { recursive: true, force: true });
  mkdirSync(directory());
  for (const name of readdirSync(copy)) {
    if (name !== 'writer.json') writeFileSync(join(directory(), name), readFileSync(join(copy, name)));
  }
  rmSync(copy, { recursive: true });
}

const replay = (stream: ReturnType<typeof createTestStream>, more: object = {}) =>
  replayLeftovers({
    root: spools.root,
    key: spools.key,
    owner: spools.facts,
    append: async (_stream: string, batch: AppendBatch) => stream.append(batch),
    deadlineMs: 5000,
    ...more,
  });

describe('replay', () => {
  it('uploads what an earlier session left and deletes it', async () => {
    await leave((spool) => {
      for (let index = 0; index < 30; index += 1) spool.intend(decided)?.(`{"n":${index}}`);
    });
    const stream = createTestStream(spools.facts);
    expect(await replay(stream)).toEqual({ uploaded: 30, orphans: 0, kept: [] });
    expect(stream.events).toHaveLength(30);
    expect(existsSync(directory())).toBe(false);
  });

  it('turns an orphan intent into an event that says its payload is missing', async () => {
    await leave((spool) => {
      spool.intend(decided)?.('{}');
      spool.intend(decided);
      spool.intend({ ...decided, tool: 'Write' });
    });
    const stream = createTestStream(spools.facts);
    expect(await replay(stream)).toEqual({ uploaded: 3, orphans: 2, kept: [] });
    const last = parseHeader(stream.events[2]!.header);
    expect(last).toMatchObject({
      tool: 'Write',
      decision: 'deny',
      rule: 'r1',
      missing: 'payload',
      payloadHash: null,
    });
    expect(last).toMatchObject({ session: spools.facts.session, user: spools.facts.user });
  });

  it('makes the same bytes of an orphan whoever replays it', async () => {
    await leave((spool) => void spool.intend(decided));
    const once = await readLeftover(directory(), spools.key);
    const twice = await readLeftover(directory(), spools.key);
    expect(once!.events[0]!.chain).toEqual(twice!.events[0]!.chain);
  });

  it('goes on after what was acknowledged', async () => {
    const stream = createTestStream(spools.facts);
    const spool = spools.open({ segmentBytes: 2048 });
    for (let index = 0; index < 20; index += 1) spool.intend(decided)?.('{}');
    await spool.settle();
    const events = spool.source.take(12, 1e6);
    stream.append({ prev: events[0]!.prev, events });
    spool.source.acknowledge(12);
    await spool.close();
    expect(await replay(stream)).toMatchObject({ uploaded: 8, kept: [] });
    expect(stream.events).toHaveLength(20);
  });

  it('goes on although not every acknowledgement was written down', async () => {
    const stream = createTestStream(spools.facts);
    const spool = spools.open({ segmentBytes: 2048 });
    for (let index = 0; index < 40; index += 1) spool.intend(decided)?.('{}');
    await spool.settle();
    // All within a second, one by one, over many segments.
    for (let seq = 1; seq <= 30; seq += 1) {
      const events = spool.source.take(1, 1e6);
      stream.append({ prev: events[0]!.prev, events });
      spool.source.acknowledge(seq);
    }
    await spool.close();
    expect(await replay(stream)).toMatchObject({ kept: [] });
    expect(stream.events).toHaveLength(40);
  });

  it('sends again what was stored but not marked, as a duplicate', async () => {
    const stream = createTestStream(spools.facts);
    await leave((spool) => {
      for (let index = 0; index < 5; index += 1) spool.intend(decided)?.('{}');
    });
    const { events } = (await readLeftover(directory(), spools.key))!;
    stream.append({ prev: events[0]!.prev, events: events.slice(0, 3) });
    expect(await replay(stream)).toMatchObject({ uploaded: 5, kept: [] });
    expect(stream.events).toHaveLength(5);
  });

  it('cuts off a torn last line', async () => {
    await leave((spool) => {
      spool.intend(decided)?.('{}');
      spool.intend(decided)?.('{}');
    });
    const file = join(directory(), '000001.ndjson');
    writeFileSync(file, readFileSync(file).subarray(0, -20));
    const stream = createTestStream(spools.facts);
    // The record of the second event is torn; its intent is whole.
    expect(await replay(stream)).toEqual({ uploaded: 2, orphans: 1, kept: [] });
  });

  it('uploads up to a damaged line, says so and sets the rest aside', async () => {
    await leave((spool) => {
      for (let index = 0; index < 6; index += 1) spool.intend(decided)?.('{}');
    }, 1e6);
    const file = join(directory(), '000001.ndjson');
    const lines = readFileSync(file, 'latin1').split('\n');
    // After the opening line each event has an intent and a record: the record of the fourth is the ninth line.
    const broken = lines.map((line, index) =>
      index === 8 ? line.replace('"body":"', '"body":"AAAA') : line,
    );
    writeFileSync(file, broken.join('\n'), 'latin1');
    const stream = createTestStream(spools.facts);
    const report = await replay(stream);
    expect(report).toMatchObject({
      uploaded: 3,
      orphans: 0,
      kept: [{ error: { code: 'KX_SPOOL_CORRUPT' } }],
    });
    expect(existsSync(`${directory()}.refused`)).toBe(true);
  });

  it('leaves alone what another key sealed', async () => {
    await leave((spool) => spool.intend(decided)?.('{}'));
    const report = await replay(createTestStream(spools.facts), { key: Buffer.alloc(32, 1) });
    expect(report).toMatchObject({ uploaded: 0, kept: [{ error: { code: 'KX_SPOOL_CORRUPT' } }] });
    expect(existsSync(directory())).toBe(true);
  });

  it.each(['apiUrl', 'org', 'user'] as const)('leaves alone what belongs to another %s', async (field) => {
    await leave((spool) => spool.intend(decided)?.('{}'));
    const owner = { ...spools.facts, [field]: testFacts().user };
    expect(await replay(createTestStream(spools.facts), { owner })).toEqual({
      uploaded: 0,
      orphans: 0,
      kept: [],
    });
    expect(existsSync(directory())).toBe(true);
  });

  it('leaves alone what a living process writes, and takes what a dead one left', async () => {
    const spool = spools.open();
    spool.intend(decided)?.('{}');
    await spool.settle();
    const stream = createTestStream(spools.facts);
    expect(await replay(stream)).toMatchObject({ uploaded: 0, kept: [] });

    const child = spawn('true');
    await new Promise((resolve) => child.once('exit', resolve));
    writeFileSync(join(directory(), 'writer.json'), JSON.stringify({ v: 1, pid: child.pid, startedAt: '1' }));
    expect(await replay(stream)).toMatchObject({ uploaded: 1 });
    await spool.close();
  });

  it('sets aside what the backend will never take', async () => {
    await leave((spool) => spool.intend(decided)?.('{}'));
    const append = async (): Promise<never> => {
      throw new KontextError('KX_SESSION_ENDED', 'more than 7 days ago');
    };
    const report = await replay(createTestStream(spools.facts), { append });
    expect(report.kept).toMatchObject([
      { path: `${directory()}.refused`, error: { code: 'KX_SESSION_ENDED' } },
    ]);
    expect(await replay(createTestStream(spools.facts), { append })).toMatchObject({ kept: [] });
  });

  it('keeps and tells of what is refused for a header, until it is too late for it', async () => {
    await leave((spool) => {
      spool.intend(decided)?.('{"n":1}');
      spool.intend({ ...decided, tool: 'poison' })?.('{"n":2}');
      spool.intend(decided)?.('{"n":3}');
    });
    const stream = createTestStream(spools.facts);
    const append = async (_stream: string, batch: AppendBatch) => {
      if (batch.events.some(({ header }) => header.includes('poison')))
        throw new KontextError('KX_EVENT_INVALID', 'refused');
      return stream.append(batch);
    };
    const refused = {
      uploaded: 1,
      orphans: 0,
      kept: [{ path: directory(), error: { code: 'KX_EVENT_INVALID' } }],
    };
    expect(await replay(stream, { append })).toMatchObject(refused);
    expect(await replay(stream, { append })).toMatchObject(refused);
    expect(stream.events).toHaveLength(1);
    const tooLate = async () => {
      throw new KontextError('KX_SESSION_ENDED', 'more than 7 days ago');
    };
    expect((await replay(stream, { append: tooLate })).kept[0]?.path).toBe(`${directory()}.refused`);
  });

  it('makes names fit that an older version left in an intent', async () => {
    await leave((spool) => void spool.intend({ ...decided, tool: 'a\u202eb\u0000' }));
    const stream = createTestStream(spools.facts);
    expect(await replay(stream)).toMatchObject({ uploaded: 1, orphans: 1 });
    expect(parseHeader(stream.events[0]!.header).tool).toBe('a\ufffdb\ufffd');
  });

  it('keeps everything when the backend is away', async () => {
    await leave((spool) => spool.intend(decided)?.('{}'));
    const append = async (): Promise<never> => {
      throw new KontextError('KX_BACKEND_UNREACHABLE', 'away');
    };
    const report = await replay(createTestStream(spools.facts), { append, deadlineMs: 100 });
    expect(report.kept).toMatchObject([{ path: directory(), error: { code: 'KX_BACKEND_UNREACHABLE' } }]);
  });

  it.each([
    ['no segment', () => undefined],
    ['an empty one', () => appendFileSync(join(directory(), '000001.ndjson'), '')],
  ])('clears away a spool of %s, in which nothing can have been lost', async (_name, prepare) => {
    mkdirSync(directory(), { recursive: true });
    prepare();
    const stream = createTestStream(spools.facts);
    expect(await replay(stream)).toEqual({ uploaded: 0, orphans: 0, kept: [] });
    expect(existsSync(directory())).toBe(false);
  });

  it('ignores what is no spool', async () => {
    mkdirSync(join(spools.root, 'something'), { recursive: true });
    appendFileSync(join(spools.root, 'key'), 'x');
    expect(await replay(createTestStream(spools.facts))).toEqual({ uploaded: 0, orphans: 0, kept: [] });
  });
});
