/** Rows of the authorization server's adapter. All of them run as role `system`. */
import { and, eq, isNull, lt, or, sql } from 'drizzle-orm';
import { oidcPayloads } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** One row to write. Hashes come from the caller; nothing in `payload` may be a usable token. */
export interface OidcRow {
  readonly model: string;
  readonly idHash: string;
  /** JSON text. */
  readonly payload: string;
  readonly grantIdHash: string | null;
  readonly userCodeHash: string | null;
  readonly uidHash: string | null;
  readonly accountId: string | null;
  readonly createdAt: Date;
  readonly expiresAt: Date | null;
}

/** One row as read. */
export interface StoredOidcRow {
  readonly idHash: string;
  readonly payload: string;
  readonly consumedAt: Date | null;
  readonly expiresAt: Date | null;
}

/** By which hash a row is looked up. */
export type OidcKey = 'idHash' | 'userCodeHash' | 'uidHash';

const columns = {
  idHash: oidcPayloads.idHash,
  payload: oidcPayloads.payload,
  consumedAt: oidcPayloads.consumedAt,
  expiresAt: oidcPayloads.expiresAt,
};

const byId = (model: string, idHash: string) =>
  and(eq(oidcPayloads.model, model), eq(oidcPayloads.idHash, idHash));

/** Writes a row or replaces its payload; that it was consumed, and its user code, are kept. */
export async function upsertOidcRow(tx: Tx, row: OidcRow): Promise<void> {
  await tx
    .insert(oidcPayloads)
    .values(row)
    .onConflictDoUpdate({
      target: [oidcPayloads.model, oidcPayloads.idHash],
      set: {
        payload: row.payload,
        grantIdHash: row.grantIdHash,
        accountId: row.accountId,
        expiresAt: row.expiresAt,
        userCodeHash: sql`coalesce(excluded.user_code_hash, ${oidcPayloads.userCodeHash})`,
        uidHash: row.uidHash,
      },
    });
}

/** Writes a row that must not exist yet. @returns False when it does: somebody was first. */
export async function insertOidcRow(tx: Tx, row: OidcRow): Promise<boolean> {
  const rows = await tx
    .insert(oidcPayloads)
    .values(row)
    .onConflictDoNothing()
    .returning({ idHash: oidcPayloads.idHash });
  return rows.length === 1;
}

/** Reads a row, consumed or expired ones too. */
export async function findOidcRow(
  tx: Tx,
  model: string,
  key: OidcKey,
  hash: string,
): Promise<StoredOidcRow | null> {
  const [row] = await tx
    .select(columns)
    .from(oidcPayloads)
    .where(and(eq(oidcPayloads.model, model), eq(oidcPayloads[key], hash)))
    .limit(1);
  return row ?? null;
}

/** Marks a row as used. @returns False when it was used before or is gone; of parallel callers one gets true (G1). */
export async function consumeOidcRow(tx: Tx, model: string, idHash: string, at: Date): Promise<boolean> {
  const rows = await tx
    .update(oidcPayloads)
    .set({ consumedAt: at })
    .where(and(byId(model, idHash), isNull(oidcPayloads.consumedAt)))
    .returning({ idHash: oidcPayloads.idHash });
  return rows.length === 1;
}

/**
 * Takes the right to replace a refresh token. Who took it before `abandonedBefore` and left no successor has died in between:
 * then it can be taken again. @returns False when somebody else has it, or has done it.
 */
export async function claimRefreshToken(
  tx: Tx,
  idHash: string,
  at: Date,
  abandonedBefore: Date,
): Promise<boolean> {
  const abandoned = and(
    lt(oidcPayloads.consumedAt, abandonedBefore),
    sql`${oidcPayloads.payload}::jsonb -> 'successor' IS NULL`,
  );
  const rows = await tx
    .update(oidcPayloads)
    .set({ consumedAt: at })
    .where(and(byId('RefreshToken', idHash), or(isNull(oidcPayloads.consumedAt), abandoned)))
    .returning({ idHash: oidcPayloads.idHash });
  return rows.length === 1;
}

/** How polls of a device are paced, in milliseconds. */
export interface PollPace {
  readonly intervalMs: number;
  /** A poll may come so much too early. */
  readonly toleranceMs: number;
  /** What a poll that came too early adds to the interval (RFC 8628 §3.5). */
  readonly slowDownMs: number;
}

/**
 * Counts one poll of a pending device code. @returns Whether it came too early; of polls at the same time one is in time.
 *
 * @param idHash Names the device code.
 * @param expiresAt When nobody polls for it any more.
 */
export async function countDevicePoll(
  tx: Tx,
  idHash: string,
  { intervalMs, toleranceMs, slowDownMs }: PollPace,
  now: Date,
  expiresAt: Date,
): Promise<boolean> {
  const at = now.getTime();
  const first = JSON.stringify({ at, waitMs: intervalMs, early: false });
  const early = sql`${at}::bigint - (o.payload::jsonb ->> 'at')::bigint < (o.payload::jsonb ->> 'waitMs')::bigint - ${toleranceMs}::bigint`;
  const { rows } = await tx.execute<{ early: boolean }>(sql`
    INSERT INTO oidc_payloads AS o (model, id_hash, payload, created_at, expires_at)
    VALUES ('DevicePoll', ${idHash}, ${first}, ${now.toISOString()}::timestamptz, ${expiresAt.toISOString()}::timestamptz)
    ON CONFLICT (model, id_hash) DO UPDATE SET payload = jsonb_build_object('at', ${at}::bigint, 'early', ${early}, 'waitMs',
      (o.payload::jsonb ->> 'waitMs')::bigint + CASE WHEN ${early} THEN ${slowDownMs}::bigint ELSE 0 END)::text
    RETURNING (payload::jsonb ->> 'early')::boolean AS early`);
  return rows[0]?.early === true;
}

/** Replaces the payload alone. */
export async function setOidcPayload(tx: Tx, model: string, idHash: string, payload: string): Promise<void> {
  await tx.update(oidcPayloads).set({ payload }).where(byId(model, idHash));
}

/** Removes one row. */
export async function deleteOidcRow(tx: Tx, model: string, idHash: string): Promise<void> {
  await tx.delete(oidcPayloads).where(byId(model, idHash));
}

/** Removes every row of a model that came from one grant. */
export async function deleteOidcRowsOfGrant(tx: Tx, model: string, grantIdHash: string): Promise<void> {
  await tx
    .delete(oidcPayloads)
    .where(and(eq(oidcPayloads.model, model), eq(oidcPayloads.grantIdHash, grantIdHash)));
}
