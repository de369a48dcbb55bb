/** Upstream services, the standing links to them, and the credentials handed out. */
import { sql } from 'drizzle-orm';
import {
  foreignKey,
  index,
  integer,
  pgTable,
  primaryKey,
  text,
  unique,
  uniqueIndex,
} from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';
import { agents, orgs, users } from './organisation.ts';
import { secrets } from './vault.ts';

/**
 * `callbackId` is the unguessable, fixed part of the callback URL registered at the provider. `catalogueId` names the entry of
 * the catalogue it was made from, empty for one of the organisation's own. `settings` is the JSON text of what only this kind
 * has; it holds no secret: the one secret (client secret, private key, database password) is sealed under `clientSecretId`.
 * `maxLoginAgeSeconds` and `approval` ask more of a person before a credential leaves; `leaseTtlSeconds` 0: the agent's cap.
 */
export const providers = pgTable(
  'providers',
  {
    id: text('id').primaryKey(),
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    name: text('name').notNull(),
    kind: text('kind', {
      enum: ['oauth2', 'static', 'github_app', 'aws_sts', 'postgres', 'token_exchange'],
    }).notNull(),
    catalogueId: text('catalogue_id').notNull().default(''),
    authorizationEndpoint: text('authorization_endpoint').notNull().default(''),
    tokenEndpoint: text('token_endpoint').notNull().default(''),
    revocationEndpoint: text('revocation_endpoint').notNull().default(''),
    clientId: text('client_id').notNull().default(''),
    clientSecretId: text('client_secret_id').references(() => secrets.id),
    clientAuth: text('client_auth', {
      enum: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
    })
      .notNull()
      .default('none'),
    scopes: text('scopes').array().notNull().default(sql`'{}'::text[]`),
    issuer: text('issuer').notNull().default(''),
    settings: text('settings').notNull().default('{}'),
    maxLoginAgeSeconds: integer('max_login_age_seconds'),
    approval: text('approval', { enum: ['none', 'user'] })
      .notNull()
      .default('none'),
    leaseTtlSeconds: integer('lease_ttl_seconds').notNull().default(0),
    callbackId: text('callback_id').notNull().unique(),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [unique('providers_org_name_key').on(t.orgId, t.name)],
);

/** Which providers an agent may get credentials of. `scopes` null: no ceiling of its own for this provider. */
export const agentProviders = pgTable(
  'agent_providers',
  {
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    agentId: text('agent_id')
      .notNull()
      .references(() => agents.id, { onDelete: 'cascade' }),
    providerId: text('provider_id')
      .notNull()
      .references(() => providers.id, { onDelete: 'cascade' }),
    scopes: text('scopes').array(),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.agentId, t.providerId] }),
    index('agent_providers_provider_idx').on(t.providerId),
  ],
);

/**
 * A standing link. `userId` null: shared by the organisation. `secretId` is the one sealed token set (access and refresh
 * token together, or the static key); `version` counts its versions. `accessExpiresAt` null: unknown, not infinite.
 * `metadata` is JSON text a kind needs again (installation, account, host), never secret.
 * `refreshStartedAt` marks a refresh in flight, so that a crash between the provider's answer and our commit is seen.
 */
export const connections = pgTable(
  'connections',
  {
    id: text('id').primaryKey(),
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    providerId: text('provider_id')
      .notNull()
      .references(() => providers.id, { onDelete: 'cascade' }),
    userId: text('user_id'),
    name: text('name').notNull().default('default'),
    state: text('state', { enum: ['pending', 'connected', 'reauth_required', 'revoked'] }).notNull(),
    scopes: text('scopes').array().notNull().default(sql`'{}'::text[]`),
    secretId: text('secret_id').references(() => secrets.id),
    version: integer('version').notNull().default(0),
    accessExpiresAt: instant('access_expires_at'),
    account: text('account'),
    metadata: text('metadata').notNull().default('{}'),
    failure: text('failure'),
    refreshStartedAt: instant('refresh_started_at'),
    createdAt: instant('created_at').notNull(),
    connectedAt: instant('connected_at'),
    lastUsedAt: instant('last_used_at'),
    revokedAt: instant('revoked_at'),
  },
  (t) => [
    foreignKey({ columns: [t.orgId, t.userId], foreignColumns: [users.orgId, users.id] }),
    uniqueIndex('connections_own_key')
      .on(t.providerId, t.userId, t.name)
      .where(sql`user_id IS NOT NULL AND state <> 'revoked'`),
    uniqueIndex('connections_shared_key')
      .on(t.providerId, t.name)
      .where(sql`user_id IS NULL AND state <> 'revoked'`),
    index('connections_org_user_idx').on(t.orgId, t.userId),
  ],
);

