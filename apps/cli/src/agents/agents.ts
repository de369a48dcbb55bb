import { KontextError } from '@kontext/errors';
import type { AgentAdapter } from './agent.ts';
import { claude } from './claude.ts';

const adapters: readonly AgentAdapter[] = [claude];

/** The adapter of an agent. @throws KontextError `KX_AGENT_UNKNOWN` naming those there are. */
export function findAdapter(name: string): AgentAdapter {
  const adapter = adapters.find((known) => known.name === name);
  if (adapter !== undefined) return adapter;
  throw new KontextError('KX_AGENT_UNKNOWN', `kontext does not know the agent ${name}`, {
    hint: `use one of: ${adapters.map((known) => known.name).join(', ')}`,
  });
}
