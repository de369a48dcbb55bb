import { createStreamWriter } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createTestSpools, createTestStream, type TestSpools } from './test-spool.ts';
import type { UploadSource } from './upload-queue.ts';
import { type AppendAnswer, type AppendBatch, createUploader, type UploadState } from './uploader.ts';

let spools: TestSpools;
beforeEach(() => {
  spools = createTestSpools();
});
afterEach(() => spools.close());

const decided = { kind: 'tool_call.decided', tool: 'Bash' } as const;

/** A spool with events in it, its uploader, and the stream they go to. */
async function setUp(
  count: number,
  append?: (batch: AppendBatch, next: (b: AppendBatch) => AppendAnswer) => Promise<AppendAnswer>,
) {
  const spool = spools.open({ onReady: () => uploader.notify() });
  const stream = createTestStream(spools.facts);
  const states: UploadState[] = [];
  const batches: number[] = [];
  const uploader = createUploader({
    source: spool.source,
    append: async (batch) => {
      batches.push(batch.events.length);
      return append ? append(batch, stream.append) : stream.append(batch);
    },
    onState: (state) => states.push(state),
    random: () => 0,
  });
  const write = (payload = '{}') => spool.intend(decided)?.(payload);
  for (let index = 0; index < count; index += 1) write();
  return { spool, stream, states, batches, uploader, write };
}

/** One event that never goes away. */
function endlessSource(): UploadSource {
  const { org: orgId, stream: streamId } = spools.facts;
  const writer = createStreamWriter({ orgId, streamId, from: { nonce: Buffer.alloc(32) } });
  const event = writer.append({ kind: 'tool_call.decided' }, '{}');
  return {
    take: () => [event],
    rewind: () => undefined,
    acknowledge: () => undefined,
    resendFrom: () => true,
  };
}

