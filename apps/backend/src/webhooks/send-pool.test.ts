import { describe, expect, it } from 'vitest';
import { type BusyTargets, createSendPool, type SendJob } from './send-pool.ts';

const limits = { total: 4, perOrg: 3, perTarget: 1 };
const job = (orgId: string, targetId: string): SendJob => ({ orgId, targetId });

describe('a pool of sends', () => {
  it('goes on with others while one hangs, and tells the claim who has no place left', async () => {
    const due = [[job('a', 'hangs')], [job('a', 'x')], [job('b', 'y')]];
    const asked: (BusyTargets & { readonly free: number })[] = [];
    const done: string[] = [];
    let letGo: () => void = () => undefined;
    const pool = createSendPool({
      limits,
      claim: async (free, busy) => {
        asked.push({ free, ...busy });
        return due.shift() ?? [];
      },
      work: async ({ targetId }) => {
        if (targetId === 'hangs')
          await new Promise<void>((resolve) => {
            letGo = resolve;
          });
        done.push(targetId);
      },
    });
    for (let at = 0; at < 3; at += 1) await pool.start();
    await expect.poll(() => done).toEqual(['x', 'y']);
    expect(asked.map(({ targetIds }) => targetIds.includes('hangs'))).toEqual([false, true, true]);
    const closed = pool.close();
    letGo();
    await closed;
    expect(done).toEqual(['x', 'y', 'hangs']);
  });

  it('claims no more than it has places for, and counts those of an organisation', async () => {
    const asked: (BusyTargets & { readonly free: number })[] = [];
    const pool = createSendPool({
      limits,
      claim: async (free, busy) => {
        asked.push({ free, ...busy });
        return asked.length === 1 ? ['1', '2', '3'].map((id) => job('a', id)) : [job('b', '4')];
      },
      work: () => new Promise(() => undefined),
    });
    expect([await pool.start(), await pool.start(), await pool.start()]).toEqual([3, 1, 0]);
    expect(asked).toEqual([
      { free: 4, orgIds: [], targetIds: [] },
      { free: 1, orgIds: ['a'], targetIds: ['1', '2', '3'] },
    ]);
  });

  it('throws what a job failed with at the next start, and works on', async () => {
    const due = [[job('a', 'fails')], [job('a', 'x')]];
    const pool = createSendPool({
      limits,
      claim: async () => due.shift() ?? [],
      work: async ({ targetId }) => {
        if (targetId === 'fails') throw new Error('planted');
      },
    });
    await pool.start();
    await pool.close();
    await expect(pool.start()).rejects.toThrow('planted');
    expect(await pool.start()).toBe(1);
    await pool.drain();
  });
});
