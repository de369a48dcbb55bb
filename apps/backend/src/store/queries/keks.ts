/**
 * What is known of key-encryption keys, and the secrets wrapped under them.
 *
 * Rows here choose among keys that the configuration of a backend names; they never add one. Otherwise whoever can write to
 * the database could have new secrets sealed under a key of their own.
 */
import { and, asc, count, desc, eq, gt, inArray, lt, ne, sql } from 'drizzle-orm';
import { keks, secrets } from '../schema.ts';
import type { Tx } from '../tx.ts';
import type { SecretRow } from './secrets.ts';

/** Where a KEK is kept. */
export type KekProvider = 'local' | 'aws' | 'gcp' | 'vault';

/** What is known of one KEK. */
export type KekRow = typeof keks.$inferSelect;

/** All KEKs that were ever used, the active one first; of two active ones (two rotations at once) the later. */
export async function listKeks(tx: Tx): Promise<KekRow[]> {
  return tx
    .select()
    .from(keks)
    .orderBy(sql`${keks.state} = 'active' DESC`, desc(keks.activatedAt), asc(keks.id));
}

/**
 * Makes a KEK the active one and all others `retiring`.
 *
 * @param onlyIfNew Do nothing when it has a row: a replica with an old configuration must not bring an old key back.
 * @returns False when nothing was done.
 */
export async function activateKek(
  tx: Tx,
  kek: { readonly id: string; readonly provider: KekProvider },
  now: Date,
  onlyIfNew: boolean,
): Promise<boolean> {
  // Two rotations at once: one after the other, so that one key ends up active.
  await tx.execute(sql`SELECT pg_advisory_xact_lock(hashtextextended('kontext-keks', 0))`);
  const row = { ...kek, state: 'active' as const, createdAt: now, activatedAt: now };
  const inserted = await tx.insert(keks).values(row).onConflictDoNothing().returning({ id: keks.id });
  if (inserted.length === 0) {
    if (onlyIfNew) return false;
    await tx
      .update(keks)
      .set({ state: 'active', activatedAt: now, retiredAt: null })
      .where(eq(keks.id, kek.id));
  }
  await tx
    .update(keks)
    .set({ state: 'retiring' })
    .where(and(eq(keks.state, 'active'), ne(keks.id, kek.id)));
  return true;
}

/** Counts wraps, for each KEK how many were made since the last call. */
export async function addKekUses(tx: Tx, uses: ReadonlyMap<string, number>): Promise<void> {
  // In one order everywhere: two replicas that update the same rows must not wait for each other.
  for (const [id, made] of [...uses].sort(([a], [b]) => (a < b ? -1 : 1))) {
    await tx
      .update(keks)
      .set({ uses: sql`${keks.uses} + ${made}` })
      .where(eq(keks.id, id));
  }
}

/**
 * Ids of the KEKs that secrets are wrapped under, ascending. Jumps from one to the next in the index on (kek_id, id), so it
 * costs a few rows however many secrets there are.
 */
export async function listKeksInUse(tx: Tx): Promise<string[]> {
  const found: string[] = [];
  for (;;) {
    const [next] = await tx
      .select({ kekId: secrets.kekId })
      .from(secrets)
      .where(gt(secrets.kekId, found.at(-1) ?? ''))
      .orderBy(asc(secrets.kekId))
      .limit(1);
    if (!next) return found;
    found.push(next.kekId);
  }
}

/** Notes KEKs that secrets are wrapped under although no row tells of them (they are older than the table). */
export async function insertFoundKeks(
  tx: Tx,
  found: readonly { readonly id: string; readonly provider: KekProvider }[],
  now: Date,
): Promise<void> {
  if (found.length === 0) return;
  const rows = found.map((kek) => ({ ...kek, state: 'retiring' as const, createdAt: now }));
  await tx.insert(keks).values(rows).onConflictDoNothing();
}