describe('uploader', () => {
  it('sends everything in order, at most 500 a batch', async () => {
    const { spool, stream, batches, uploader } = await setUp(1201);
    await spool.settle();
    await uploader.flush(10_000);
    expect(stream.events.map(({ seq }) => seq)).toEqual(
      Array.from({ length: 1201 }, (_, index) => index + 1),
    );
    expect(Math.max(...batches)).toBeLessThanOrEqual(500);
    expect(await spool.close()).toBe(true);
  });

  it('sends again what failed for now, and tells each change of state once', async () => {
    let failures = 3;
    const { spool, stream, states, uploader } = await setUp(5, async (batch, next) => {
      if (failures-- > 0) throw new KontextError('KX_BACKEND_UNREACHABLE', 'away');
      return next(batch);
    });
    await spool.settle();
    await uploader.flush(10_000);
    expect(stream.events).toHaveLength(5);
    expect(states.map(({ kind }) => kind)).toEqual(['waiting', 'flowing']);
    await spool.close();
  });

  it('takes an answer that was lost for a duplicate', async () => {
    let lose = true;
    const { spool, stream, uploader } = await setUp(4, async (batch, next) => {
      const answer = next(batch);
      if (!lose) return answer;
      lose = false;
      throw new KontextError('KX_BACKEND_UNREACHABLE', 'the answer was lost');
    });
    await spool.settle();
    await uploader.flush(10_000);
    expect(stream.events).toHaveLength(4);
    expect(await spool.close()).toBe(true);
  });

  it('halves a batch the backend calls too large', async () => {
    const { spool, stream, uploader, batches } = await setUp(64, async (batch, next) => {
      if (batch.events.length > 10)
        throw new KontextError('KX_RATE_LIMITED', 'x', { why: 'message is larger than configured' });
      return next(batch);
    });
    await spool.settle();
    await uploader.flush(10_000);
    expect(stream.events).toHaveLength(64);
    expect(batches.slice(0, 4)).toEqual([64, 32, 16, 8]);
    await spool.close();
  });

  it('sends a single event without the payload the backend refuses', async () => {
    const { spool, stream, uploader, write } = await setUp(1, async (batch, next) => {
      if (batch.events.some(({ payload }) => payload?.includes('poison'))) {
        throw new KontextError('KX_EVENT_INVALID', 'refused');
      }
      return next(batch);
    });
    write('{"poison":1}');
    write();
    await spool.settle();
    await uploader.flush(10_000);
    expect(stream.events.map(({ payload }) => payload)).toEqual(['{}', null, '{}']);
    await spool.close();
  });

  it('tries a header without its payload again when the network loses it, and goes on', async () => {
    let lost = false;
    const { spool, stream, states, uploader, write } = await setUp(1, async (batch, next) => {
      if (batch.events.some(({ payload }) => payload?.includes('poison'))) {
        throw new KontextError('KX_EVENT_INVALID', 'refused');
      }
      if (!lost && batch.events.some(({ payload }) => payload === null)) {
        lost = true;
        throw new KontextError('KX_BACKEND_UNREACHABLE', 'away');
      }
      return next(batch);
    });
    write('{"poison":1}');
    write();
    await spool.settle();
    await uploader.flush(10_000);
    expect(stream.events.map(({ payload }) => payload)).toEqual(['{}', null, '{}']);
    expect(states.map(({ kind }) => kind)).toEqual(['waiting', 'flowing']);
    expect(await spool.close()).toBe(true);
  });

  it('stops when even the header of an event is refused, since the chain goes through it', async () => {
    const { spool, states, batches, uploader } = await setUp(1, async () => {
      throw new KontextError('KX_EVENT_INVALID', 'refused');
    });
    await spool.settle();
    await uploader.flush(10_000);
    expect(batches).toEqual([1, 1]);
    expect(states).toMatchObject([{ kind: 'stopped', error: { code: 'KX_EVENT_INVALID' } }]);
    await spool.close();
  });

  it('waits anything up to a ceiling that doubles from 0.2 s to 30 s', async () => {
    vi.useFakeTimers();
    try {
      const waits: number[] = [];
      const uploader = createUploader({
        source: endlessSource(),
        append: async () => {
          throw new KontextError('KX_BACKEND_UNREACHABLE', 'away');
        },
        random: () => 0.999_999,
      });
      uploader.notify();
      for (let n = 0; n < 10; n += 1) {
        await vi.advanceTimersByTimeAsync(0);
        const before = Date.now();
        await vi.advanceTimersToNextTimerAsync();
        waits.push(Math.round((Date.now() - before) / 100) / 10);
      }
      uploader.close();
      expect(waits).toEqual([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30]);
    } finally {
      vi.useRealTimers();
    }
  });

  it('goes on from the head of a backend that knows less', async () => {
    let forgot = false;
    const { spool, stream, uploader, write } = await setUp(3, async (batch, next) => {
      // A restored backup: the newest event was never stored, although it was in this very batch.
      if (!forgot && batch.events.length > 1) {
        forgot = true;
        next({ ...batch, events: batch.events.slice(0, 1) });
        return { status: 'gap', headSeq: 1, headHash: stream.head() };
      }
      return next(batch);
    });
    write();
    await spool.settle();
    await uploader.flush(10_000);
    expect(stream.events).toHaveLength(4);
    expect(await spool.close()).toBe(true);
  });

  it.each([
    ['a fork', 'fork' as const, 'KX_AUDIT_FORK'],
    ['a backend that lost acknowledged events', 'gap' as const, 'KX_AUDIT_GAP'],
  ])('stops at %s, and says so', async (_name, status, code) => {
    const { spool, states, batches, uploader, write } = await setUp(1, async () => ({
      status,
      headSeq: 99,
      headHash: Buffer.alloc(32),
    }));
    await spool.settle();
    await uploader.flush(1000);
    write();
    await spool.settle();
    await uploader.flush(1000);
    expect(batches).toHaveLength(1);
    expect(states).toMatchObject([{ kind: 'stopped', error: { code } }]);
    expect(await spool.close()).toBe(false);
  });

  it('stops when the backend will never take the session', async () => {
    const { spool, states, uploader } = await setUp(1, async () => {
      throw new KontextError('KX_SESSION_ENDED', 'too late');
    });
    await spool.settle();
    await uploader.flush(1000);
    expect(states).toMatchObject([{ kind: 'stopped', error: { code: 'KX_SESSION_ENDED' } }]);
    await spool.close();
  });

  it('waits as long as the backend asks, but a flush tries at once and ends in time', async () => {
    const { spool, batches, uploader } = await setUp(1, async () => {
      throw new KontextError('KX_RATE_LIMITED', 'slow down', { details: { retry_after_seconds: 60 } });
    });
    await spool.settle();
    await expect.poll(() => batches.length).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(batches).toHaveLength(1);
    await uploader.flush(50);
    expect(batches).toHaveLength(2);
    uploader.close();
    await spool.close();
  });

  it('delivers every event exactly once and in order, whatever the network does', async () => {
    const faults = fc.array(fc.constantFrom('ok', 'lost request', 'lost answer', 'too large'), {
      maxLength: 12,
    });
    await fc.assert(
      fc.asyncProperty(faults, fc.integer({ min: 1, max: 30 }), async (script, count) => {
        const scratch = createTestSpools();
        const spool = scratch.open();
        const stream = createTestStream(scratch.facts);
        let turn = 0;
        const uploader = createUploader({
          source: spool.source,
          random: () => 0,
          append: async (batch) => {
            const fault = script[turn++] ?? 'ok';
            if (fault === 'too large' && batch.events.length > 1)
              throw new KontextError('KX_REQUEST_INVALID', 'too large');
            if (fault === 'lost request') throw new KontextError('KX_REQUEST_INVALID', 'too large, or so');
            const answer = stream.append(batch);
            if (fault === 'lost answer') throw new KontextError('KX_REQUEST_INVALID', 'too large, after all');
            return answer;
          },
        });
        for (let index = 0; index < count; index += 1) spool.intend(decided)?.(null);
        await spool.settle();
        await uploader.flush(10_000);
        expect(stream.events.map(({ seq }) => seq)).toEqual(stream.events.map((_, index) => index + 1));
        expect(stream.events.length).toBeLessThanOrEqual(count);
        uploader.close();
        await spool.close();
        scratch.close();
      }),
      { numRuns: 25 },
    );
  });
});
