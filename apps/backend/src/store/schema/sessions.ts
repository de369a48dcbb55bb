/** Sessions and the policies they decide with. */
import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  foreignKey,
  index,
  integer,
  pgTable,
  primaryKey,
  text,
  unique,
} from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';
import { agents, orgs, users } from './organisation.ts';

/**
 * One `kontext start` or `kontext run`. `loginGrantId` is the OAuth grant that opened it. `hooksSeenAt`: when its command
 * first told that the agent really calls the hooks. `endReason`: why it ended when its command did not end it.
 */
export const sessions = pgTable(
  'sessions',
  {
    id: text('id').primaryKey(),
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    userId: text('user_id').notNull(),
    agentId: text('agent_id')
      .notNull()
      .references(() => agents.id),
    agent: text('agent').notNull(),
    agentVersion: text('agent_version').notNull(),
    hostname: text('hostname').notNull(),
    cliVersion: text('cli_version').notNull(),
    state: text('state', { enum: ['live', 'ended', 'lost'] }).notNull(),
    mode: text('mode', { enum: ['observe', 'enforce'] }).notNull(),
    policyVersion: bigint('policy_version', { mode: 'number' }).notNull(),
    loginGrantId: text('login_grant_id').notNull(),
    interactive: boolean('interactive').notNull().default(false),
    hookConfigHash: text('hook_config_hash').notNull().default(''),
    startedAt: instant('started_at').notNull(),
    lastHeartbeatAt: instant('last_heartbeat_at').notNull(),
    endedAt: instant('ended_at'),
    exitCode: integer('exit_code'),
    tamperedAt: instant('tampered_at'),
    hooksSeenAt: instant('hooks_seen_at'),
    endReason: text('end_reason'),
    repository: text('repository').notNull().default(''),
  },
  (t) => [
    foreignKey({ columns: [t.orgId, t.userId], foreignColumns: [users.orgId, users.id] }),
    index('sessions_org_id_idx').on(t.orgId, t.id.desc()),
    index('sessions_org_user_id_idx').on(t.orgId, t.userId, t.id.desc()),
    index('sessions_org_repository_idx').on(t.orgId, t.repository, t.id.desc()).where(sql`repository <> ''`),
    index('sessions_live_idx').on(t.lastHeartbeatAt).where(sql`state = 'live'`),
    index('sessions_grant_idx').on(t.loginGrantId).where(sql`state = 'live'`),
  ],
);

/** A policy of an organisation; `team` is empty for the one that holds for everybody. */
export const policies = pgTable(
  'policies',
  {
    id: text('id').primaryKey(),
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    team: text('team').notNull().default(''),
    newestVersion: bigint('newest_version', { mode: 'number' }).notNull(),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [unique('policies_org_team_key').on(t.orgId, t.team)],
);

/**
 * A version: `policies` is the JSON text of `{id, text}[]`, `hash` as documented in policies.proto, `sources` the files as their
 * author wrote them, JSON text of `{name, text}[]`. Which version holds, for whom, says {@link policyPublications}.
 */
export const policyVersions = pgTable(
  'policy_versions',
  {
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    policyId: text('policy_id')
      .notNull()
      .references(() => policies.id),
    version: bigint('version', { mode: 'number' }).notNull(),
    policies: text('policies').notNull(),
    sources: text('sources').notNull().default('[]'),
    hash: text('hash').notNull(),
    author: text('author').notNull(),
    reason: text('reason').notNull(),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.policyId, t.version] })],
);

/**
 * What was published when; never changed. The newest row of a group (`group_name` empty: everybody) says what holds for it,
 * unless it is `withdrawn`. `seq` counts up within the organisation over all groups and is what a snapshot may never go back in.
 */
export const policyPublications = pgTable(
  'policy_publications',
  {
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    seq: bigint('seq', { mode: 'number' }).notNull(),
    groupName: text('group_name').notNull().default(''),
    version: bigint('version', { mode: 'number' }).notNull(),
    mode: text('mode', { enum: ['observe', 'enforce'] }).notNull(),
    staleRule: text('stale_rule', { enum: ['deny_sensitive', 'deny_all'] })
      .notNull()
      .default('deny_sensitive'),
    withdrawn: boolean('withdrawn').notNull().default(false),
    author: text('author').notNull(),
    reason: text('reason').notNull(),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.seq] }),
    index('policy_publications_group_idx').on(t.orgId, t.groupName, t.seq.desc()),
  ],
);
