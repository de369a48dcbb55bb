import { createId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { appendServerEvent } from '../audit/append-server-event.ts';
import type { AppendSignal } from '../audit/append-signal.ts';
import type { Caller } from '../caller.ts';
import { type EndedCounts, endSessions } from '../sessions/end-sessions.ts';
import {
  type AttachedAgent,
  insertAgent,
  listAgents,
  lockAgent,
  maxAgents,
  updateAgent,
} from '../store/queries/agents.ts';
import type { Store } from '../store/store.ts';
import { isUniqueViolation } from '../store/store-errors.ts';
import type { Tx } from '../store/tx.ts';

/** An agent as it shall be. */
export interface AgentInput {
  readonly name: string;
  readonly description: string;
  /** Upper bound for every provider; empty means none of its own. */
  readonly ceilingScopes: readonly string[];
  /** Longest life of a lease, 60 to 43,200; 0 means 3,600. */
  readonly maxTtlSeconds: number;
}

/** Agents as their edge uses them. Who may call what is said in `rpc/permissions.ts`. */
export interface AgentService {
  list(caller: Caller): Promise<readonly AttachedAgent[]>;
  /**
   * Registers an agent, or changes its description and ceilings. Leases that stand keep what they have.
   *
   * @throws KontextError `KX_REQUEST_INVALID` when a field cannot be used, or there are too many agents.
   */
  put(caller: Caller, input: AgentInput): Promise<AttachedAgent>;
  /**
   * Disables an agent and ends its sessions and leases; nothing can be opened or exchanged through it afterwards.
   *
   * @throws KontextError `KX_AGENT_UNKNOWN`.
   */
  disable(caller: Caller, name: string): Promise<EndedCounts>;
  /** Lets it act again. @throws KontextError `KX_AGENT_UNKNOWN`. */
  enable(caller: Caller, name: string): Promise<void>;
}

/** What agents need. */
export interface AgentDeps {
  readonly store: Store;
  readonly appended: AppendSignal;
  readonly nowMs: () => number;
}

const agentName = /^[a-z0-9][a-z0-9-]{0,62}$/;
/** RFC 6749 §3.3. */
const scopeToken = /^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/;

/** Puts the agents together. */
export function createAgentService({ store, appended, nowMs }: AgentDeps): AgentService {
  const run = async <T>(caller: Caller, work: (tx: Tx, now: Date) => Promise<T>): Promise<T> => {
    const now = new Date(nowMs());
    const result = await store.transaction({ role: 'app', orgId: caller.orgId }, (tx) => work(tx, now));
    appended.notify(caller.orgId);
    return result;
  };
  return {
    list: ({ orgId }) => store.transaction({ role: 'read', orgId }, (tx) => listAgents(tx, orgId)),
    put: async (caller, input) => {
      const checked = checkInput(input);
      try {
        return await run(caller, (tx, now) => putAgent(tx, caller, checked, now));
      } catch (error) {
        if (isUniqueViolation(error)) throw invalid('the agent was registered in this moment');
        throw error;
      }
    },
    disable: (caller, name) => run(caller, (tx, now) => disableAgent(tx, caller, name, now)),
    enable: (caller, name) =>
      run(caller, async (tx, now) => {
        const agent = await findOrRefuse(tx, caller.orgId, name);
        if (agent.disabledAt === null) return;
        await updateAgent(tx, agent.id, { disabledAt: null });
        await record(tx, caller, name, { change: 'enabled' }, now);
      }),
  };
}

function checkInput({ name, description, ceilingScopes, maxTtlSeconds }: AgentInput): AgentInput {
  if (!agentName.test(name)) throw invalid('the name must be 1 to 63 of a-z, 0-9 and -');
  if (description.length > 256 || /\p{Cc}/u.test(description))
    throw invalid('the description must be at most 256 characters without control characters');
  if (ceilingScopes.length > 200 || !ceilingScopes.every((scope) => scopeToken.test(scope)))
    throw invalid('the ceiling must be at most 200 scopes (RFC 6749 section 3.3)');
  const seconds = maxTtlSeconds === 0 ? 3600 : maxTtlSeconds;
  if (seconds < 60 || seconds > 43_200) throw invalid('max_ttl_seconds must be 60 to 43,200');
  return { name, description, ceilingScopes: [...new Set(ceilingScopes)], maxTtlSeconds: seconds };
}

async function putAgent(tx: Tx, caller: Caller, input: AgentInput, now: Date): Promise<AttachedAgent> {
  const { orgId } = caller;
  const { name, description, maxTtlSeconds } = input;
  const ceilingScopes = input.ceilingScopes.length === 0 ? null : [...input.ceilingScopes];
  const columns = { description, ceilingScopes, maxTtlSeconds };
  const known = await lockAgent(tx, orgId, name);
  if (known === null) {
    if ((await listAgents(tx, orgId)).length >= maxAgents) throw invalid(`there are ${maxAgents} agents`);
    await insertAgent(tx, { ...columns, id: createId('agt', now.getTime()), orgId, name, createdAt: now });
  } else {
    await updateAgent(tx, known.id, columns);
  }
  await record(tx, caller, name, { change: known === null ? 'registered' : 'changed', ...columns }, now);
  const found = (await listAgents(tx, orgId)).find(({ agent }) => agent.name === name);
  if (found === undefined) throw new KontextError('KX_INTERNAL', 'an agent was not stored');
  return found;
}

async function disableAgent(tx: Tx, caller: Caller, name: string, now: Date): Promise<EndedCounts> {
  const agent = await findOrRefuse(tx, caller.orgId, name);
  if (agent.disabledAt === null) await updateAgent(tx, agent.id, { disabledAt: now });
  const ended = await endSessions(tx, caller.orgId, { agentId: agent.id }, 'agent_disabled', now);
  if (agent.disabledAt === null || ended.sessions + ended.leases > 0)
    await record(tx, caller, name, { change: 'disabled', ...ended }, now);
  return ended;
}

async function findOrRefuse(tx: Tx, orgId: string, name: string) {
  const agent = agentName.test(name) ? await lockAgent(tx, orgId, name) : null;
  if (agent !== null) return agent;
  throw new KontextError('KX_AGENT_UNKNOWN', 'the organisation has no such agent', {
    hint: '`kontext agents ls` lists them',
  });
}

const record = (
  tx: Tx,
  { orgId, userId }: Caller,
  agent: string,
  facts: Readonly<Record<string, unknown>>,
  now: Date,
) =>
  appendServerEvent(
    tx,
    { orgId, sessionId: null },
    { kind: 'agent.changed', user: userId, agent, facts },
    now,
  );

const invalid = (message: string) => new KontextError('KX_REQUEST_INVALID', message);
