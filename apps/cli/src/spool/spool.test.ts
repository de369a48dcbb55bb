import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseHeader } from '@kontext/audit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createTestSpools, createTestStream, type TestSpools } from './test-spool.ts';

let spools: TestSpools;
beforeEach(() => {
  spools = createTestSpools();
});
afterEach(() => spools.close());

const decided = { kind: 'tool_call.decided', tool: 'Bash', toolUse: 't1', decision: 'allow' } as const;
const directory = (): string => join(spools.root, spools.facts.session);

describe('spool', () => {
  it('keeps files of mode 0600 in directories of mode 0700', async () => {
    const spool = spools.open();
    spool.intend(decided)?.('{}');
    await spool.settle();
    spool.source.acknowledge(1);
    const modes = readdirSync(directory()).map((name) => statSync(join(directory(), name)).mode & 0o777);
    expect([...new Set(modes)]).toEqual([0o600]);
    expect([spools.root, directory()].map((path) => statSync(path).mode & 0o777)).toEqual([0o700, 0o700]);
    await spool.close();
  });

  it('that cannot be begun is a typed error and leaves nothing behind', () => {
    expect(() => spools.open({ key: Buffer.alloc(5) })).toThrow(
      expect.objectContaining({ code: 'KX_SPOOL_CORRUPT' }),
    );
    expect(readdirSync(spools.root)).toEqual([]);
  });

  it('stores nothing in the clear but the frame of its lines', async () => {
    const spool = spools.open();
    spool.intend(decided)?.('{"command":"ls secret-folder"}');
    await spool.settle();
    const text = readFileSync(join(directory(), '000001.ndjson'), 'latin1');
    expect(text).not.toMatch(/secret-folder|Bash|tool_call/);
    expect(text.split('\n').map((line) => /"kind":"(\w+)"/.exec(line)?.[1])).toEqual([
      'open',
      'intent',
      'record',
      undefined,
    ]);
    await spool.close();
  });

  it('writes the intent before the record exists, and offers nothing before it is synced', async () => {
    const spool = spools.open();
    const record = spool.intend(decided);
    expect(readFileSync(join(directory(), '000001.ndjson'), 'latin1')).toContain('"kind":"intent"');
    record?.('{}');
    expect(spool.source.take(10, 1e6)).toEqual([]);
    await spool.settle();
    expect(spool.source.take(10, 1e6)).toHaveLength(1);
    await spool.close();
  });

  it('tells the uploader of the first event soon, without being asked', async () => {
    let ready: () => void = () => undefined;
    const told = new Promise<void>((resolve) => {
      ready = resolve;
    });
    const spool = spools.open({ onReady: () => ready() });
    spool.intend(decided)?.('{}');
    await told;
    expect(spool.source.take(10, 1e6)).toHaveLength(1);
    await spool.close();
  });

  it('chains records in the order of their intents, whenever their payloads come', async () => {
    const spool = spools.open();
    const [first, second, third] = [spool.intend(decided), spool.intend(decided), spool.intend(decided)];
    third?.('{"n":3}');
    second?.('{"n":2}');
    expect(spool.state.events).toBe(0);
    first?.('{"n":1}');
    await spool.settle();
    const events = spool.source.take(10, 1e6);
    expect(events.map(({ seq, payload }) => [seq, payload])).toEqual([
      [1, '{"n":1}'],
      [2, '{"n":2}'],
      [3, '{"n":3}'],
    ]);
    expect(createTestStream(spools.facts).append({ prev: events[0]!.prev, events })).toMatchObject({
      status: 'ok',
    });
    await spool.close();
  });

  it('ties the next event, and only that, to the server stream', async () => {
    const spool = spools.open();
    spool.noteServerEvent(Buffer.alloc(32, 0xab));
    spool.intend(decided)?.('{}');
    spool.intend(decided)?.('{}');
    await spool.settle();
    const ties = spool.source.take(10, 1e6).map(({ header }) => parseHeader(header).lineage.serverEvent);
    expect(ties).toEqual(['ab'.repeat(32), null]);
    await spool.close();
  });

  it('names session, user and agent in every header, and that payloads were redacted', async () => {
    const spool = spools.open();
    spool.intend(decided)?.('{}');
    await spool.settle();
    const { session, user, agent } = spools.facts;
    const [event] = spool.source.take(1, 1e6);
    expect(parseHeader(event!.header)).toMatchObject({
      session,
      user,
      agent,
      redaction: 'full-v1',
      tool: 'Bash',
    });
    await spool.close();
  });

  it('writes a record without payload when its payload is not acceptable or never comes', async () => {
    const spool = spools.open();
    spool.intend(decided)?.('\0');
    spool.intend(decided);
    await spool.settle();
    const headers = spool.source.take(10, 1e6).map(({ header }) => parseHeader(header));
    expect(headers.map(({ missing, payloadHash }) => [missing, payloadHash])).toEqual([
      ['payload', null],
      ['payload', null],
    ]);
    await spool.close();
  });

  it('keeps the stream going when a name does not fit a header', async () => {
    const spool = spools.open();
    spool.intend({ ...decided, rule: 'x'.repeat(5000) })?.('{}');
    spool.intend(decided)?.('{}');
    await spool.settle();
    const events = spool.source.take(10, 1e6);
    expect(events.map(({ header }) => parseHeader(header).tool)).toEqual([null, 'Bash']);
    expect(createTestStream(spools.facts).append({ prev: events[0]!.prev, events }).status).toBe('ok');
    await spool.close();
  });

  it('removes its directory when everything is acknowledged, and keeps it when not', async () => {
    const spool = spools.open();
    spool.intend(decided)?.('{}');
    await spool.settle();
    spool.source.acknowledge(1);
    expect(await spool.close()).toBe(true);
    expect(existsSync(directory())).toBe(false);

    const other = createTestSpools();
    const kept = other.open();
    kept.intend(decided)?.('{}');
    expect(await kept.close()).toBe(false);
    expect(existsSync(join(other.root, other.facts.session))).toBe(true);
    other.close();
  });

  it('begins a new segment when one is full, and deletes those that are acknowledged', async () => {
    const spool = spools.open({ segmentBytes: 4096 });
    for (let index = 0; index < 40; index += 1) spool.intend(decided)?.(`{"n":${index}}`);
    await spool.settle();
    const segments = (): string[] => readdirSync(directory()).filter((name) => name.endsWith('.ndjson'));
    const before = segments().length;
    expect(before).toBeGreaterThan(3);
    const events = spool.source.take(100, 1e9);
    expect(createTestStream(spools.facts).append({ prev: events[0]!.prev, events }).status).toBe('ok');
    spool.source.acknowledge(40);
    expect(segments()).toHaveLength(1);
    await spool.close();
  });

  it('reads events back from disk that are more than memory should hold', async () => {
    const spool = spools.open();
    const payload = JSON.stringify({ text: 'x'.repeat(60_000) });
    for (let index = 0; index < 100; index += 1) spool.intend(decided)?.(payload);
    await spool.settle();
    const stream = createTestStream(spools.facts);
    for (
      let batch = spool.source.take(500, 1_000_000);
      batch.length > 0;
      batch = spool.source.take(500, 1_000_000)
    ) {
      expect(stream.append({ prev: batch[0]!.prev, events: batch }).status).toBe('ok');
      spool.source.acknowledge(batch.at(-1)!.seq);
    }
    expect(stream.events).toHaveLength(100);
    expect(stream.events.at(-1)?.payload).toBe(payload);
    expect(await spool.close()).toBe(true);
  });
});

