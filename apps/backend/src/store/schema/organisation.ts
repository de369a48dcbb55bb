/** Organisations and the people in them. */
import { sql } from 'drizzle-orm';
import { boolean, foreignKey, index, integer, pgTable, primaryKey, text, unique } from 'drizzle-orm/pg-core';
import { bytea, instant } from './columns.ts';

/** A tenant. Which policy holds, and whether it is enforced, stands in `policy_publications`. */
export const orgs = pgTable('orgs', {
  id: text('id').primaryKey(),
  slug: text('slug').notNull().unique(),
  name: text('name').notNull(),
  createdAt: instant('created_at').notNull(),
});

/** A person. `name` is what they are shown by: e-mail, or local account name. */
export const users = pgTable(
  'users',
  {
    id: text('id').primaryKey(),
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    name: text('name').notNull(),
    email: text('email').notNull().default(''),
    createdAt: instant('created_at').notNull(),
    disabledAt: instant('disabled_at'),
  },
  (t) => [unique('users_org_id_id_key').on(t.orgId, t.id), index('users_org_name_idx').on(t.orgId, t.name)],
);

/** What a user may do in the organisation. Groups are names the policy sees. */
export const memberships = pgTable(
  'memberships',
  {
    orgId: text('org_id').notNull(),
    userId: text('user_id').notNull(),
    role: text('role', { enum: ['owner', 'admin', 'security', 'approver', 'auditor', 'member'] }).notNull(),
    groups: text('groups').array().notNull().default(sql`'{}'::text[]`),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.userId] }),
    foreignKey({ columns: [t.orgId, t.userId], foreignColumns: [users.orgId, users.id] }),
  ],
);

/**
 * An account at an identity provider. The key is (iss, sub), never the e-mail address (OIDC Core §5.7). `validatedAt`: when
 * the provider last vouched for it; `refreshSecretId`: what it can be asked with again, without the person.
 */
export const identities = pgTable(
  'identities',
  {
    iss: text('iss').notNull(),
    sub: text('sub').notNull(),
    orgId: text('org_id').notNull(),
    userId: text('user_id').notNull(),
    createdAt: instant('created_at').notNull(),
    lastLoginAt: instant('last_login_at'),
    identityProviderId: text('identity_provider_id'),
    validatedAt: instant('validated_at'),
    refreshSecretId: text('refresh_secret_id'),
  },
  (t) => [
    primaryKey({ columns: [t.iss, t.sub] }),
    foreignKey({ columns: [t.orgId, t.userId], foreignColumns: [users.orgId, users.id] }),
    index('identities_user_idx').on(t.orgId, t.userId),
  ],
);

/** Passcode of a local account (local mode only): scrypt, with its parameters beside it (`N=…,r=…,p=…`). */
export const localAccounts = pgTable(
  'local_accounts',
  {
    userId: text('user_id').primaryKey(),
    orgId: text('org_id').notNull(),
    name: text('name').notNull(),
    hash: bytea('hash').notNull(),
    salt: bytea('salt').notNull(),
    params: text('params').notNull(),
    failedCount: integer('failed_count').notNull().default(0),
    lockedUntil: instant('locked_until'),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [
    foreignKey({ columns: [t.orgId, t.userId], foreignColumns: [users.orgId, users.id] }),
    unique('local_accounts_org_name_key').on(t.orgId, t.name),
  ],
);

/**
 * A registered principal that sessions act through. `ceilingScopes` null: no ceiling of its own. `disabledAt`: nothing may be
 * opened or exchanged through it.
 */
export const agents = pgTable(
  'agents',
  {
    id: text('id').primaryKey(),
    orgId: text('org_id')
      .notNull()
      .references(() => orgs.id),
    name: text('name').notNull(),
    builtIn: boolean('built_in').notNull().default(false),
    ceilingScopes: text('ceiling_scopes').array(),
    maxTtlSeconds: integer('max_ttl_seconds').notNull().default(3600),
    description: text('description').notNull().default(''),
    disabledAt: instant('disabled_at'),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [unique('agents_org_name_key').on(t.orgId, t.name)],
);
