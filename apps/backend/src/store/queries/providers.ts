/** Providers of an organisation and which agents may use them; all as role `app`, lists also as `read`. */
import { and, asc, count, eq, inArray, isNotNull, ne, or } from 'drizzle-orm';
import { agentProviders, agents, connections, leases, providers, secrets } from '../schema.ts';
import type { Tx } from '../tx.ts';
import { endLeases, endLeasesOf } from './leases.ts';
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

/** An agent that may have credentials of a provider. */
export interface AttachedAgentRow {
  readonly agent: string;
  /** Null: no bound of its own. */
  readonly scopes: readonly string[] | null;
}

/**
 * Lets agents of the organisation, by name, use a provider; one that may already gets these scopes.
 *
 * @returns Names that no agent has; nothing was done for them.
 */
export async function attachProvider(
  tx: Tx,
  provider: Pick<ProviderRow, 'id' | 'orgId'>,
  attached: readonly AttachedAgentRow[],
  now: Date,
): Promise<string[]> {
  if (attached.length === 0) return [];
  const names = attached.map(({ agent }) => agent);
  const found = await tx
    .select({ id: agents.id, name: agents.name })
    .from(agents)
    .where(and(eq(agents.orgId, provider.orgId), inArray(agents.name, names)));
  const ids = new Map(found.map(({ id, name }) => [name, id]));
  // A name that stands there twice: the last word counts.
  const wanted = new Map(attached.map(({ agent, scopes }) => [ids.get(agent), scopes] as const));
  for (const [agentId, scopes] of wanted) {
    if (agentId === undefined) continue;
    const list = scopes === null ? null : [...scopes];
    await tx
      .insert(agentProviders)
      .values({ orgId: provider.orgId, agentId, providerId: provider.id, scopes: list, createdAt: now })
      .onConflictDoUpdate({
        target: [agentProviders.agentId, agentProviders.providerId],
        set: { scopes: list },
      });
  }
  return names.filter((name) => !ids.has(name));
}

/**
 * Takes a provider away from an agent and ends what the agent holds of it.
 *
 * @returns How many leases it ended; null when it was not attached.
 */
export async function detachProvider(
  tx: Tx,
  { id, orgId }: Pick<ProviderRow, 'id' | 'orgId'>,
  agent: string,
  now: Date,
): Promise<number | null> {
  const [found] = await tx
    .select({ id: agents.id })
    .from(agents)
    .where(and(eq(agents.orgId, orgId), eq(agents.name, agent)))
    .limit(1);
  if (found === undefined) return null;
  const gone = await tx
    .delete(agentProviders)
    .where(and(eq(agentProviders.agentId, found.id), eq(agentProviders.providerId, id)))
    .returning({ agentId: agentProviders.agentId });
  if (gone.length === 0) return null;
  const held = await tx
    .select({ id: leases.id })
    .from(leases)
    .where(and(eq(leases.agentId, found.id), eq(leases.providerId, id), ne(leases.state, 'ended')));
  const ids = held.map((lease) => lease.id);
  return (await endLeases(tx, ids, 'provider_detached', now)).length;
}

/** Takes a provider away from every agent. */
export async function detachAll(tx: Tx, providerId: string): Promise<void> {
  await tx.delete(agentProviders).where(eq(agentProviders.providerId, providerId));
}

/** Which agents each provider is attached to, by provider id; agents by name. */
export async function listAttachedAgents(tx: Tx, orgId: string): Promise<Map<string, AttachedAgentRow[]>> {
  const rows = await tx
    .select({ id: agentProviders.providerId, agent: agents.name, scopes: agentProviders.scopes })
    .from(agentProviders)
    .innerJoin(agents, eq(agents.id, agentProviders.agentId))
    .where(eq(agentProviders.orgId, orgId))
    .orderBy(asc(agents.name));
  const attached = new Map<string, AttachedAgentRow[]>();
  for (const { id, agent, scopes } of rows) {
    const known = attached.get(id);
    if (known) known.push({ agent, scopes });
    else attached.set(id, [{ agent, scopes }]);
  }
  return attached;
}

/** Ids of the connections of a provider that hold something, oldest first. */
export async function listConnectionIds(tx: Tx, providerId: string): Promise<string[]> {
  const rows = await tx
    .select({ id: connections.id })
    .from(connections)
    .where(and(eq(connections.providerId, providerId), isNotNull(connections.secretId)))
    .orderBy(asc(connections.id));
  return rows.map(({ id }) => id);
}

/** How many credentials made for leases of a provider, narrowed ones too, are in use, or wait to be taken back at it. */
export async function countMinted(tx: Tx, providerId: string): Promise<number> {
  const isOwn = or(eq(leases.kind, 'minted'), isNotNull(leases.secretId));
  const waits = or(ne(leases.state, 'ended'), eq(leases.revocation, 'pending'));
  const [row] = await tx
    .select({ n: count() })
    .from(leases)
    .where(and(eq(leases.providerId, providerId), isOwn, waits));
  return row?.n ?? 0;
}

/** Sealed client secrets of providers, by provider id; one that has none is left out. */
export async function findClientSecrets(
  tx: Tx,
  providerIds: readonly string[],
): Promise<Map<string, SecretRow>> {
  const rows = await tx
    .select({ providerId: providers.id, secret: secrets })
    .from(providers)
    .innerJoin(secrets, eq(secrets.id, providers.clientSecretId))
    .where(inArray(providers.id, [...providerIds]));
  return new Map(rows.map(({ providerId, secret }) => [providerId, secret]));
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
