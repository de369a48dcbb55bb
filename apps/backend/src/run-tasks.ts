/**
 * Background work: each task is run again and again, whatever happens to it.
 *
 * - A run that fails is tried again at the next turn; that it fails, and that it works again, is logged once each way.
 * - A run that is slower than its interval is not started a second time beside itself.
 */
import type { Logger } from './log.ts';

/** Something done again and again, in this process and in every replica. */
export interface BackgroundTask {
  /** Stands in logs and as a label of metrics. */
  readonly name: string;
  readonly intervalMs: number;
  readonly run: () => Promise<void>;
  /** Waits for what a run began and left running; called once, after the last run. */
  readonly close?: () => Promise<void>;
}

/** One run that is over. */
export interface TaskRun {
  readonly task: string;
  readonly ok: boolean;
  readonly durationMs: number;
}

/** What tasks are run with. */
export interface TaskRunnerOptions {
  readonly logger: Pick<Logger, 'info' | 'error'>;
  readonly nowMs: () => number;
  /** Hears of every run. */
  readonly onRun?: (run: TaskRun) => void;
}

/** Starts every task; the first runs come one interval later. @returns Stops them and waits for what runs. */
export function startTasks(
  tasks: readonly BackgroundTask[],
  options: TaskRunnerOptions,
): () => Promise<void> {
  const stops = tasks.map((task) => startTask(task, options));
  return async () => void (await Promise.all(stops.map((stop) => stop())));
}

function startTask(task: BackgroundTask, options: TaskRunnerOptions): () => Promise<void> {
  const runOnce = createTaskRun(task, options);
  let running: Promise<void> | null = null;
  const timer = setInterval(() => {
    running ??= runOnce().finally(() => {
      running = null;
    });
  }, task.intervalMs);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await running;
    await task
      .close?.()
      .catch((err: unknown) => options.logger.error({ err, task: task.name }, 'closing failed'));
  };
}

/** Makes one run of a task that never rejects and logs when its state changes. */
export function createTaskRun(
  { name, run }: BackgroundTask,
  { logger, nowMs, onRun }: TaskRunnerOptions,
): () => Promise<void> {
  let failingSinceMs: number | null = null;
  return async () => {
    const startedAtMs = nowMs();
    const begun = performance.now();
    let ok = true;
    try {
      await run();
      if (failingSinceMs !== null) {
        const seconds = Math.round((nowMs() - failingSinceMs) / 1000);
        logger.info({ task: name, seconds }, `${name}: works again after ${seconds} s`);
      }
      failingSinceMs = null;
    } catch (err) {
      ok = false;
      if (failingSinceMs === null) {
        failingSinceMs = startedAtMs;
        logger.error({ err, task: name }, `${name}: failing since ${new Date(startedAtMs).toISOString()}`);
      }
    }
    onRun?.({ task: name, ok, durationMs: performance.now() - begun });
  };
}
