import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createStartWait } from './await-start.ts';

describe('waiting for the first hooks', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  function wait() {
    const log: string[] = [];
    const start = createStartWait('SessionStart');
    const stop = start.expect({
      onFirst: () => log.push('first'),
      warn: { afterMs: 10_000, warn: () => log.push('warn') },
      missing: { afterMs: 12_000, record: () => log.push('missing') },
    });
    return { start, stop, log };
  }

  it('warns and records when none comes', () => {
    const { start, log } = wait();
    vi.advanceTimersByTime(60_000);
    expect([log, start.heard]).toEqual([['warn', 'missing'], false]);
  });

  it('says nothing when the run begins as it should', () => {
    const { start, log } = wait();
    start.note('SessionStart');
    start.note('PreToolUse');
    vi.advanceTimersByTime(60_000);
    expect([log, start.heard]).toEqual([['first'], true]);
  });

  it('records a run that goes on without its first event', () => {
    const { start, log } = wait();
    start.note('PreToolUse');
    vi.advanceTimersByTime(60_000);
    expect(log).toEqual(['first', 'missing']);
  });

  it('says nothing once it is stopped', () => {
    const { stop, log } = wait();
    stop();
    vi.advanceTimersByTime(60_000);
    expect(log).toEqual([]);
  });
});