/** A connect link a person opens once: only hashes of the values that travel through the browser are kept. */
export const connectTickets = pgTable(
  'connect_tickets',
  {
    ticketHash: text('ticket_hash').primaryKey(),
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    userId: text('user_id').notNull(),
    connectionId: text('connection_id')
      .notNull()
      .references(() => connections.id, { onDelete: 'cascade' }),
    scopes: text('scopes').array().notNull().default(sql`'{}'::text[]`),
    stateHash: text('state_hash').unique(),
    browserHash: text('browser_hash'),
    verifierSecretId: text('verifier_secret_id').references(() => secrets.id),
    createdAt: instant('created_at').notNull(),
    expiresAt: instant('expires_at').notNull(),
    openedAt: instant('opened_at'),
    consumedAt: instant('consumed_at'),
  },
  (t) => [index('connect_tickets_expires_idx').on(t.expiresAt)],
);

/**
 * One row per issued credential. `sessionId` null: an exchange outside a session. `plannedName` is the role or token a mint
 * will make, known before it is made. `provider` is the handle as it was, so that the row outlives the provider.
 * `upstreamExpiresAt` and `expiresAt` null: the credential does not expire. `renewsLeaseId`: the lease this one took over from.
 * `depth` counts the exchanges above it. `revocation` says what became of it at the provider after it ended; `secretId` is the
 * sealed value while revoking needs it. `resource` is what the placeholder named after the `/`.
 */
export const leases = pgTable(
  'leases',
  {
    id: text('id').primaryKey(),
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    state: text('state', { enum: ['pending', 'active', 'ended'] }).notNull(),
    kind: text('kind', { enum: ['oauth', 'static', 'minted', 'token'] }).notNull(),
    jti: text('jti').unique(),
    parentLeaseId: text('parent_lease_id'),
    sessionId: text('session_id'),
    connectionId: text('connection_id'),
    providerId: text('provider_id'),
    provider: text('provider').notNull(),
    userId: text('user_id').notNull(),
    agentId: text('agent_id'),
    subject: text('subject').notNull(),
    actor: text('actor'),
    audience: text('audience').notNull(),
    scope: text('scope').array().notNull().default(sql`'{}'::text[]`),
    delivery: text('delivery', { enum: ['inject', 'broker', 'exchange'] }).notNull(),
    plannedName: text('planned_name'),
    renewsLeaseId: text('renews_lease_id'),
    depth: integer('depth').notNull().default(0),
    resource: text('resource').notNull().default(''),
    secretId: text('secret_id').references(() => secrets.id),
    revocation: text('revocation', { enum: ['none', 'pending', 'done', 'failed', 'impossible'] })
      .notNull()
      .default('none'),
    revocationAttempts: integer('revocation_attempts').notNull().default(0),
    revocationDueAt: instant('revocation_due_at'),
    upstreamExpiresAt: instant('upstream_expires_at'),
    expiresAt: instant('expires_at'),
    createdAt: instant('created_at').notNull(),
    activatedAt: instant('activated_at'),
    endedAt: instant('ended_at'),
    endReason: text('end_reason'),
  },
  (t) => [
    index('leases_session_idx').on(t.sessionId).where(sql`state <> 'ended'`),
    index('leases_connection_idx').on(t.connectionId).where(sql`state <> 'ended'`),
    index('leases_pending_idx').on(t.createdAt).where(sql`state = 'pending'`),
    index('leases_expires_idx').on(t.expiresAt).where(sql`state = 'active'`),
    index('leases_org_user_id_idx').on(t.orgId, t.userId, t.id.desc()),
    index('leases_session_id_idx').on(t.sessionId, t.id.desc()),
    index('leases_parent_idx').on(t.parentLeaseId).where(sql`parent_lease_id IS NOT NULL`),
    index('leases_renews_idx').on(t.renewsLeaseId).where(sql`renews_lease_id IS NOT NULL`),
    index('leases_planned_name_idx').on(t.plannedName).where(sql`planned_name IS NOT NULL`),
    index('leases_agent_idx').on(t.agentId).where(sql`state <> 'ended'`),
    index('leases_revocation_idx').on(t.revocationDueAt).where(sql`revocation = 'pending'`),
  ],
);
