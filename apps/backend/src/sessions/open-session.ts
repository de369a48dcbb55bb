import { createId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { Decision } from '@kontext/policy';
import { appendServerEvent } from '../audit/append-server-event.ts';
import { createStreams } from '../audit/create-streams.ts';
import type { Caller } from '../caller.ts';
import type { Holding } from '../policies/holding.ts';
import { loadUsePolicy } from '../policies/use-policy.ts';
import { type AuditSettings, loadAuditSettings } from '../store/queries/audit-settings.ts';
import { findOrgAndAgent } from '../store/queries/members.ts';
import { insertSession, type NamedSession } from '../store/queries/sessions.ts';
import type { Store } from '../store/store.ts';
import { type Mode, raiseMode } from './session-mode.ts';

/** What a client says about the session it wants. */
export interface OpenSessionInput {
  readonly agent: string;
  readonly agentVersion: string;
  readonly hostname: string;
  readonly cliVersion: string;
  /** Null: what the organisation set. */
  readonly mode: Mode | null;
  /** Hex SHA-256, or empty. */
  readonly hookConfigHash: string;
  /** Whether the agent can ask its user itself; default no. */
  readonly interactive?: boolean;
  /** Repository it runs in, `host/owner/name`; default empty. */
  readonly repository?: string;
}

/** A session that was just opened, with what its client needs to write its stream. */
export interface OpenedSession extends NamedSession {
  readonly clientStreamId: string;
  readonly clientStreamNonce: Buffer;
  readonly serverStreamId: string;
  /** Hash of the event that opened the session, 32 bytes. */
  readonly serverEventHash: Buffer;
  readonly orgName: string;
  /** What to keep of payloads. */
  readonly payloads: AuditSettings['payloads'];
}

/** Longest texts, in UTF-16 code units but for the machine's name, which the contract counts in bytes. */
const limits = { agent: 64, version: 64, hostnameBytes: 255, repository: 255 } as const;

/**
 * Opens a session: its row, both of its streams, and `session.opened` on the server stream, in one transaction.
 *
 * @param holding What the snapshot is of that the client gets together with the session.
 * @throws KontextError `KX_REQUEST_INVALID` when a field cannot be used.
 * @throws KontextError `KX_AGENT_UNKNOWN` when the organisation has no such agent, `KX_AGENT_DISABLED`.
 * @throws KontextError `KX_SESSION_DENIED` when policy forbids the session and is enforced, which is recorded in the organisation's
 *   stream. In observe `session.opened` says that it would have been.
 */
export async function openSession(
  store: Store,
  caller: Caller,
  input: OpenSessionInput,
  holding: Pick<Holding, 'version' | 'mode'>,
  now: Date,
): Promise<OpenedSession> {
  checkInput(input);
  const { orgId, userId } = caller;
  const opened = await store.transaction({ role: 'app', orgId }, async (tx) => {
    const org = await findOrgAndAgent(tx, orgId, input.agent);
    if (org === null) throw new KontextError('KX_NOT_FOUND', 'the organisation does not exist');
    if (org.agentId === null) {
      throw new KontextError('KX_AGENT_UNKNOWN', `the organisation has no agent named ${input.agent}`);
    }
    if (org.agentDisabledAt !== null) {
      throw new KontextError('KX_AGENT_DISABLED', `the agent ${input.agent} is disabled`);
    }
    const id = createId('ses', now.getTime());
    const mode = raiseMode(holding.mode, input.mode);
    const policyVersion = holding.version;
    const { agent, agentVersion, hostname } = input;
    const policy = await loadUsePolicy(tx, caller);
    const start = { agent, agentVersion, hostname, mode, atMs: now.getTime() };
    const decision = policy.sessionStart(start, mode);
    const said = { ...decisionFields(decision), agent, user: userId };
    if (mode === 'enforce' && decision.effect === 'deny') {
      const facts = { ...input, reason: decision.reason, failure: decision.failure };
      await appendServerEvent(
        tx,
        { orgId, sessionId: null },
        { ...said, kind: 'session.refused', facts },
        now,
      );
      return { denied: decision };
    }
    const { mode: _, ...described } = input;
    const session = await insertSession(tx, {
      ...described,
      ...{ id, orgId, userId, agentId: org.agentId, state: 'live', mode, policyVersion },
      ...{ loginGrantId: caller.grantId, startedAt: now, lastHeartbeatAt: now },
    });
    const { payloads } = await loadAuditSettings(tx, orgId);
    const owner = { orgId, sessionId: id, userId };
    const [client, server] = await createStreams(tx, ['client', 'server'], owner, now);
    const event = await appendServerEvent(
      tx,
      { ...owner, made: server },
      {
        ...{ ...said, kind: 'session.opened', mode, policyVersion },
        facts: {
          ...{ ...described, clientStream: client.id, grant: caller.grantId },
          ...(said.decision === null ? {} : { reason: decision.reason, failure: decision.failure }),
        },
      },
      now,
    );
    if (session === null) throw new KontextError('KX_INTERNAL', 'a session was not stored');
    return {
      ...{ session, userName: caller.userName, liveLeases: 0 },
      clientStreamId: client.id,
      clientStreamNonce: client.nonce,
      serverStreamId: server.id,
      serverEventHash: event.eventHash,
      orgName: org.name,
      payloads,
    };
  });
  if ('denied' in opened) throw deniedBy(opened.denied);
  return opened;
}

/** What an event says about a decision of policy; nothing when no rule objected. */
const decisionFields = ({ effect, rule, failure, policyVersion, mode }: Decision) => ({
  ...{ decision: rule === null && failure === null ? null : effect, rule, policyVersion, mode },
});

const deniedBy = ({ rule, reason, failure }: Decision): KontextError =>
  new KontextError('KX_SESSION_DENIED', `policy forbids the session: ${reason}`, {
    why:
      failure === null ? `rule ${rule} denies it` : 'the policy could not be evaluated, and it is enforced',
    details: rule === null ? {} : { policy_id: rule },
  });

function checkInput(input: OpenSessionInput): void {
  const { agent, agentVersion, hostname, cliVersion, hookConfigHash, repository = '' } = input;
  if (!/^[a-z0-9][a-z0-9-]*$/.test(agent) || agent.length > limits.agent)
    throw invalid('agent', 'not an agent name');
  if (Buffer.byteLength(hostname) > limits.hostnameBytes) throw invalid('hostname', 'over 255 bytes');
  if (Math.max(agentVersion.length, cliVersion.length) > limits.version)
    throw invalid('version', 'over 64 characters');
  checkHookConfigHash(hookConfigHash);
  if (repository.length > limits.repository) throw invalid('repository', 'over 255 characters');
  if (/[\p{Cc}\p{Surrogate}]/u.test(repository)) throw invalid('repository', 'it holds control characters');
  // Postgres text cannot hold NUL.
  if ([agentVersion, hostname, cliVersion].some((text) => text.includes('\0')))
    throw invalid('text', 'it holds NUL');
}

/**
 * @throws KontextError `KX_REQUEST_INVALID` when it is neither empty nor hex SHA-256.
 */
export function checkHookConfigHash(hash: string): void {
  if (!/^([0-9a-f]{64})?$/.test(hash)) throw invalid('hook_config_hash', 'not hex SHA-256');
}

const invalid = (field: string, why: string): KontextError =>
  new KontextError('KX_REQUEST_INVALID', `the field ${field} cannot be used`, { why });
