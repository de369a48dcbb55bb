import { KontextError } from '@kontext/errors';
import type { AgentAdapter } from './agent.ts';
import { claude } from './claude.ts';
import { claudeStanding } from './claude-standing.ts';
import type { StandingHooks } from './standing.ts';

const adapters: readonly AgentAdapter[] = [claude];

/** The adapter of an agent. @throws KontextError `KX_AGENT_UNKNOWN` naming those there are. */
export function findAdapter(name: string): AgentAdapter {
  const adapter = adapters.find((known) => known.name === name);
  if (adapter !== undefined) return adapter;
  throw new KontextError('KX_AGENT_UNKNOWN', `kontext does not know the agent ${name}`, {
    hint: `use one of: ${adapters.map((known) => known.name).join(', ')}`,
  });
}

const standing: readonly StandingHooks[] = [claudeStanding];

/** The hooks of an agent that stand in its own settings. @throws KontextError `KX_AGENT_UNKNOWN`. */
export function findStandingHooks(name: string): StandingHooks {
  const found = standing.find((known) => known.name === name);
  if (found !== undefined) return found;
  throw new KontextError('KX_AGENT_UNKNOWN', `kontext cannot set up hooks of the agent ${name}`, {
    hint: `use one of: ${standing.map((known) => known.name).join(', ')}`,
  });
}
