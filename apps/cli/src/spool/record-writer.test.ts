import { createStreamWriter, parseHeader, type SpoolEntry, startSpoolSegment } from '@kontext/audit';
import { describe, expect, it } from 'vitest';
import { createRecordWriter } from './record-writer.ts';
import type { Segments } from './segments.ts';
import { createTestStream, testFacts } from './test-spool.ts';
import { createUploadQueue } from './upload-queue.ts';

const decided = { kind: 'tool_call.decided', tool: 'Bash' } as const;

/** A disk that can be full: the wall a test cannot build without a file system of its own. */
function setUp() {
  const facts = testFacts();
  const disk = { full: false, lines: [] as string[] };
  const before = startSpoolSegment(facts.session, 1);
  const segments: Segments = {
    bytes: 0,
    append(entry: SpoolEntry) {
      if (disk.full) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
      disk.lines.push(entry.kind === 'record' ? `record ${entry.record.seq}` : entry.kind);
      return { segment: 1, offset: 0, length: 100, before };
    },
    read: () => {
      throw new Error('not read');
    },
    sync: async () => undefined,
    canRelease: () => false,
    release: () => undefined,
    close: () => undefined,
  };
  const queue = createUploadQueue(segments, '/nonexistent');
  const nonce = Buffer.from(facts.nonce, 'base64');
  const stream = createStreamWriter({ orgId: facts.org, streamId: facts.stream, from: { nonce } });
  const { session, user, agent } = facts;
  const writer = createRecordWriter({
    common: { session, user, agent },
    limits: { maxBytes: 1e9, maxEvents: 100 },
    nowMs: () => 1_700_000_000_000,
    stream,
    segments,
    queue,
    onLine: () => undefined,
  });
  const store = () => {
    queue.markSynced(1000);
    const events = queue.take(1000, 1e9);
    const kept = createTestStream(facts);
    expect(kept.append({ prev: events[0]!.prev, events }).status).toBe('ok');
    return events.map(({ header, payload }) => [parseHeader(header).kind, payload]);
  };
  return { disk, writer, store };
}

describe('a disk that refuses lines', () => {
  it('drops an event whose intent cannot be written, without a gap in the stream', () => {
    const { disk, writer, store } = setUp();
    writer.intend(decided)?.('{"n":1}');
    disk.full = true;
    expect(writer.intend(decided)).toBeNull();
    expect(writer.intend(decided)).toBeNull();
    disk.full = false;
    writer.intend(decided)?.('{"n":2}');
    expect(store()).toEqual([
      ['tool_call.decided', '{"n":1}'],
      [
        'events.lost',
        '{"schema":1,"count":2,"from":"2023-11-14T22:13:20.000Z","to":"2023-11-14T22:13:20.000Z"}',
      ],
      ['tool_call.decided', '{"n":2}'],
    ]);
  });

  it('keeps a record that cannot be written and writes it, as it was, before any other', () => {
    const { disk, writer, store } = setUp();
    const record = writer.intend(decided);
    disk.full = true;
    record?.('{"n":1}');
    expect(writer.full).toBe(true);
    expect(writer.drained).toBe(false);
    disk.full = false;
    expect(writer.full).toBe(false);
    expect(writer.drained).toBe(true);
    writer.intend(decided)?.('{"n":2}');
    expect(disk.lines).toEqual(['intent', 'record 1', 'intent', 'record 2']);
    expect(store().map(([, payload]) => payload)).toEqual(['{"n":1}', '{"n":2}']);
  });

  it('says at the end what it could not write before', () => {
    const { disk, writer, store } = setUp();
    disk.full = true;
    writer.intend(decided);
    disk.full = false;
    writer.settle();
    expect(store().map(([kind]) => kind)).toEqual(['events.lost']);
    expect(writer.lost).toBe(1);
  });
});
