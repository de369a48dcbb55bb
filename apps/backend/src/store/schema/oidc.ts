/** What the authorization server and the proofs of possession need to remember. */
import { sql } from 'drizzle-orm';
import { index, integer, pgTable, primaryKey, text, uniqueIndex } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';

/**
 * Rows of the authorization server's adapter. Ids are stored as hashes (identity.md G3): no usable token stands in a dump.
 * `graceUsedAt` is the one extra use a rotated refresh token has within its grace (G2).
 */
export const oidcPayloads = pgTable(
  'oidc_payloads',
  {
    model: text('model').notNull(),
    idHash: text('id_hash').notNull(),
    payload: text('payload').notNull(),
    grantIdHash: text('grant_id_hash'),
    userCodeHash: text('user_code_hash'),
    uidHash: text('uid_hash'),
    accountId: text('account_id'),
    orgId: text('org_id'),
    createdAt: instant('created_at').notNull(),
    expiresAt: instant('expires_at'),
    consumedAt: instant('consumed_at'),
    graceUsedAt: instant('grace_used_at'),
  },
  (t) => [
    primaryKey({ columns: [t.model, t.idHash] }),
    index('oidc_payloads_grant_idx').on(t.grantIdHash).where(sql`grant_id_hash IS NOT NULL`),
    uniqueIndex('oidc_payloads_user_code_key')
      .on(t.model, t.userCodeHash)
      .where(sql`user_code_hash IS NOT NULL`),
    index('oidc_payloads_uid_idx').on(t.model, t.uidHash).where(sql`uid_hash IS NOT NULL`),
    index('oidc_payloads_account_idx').on(t.accountId).where(sql`account_id IS NOT NULL`),
    index('oidc_payloads_expires_idx').on(t.expiresAt),
  ],
);

/** Proofs seen (RFC 9449 §11.1), shared by replicas; swept after they expire. */
export const dpopProofs = pgTable(
  'dpop_proofs',
  { jtiHash: text('jti_hash').primaryKey(), expiresAt: instant('expires_at').notNull() },
  (t) => [index('dpop_proofs_expires_idx').on(t.expiresAt)],
);

/** Counters of fixed windows. `key` holds hashes where it would hold an address or a name. */
export const rateLimits = pgTable(
  'rate_limits',
  {
    key: text('key').notNull(),
    windowStart: instant('window_start').notNull(),
    count: integer('count').notNull(),
    expiresAt: instant('expires_at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.key, t.windowStart] }), index('rate_limits_expires_idx').on(t.expiresAt)],
);