/**
 * Retires KEKs that nothing is wrapped under, and takes that back where something is after all (a slow replica).
 *
 * @param inUse What {@link listKeksInUse} gave.
 * @param supersededBefore Only when the active KEK has been active since before this instant: a replica that has not
 *   noticed yet still wraps under the old one.
 * @returns Ids of the KEKs retired now.
 */
export async function retireKeks(
  tx: Tx,
  inUse: readonly string[],
  supersededBefore: Date,
  now: Date,
): Promise<string[]> {
  if (inUse.length > 0) {
    await tx
      .update(keks)
      .set({ state: 'retiring', retiredAt: null })
      .where(and(eq(keks.state, 'retired'), inArray(keks.id, [...inUse])));
  }
  const superseded = tx
    .select({ id: keks.id })
    .from(keks)
    .where(and(eq(keks.state, 'active'), lt(keks.activatedAt, supersededBefore)));
  const retired = await tx
    .update(keks)
    .set({ state: 'retired', retiredAt: now })
    .where(
      and(
        eq(keks.state, 'retiring'),
        sql`EXISTS (${superseded})`,
        sql`NOT EXISTS (SELECT 1 FROM ${secrets} WHERE ${secrets.kekId} = ${keks.id})`,
      ),
    )
    .returning({ id: keks.id });
  return retired.map(({ id }) => id);
}

/** Secrets wrapped under a KEK, by id, at most `limit` after the given one. */
export async function listSecretsUnder(
  tx: Tx,
  kekId: string,
  afterId: string,
  limit: number,
): Promise<SecretRow[]> {
  return tx
    .select()
    .from(secrets)
    .where(and(eq(secrets.kekId, kekId), gt(secrets.id, afterId)))
    .orderBy(asc(secrets.id))
    .limit(limit);
}

/** How many secrets are wrapped under each KEK. Reads the whole index: for a person who asks, not for a loop. */
export async function countSecretsByKek(tx: Tx): Promise<ReadonlyMap<string, number>> {
  const rows = await tx
    .select({ kekId: secrets.kekId, secrets: count() })
    .from(secrets)
    .groupBy(secrets.kekId);
  return new Map(rows.map((row) => [row.kekId, row.secrets]));
}

/** A data key under another KEK than before. */
export interface Rewrapped {
  readonly id: string;
  /** The KEK it was under when it was read. */
  readonly oldKekId: string;
  readonly kekId: string;
  readonly wrappedDek: Buffer;
}

/**
 * Stores re-wrapped data keys, each only if its secret is still wrapped under the KEK it was read under: another replica may
 * have been quicker, and the secret may be gone.
 *
 * One statement, so that the embedded database is not held up. It waits for nobody and nobody waits for it long: a row that
 * somebody else is changing is left for the next time.
 *
 * @returns How many were stored.
 */
export async function replaceWrappedDeks(tx: Tx, rewrapped: readonly Rewrapped[]): Promise<number> {
  if (rewrapped.length === 0) return 0;
  const values = rewrapped.map(
    ({ id, oldKekId, kekId, wrappedDek }) =>
      sql`(${id}::text, ${oldKekId}::text, ${kekId}::text, ${wrappedDek}::bytea)`,
  );
  const { rows } = await tx.execute(sql`
    WITH given (id, old_kek_id, kek_id, wrapped_dek) AS (VALUES ${sql.join(values, sql`, `)}),
      locked AS (
        SELECT secrets.id FROM secrets JOIN given ON given.id = secrets.id AND given.old_kek_id = secrets.kek_id
        ORDER BY secrets.id FOR NO KEY UPDATE OF secrets SKIP LOCKED)
    UPDATE secrets SET kek_id = given.kek_id, wrapped_dek = given.wrapped_dek
    FROM given JOIN locked ON locked.id = given.id
    WHERE secrets.id = given.id AND secrets.kek_id = given.old_kek_id
    RETURNING secrets.id`);
  return rows.length;
}
