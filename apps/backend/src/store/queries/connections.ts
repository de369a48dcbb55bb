/** Connections, the links that make them, and the sealed secrets behind them; role `app`, lists also as `read`. */
import { and, asc, eq, gt, inArray, isNull, ne, or, type SQL, sql } from 'drizzle-orm';
import { connections, connectTickets, leases, providers, secrets } from '../schema.ts';
import type { Tx } from '../tx.ts';
import { endLeasesOf } from './leases.ts';
import type { ProviderRow } from './providers.ts';
import type { SecretRow } from './secrets.ts';

/** A connection as stored. */
export type ConnectionRow = typeof connections.$inferSelect;
/** A connect link as stored. */
export type TicketRow = typeof connectTickets.$inferSelect;

/** A connection with its provider. */
export interface ConnectionOfProvider {
  readonly connection: ConnectionRow;
  readonly provider: ProviderRow;
}

/** A connection as it is shown. */
export interface ListedConnection extends ConnectionOfProvider {
  /** Leases made from it that have not ended. */
  readonly liveLeases: number;
}

/** A connection with all that is needed to use it. */
export interface OpenableConnection extends ConnectionOfProvider {
  /** The token set, or the static key. */
  readonly secret: SecretRow | null;
  readonly clientSecret: SecretRow | null;
}

/** Makes a connection. */
export async function insertConnection(tx: Tx, connection: ConnectionRow): Promise<void> {
  await tx.insert(connections).values(connection);
}

/** The connection of that provider, owner (null: shared) and name which is not revoked, locked. */
export async function lockConnectionByName(
  tx: Tx,
  providerId: string,
  userId: string | null,
  name: string,
): Promise<ConnectionRow | null> {
  const [row] = await tx
    .select()
    .from(connections)
    .where(
      and(
        eq(connections.providerId, providerId),
        userId === null ? isNull(connections.userId) : eq(connections.userId, userId),
        eq(connections.name, name),
        ne(connections.state, 'revoked'),
      ),
    )
    .limit(1)
    .for('update');
  return row ?? null;
}

/** A connection as it is shown. */
export async function findListed(tx: Tx, id: string): Promise<ListedConnection | null> {
  const [row] = await listed(tx).where(eq(connections.id, id)).limit(1);
  return row ?? null;
}

/** A connection and its provider. */
export async function findConnection(tx: Tx, id: string): Promise<ConnectionOfProvider | null> {
  const [row] = await joined(tx).where(eq(connections.id, id)).limit(1);
  return row ?? null;
}

/** Connections a user can use: their own and the shared ones; with null, all of the organisation. Oldest first. */
export async function listConnections(tx: Tx, userId: string | null): Promise<ListedConnection[]> {
  const mine = userId === null ? undefined : visibleTo(userId);
  return listed(tx)
    .where(and(mine, ne(connections.state, 'revoked')))
    .orderBy(asc(providers.name), asc(connections.name), asc(connections.id));
}

/** A connection with its sealed secrets; locked until the transaction ends when `lock` is set. */
export async function findOpenable(tx: Tx, id: string, lock: boolean): Promise<OpenableConnection | null> {
  if (lock)
    await tx.select({ id: connections.id }).from(connections).where(eq(connections.id, id)).for('update');
  const found = await findConnection(tx, id);
  if (found === null) return null;
  const ids = [found.connection.secretId, found.provider.clientSecretId].filter((key) => key !== null);
  const rows = ids.length === 0 ? [] : await tx.select().from(secrets).where(inArray(secrets.id, ids));
  const pick = (key: string | null) => rows.find((row) => row.id === key) ?? null;
  return {
    ...found,
    secret: pick(found.connection.secretId),
    clientSecret: pick(found.provider.clientSecretId),
  };
}

/** A sealed secret with what it must have been sealed for. */
export interface SecretOfConnection {
  readonly connection: Pick<ConnectionRow, 'id' | 'orgId' | 'version'>;
  readonly secret: SecretRow;
}

/** Sealed secrets of many connections, by connection id. */
export async function findSecretsOf(
  tx: Tx,
  connectionIds: readonly string[],
): Promise<Map<string, SecretOfConnection>> {
  const { id, orgId, version } = connections;
  const rows = await tx
    .select({ connection: { id, orgId, version }, secret: secrets })
    .from(connections)
    .innerJoin(secrets, eq(secrets.id, connections.secretId))
    .where(inArray(connections.id, [...connectionIds]));
  return new Map(rows.map((row) => [row.connection.id, row]));
}

/** Changes some columns of a connection. */
export async function updateConnection(tx: Tx, id: string, change: Partial<ConnectionRow>): Promise<void> {
  await tx.update(connections).set(change).where(eq(connections.id, id));
}

/** Changes some columns of a connection that is still connected and at that version. @returns False when it is not. */
export async function updateConnectionAt(
  tx: Tx,
  id: string,
  version: number,
  change: Partial<ConnectionRow>,
): Promise<boolean> {
  const rows = await tx
    .update(connections)
    .set(change)
    .where(and(eq(connections.id, id), eq(connections.version, version), eq(connections.state, 'connected')))
    .returning({ id: connections.id });
  return rows.length === 1;
}

