import { expect, test } from 'vitest';
import type { StreamRow } from '../store/queries/audit-streams.ts';
import { createStreamMemory } from './stream-memory.ts';

const stream = (id: string, headSeq = 1) => ({ id, headSeq }) as StreamRow;

test('the stream that was not written to for longest is forgotten first', () => {
  const memory = createStreamMemory(2);
  for (const one of [stream('a'), stream('b'), stream('a', 2), stream('c')]) memory.remember(one);
  expect(memory.find('b')).toBeUndefined();
  expect([memory.find('a'), memory.find('c')]).toEqual([stream('a', 2), stream('c')]);
  memory.forget('a');
  expect(memory.find('a')).toBeUndefined();
});
