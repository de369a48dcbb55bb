import { expect, test } from 'vitest';
import type { StreamRow } from '../store/queries/audit-streams.ts';
import { createStreamMemory } from './stream-memory.ts';

const stream = (id: string, headSeq = 1) => ({ id, headSeq }) as StreamRow;

test('a refusal is known by its stream and place, and forgotten with others when there are too many', () => {
  const memory = createStreamMemory(2);
  memory.noteRefused('a', 1);
  expect([memory.wasRefused('a', 1), memory.wasRefused('a', 2), memory.wasRefused('b', 1)]).toEqual([
    ...[true, false, false],
  ]);
  memory.noteRefused('a', 2);
  memory.noteRefused('a', 3);
  expect([1, 2, 3].map((seq) => memory.wasRefused('a', seq))).toEqual([false, false, true]);
});

test('the stream that was not written to for longest is forgotten first', () => {
  const memory = createStreamMemory(2);
  for (const one of [stream('a'), stream('b'), stream('a', 2), stream('c')]) memory.remember(one);
  expect(memory.find('b')).toBeUndefined();
  expect([memory.find('a'), memory.find('c')]).toEqual([stream('a', 2), stream('c')]);
  memory.forget('a');
  expect(memory.find('a')).toBeUndefined();
});
