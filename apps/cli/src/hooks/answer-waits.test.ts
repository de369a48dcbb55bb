import { describe, expect, it } from 'vitest';
import { createAnswerWaits } from './answer-waits.ts';

describe('waits of answers', () => {
  it('are not known before there was one', () => {
    expect(createAnswerWaits().summary()).toEqual({ count: 0, p50Ms: null, p99Ms: null, maxMs: null });
  });

  it('are told by their median, the slowest in a hundred, and the slowest', () => {
    const waits = createAnswerWaits();
    for (let at = 200; at > 0; at -= 1) waits.note(at);
    expect(waits.summary()).toEqual({ count: 200, p50Ms: 101, p99Ms: 199, maxMs: 200 });
  });

  it('of long ago make room', () => {
    const waits = createAnswerWaits(10);
    for (let at = 0; at < 25; at += 1) waits.note(at < 15 ? 1000 : 1);
    expect(waits.summary()).toEqual({ count: 25, p50Ms: 1, p99Ms: 1, maxMs: 1 });
  });
});
