import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createId } from '@kontext/audit';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createSegments, segmentName } from './segments.ts';

// What is durable shows only when the power fails.
const synced: number[] = [];
vi.mock('node:fs', async (original) => {
  const actual = await original<typeof fs>();
  const fdatasync = (descriptor: number, done: fs.NoParamCallback): void => {
    synced.push(actual.fstatSync(descriptor).ino);
    actual.fdatasync(descriptor, done);
  };
  return { ...actual, fdatasync };
});

let directory: string;
beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'kontext-segments-'));
});
afterEach(() => fs.rmSync(directory, { recursive: true, force: true }));

it('a sync makes every segment durable that was written since the last one, and no other again', async () => {
  const segments = createSegments({
    ...{
      directory,
      sessionId: createId('ses'),
      key: Buffer.alloc(32, 1),
      facts: () => ({}),
      segmentBytes: 1,
    },
  });
  const append = (seq: number) => segments.append({ kind: 'open', facts: {} }, seq);
  const syncedNow = async (): Promise<number[]> => {
    synced.length = 0;
    await segments.sync();
    return [...synced].sort();
  };
  const inodes = (...numbers: number[]): number[] =>
    numbers.map((number) => fs.statSync(join(directory, segmentName(number))).ino).sort();

  for (const seq of [1, 2, 3, 4]) append(seq);
  expect(await syncedNow()).toEqual(inodes(1, 2, 3, 4, 5));
  append(5);
  expect(await syncedNow()).toEqual(inodes(5, 6));
  segments.close();
});
