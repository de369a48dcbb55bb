import { describe, expect, it } from 'vitest';
import { createTaskRun, startTasks, type TaskRun } from './run-tasks.ts';

function openLog() {
  const lines: { readonly level: string; readonly text: string }[] = [];
  const write = (level: string) => (_fields: unknown, text?: string) =>
    void lines.push({ level, text: text ?? '' });
  return { lines, logger: { info: write('info'), error: write('error') } as never };
}

describe('background work', () => {
  it('survives a task that fails, and says once that it fails and once that it works again', async () => {
    const { lines, logger } = openLog();
    const runs: TaskRun[] = [];
    let clockMs = Date.UTC(2026, 0, 1);
    let fails = true;
    const run = createTaskRun(
      {
        ...{ name: 'audit log', intervalMs: 1 },
        run: async () => {
          if (fails) throw new Error('planted');
        },
      },
      { logger, nowMs: () => clockMs, onRun: (one) => void runs.push(one) },
    );
    for (const next of [true, true, true, false, false, true, false]) {
      fails = next;
      await run();
      clockMs += 10_000;
    }
    expect(lines).toEqual([
      { level: 'error', text: 'audit log: failing since 2026-01-01T00:00:00.000Z' },
      { level: 'info', text: 'audit log: works again after 30 s' },
      { level: 'error', text: 'audit log: failing since 2026-01-01T00:00:50.000Z' },
      { level: 'info', text: 'audit log: works again after 10 s' },
    ]);
    expect(runs.map(({ ok }) => ok)).toEqual([false, false, false, true, true, false, true]);
  });

  it('survives a task that throws before it waits for anything', async () => {
    const { lines, logger } = openLog();
    const task = {
      ...{ name: 't', intervalMs: 1 },
      run: () => {
        throw new Error('planted');
      },
    };
    await createTaskRun(task, { logger, nowMs: () => 0 })();
    expect(lines.map(({ level }) => level)).toEqual(['error']);
  });

  it('goes on with the others beside one that fails or hangs, and starts none beside itself', async () => {
    const counts = { fails: 0, hangs: 0, works: 0 };
    let letGo: () => void = () => undefined;
    let closed = false;
    const stop = startTasks(
      [
        {
          ...{ name: 'fails', intervalMs: 1 },
          run: async () => {
            counts.fails += 1;
            throw new Error('planted');
          },
        },
        {
          ...{ name: 'hangs', intervalMs: 1 },
          run: () => {
            counts.hangs += 1;
            return new Promise<void>((resolve) => {
              letGo = resolve;
            });
          },
          close: async () => {
            closed = true;
          },
        },
        {
          ...{ name: 'works', intervalMs: 1 },
          run: async () => {
            counts.works += 1;
          },
        },
      ],
      { ...openLog(), nowMs: () => 0 },
    );
    await expect.poll(() => counts.works >= 5 && counts.fails >= 5).toBe(true);
    expect(counts.hangs).toBe(1);
    const stopped = stop();
    expect(closed).toBe(false);
    letGo();
    await stopped;
    expect(closed).toBe(true);
    const after = counts.works;
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(counts.works).toBe(after);
  });
});
