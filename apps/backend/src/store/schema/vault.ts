/** Sealed secrets and the keys the backend signs with. */
import { sql } from 'drizzle-orm';
import { bigint, boolean, index, integer, pgTable, text, unique } from 'drizzle-orm/pg-core';
import { bytea, instant } from './columns.ts';
import { orgs } from './organisation.ts';

/**
 * One row per version of a sealed secret (trust.md §2). `purpose`, `orgId` (`system` in the AAD when null), `subjectId` and
 * `version` are the context it was sealed under; a row moved to another context cannot be opened.
 */
export const secrets = pgTable(
  'secrets',
  {
    id: text('id').primaryKey(),
    orgId: text('org_id').references(() => orgs.id),
    purpose: text('purpose').notNull(),
    subjectId: text('subject_id').notNull(),
    version: integer('version').notNull(),
    format: integer('format').notNull(),
    kekId: text('kek_id').notNull(),
    wrappedDek: bytea('wrapped_dek').notNull(),
    iv: bytea('iv').notNull(),
    ciphertext: bytea('ciphertext').notNull(),
    createdAt: instant('created_at').notNull(),
    replacedAt: instant('replaced_at'),
  },
  (t) => [
    unique('secrets_context_key').on(t.purpose, t.subjectId, t.version),
    index('secrets_kek_idx').on(t.kekId, t.id),
  ],
);

/** Signing keys; the private half is a secret. `orgId` null: of the whole backend (`oidc`, `cookie`). */
export const signingKeys = pgTable(
  'signing_keys',
  {
    kid: text('kid').primaryKey(),
    orgId: text('org_id').references(() => orgs.id),
    purpose: text('purpose', { enum: ['oidc', 'policy', 'cookie', 'log'] }).notNull(),
    alg: text('alg').notNull(),
    publicJwk: text('public_jwk'),
    secretId: text('secret_id')
      .notNull()
      .references(() => secrets.id),
    active: boolean('active').notNull(),
    createdAt: instant('created_at').notNull(),
    retiredAt: instant('retired_at'),
  },
  (t) => [index('signing_keys_purpose_idx').on(t.purpose, t.orgId).where(sql`retired_at IS NULL`)],
);

/**
 * What is known of key-encryption keys. `active`: new secrets are wrapped under it; `retiring`: being re-wrapped; `retired`:
 * nothing is wrapped under it any more. `uses` counts wraps (trust.md §2: rotate at 2³¹ or a year).
 */
export const keks = pgTable('keks', {
  id: text('id').primaryKey(),
  provider: text('provider').notNull(),
  state: text('state', { enum: ['active', 'retiring', 'retired'] }).notNull(),
  uses: bigint('uses', { mode: 'number' }).notNull().default(0),
  createdAt: instant('created_at').notNull(),
  activatedAt: instant('activated_at'),
  retiredAt: instant('retired_at'),
});
