/** Approvals of tool calls, and where organisations are told of them. */
import { sql } from 'drizzle-orm';
import { bigint, boolean, foreignKey, index, integer, pgTable, text, unique } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';
import { orgs, users } from './organisation.ts';
import { sessions } from './sessions.ts';
import { secrets } from './vault.ts';

/**
 * One question about one call of one session. `callHash` and `shapeHash` are keyed hashes made by the hook server (base64url);
 * `call` is what the approver reads: the redacted call as JSON text. `state` `approved` with `lifetime` `once` becomes `used`
 * when the call is let through. `expiresAt`: while pending, when the question lapses; then, until when the approval holds.
 */
export const approvals = pgTable(
  'approvals',
  {
    id: text('id').primaryKey(),
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    sessionId: text('session_id')
      .notNull()
      .references(() => sessions.id),
    userId: text('user_id').notNull(),
    agent: text('agent').notNull(),
    hostname: text('hostname').notNull(),
    tool: text('tool').notNull(),
    toolUseId: text('tool_use_id'),
    part: text('part').notNull(),
    call: text('call').notNull(),
    callClipped: boolean('call_clipped').notNull().default(false),
    callHash: text('call_hash').notNull(),
    shapeHash: text('shape_hash').notNull(),
    rule: text('rule').notNull(),
    policyVersion: bigint('policy_version', { mode: 'number' }).notNull(),
    reason: text('reason').notNull(),
    approver: text('approver'),
    fourEyes: boolean('four_eyes').notNull().default(false),
    state: text('state', { enum: ['pending', 'approved', 'denied', 'used', 'expired'] }).notNull(),
    lifetime: text('lifetime', { enum: ['once', 'session', 'hour'] }),
    decidedBy: text('decided_by'),
    decisionReason: text('decision_reason').notNull().default(''),
    acr: text('acr'),
    createdAt: instant('created_at').notNull(),
    expiresAt: instant('expires_at').notNull(),
    decidedAt: instant('decided_at'),
    usedAt: instant('used_at'),
  },
  (t) => [
    foreignKey({ columns: [t.orgId, t.userId], foreignColumns: [users.orgId, users.id] }),
    index('approvals_org_idx').on(t.orgId, t.id.desc()),
    index('approvals_session_idx').on(t.sessionId, t.callHash),
    index('approvals_pending_idx').on(t.orgId, t.expiresAt).where(sql`state = 'pending'`),
  ],
);

/** Where an organisation is told of events. `secretId`: the signing key. Disabled after days of failures. */
export const webhooks = pgTable(
  'webhooks',
  {
    id: text('id').primaryKey(),
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    url: text('url').notNull(),
    events: text('events').array().notNull(),
    secretId: text('secret_id')
      .notNull()
      .references(() => secrets.id),
    createdBy: text('created_by').notNull(),
    createdAt: instant('created_at').notNull(),
    disabledAt: instant('disabled_at'),
    lastError: text('last_error').notNull().default(''),
    lastDeliveredAt: instant('last_delivered_at'),
  },
  (t) => [unique('webhooks_org_url_key').on(t.orgId, t.url)],
);

/** A message on its way: one row per webhook and event, written in the transaction that made the event. */
export const webhookDeliveries = pgTable(
  'webhook_deliveries',
  {
    id: text('id').primaryKey(),
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    webhookId: text('webhook_id')
      .notNull()
      .references(() => webhooks.id, { onDelete: 'cascade' }),
    event: text('event').notNull(),
    body: text('body').notNull(),
    state: text('state', { enum: ['waiting', 'delivered', 'dead'] }).notNull(),
    attempts: integer('attempts').notNull().default(0),
    dueAt: instant('due_at').notNull(),
    status: integer('status'),
    error: text('error').notNull().default(''),
    createdAt: instant('created_at').notNull(),
    deliveredAt: instant('delivered_at'),
  },
  (t) => [
    index('webhook_deliveries_due_idx').on(t.dueAt).where(sql`state = 'waiting'`),
    index('webhook_deliveries_webhook_idx').on(t.webhookId, t.id.desc()),
  ],
);
