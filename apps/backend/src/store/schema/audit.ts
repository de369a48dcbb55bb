/**
 * The audit log (trust.md §1).
 *
 * `audit_events` is partitioned by RANGE(part_day); `audit_payloads` by LIST(retention_class), then RANGE(part_day). `part_day`
 * is the day on which the stream's current segment began, so a batch that arrives again finds the same key. No role may
 * update or delete events; payloads are erased by dropping a partition, or by the role `kontext_erase` (docs/retention.md).
 */
import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  date,
  index,
  integer,
  pgTable,
  primaryKey,
  text,
  uniqueIndex,
} from 'drizzle-orm/pg-core';
import { bytea, instant } from './columns.ts';
import { orgs } from './organisation.ts';
import { secrets } from './vault.ts';

/** Head of a stream. `headHash` is the first link's input while `headSeq` is 0. */
export const auditStreams = pgTable(
  'audit_streams',
  {
    id: text('id').primaryKey(),
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    kind: text('kind', { enum: ['client', 'server', 'admin'] }).notNull(),
    sessionId: text('session_id'),
    userId: text('user_id'),
    nonce: bytea('nonce').notNull(),
    headSeq: bigint('head_seq', { mode: 'number' }).notNull().default(0),
    headHash: bytea('head_hash').notNull(),
    headEventHash: bytea('head_event_hash'),
    partDay: date('part_day', { mode: 'string' }).notNull(),
    partStartedAt: instant('part_started_at').notNull(),
    /** Payloads go into class `hold`. Stands here because an append has this row locked: none slips past a hold (audit_holds). */
    held: boolean('held').notNull().default(false),
    createdAt: instant('created_at').notNull(),
    updatedAt: instant('updated_at').notNull(),
  },
  (t) => [
    uniqueIndex('audit_streams_session_kind_key').on(t.sessionId, t.kind).where(sql`session_id IS NOT NULL`),
    uniqueIndex('audit_streams_admin_key').on(t.orgId).where(sql`kind = 'admin'`),
    index('audit_streams_org_updated_idx').on(t.orgId, t.updatedAt.desc()),
    index('audit_streams_org_user_updated_idx').on(t.orgId, t.userId, t.updatedAt.desc()),
    index('audit_streams_org_id_idx').on(t.orgId, t.id.desc()),
  ],
);

/** Which part_day holds which seq of a stream; one row a day that a stream was rotated into. */
export const auditStreamDays = pgTable(
  'audit_stream_days',
  {
    orgId: text('org_id').notNull(),
    streamId: text('stream_id')
      .notNull()
      .references(() => auditStreams.id),
    firstSeq: bigint('first_seq', { mode: 'number' }).notNull(),
    partDay: date('part_day', { mode: 'string' }).notNull(),
  },
  (t) => [primaryKey({ columns: [t.streamId, t.firstSeq] })],
);

/** Headers. `header` is the exact text that is hashed; the other columns are derived from it for searching. */
export const auditEvents = pgTable(
  'audit_events',
  {
    partDay: date('part_day', { mode: 'string' }).notNull(),
    streamId: text('stream_id').notNull(),
    seq: bigint('seq', { mode: 'number' }).notNull(),
    orgId: text('org_id').notNull(),
    eventId: text('event_id').notNull(),
    kind: text('kind').notNull(),
    sessionId: text('session_id'),
    userId: text('user_id'),
    agent: text('agent'),
    tool: text('tool'),
    toolUseId: text('tool_use_id'),
    decision: text('decision'),
    rule: text('rule'),
    policyVersion: bigint('policy_version', { mode: 'number' }),
    occurredAt: instant('occurred_at').notNull(),
    receivedAt: instant('received_at').notNull(),
    late: boolean('late').notNull(),
    header: text('header').notNull(),
    chain: bytea('chain').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.partDay, t.streamId, t.seq] }),
    index('audit_events_org_received_idx').on(t.orgId, t.receivedAt.desc()),
    index('audit_events_org_user_received_idx').on(t.orgId, t.userId, t.receivedAt.desc()),
    index('audit_events_denied_idx').on(t.orgId, t.receivedAt.desc()).where(sql`decision = 'deny'`),
    index('audit_events_org_tool_received_idx')
      .on(t.orgId, t.tool, t.receivedAt.desc())
      .where(sql`tool IS NOT NULL`),
    // Not unique: writers choose the ids of events.
    index('audit_events_org_event_idx').on(t.orgId, t.eventId),
  ],
);

/**
 * Which events of the backend are about which lease, connection, approval or provider (`ref` is its id, or `provider:<name>`).
 * Written with the event; for search and lineage alone, nothing of it is verified.
 */
