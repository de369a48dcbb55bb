/** Who acts in an exchange: the agent of a live session, or the one outside of any; and whether it may. */
import { isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { holdSessionWithAgent } from '../store/queries/credential-facts.ts';
import { findAgent } from '../store/queries/members.ts';
import type { Tx } from '../store/tx.ts';
import type { ExchangeRequest } from './exchange-request.ts';
import { withheldBecause } from './withheld.ts';

/** Agent that acts outside of any session. */
export const sessionlessAgent = 'run';

/** The agent a batch is for. */
export interface BatchAgent {
  readonly id: string;
  readonly name: string;
  readonly ceilingScopes: readonly string[] | null;
  readonly maxTtlSeconds: number;
}

/** The agent, and the session it acts in; null: outside of any. */
export interface ActingAgent extends BatchAgent {
  readonly session: { readonly id: string; readonly mode: 'observe' | 'enforce' } | null;
}

/**
 * The agent that a request is for; its session is held live until the transaction is over.
 *
 * @throws KontextError as {@link requireLive} does.
 */
export async function findActingAgent(tx: Tx, { caller, sessionId }: ExchangeRequest): Promise<ActingAgent> {
  if (sessionId === null) {
    const agent = requireAgent(await findAgent(tx, caller.orgId, sessionlessAgent));
    return { ...agent, session: null };
  }
  const held = isId('ses', sessionId) ? await holdSessionWithAgent(tx, sessionId) : null;
  const agent = requireLive(held, caller.userId);
  return { ...agent, session: held === null ? null : { id: sessionId, mode: held.session.mode } };
}

/**
 * The agent of a session that is live, and the user's own. What a tampered session is not renewed, it cannot resolve anew.
 *
 * @throws KontextError `KX_NOT_FOUND`, `KX_SESSION_ENDED`, `KX_RENEWAL_WITHHELD`, and what {@link requireAgent} throws.
 */
export function requireLive(held: Awaited<ReturnType<typeof holdSessionWithAgent>>, userId: string) {
  if (held?.session.userId !== userId) {
    throw new KontextError('KX_NOT_FOUND', 'there is no such session, or it is not yours');
  }
  const { state, mode, tamperedAt } = held.session;
  if (state !== 'live') throw new KontextError('KX_SESSION_ENDED', 'the session has ended');
  if (mode === 'enforce' && tamperedAt !== null) throw withheldBecause('tampered');
  return requireAgent(held.agent);
}

/**
 * The agent, when it may act.
 *
 * @throws KontextError `KX_AGENT_UNKNOWN` when there is none, `KX_AGENT_DISABLED`.
 */
export function requireAgent<A extends { readonly name: string; readonly disabledAt: Date | null }>(
  agent: A | null,
): A {
  if (agent === null) throw new KontextError('KX_AGENT_UNKNOWN', 'the organisation has no such agent');
  if (agent.disabledAt === null) return agent;
  throw new KontextError('KX_AGENT_DISABLED', `the agent ${agent.name} is disabled`);
}