describe('a full spool', () => {
  it('drops events before they get a seq, and says so once there is room', async () => {
    const spool = spools.open({ limits: { maxBytes: 1e9, maxEvents: 3 } });
    for (let index = 0; index < 3; index += 1) spool.intend(decided)?.('{}');
    expect(spool.full).toBe(true);
    expect([spool.intend(decided), spool.intend(decided)]).toEqual([null, null]);
    await spool.settle();
    const stream = createTestStream(spools.facts);
    const send = () => {
      const events = spool.source.take(10, 1e6);
      expect(stream.append({ prev: events[0]!.prev, events }).status).toBe('ok');
      spool.source.acknowledge(events.at(-1)!.seq);
    };
    send();
    spool.intend(decided)?.('{}');
    await spool.settle();
    send();
    expect(stream.kinds().slice(3)).toContain('events.lost');
    expect(stream.kinds().at(-1)).toBe('tool_call.decided');
    const lost = stream.events.filter(({ header }) => parseHeader(header).kind === 'events.lost');
    expect(lost).toHaveLength(1);
    expect(JSON.parse(lost[0]!.payload!)).toEqual({
      schema: 1,
      count: 2,
      from: expect.stringMatching(/^\d{4}-/),
      to: expect.stringMatching(/^\d{4}-/),
    });
    expect(spool.state.lost).toBe(2);
    await spool.close();
  });

  it('leaves payloads out in the last quarter of its space', async () => {
    const spool = spools.open({ limits: { maxBytes: 40_000, maxEvents: 1000 } });
    const payload = JSON.stringify({ text: 'x'.repeat(5000) });
    while (!spool.full) spool.intend(decided)?.(payload);
    await spool.settle();
    const missing = spool.source.take(1000, 1e9).map(({ header }) => parseHeader(header).missing);
    expect(missing.slice(0, 3)).toEqual([null, null, null]);
    expect(missing.at(-1)).toBe('payload');
    await spool.close();
  });
});