export const auditRefs = pgTable(
  'audit_refs',
  {
    orgId: text('org_id').notNull(),
    ref: text('ref').notNull(),
    streamId: text('stream_id').notNull(),
    seq: bigint('seq', { mode: 'number' }).notNull(),
    partDay: date('part_day', { mode: 'string' }).notNull(),
    receivedAt: instant('received_at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.ref, t.streamId, t.seq] }),
    index('audit_refs_received_idx').on(t.orgId, t.ref, t.receivedAt.desc()),
  ],
);

/**
 * Events per hour of `received_at`, counted once each in the order of the log: `audit_rollup_positions` says up to which leaf.
 * Empty texts stand for null.
 */
export const auditRollups = pgTable(
  'audit_rollups',
  {
    orgId: text('org_id').notNull(),
    hour: instant('hour').notNull(),
    kind: text('kind').notNull(),
    userId: text('user_id').notNull(),
    agent: text('agent').notNull(),
    tool: text('tool').notNull(),
    decision: text('decision').notNull(),
    mode: text('mode').notNull(),
    count: bigint('count', { mode: 'number' }).notNull(),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.hour, t.kind, t.userId, t.agent, t.tool, t.decision, t.mode] })],
);

/** Next leaf of an organisation's log that the roll-ups have not counted. */
export const auditRollupPositions = pgTable('audit_rollup_positions', {
  orgId: text('org_id')
    .primaryKey()
    .references(() => orgs.id),
  nextLeaf: bigint('next_leaf', { mode: 'number' }).notNull(),
  /** Newest `received_at` among what is counted. */
  countedUntil: instant('counted_until'),
  updatedAt: instant('updated_at').notNull(),
});

/** What an organisation keeps of payloads; no row: `summary`, class `standard`. */
export const auditSettings = pgTable('audit_settings', {
  orgId: text('org_id')
    .primaryKey()
    .references(() => orgs.id),
  payloads: text('payloads', { enum: ['summary', 'full', 'omitted'] }).notNull(),
  retentionClass: text('retention_class').notNull(),
  changedBy: text('changed_by').notNull(),
  changedAt: instant('changed_at').notNull(),
});

/** Sessions whose payloads are held; new ones of theirs go into class `hold`, too. */
export const auditHolds = pgTable('audit_holds', {
  sessionId: text('session_id').primaryKey(),
  orgId: text('org_id')
    .notNull()
    .references(() => orgs.id),
  reason: text('reason').notNull(),
  heldBy: text('held_by').notNull(),
  heldAt: instant('held_at').notNull(),
});

/** Exports and how far they are. `cursor`: where the job goes on, its own JSON. `claimedUntil`: a replica works on it until then. */
export const auditExports = pgTable(
  'audit_exports',
  {
    id: text('id').primaryKey(),
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    userId: text('user_id').notNull(),
    format: text('format', { enum: ['bundle', 'csv'] }).notNull(),
    query: text('query').notNull(),
    withoutPayloads: boolean('without_payloads').notNull(),
    state: text('state', { enum: ['running', 'ready', 'failed', 'expired'] }).notNull(),
    cursor: text('cursor').notNull().default(''),
    claimedUntil: instant('claimed_until'),
    events: bigint('events', { mode: 'number' }).notNull().default(0),
    bytes: bigint('bytes', { mode: 'number' }).notNull().default(0),
    sha256: bytea('sha256'),
    error: text('error').notNull().default(''),
    createdAt: instant('created_at').notNull(),
    finishedAt: instant('finished_at'),
    expiresAt: instant('expires_at').notNull(),
  },
  (t) => [
    index('audit_exports_org_idx').on(t.orgId, t.id.desc()),
    index('audit_exports_running_idx').on(t.claimedUntil).where(sql`state = 'running'`),
  ],
);

/** The bytes of exports in pieces, until they expire. */
export const auditExportChunks = pgTable(
  'audit_export_chunks',
  {
    exportId: text('export_id')
      .notNull()
      .references(() => auditExports.id, { onDelete: 'cascade' }),
    orgId: text('org_id').notNull(),
    chunk: integer('chunk').notNull(),
    /** Offset of its first byte. */
    offset: bigint('offset', { mode: 'number' }).notNull(),
    data: bytea('data').notNull(),
  },
  (t) => [primaryKey({ columns: [t.exportId, t.chunk] })],
);

/**
 * Where audit events are sent on to. `nextLeaf`, `nextSeq`: the first leaf of the log, and in it the first seq, that is not
 * delivered; seq 0 is the beginning of its segment. `claimedUntil`: a replica works on it until then.
 */
