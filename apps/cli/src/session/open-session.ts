import { hostname } from 'node:os';
import { KontextError } from '@kontext/errors';
import { Mode, type OpenSessionResponse, type PolicySnapshot, SessionState } from '@kontext/protocol';
import type { Clients } from '../rpc/clients.ts';
import { cliVersion } from '../version.ts';

/** What a session is opened for. */
export interface SessionRequest {
  /** Registered agent: `claude`, `run`, … */
  readonly agent: string;
  readonly agentVersion?: string;
  /** Mode asked for; null leaves it to the organisation. */
  readonly mode: 'observe' | 'enforce' | null;
  /** Hex SHA-256 of the hook configuration; left out where the agent has none. */
  readonly hookConfigHash?: string;
  readonly signal?: AbortSignal;
}

/** What one heartbeat tells. */
export interface Heartbeat {
  readonly state: 'live' | 'ended' | 'lost';
  /** Newest policy version of the organisation. */
  readonly policyVersion: number;
}

/** A live session. End it in every path. */
export interface OpenSession {
  /** `ses_…` */
  readonly id: string;
  readonly userId: string;
  readonly userName: string;
  readonly orgId: string;
  readonly orgName: string;
  /** Mode in force; anything unknown counts as enforce. */
  readonly mode: 'observe' | 'enforce';
  readonly policyVersion: number;
  /** Stream the hook server writes, and what its first link hashes (32 bytes). */
  readonly clientStreamId: string;
  readonly clientStreamNonce: Uint8Array;
  readonly serverStreamId: string;
  /** Hash of the event that opened the session (32 bytes). */
  readonly serverEventHash: Uint8Array;
  readonly snapshot: PolicySnapshot | undefined;
  /**
   * Sends heartbeats until the session ends. A heartbeat that fails is left out: the next one speaks for both.
   *
   * @param onBeat Called with each answer.
   */
  startHeartbeats(hookConfigHash?: string, onBeat?: (beat: Heartbeat) => void): void;
  /**
   * Ends the session and its leases. Called twice, it does nothing the second time.
   *
   * @param exitCode Of the agent, 0 to 255.
   * @returns Whether the backend was told, within 2 s.
   */
  end(exitCode: number): Promise<boolean>;
}

/** Never longer: the person waits for their prompt. */
const endTimeoutMs = 2_000;

/**
 * Opens a session.
 *
 * @throws KontextError what the backend answers, such as `KX_LOGIN_EXPIRED` or `KX_AGENT_UNKNOWN`.
 */
export async function openSession(clients: Clients, request: SessionRequest): Promise<OpenSession> {
  const answer = await clients.sessions.openSession(
    {
      agent: request.agent,
      agentVersion: request.agentVersion ?? '',
      hostname: hostname().slice(0, 255),
      cliVersion,
      mode:
        request.mode === null ? Mode.UNSPECIFIED : request.mode === 'enforce' ? Mode.ENFORCE : Mode.OBSERVE,
      hookConfigHash: request.hookConfigHash ?? '',
    },
    request.signal ? { signal: request.signal } : {},
  );
  return { ...describeSession(answer), ...keepSession(clients, answer) };
}

function describeSession(answer: OpenSessionResponse) {
  const { session } = answer;
  if (session === undefined || session.id === '') {
    throw new KontextError('KX_NOT_A_BACKEND', 'the backend opened no session');
  }
  return {
    id: session.id,
    userId: session.userId,
    userName: session.userName,
    orgId: session.orgId,
    orgName: answer.orgName,
    mode: session.mode === Mode.OBSERVE ? ('observe' as const) : ('enforce' as const),
    policyVersion: Number(session.policyVersion),
    clientStreamId: answer.clientStreamId,
    clientStreamNonce: answer.clientStreamNonce,
    serverStreamId: answer.serverStreamId,
    serverEventHash: answer.serverEventHash,
    snapshot: answer.snapshot,
  };
}

function keepSession(
  clients: Clients,
  answer: OpenSessionResponse,
): Pick<OpenSession, 'startHeartbeats' | 'end'> {
  const sessionId = answer.session?.id ?? '';
  const intervalMs = Math.min(Math.max(answer.heartbeatSeconds, 1), 3_600) * 1000;
  let timer: NodeJS.Timeout | undefined;
  let ended: Promise<boolean> | undefined;
  const beat = async (hookConfigHash: string, onBeat?: (beat: Heartbeat) => void) => {
    try {
      const { state, policyVersion } = await clients.sessions.heartbeatSession({ sessionId, hookConfigHash });
      onBeat?.({ state: stateNames[state] ?? 'live', policyVersion: Number(policyVersion) });
    } catch {
      // The backend may be away for a while; the session lives on.
    }
  };
  const tellEnd = async (exitCode: number) => {
    clearInterval(timer);
    try {
      await clients.sessions.endSession({ sessionId, exitCode }, { timeoutMs: endTimeoutMs });
      return true;
    } catch {
      return false;
    }
  };
  return {
    startHeartbeats(hookConfigHash = '', onBeat) {
      clearInterval(timer);
      timer = setInterval(() => void beat(hookConfigHash, onBeat), intervalMs).unref();
    },
    end(exitCode) {
      ended ??= tellEnd(exitCode);
      return ended;
    },
  };
}

const stateNames: Readonly<Partial<Record<SessionState, Heartbeat['state']>>> = {
  [SessionState.LIVE]: 'live',
  [SessionState.ENDED]: 'ended',
  [SessionState.LOST]: 'lost',
};
