/** Registered principals that sessions act through. */
import { and, asc, eq } from 'drizzle-orm';
import { agentProviders, agents, providers } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** An agent as stored. */
export type AgentRow = typeof agents.$inferSelect;

/** An agent with the names of the providers it is attached to. */
export interface AttachedAgent {
  readonly agent: AgentRow;
  readonly providers: readonly string[];
}

/** Most agents of an organisation. */
export const maxAgents = 500;

/** All agents of the organisation, by name. */
export async function listAgents(tx: Tx, orgId: string): Promise<AttachedAgent[]> {
  const rows = await tx
    .select()
    .from(agents)
    .where(eq(agents.orgId, orgId))
    .orderBy(asc(agents.name))
    .limit(maxAgents);
  const attached = await tx
    .select({ agentId: agentProviders.agentId, name: providers.name })
    .from(agentProviders)
    .innerJoin(providers, eq(providers.id, agentProviders.providerId))
    .where(eq(agentProviders.orgId, orgId))
    .orderBy(asc(providers.name));
  return rows.map((agent) => ({
    agent,
    providers: attached.filter(({ agentId }) => agentId === agent.id).map(({ name }) => name),
  }));
}

/** An agent by name with its providers, locked until the transaction ends. */
export async function lockAgent(tx: Tx, orgId: string, name: string): Promise<AgentRow | null> {
  const [row] = await tx
    .select()
    .from(agents)
    .where(and(eq(agents.orgId, orgId), eq(agents.name, name)))
    .limit(1)
    .for('update');
  return row ?? null;
}

/** Makes an agent. */
export async function insertAgent(tx: Tx, agent: typeof agents.$inferInsert): Promise<void> {
  await tx.insert(agents).values(agent);
}

/** Changes an agent. */
export async function updateAgent(
  tx: Tx,
  id: string,
  change: Partial<Pick<AgentRow, 'description' | 'ceilingScopes' | 'maxTtlSeconds' | 'disabledAt'>>,
): Promise<void> {
  await tx.update(agents).set(change).where(eq(agents.id, id));
}
