import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { BackgroundTask, TaskRun } from '../run-tasks.ts';
import { type MetricLabel, type MetricName, metricTable } from './metric-table.ts';

/** Values of labels. */
export type MetricLabels = Readonly<Partial<Record<MetricLabel, string>>>;
/** One value of a gauge. */
export interface MetricValue {
  readonly labels?: MetricLabels;
  readonly value: number;
}

/** What the backend measures; one per app. */
export interface Metrics {
  /** Adds to a counter. */
  count(name: MetricName, labels?: MetricLabels, by?: number): void;
  /** Adds a duration to a histogram, in seconds. */
  observe(name: MetricName, labels: MetricLabels, seconds: number): void;
  /** Sets all values of a gauge; those it had before are gone. */
  set(name: MetricName, values: readonly MetricValue[]): void;
  /** Has `read` asked whenever somebody reads the page. What it throws leaves its metrics as they are. */
  onRead(read: () => Promise<void> | void): void;
  /** Begins to measure tasks. */
  watchTasks(tasks: readonly BackgroundTask[]): void;
  /** Notes a run of a task. */
  taskRan(run: TaskRun): void;
  /** The page, in the text format of Prometheus. */
  render(): Promise<string>;
}

/** Content type of {@link Metrics.render}. */
export const metricsContentType = 'text/plain; version=0.0.4; charset=utf-8';

const buckets = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/**
 * Creates the metrics of `metric-table.ts`, all of them at nothing.
 *
 * @param nowMs Clock.
 */
export function createMetrics(nowMs: () => number): Metrics {
  const registry = new Registry();
  const [counters, gauges, histograms] = register(registry);
  const readers: (() => Promise<void> | void)[] = [];
  const successes = new Map<string, number>();
  const set: Metrics['set'] = (name, values) => {
    const gauge = gauges.get(name);
    gauge?.reset();
    // A gauge without labels that is reset stands at 0: what is not known is left out.
    if (values.length === 0) gauge?.remove({});
    for (const { labels, value } of values) gauge?.set({ ...labels }, value);
  };
  readers.push(() => {
    const now = nowMs();
    const values = [...successes].map(([task, at]) => ({ labels: { task }, value: (now - at) / 1000 }));
    set('kontext_task_since_success_seconds', values);
  });
  return {
    count: (name, labels = {}, by = 1) => counters.get(name)?.inc({ ...labels }, by),
    observe: (name, labels, seconds) => histograms.get(name)?.observe({ ...labels }, seconds),
    set,
    onRead: (read) => void readers.push(read),
    watchTasks: (tasks) => {
      for (const { name } of tasks) successes.set(name, nowMs());
    },
    taskRan: ({ task, ok, durationMs }) => {
      counters.get('kontext_task_runs_total')?.inc({ task, result: ok ? 'ok' : 'failed' });
      histograms.get('kontext_task_duration_seconds')?.observe({ task }, durationMs / 1000);
      gauges.get('kontext_task_failing')?.set({ task }, ok ? 0 : 1);
      if (ok) successes.set(task, nowMs());
    },
    render: async () => {
      await Promise.allSettled(readers.map(async (read) => read()));
      return registry.metrics();
    },
  };
}

function register(registry: Registry) {
  const counters = new Map<string, Counter>();
  const gauges = new Map<string, Gauge>();
  const histograms = new Map<string, Histogram>();
  for (const { name, type, labels, sentence } of metricTable) {
    const common = { name, help: sentence, labelNames: [...labels], registers: [registry] };
    if (type === 'counter') counters.set(name, new Counter(common));
    else if (type === 'gauge') gauges.set(name, new Gauge(common));
    else histograms.set(name, new Histogram({ ...common, buckets }));
  }
  return [counters, gauges, histograms] as const;
}
