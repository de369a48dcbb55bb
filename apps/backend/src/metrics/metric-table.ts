/**
 * Every metric of the backend. `docs/metrics.md` is printed from this table.
 *
 * A label has few values, all of them chosen by us: no name, address or id that a user or an organisation can make up.
 */

/** What a label can say. */
export type MetricLabel = 'rpc' | 'code' | 'class' | 'answer' | 'task' | 'result' | 'state';

/** One metric. */
interface MetricSpec {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly labels: readonly MetricLabel[];
  /** What is measured, as documentation and the page itself say it. */
  readonly sentence: string;
  /** Where it is measured: in this process, or in the database and so the same for every replica. */
  readonly from: 'process' | 'database';
}

const row = <const Name extends string, const From extends MetricSpec['from']>(
  from: From,
  name: Name,
  type: MetricSpec['type'],
  labels: readonly MetricLabel[],
  sentence: string,
) => ({ name, type, labels, sentence, from });
const spec = <const Name extends string>(
  name: Name,
  type: MetricSpec['type'],
  labels: readonly MetricLabel[],
  sentence: string,
) => row('process', name, type, labels, sentence);
const stored = <const Name extends string>(name: Name, labels: readonly MetricLabel[], sentence: string) =>
  row('database', name, 'gauge', labels, sentence);

/** The metrics, in the order documentation lists them. */
export const metricTable = [
  spec('kontext_http_requests_total', 'counter', ['class'], 'HTTP requests answered, by class of status.'),
  spec(
    'kontext_rpc_requests_total',
    'counter',
    ['rpc', 'code'],
    'Remote procedure calls that carried a token, by procedure and Connect code (`ok` when it worked).',
  ),
  spec('kontext_rpc_duration_seconds', 'histogram', ['rpc'], 'How long unary calls took.'),
  spec('kontext_audit_events_ingested_total', 'counter', [], 'Events of sessions that were stored.'),
  spec(
    'kontext_audit_appends_total',
    'counter',
    ['answer'],
    'Uploads of events by answer: ok, dup, gap, fork, or refused.',
  ),
  stored('kontext_audit_unsequenced_segments', [], 'Accepted segments that are not in their log yet.'),
  stored('kontext_audit_unsequenced_seconds', [], 'Age of the oldest of them.'),
  stored(
    'kontext_audit_checkpoint_age_seconds',
    [],
    'Seconds since the newest signed checkpoint of any organisation.',
  ),
  stored('kontext_rollup_lag_segments', [], 'Segments of the logs that the hourly counts do not hold yet.'),
  stored('kontext_rollup_lag_seconds', [], 'Age of the oldest event that the hourly counts do not hold yet.'),
  stored('kontext_payload_partitions', ['class'], 'Partitions of payloads, by retention class.'),
  stored(
    'kontext_retention_lag_seconds',
    [],
    'For how long the oldest payloads that are due should have been erased; 0 when none are due.',
  ),
  stored('kontext_sinks', ['state'], 'Sinks by state: active, paused, disabled.'),
  stored('kontext_sink_lag_segments', [], 'Segments that the active sink farthest behind has still to get.'),
  stored('kontext_sink_lag_seconds', [], 'Age of the oldest segment that an active sink has still to get.'),
  stored('kontext_sink_dead_letters', [], 'Messages to sinks that were given up and not sent again.'),
  stored('kontext_webhook_backlog', [], 'Messages to webhooks that wait.'),
  stored('kontext_exports_running', [], 'Exports that are being made.'),
  stored('kontext_leases_live', [], 'Leases of credentials that have not ended.'),
  stored(
    'kontext_revocations_waiting',
    [],
    'Ended leases whose credential is still to be revoked at its provider.',
  ),
  stored('kontext_sessions_live', [], 'Sessions that are open.'),
  spec('kontext_policy_workers', 'gauge', [], 'Threads that evaluate policies.'),
  spec(
    'kontext_store_connections',
    'gauge',
    ['state'],
    'Connections of the main pool: busy, idle, and calls that wait for one.',
  ),
  spec(
    'kontext_store_up',
    'gauge',
    [],
    '1 when the values from the database could be read, else 0; then those are left out.',
  ),
  spec('kontext_task_runs_total', 'counter', ['task', 'result'], 'Runs of background tasks: ok or failed.'),
  spec('kontext_task_duration_seconds', 'histogram', ['task'], 'How long their runs took.'),
  spec(
    'kontext_task_since_success_seconds',
    'gauge',
    ['task'],
    'Seconds since a task last worked, or since the start when it has not yet.',
  ),
  spec('kontext_task_failing', 'gauge', ['task'], '1 when the last run of a task failed.'),
] as const;

/** The name of a metric. */
export type MetricName = (typeof metricTable)[number]['name'];
/** The name of one that is read from the database. */
export type StoredMetricName = Extract<(typeof metricTable)[number], { readonly from: 'database' }>['name'];
