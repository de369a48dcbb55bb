/** Who vouches for people, which terminals they logged in, and what they confirmed. */
import { sql } from 'drizzle-orm';
import { boolean, foreignKey, index, integer, pgTable, text, unique, uniqueIndex } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';
import { orgs, users } from './organisation.ts';
import { secrets } from './vault.ts';

/**
 * An organisation's OpenID provider; we are its relying party. `callbackId` is the fixed, unguessable part of the one callback
 * URL registered there. `groupRoles` is JSON text, group name to role; `emailDomains` find the organisation at login;
 * `admitsNewMembers`: whoever it vouches for becomes a member without an invitation. `revalidateSeconds`: how long we believe it.
 */
export const identityProviders = pgTable(
  'identity_providers',
  {
    id: text('id').primaryKey(),
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    name: text('name').notNull(),
    issuer: text('issuer').notNull(),
    clientId: text('client_id').notNull(),
    clientSecretId: text('client_secret_id').references(() => secrets.id),
    clientAuth: text('client_auth', {
      enum: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
    }).notNull(),
    scopes: text('scopes').array().notNull().default(sql`'{}'::text[]`),
    groupsClaim: text('groups_claim').notNull().default('groups'),
    groupRoles: text('group_roles').notNull().default('{}'),
    emailDomains: text('email_domains').array().notNull().default(sql`'{}'::text[]`),
    admitsNewMembers: boolean('admits_new_members').notNull().default(false),
    revalidateSeconds: integer('revalidate_seconds').notNull().default(43_200),
    callbackId: text('callback_id').notNull().unique(),
    createdAt: instant('created_at').notNull(),
    disabledAt: instant('disabled_at'),
  },
  (t) => [
    unique('identity_providers_org_name_key').on(t.orgId, t.name),
    unique('identity_providers_org_issuer_key').on(t.orgId, t.issuer, t.clientId),
  ],
);

/** A login on its way to an identity provider and back; found by the hash of `state`. */
export const federatedLogins = pgTable(
  'federated_logins',
  {
    stateHash: text('state_hash').primaryKey(),
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    identityProviderId: text('identity_provider_id')
      .notNull()
      .references(() => identityProviders.id, { onDelete: 'cascade' }),
    browserHash: text('browser_hash').notNull(),
    nonce: text('nonce').notNull(),
    verifierSecretId: text('verifier_secret_id').references(() => secrets.id),
    returnTo: text('return_to').notNull(),
    invitationId: text('invitation_id'),
    createdAt: instant('created_at').notNull(),
    expiresAt: instant('expires_at').notNull(),
    consumedAt: instant('consumed_at'),
  },
  (t) => [index('federated_logins_expires_idx').on(t.expiresAt)],
);

/** An invitation; only the hash of its token is kept. */
export const invitations = pgTable(
  'invitations',
  {
    id: text('id').primaryKey(),
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    email: text('email').notNull(),
    role: text('role', { enum: ['owner', 'admin', 'security', 'approver', 'auditor', 'member'] }).notNull(),
    groups: text('groups').array().notNull().default(sql`'{}'::text[]`),
    tokenHash: text('token_hash').notNull().unique(),
    invitedBy: text('invited_by').notNull(),
    createdAt: instant('created_at').notNull(),
    expiresAt: instant('expires_at').notNull(),
    acceptedAt: instant('accepted_at'),
    acceptedBy: text('accepted_by'),
    revokedAt: instant('revoked_at'),
  },
  (t) => [
    index('invitations_org_idx').on(t.orgId, t.id.desc()),
    uniqueIndex('invitations_open_key')
      .on(t.orgId, t.email)
      .where(sql`accepted_at IS NULL AND revoked_at IS NULL`),
  ],
);

/**
 * A login of a terminal: one row per OAuth grant (`grantIdHash` as the adapter hashes it). `authAt` and `acr` say when and how
 * the person was at the browser; `absoluteExpiresAt` ends it whatever happens. `upstreamSid`: session at the identity provider
 * (OIDC Back-Channel Logout 1.0 §2.4).
 */
export const logins = pgTable(
  'logins',
  {
    grantIdHash: text('grant_id_hash').primaryKey(),
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    userId: text('user_id').notNull(),
    clientId: text('client_id').notNull(),
    machine: text('machine'),
    address: text('address').notNull().default(''),
    acr: text('acr').notNull(),
    authAt: instant('auth_at').notNull(),
    identityProviderId: text('identity_provider_id'),
    upstreamSid: text('upstream_sid'),
    createdAt: instant('created_at').notNull(),
    lastUsedAt: instant('last_used_at').notNull(),
    absoluteExpiresAt: instant('absolute_expires_at').notNull(),
    revokedAt: instant('revoked_at'),
    endReason: text('end_reason'),
  },
  (t) => [
    foreignKey({ columns: [t.orgId, t.userId], foreignColumns: [users.orgId, users.id] }),
    index('logins_user_idx').on(t.orgId, t.userId).where(sql`revoked_at IS NULL`),
    index('logins_upstream_idx').on(t.identityProviderId, t.upstreamSid).where(sql`upstream_sid IS NOT NULL`),
  ],
);

/** Access tokens of ours that ended before their time, by keyed name (`jti:…`); swept after they would have expired. */
export const deniedTokens = pgTable(
  'denied_tokens',
  {
    key: text('key').primaryKey(),
    orgId: text('org_id').notNull(),
    expiresAt: instant('expires_at').notNull(),
  },
  (t) => [index('denied_tokens_expires_idx').on(t.expiresAt)],
);

/**
 * A person's fresh consent to one action (RFC 9470). `requestHash` is a keyed hash of the exact request, `tokenHash` of the link;
 * `used` once the action was done with it.
 */
export const confirmations = pgTable(
  'confirmations',
  {
    id: text('id').primaryKey(),
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    userId: text('user_id').notNull(),
    action: text('action').notNull(),
    summary: text('summary').notNull(),
    requestHash: text('request_hash').notNull(),
    tokenHash: text('token_hash').notNull().unique(),
    state: text('state', { enum: ['pending', 'confirmed', 'denied', 'used'] }).notNull(),
    requesterGrantHash: text('requester_grant_hash').notNull(),
    machine: text('machine'),
    address: text('address').notNull().default(''),
    authAt: instant('auth_at'),
    acr: text('acr'),
    createdAt: instant('created_at').notNull(),
    expiresAt: instant('expires_at').notNull(),
    decidedAt: instant('decided_at'),
    usedAt: instant('used_at'),
  },
  (t) => [
    foreignKey({ columns: [t.orgId, t.userId], foreignColumns: [users.orgId, users.id] }),
    index('confirmations_user_idx').on(t.orgId, t.userId, t.createdAt.desc()),
    index('confirmations_expires_idx').on(t.expiresAt),
  ],
);
