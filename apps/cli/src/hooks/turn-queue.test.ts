import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createTurnQueue } from './turn-queue.ts';

/** A queue with so much work, and the list of what was done. */
function setUp(count: number, maxWaiting?: number) {
  const queue = createTurnQueue(maxWaiting);
  const done: number[] = [];
  for (let index = 0; index < count; index += 1) queue.add(() => done.push(index));
  return { queue, done };
}

describe('a turn queue', () => {
  it('does nothing at once, and then one thing a turn, in order', async () => {
    const { done } = setUp(3);
    expect(done).toEqual([]);

    const seen: number[] = [];
    for (let turn = 0; turn < 4; turn += 1) {
      await nextTurn();
      seen.push(done.length);
    }

    expect(seen).toEqual([1, 2, 3, 3]);
    expect(done).toEqual([0, 1, 2]);
  });

  it('does more in a turn when too much waits', async () => {
    const { done } = setUp(10, 4);

    await nextTurn();

    expect(done).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('does what was given while it worked', async () => {
    const { queue, done } = setUp(0);
    queue.add(() => {
      done.push(1);
      queue.add(() => done.push(2));
    });

    await nextTurn();
    await nextTurn();

    expect(done).toEqual([1, 2]);
  });

  it('does all that waits when it is drained, once', async () => {
    const { queue, done } = setUp(3);

    queue.drain();
    await nextTurn();

    expect(done).toEqual([0, 1, 2]);
  });
});