export const auditSinks = pgTable(
  'audit_sinks',
  {
    id: text('id').primaryKey(),
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    name: text('name').notNull(),
    url: text('url').notNull(),
    kinds: text('kinds').array().notNull(),
    payloads: boolean('payloads').notNull(),
    secretId: text('secret_id')
      .notNull()
      .references(() => secrets.id),
    state: text('state', { enum: ['active', 'paused', 'disabled'] }).notNull(),
    nextLeaf: bigint('next_leaf', { mode: 'number' }).notNull(),
    nextSeq: bigint('next_seq', { mode: 'number' }).notNull().default(0),
    attempts: integer('attempts').notNull().default(0),
    dueAt: instant('due_at').notNull(),
    claimedUntil: instant('claimed_until'),
    lastError: text('last_error').notNull().default(''),
    lastDeliveredAt: instant('last_delivered_at'),
    failingSince: instant('failing_since'),
    createdBy: text('created_by').notNull(),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [
    uniqueIndex('audit_sinks_org_name_key').on(t.orgId, t.name),
    index('audit_sinks_due_idx').on(t.dueAt).where(sql`state = 'active'`),
  ],
);

/**
 * What was sent to a sink, one row per message: events from `firstSeq` of one segment to `lastSeq` of another, null: to its end.
 * A message is stored before it is sent, and keeps id and events in every attempt. `failed`: the one that is being sent, at most
 * one of a sink; `dead`: given up, `dueAt` says when it is sent again, null: when somebody asks for it. `firstAt` is when its
 * attempts began, `at` when the last one was.
 */
export const auditSinkDeliveries = pgTable(
  'audit_sink_deliveries',
  {
    id: text('id').primaryKey(),
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    sinkId: text('sink_id')
      .notNull()
      .references(() => auditSinks.id, { onDelete: 'cascade' }),
    state: text('state', { enum: ['delivered', 'failed', 'dead'] }).notNull(),
    firstLeaf: bigint('first_leaf', { mode: 'number' }).notNull(),
    firstSeq: bigint('first_seq', { mode: 'number' }).notNull().default(0),
    lastLeaf: bigint('last_leaf', { mode: 'number' }).notNull(),
    lastSeq: bigint('last_seq', { mode: 'number' }),
    events: integer('events').notNull(),
    attempts: integer('attempts').notNull(),
    status: integer('status'),
    error: text('error').notNull().default(''),
    firstAt: instant('first_at').notNull(),
    at: instant('at').notNull(),
    dueAt: instant('due_at'),
  },
  (t) => [
    uniqueIndex('audit_sink_deliveries_open_key').on(t.sinkId).where(sql`state = 'failed'`),
    index('audit_sink_deliveries_sink_idx').on(t.sinkId, t.id.desc()),
    index('audit_sink_deliveries_dead_idx').on(t.sinkId, t.firstLeaf).where(sql`state = 'dead'`),
  ],
);

/** Redacted payload texts and their salts; erasing one leaves the header's hash without its preimage. */
export const auditPayloads = pgTable(
  'audit_payloads',
  {
    retentionClass: text('retention_class').notNull(),
    partDay: date('part_day', { mode: 'string' }).notNull(),
    streamId: text('stream_id').notNull(),
    seq: bigint('seq', { mode: 'number' }).notNull(),
    orgId: text('org_id').notNull(),
    salt: bytea('salt').notNull(),
    payload: text('payload').notNull(),
  },
  // By day and place first: whoever looks for a payload does not know its class.
  (t) => [primaryKey({ columns: [t.partDay, t.streamId, t.seq, t.retentionClass] })],
);

/**
 * Runs of events as they were accepted, one per append: the leaves of the organisation's Merkle log. `leafIndex` null: not in the
 * log yet. `prev` and `head` are the chain values before the first event and of the last one.
 */
export const auditSegments = pgTable(
  'audit_segments',
  {
    orgId: text('org_id').notNull(),
    streamId: text('stream_id')
      .notNull()
      .references(() => auditStreams.id),
    firstSeq: bigint('first_seq', { mode: 'number' }).notNull(),
    lastSeq: bigint('last_seq', { mode: 'number' }).notNull(),
    prev: bytea('prev').notNull(),
    head: bytea('head').notNull(),
    leafIndex: bigint('leaf_index', { mode: 'number' }),
    acceptedAt: instant('accepted_at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.streamId, t.firstSeq] }),
    uniqueIndex('audit_segments_leaf_key').on(t.orgId, t.leafIndex).where(sql`leaf_index IS NOT NULL`),
    index('audit_segments_waiting_idx').on(t.orgId, t.streamId, t.firstSeq).where(sql`leaf_index IS NULL`),
  ],
);

/** How long an organisation's log is; `hashes` are those of its frontier, 32 bytes each, one after the other. */
export const auditLogs = pgTable('audit_logs', {
  orgId: text('org_id')
    .primaryKey()
    .references(() => orgs.id),
  size: bigint('size', { mode: 'number' }).notNull(),
  hashes: bytea('hashes').notNull(),
  updatedAt: instant('updated_at').notNull(),
});

/** Complete nodes of the logs (packages/audit/src/log/merkle-tree.ts); level 0 are the leaves. */
export const auditLogNodes = pgTable(
  'audit_log_nodes',
  {
    orgId: text('org_id').notNull(),
    level: integer('level').notNull(),
    position: bigint('position', { mode: 'number' }).notNull(),
    hash: bytea('hash').notNull(),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.level, t.position] })],
);

/** Roots, one per size that was reached; `note` is the signed checkpoint, null until it is signed. */
export const auditCheckpoints = pgTable(
  'audit_checkpoints',
  {
    orgId: text('org_id').notNull(),
    size: bigint('size', { mode: 'number' }).notNull(),
    root: bytea('root').notNull(),
    note: text('note'),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.size] })],
);
