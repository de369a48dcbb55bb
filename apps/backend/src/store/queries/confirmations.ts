/** What people confirmed in the browser; role `app`. */
import { and, desc, eq, gt, inArray } from 'drizzle-orm';
import { confirmations, logins, users } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** A confirmation as stored. */
export type ConfirmationRow = typeof confirmations.$inferSelect;

/** Whose confirmation, and for which request. */
export interface ConfirmationUse {
  readonly id: string;
  readonly userId: string;
  /** The login that asked. */
  readonly requesterGrantHash: string;
  /** Keyed hashes that stand for the request: one per key that may have made them. */
  readonly requestHashes: readonly string[];
}

/** What a person decided, and how they were logged in when they did. */
export interface ConfirmationDecision {
  readonly state: 'confirmed' | 'denied';
  readonly authAt: Date;
  readonly acr: string;
}

/** Stores a confirmation that waits for a decision. */
export async function insertConfirmation(tx: Tx, row: ConfirmationRow): Promise<void> {
  await tx.insert(confirmations).values(row);
}

/** A confirmation of that person; null when there is none, or it is somebody else's. */
export async function findConfirmation(tx: Tx, userId: string, id: string): Promise<ConfirmationRow | null> {
  const [row] = await tx
    .select()
    .from(confirmations)
    .where(and(eq(confirmations.id, id), eq(confirmations.userId, userId)));
  return row ?? null;
}

/** The confirmation of that person behind a link. */
export async function findConfirmationByToken(
  tx: Tx,
  userId: string,
  tokenHash: string,
): Promise<ConfirmationRow | null> {
  const [row] = await tx
    .select()
    .from(confirmations)
    .where(and(eq(confirmations.tokenHash, tokenHash), eq(confirmations.userId, userId)));
  return row ?? null;
}

/** Confirmations of that person for some requests that are not over, newest first. */
export async function findConfirmationsByRequest(
  tx: Tx,
  userId: string,
  requestHashes: readonly string[],
  now: Date,
): Promise<ConfirmationRow[]> {
  return tx
    .select()
    .from(confirmations)
    .where(
      and(
        eq(confirmations.userId, userId),
        inArray(confirmations.requestHash, [...requestHashes]),
        gt(confirmations.expiresAt, now),
      ),
    )
    .orderBy(desc(confirmations.createdAt));
}

/** Marks confirmed ones as used, and keeps them until an instant. */
export async function keepConfirmations(
  tx: Tx,
  ids: readonly string[],
  now: Date,
  expiresAt: Date,
): Promise<void> {
  if (ids.length === 0) return;
  await tx
    .update(confirmations)
    .set({ state: 'used', usedAt: now, expiresAt })
    .where(and(inArray(confirmations.id, [...ids]), eq(confirmations.state, 'confirmed')));
}

/** Decides one that waits, once. @returns Null when it does not wait any more. */
export async function decideConfirmation(
  tx: Tx,
  id: string,
  decision: ConfirmationDecision,
  now: Date,
): Promise<ConfirmationRow | null> {
  const [row] = await tx
    .update(confirmations)
    .set({ ...decision, decidedAt: now })
    .where(
      and(eq(confirmations.id, id), eq(confirmations.state, 'pending'), gt(confirmations.expiresAt, now)),
    )
    .returning();
  return row ?? null;
}

/** Uses a confirmed one up, in one statement: of two that come at once, one gets it. @returns Null when it does not fit. */
export async function useConfirmation(
  tx: Tx,
  use: ConfirmationUse,
  now: Date,
): Promise<ConfirmationRow | null> {
  const [row] = await tx
    .update(confirmations)
    .set({ state: 'used', usedAt: now })
    .where(
      and(
        eq(confirmations.id, use.id),
        eq(confirmations.userId, use.userId),
        eq(confirmations.requesterGrantHash, use.requesterGrantHash),
        inArray(confirmations.requestHash, [...use.requestHashes]),
        eq(confirmations.state, 'confirmed'),
        gt(confirmations.expiresAt, now),
      ),
    )
    .returning();
  return row ?? null;
}

/** Gives a used one back. */
export async function returnConfirmation(tx: Tx, id: string): Promise<void> {
  await tx
    .update(confirmations)
    .set({ state: 'confirmed', usedAt: null })
    .where(and(eq(confirmations.id, id), eq(confirmations.state, 'used')));
}

/** The machine a login stated; null when it stated none. */
export async function findLoginMachine(tx: Tx, grantIdHash: string): Promise<string | null> {
  const [row] = await tx
    .select({ machine: logins.machine })
    .from(logins)
    .where(eq(logins.grantIdHash, grantIdHash));
  return row?.machine ?? null;
}

/** Names of people of the organisation, by id. */
export async function listUserNames(tx: Tx, ids: readonly string[]): Promise<ReadonlyMap<string, string>> {
  if (ids.length === 0) return new Map();
  const rows = await tx
    .select({ id: users.id, name: users.name })
    .from(users)
    .where(inArray(users.id, [...ids]));
  return new Map(rows.map(({ id, name }) => [id, name]));
}
