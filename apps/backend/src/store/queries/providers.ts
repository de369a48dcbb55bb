/** Providers of an organisation and which agents may use them; all as role `app`, lists also as `read`. */
import { and, asc, count, eq, inArray, ne } from 'drizzle-orm';
import { agentProviders, agents, connections, providers, secrets } from '../schema.ts';
import type { Tx } from '../tx.ts';
import { endLeasesOf } from './leases.ts';
import type { SecretRow } from './secrets.ts';

/** A provider as stored. */
export type ProviderRow = typeof providers.$inferSelect;

/** Stores a provider and, when it has one, its sealed client secret. */
export async function insertProvider(
  tx: Tx,
  provider: ProviderRow,
  clientSecret: SecretRow | null,
): Promise<void> {
  if (clientSecret) await tx.insert(secrets).values(clientSecret);
  await tx.insert(providers).values(provider);
}

/** Lets agents of the organisation, by name, use a provider; names that do not exist are passed over. */
export async function attachProvider(
  tx: Tx,
  provider: Pick<ProviderRow, 'id' | 'orgId'>,
  agentNames: readonly string[],
  now: Date,
): Promise<void> {
  const found = await tx
    .select({ id: agents.id })
    .from(agents)
    .where(and(eq(agents.orgId, provider.orgId), inArray(agents.name, [...agentNames])));
  if (found.length === 0) return;
  const rows = found.map(({ id }) => ({
    orgId: provider.orgId,
    agentId: id,
    providerId: provider.id,
    createdAt: now,
  }));
  await tx.insert(agentProviders).values(rows).onConflictDoNothing();
}

/** A provider by its name. */
export async function findProvider(tx: Tx, orgId: string, name: string): Promise<ProviderRow | null> {
  const [row] = await tx
    .select()
    .from(providers)
    .where(and(eq(providers.orgId, orgId), eq(providers.name, name)))
    .limit(1);
  return row ?? null;
}

/** A provider by its name, locked until the transaction ends. */
export async function lockProvider(tx: Tx, orgId: string, name: string): Promise<ProviderRow | null> {
  const [row] = await tx
    .select()
    .from(providers)
    .where(and(eq(providers.orgId, orgId), eq(providers.name, name)))
    .limit(1)
    .for('update');
  return row ?? null;
}

/** All providers, by name. */
export async function listProviders(tx: Tx, orgId: string): Promise<ProviderRow[]> {
  return tx.select().from(providers).where(eq(providers.orgId, orgId)).orderBy(asc(providers.name));
}

/** How many connections of a provider are not revoked. */
export async function countConnections(tx: Tx, providerId: string): Promise<number> {
  const [row] = await tx
    .select({ n: count() })
    .from(connections)
    .where(and(eq(connections.providerId, providerId), ne(connections.state, 'revoked')));
  return row?.n ?? 0;
}

/**
 * Removes a provider with its connections, their secrets and its own, and ends every lease of it.
 *
 * @returns How many leases it ended.
 */
export async function deleteProvider(tx: Tx, provider: ProviderRow, now: Date): Promise<number> {
  const ended = await endLeasesOf(tx, { providerId: provider.id }, 'provider_removed', now);
  const held = await tx
    .delete(connections)
    .where(eq(connections.providerId, provider.id))
    .returning({ secretId: connections.secretId });
  await tx.delete(providers).where(eq(providers.id, provider.id));
  const secretIds = [...held.map(({ secretId }) => secretId), provider.clientSecretId].filter(
    (id) => id !== null,
  );
  if (secretIds.length > 0) await tx.delete(secrets).where(inArray(secrets.id, secretIds));
  return ended.length;
}