/**
 * Gives a connection its next secret and removes the one before.
 *
 * @param secret Sealed as version `fromVersion + 1`.
 * @returns False when the connection is no longer at `fromVersion`, or is revoked; nothing was stored.
 */
export async function replaceSecret(
  tx: Tx,
  id: string,
  fromVersion: number,
  secret: SecretRow,
  change: Partial<ConnectionRow>,
): Promise<boolean> {
  const [before] = await tx
    .select({ secretId: connections.secretId })
    .from(connections)
    .where(
      and(eq(connections.id, id), eq(connections.version, fromVersion), ne(connections.state, 'revoked')),
    )
    .for('update');
  if (before === undefined) return false;
  await tx.insert(secrets).values(secret);
  await tx
    .update(connections)
    .set({ ...change, secretId: secret.id, version: secret.version, refreshStartedAt: null })
    .where(eq(connections.id, id));
  if (before.secretId !== null) await tx.delete(secrets).where(eq(secrets.id, before.secretId));
  return true;
}

/** Marks a refresh as started. @returns False when the connection is no longer at that version. */
export async function markRefreshStarted(tx: Tx, id: string, version: number, now: Date): Promise<boolean> {
  const rows = await tx
    .update(connections)
    .set({ refreshStartedAt: now })
    .where(and(eq(connections.id, id), eq(connections.version, version)))
    .returning({ id: connections.id });
  return rows.length === 1;
}

/**
 * Ends a connection for good: its secret is removed, its open links die, its leases end.
 *
 * @returns How many leases it ended.
 */
export async function endConnection(
  tx: Tx,
  connection: ConnectionRow,
  reason: string,
  now: Date,
): Promise<number> {
  await tx
    .update(connections)
    .set({ state: 'revoked', revokedAt: now, secretId: null, refreshStartedAt: null })
    .where(eq(connections.id, connection.id));
  if (connection.secretId !== null) await tx.delete(secrets).where(eq(secrets.id, connection.secretId));
  await tx.delete(connectTickets).where(eq(connectTickets.connectionId, connection.id));
  return endLeasesOfConnection(tx, connection.id, reason, now);
}

/** Ends every lease of a connection that has not ended. @returns How many. */
export async function endLeasesOfConnection(
  tx: Tx,
  connectionId: string,
  reason: string,
  now: Date,
): Promise<number> {
  return (await endLeasesOf(tx, { connectionId }, reason, now)).length;
}

/** Stores a connect link. */
export async function insertTicket(tx: Tx, ticket: TicketRow): Promise<void> {
  await tx.insert(connectTickets).values(ticket);
}

/** A link that still works. */
export async function findTicket(tx: Tx, ticketHash: string, now: Date): Promise<TicketRow | null> {
  const [row] = await tx
    .select()
    .from(connectTickets)
    .where(and(eq(connectTickets.ticketHash, ticketHash), stillWorks(now)))
    .limit(1);
  return row ?? null;
}

/**
 * Binds a link to a browser and to the state of one authorization request. The first browser to open it keeps it; in that
 * browser a later request replaces the state of an earlier one.
 *
 * @returns False when the link no longer works, or another browser has it.
 */
export async function openTicket(
  tx: Tx,
  ticketHash: string,
  opened: { readonly browserHash: string; readonly stateHash: string; readonly now: Date },
): Promise<boolean> {
  const { browserHash, stateHash, now } = opened;
  const rows = await tx
    .update(connectTickets)
    .set({ browserHash, stateHash, openedAt: now })
    .where(
      and(
        eq(connectTickets.ticketHash, ticketHash),
        stillWorks(now),
        or(isNull(connectTickets.browserHash), eq(connectTickets.browserHash, browserHash)),
      ),
    )
    .returning({ one: sql<number>`1` });
  return rows.length === 1;
}

/** Uses a link up. Of two callbacks with one state a single one gets it. */
export async function consumeTicket(
  tx: Tx,
  stateHash: string,
  browserHash: string,
  now: Date,
): Promise<TicketRow | null> {
  const [row] = await tx
    .update(connectTickets)
    .set({ consumedAt: now })
    .where(
      and(
        eq(connectTickets.stateHash, stateHash),
        eq(connectTickets.browserHash, browserHash),
        stillWorks(now),
      ),
    )
    .returning();
  return row ?? null;
}

const stillWorks = (now: Date): SQL | undefined =>
  and(isNull(connectTickets.consumedAt), gt(connectTickets.expiresAt, now));

const visibleTo = (userId: string): SQL | undefined =>
  or(eq(connections.userId, userId), isNull(connections.userId));

const listed = (tx: Tx) =>
  tx
    .select({
      connection: connections,
      provider: providers,
      liveLeases: sql<number>`(SELECT count(*)::int FROM ${leases} l
        WHERE l.connection_id = ${connections.id} AND l.state <> 'ended')`,
    })
    .from(connections)
    .innerJoin(providers, eq(providers.id, connections.providerId))
    .$dynamic();

const joined = (tx: Tx) =>
  tx
    .select({ connection: connections, provider: providers })
    .from(connections)
    .innerJoin(providers, eq(providers.id, connections.providerId))
    .$dynamic();
