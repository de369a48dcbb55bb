import { readFigures, type StoreFigures } from '../store/queries/metrics.ts';
import type { Store } from '../store/store.ts';
import type { StoredMetricName } from './metric-table.ts';
import type { Metrics, MetricValue } from './metrics.ts';

/** Figures are read again when they are this old, however often the page is read. */
const cachedMs = 15_000;
/** Longest the page waits for the database. */
const patienceMs = 2_000;

/** Adds what the database knows to a page of metrics. When it does not answer, the page has the rest. */
export function addStoreMetrics(metrics: Metrics, store: Store, nowMs: () => number): void {
  let readAtMs = Number.NEGATIVE_INFINITY;
  let reading: Promise<StoreFigures | null> | null = null;
  const read = (): Promise<StoreFigures | null> =>
    store
      .transaction({ role: 'system', orgId: null }, (tx) => readFigures(tx, new Date(nowMs())))
      .catch(() => null)
      .finally(() => {
        reading = null;
      });
  metrics.onRead(async () => {
    setConnections(metrics, store);
    if (nowMs() - readAtMs < cachedMs) return;
    // One that is late is waited for by the next reader, and not asked a second time.
    reading ??= read();
    const figures = await within(patienceMs, reading);
    setFigures(metrics, figures);
    if (figures !== null) readAtMs = nowMs();
  });
}

function setConnections(metrics: Metrics, { connections }: Store): void {
  const counts = connections?.();
  if (counts === undefined) return;
  const values = Object.entries(counts).map(([state, value]) => ({ labels: { state }, value }));
  metrics.set('kontext_store_connections', values);
}

function setFigures(metrics: Metrics, figures: StoreFigures | null): void {
  metrics.set('kontext_store_up', [{ value: figures === null ? 0 : 1 }]);
  for (const [name, valuesOf] of Object.entries(measures)) {
    metrics.set(name as StoredMetricName, figures === null ? [] : valuesOf(figures));
  }
}

const one = (value: number | null): readonly MetricValue[] => (value === null ? [] : [{ value }]);

const measures: Readonly<Record<StoredMetricName, (figures: StoreFigures) => readonly MetricValue[]>> = {
  kontext_audit_unsequenced_segments: (f) => one(f.unsequencedSegments),
  kontext_audit_unsequenced_seconds: (f) => one(f.unsequencedSeconds),
  kontext_audit_checkpoint_age_seconds: (f) => one(f.checkpointAgeSeconds),
  kontext_rollup_lag_segments: (f) => one(f.rollupLagSegments),
  kontext_rollup_lag_seconds: (f) => one(f.rollupLagSeconds),
  kontext_payload_partitions: (f) =>
    Object.entries(f.payloadPartitions).map(([name, value]) => ({ labels: { class: name }, value })),
  kontext_retention_lag_seconds: (f) => one(f.retentionLagSeconds),
  kontext_sinks: (f) => Object.entries(f.sinks).map(([state, value]) => ({ labels: { state }, value })),
  kontext_sink_lag_segments: (f) => one(f.sinkLagSegments),
  kontext_sink_lag_seconds: (f) => one(f.sinkLagSeconds),
  kontext_sink_dead_letters: (f) => one(f.sinkDeadLetters),
  kontext_webhook_backlog: (f) => one(f.webhookBacklog),
  kontext_exports_running: (f) => one(f.exportsRunning),
  kontext_leases_live: (f) => one(f.leasesLive),
  kontext_revocations_waiting: (f) => one(f.revocationsWaiting),
  kontext_sessions_live: (f) => one(f.sessionsLive),
};

async function within<T>(ms: number, work: Promise<T>): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
