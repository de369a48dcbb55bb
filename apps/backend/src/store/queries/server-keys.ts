/** Keys of the whole backend (no organisation), each with its sealed private half; all as role `system`. */
import { and, asc, eq, gt, isNull, or, sql } from 'drizzle-orm';
import { secrets, signingKeys } from '../schema.ts';
import type { Tx } from '../tx.ts';
import { insertSecret, type SecretRow } from './secrets.ts';

/** What a key of the whole backend is for. */
export type ServerKeyPurpose = 'oidc' | 'cookie';

/** A key and the sealed record of its secret half. */
export interface ServerKeyRow {
  readonly kid: string;
  readonly purpose: ServerKeyPurpose;
  readonly alg: string;
  /** JSON text; null for a symmetric key. */
  readonly publicJwk: string | null;
  readonly active: boolean;
  readonly createdAt: Date;
  /** When a key that was replaced stops being believed; null before it is replaced. */
  readonly retiredAt: Date | null;
  readonly secret: SecretRow;
}

/** Keys in use: the active one first, then the next by age, then those that were replaced and are believed still. */
export async function listServerKeys(
  tx: Tx,
  purpose: ServerKeyPurpose,
  now: Date,
): Promise<readonly ServerKeyRow[]> {
  const rows = await tx
    .select({
      kid: signingKeys.kid,
      alg: signingKeys.alg,
      publicJwk: signingKeys.publicJwk,
      active: signingKeys.active,
      createdAt: signingKeys.createdAt,
      retiredAt: signingKeys.retiredAt,
      secret: secrets,
    })
    .from(signingKeys)
    .innerJoin(secrets, eq(secrets.id, signingKeys.secretId))
    .where(
      and(
        eq(signingKeys.purpose, purpose),
        isNull(signingKeys.orgId),
        or(isNull(signingKeys.retiredAt), gt(signingKeys.retiredAt, now)),
      ),
    )
    .orderBy(
      sql`${signingKeys.active} DESC`,
      sql`${signingKeys.retiredAt} IS NOT NULL`,
      asc(signingKeys.createdAt),
      asc(signingKeys.kid),
    );
  return rows.map((row) => ({ ...row, purpose }));
}

/** Holds every other maker of keys back until the transaction ends, so that replicas starting together make one set. */
export async function lockServerKeys(tx: Tx): Promise<void> {
  await tx.execute(sql`SELECT pg_advisory_xact_lock(hashtextextended('kontext.server-keys', 0))`);
}

/** Stores a key and its sealed secret half. */
export async function insertServerKey(tx: Tx, row: ServerKeyRow): Promise<void> {
  const { secret, ...key } = row;
  await insertSecret(tx, secret);
  await tx.insert(signingKeys).values({ ...key, orgId: null, secretId: secret.id });
}

/** Lets the next key sign in place of the active one, which is believed until `retiredAt`. */
export async function replaceServerKey(
  tx: Tx,
  kids: { readonly active: string; readonly next: string },
  retiredAt: Date,
): Promise<void> {
  await tx.update(signingKeys).set({ active: false, retiredAt }).where(eq(signingKeys.kid, kids.active));
  await tx.update(signingKeys).set({ active: true }).where(eq(signingKeys.kid, kids.next));
}
