import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { AgentSchema, AgentService } from '@kontext/protocol';
import type { AgentService as Agents } from '../organisations/agents.ts';
import { callerOf } from './authenticate.ts';
import type { RpcRoutes } from './router.ts';

type ListedAgent = Awaited<ReturnType<Agents['list']>>[number];

/** The edge of agents: wire in, wire out. */
export const agentRoutes =
  (agents: Agents): RpcRoutes =>
  (router) =>
    router.service(AgentService, {
      listAgents: async (_request, context) => ({
        agents: (await agents.list(callerOf(context))).map(toMessage),
      }),
      putAgent: async ({ name, description, ceilingScopes, maxTtlSeconds }, context) => {
        const input = { name, description, ceilingScopes, maxTtlSeconds };
        return { agent: toMessage(await agents.put(callerOf(context), input)) };
      },
      disableAgent: async ({ name, enable }, context) => {
        if (enable) {
          await agents.enable(callerOf(context), name);
          return {};
        }
        const { sessions: sessionsEnded, leases: leasesEnded } = await agents.disable(
          callerOf(context),
          name,
        );
        return { sessionsEnded, leasesEnded };
      },
    });

function toMessage({ agent, providers }: ListedAgent) {
  const { id, name, description, builtIn, ceilingScopes, maxTtlSeconds, disabledAt } = agent;
  return create(AgentSchema, {
    ...{ id, name, description, builtIn, maxTtlSeconds, providers: [...providers] },
    ceilingScopes: ceilingScopes ?? [],
    ...(disabledAt ? { disabledAt: timestampFromDate(disabledAt) } : {}),
  });
}
