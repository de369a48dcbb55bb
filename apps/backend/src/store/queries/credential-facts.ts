/** What is asked before a credential is handed out: session, agent, providers, connections; role `app`. */
import { and, asc, eq, isNull, ne, or, sql } from 'drizzle-orm';
import { agentProviders, agents, connections, providers, sessions } from '../schema.ts';
import type { Tx } from '../tx.ts';
import type { ConnectionRow } from './connections.ts';
import type { ProviderRow } from './providers.ts';

/** A provider with whether the agent may use it. */
export interface ProviderFact {
  readonly provider: ProviderRow;
  readonly attached: boolean;
  /** Ceiling of the attachment; null where there is none. */
  readonly ceilingScopes: readonly string[] | null;
}

/** A session that is held live: whoever ends it waits until the transaction is over. */
export async function holdSession(tx: Tx, id: string): Promise<typeof sessions.$inferSelect | null> {
  const [row] = await tx.select().from(sessions).where(eq(sessions.id, id)).limit(1).for('share');
  return row ?? null;
}

/** A session with its agent; held live as by {@link holdSession}. */
export async function holdSessionWithAgent(
  tx: Tx,
  id: string,
): Promise<{ session: typeof sessions.$inferSelect; agent: typeof agents.$inferSelect } | null> {
  const [row] = await tx
    .select({ session: sessions, agent: agents })
    .from(sessions)
    .innerJoin(agents, eq(agents.id, sessions.agentId))
    .where(eq(sessions.id, id))
    .limit(1)
    .for('share', { of: sessions });
  return row ?? null;
}

/** Which agent is meant before it was read: that of a session, or one of the organisation by its name. */
export type AgentOf = { readonly sessionId: string } | { readonly orgId: string; readonly name: string };

const idOfAgent = (agent: AgentOf) =>
  'sessionId' in agent
    ? sql`(SELECT agent_id FROM sessions WHERE id = ${agent.sessionId})`
    : sql`(SELECT id FROM agents WHERE org_id = ${agent.orgId} AND name = ${agent.name})`;

/** Providers attached to an agent with the ceiling of the attachment, by name. */
export async function listAttachments(
  tx: Tx,
  agent: AgentOf,
): Promise<Map<string, readonly string[] | null>> {
  const rows = await tx
    .select({ name: providers.name, scopes: agentProviders.scopes })
    .from(agentProviders)
    .innerJoin(providers, eq(providers.id, agentProviders.providerId))
    .where(eq(agentProviders.agentId, idOfAgent(agent)))
    .orderBy(asc(providers.name));
  return new Map(rows.map(({ name, scopes }) => [name, scopes]));
}

/** Providers by name. */
export async function findProviderFacts(
  tx: Tx,
  orgId: string,
  agent: AgentOf | null,
  names: readonly string[],
): Promise<Map<string, ProviderFact>> {
  const agentId = agent === null ? sql`''` : idOfAgent(agent);
  const rows = await tx
    .select({
      provider: providers,
      attached: sql<boolean>`${agentProviders.agentId} IS NOT NULL`,
      ceilingScopes: agentProviders.scopes,
    })
    .from(providers)
    .leftJoin(
      agentProviders,
      and(eq(agentProviders.providerId, providers.id), eq(agentProviders.agentId, agentId)),
    )
    .where(and(eq(providers.orgId, orgId), sql`${providers.name} = ANY(${sql.param([...names])}::text[])`));
  return new Map(rows.map((row) => [row.provider.name, row]));
}

/** Names of all providers, for a hint; at most 200. */
export async function listProviderNames(tx: Tx, orgId: string): Promise<string[]> {
  const rows = await tx
    .select({ name: providers.name })
    .from(providers)
    .where(eq(providers.orgId, orgId))
    .orderBy(asc(providers.name))
    .limit(200);
  return rows.map(({ name }) => name);
}

/** Connections of some providers, by name, that a user could use; not revoked. */
export async function findUsableConnections(
  tx: Tx,
  { orgId, userId }: { readonly orgId: string; readonly userId: string },
  providerNames: readonly string[],
): Promise<ConnectionRow[]> {
  return tx
    .select()
    .from(connections)
    .where(
      and(
        sql`${connections.providerId} IN (SELECT id FROM providers
          WHERE org_id = ${orgId} AND name = ANY(${sql.param([...providerNames])}::text[]))`,
        or(eq(connections.userId, userId), isNull(connections.userId)),
        ne(connections.state, 'revoked'),
      ),
    )
    .orderBy(asc(connections.name));
}
