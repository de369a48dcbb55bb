import { hostname } from 'node:os';
import { KontextError } from '@kontext/errors';
import type {
  EndSessionResponseJson,
  OpenSessionResponseJson,
  PayloadSettingJson,
  PolicySnapshotJson,
  SessionStateJson,
} from '@kontext/protocol';
import type { PayloadSetting } from '../hooks/payload-text.ts';
import type { Calls } from '../rpc/calls.ts';
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
  /** The agent can ask its user itself; default false. */
  readonly interactive?: boolean;
  /** Where it runs, see {@link readRepository}; default empty. */
  readonly repository?: string;
  readonly signal?: AbortSignal;
}

/** What one heartbeat tells. */
export interface Heartbeat {
  readonly state: 'live' | 'ended' | 'lost';
  /** Newest policy version of the organisation. */
  readonly policyVersion: number;
  /** Publication that holds; 0 from a backend that does not say. */
  readonly policySeq: number;
  /** Whether the session was found tampered with. */
  readonly tampered: boolean;
  /** What to keep of payloads from now on. */
  readonly payloads: PayloadSetting;
}

/** What sends heartbeats say. */
export interface HeartbeatOptions {
  /** Hash of the hook configuration; asked each time. */
  readonly hookConfigHash?: () => string;
  /** Whether the agent has called a hook by now; asked each time. */
  readonly hooksSeen?: () => boolean;
  /** Called with each answer. */
  readonly onBeat?: (beat: Heartbeat) => void;
}

/** What became of a session's credentials when it ended. */
export interface SessionClose {
  readonly leasesRevoked: number;
  /** Those that cannot be recalled; `expiresAt` null: they do not expire, or nobody knows when. */
  readonly living: readonly { readonly provider: string; readonly expiresAt: Date | null }[];
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
  readonly snapshot: PolicySnapshotJson | undefined;
  /** Facts about the user that policy may look at; empty where the backend tells none. */
  readonly role: string;
  readonly groups: readonly string[];
  /** What to keep of payloads, as the backend said it last; anything unknown counts as `summary`. */
  payloads(): PayloadSetting;
  /**
   * Sends heartbeats until the session ends. A heartbeat that fails is left out: the next one speaks for both.
   *
   * @returns Sends one at once, besides.
   */
  startHeartbeats(options?: HeartbeatOptions): () => void;
  /**
   * Ends the session and its leases. Called twice, it does nothing the second time.
   *
   * @param exitCode Of the agent, 0 to 255.
   * @returns What became of its credentials; null when the backend could not be told within 2 s.
   */
  end(exitCode: number): Promise<SessionClose | null>;
}

/** Never longer: the person waits for their prompt. */
const endTimeoutMs = 2_000;

/**
 * Opens a session.
 *
 * @throws KontextError what the backend answers, such as `KX_LOGIN_EXPIRED` or `KX_AGENT_UNKNOWN`.
 */
export async function openSession(
  calls: Pick<Calls, 'openSession' | 'heartbeatSession' | 'endSession'>,
  request: SessionRequest,
): Promise<OpenSession> {
  const answer = await calls.openSession(
    {
      agent: request.agent,
      agentVersion: request.agentVersion ?? '',
      hostname: hostname().slice(0, 255),
      cliVersion,
      ...(request.mode === null ? {} : { mode: modeNames[request.mode] }),
      hookConfigHash: request.hookConfigHash ?? '',
      interactive: request.interactive ?? false,
      repository: request.repository ?? '',
    },
    request.signal ? { signal: request.signal } : {},
  );
  return { ...describeSession(answer), ...keepSession(calls, answer) };
}

const modeNames = { observe: 'MODE_OBSERVE', enforce: 'MODE_ENFORCE' } as const;

/** What is left out on the wire has its default: Protobuf's JSON omits empty fields. */
function describeSession(answer: OpenSessionResponseJson) {
  const { session } = answer;
  if (session?.id === undefined) {
    throw new KontextError('KX_NOT_A_BACKEND', 'the backend opened no session');
  }
  return {
    id: session.id,
    userId: session.userId ?? '',
    userName: session.userName ?? '',
    orgId: session.orgId ?? '',
    orgName: answer.orgName ?? '',
    mode: session.mode === 'MODE_OBSERVE' ? ('observe' as const) : ('enforce' as const),
    policyVersion: Number(session.policyVersion ?? 0),
    clientStreamId: answer.clientStreamId ?? '',
    clientStreamNonce: Buffer.from(answer.clientStreamNonce ?? '', 'base64'),
    serverStreamId: answer.serverStreamId ?? '',
    serverEventHash: Buffer.from(answer.serverEventHash ?? '', 'base64'),
    snapshot: answer.snapshot,
    role: answer.role ?? '',
    groups: answer.groups ?? [],
  };
}

function keepSession(
  calls: Pick<Calls, 'heartbeatSession' | 'endSession'>,
  answer: OpenSessionResponseJson,
): Pick<OpenSession, 'startHeartbeats' | 'end' | 'payloads'> {
  const sessionId = answer.session?.id ?? '';
  const intervalMs = Math.min(Math.max(answer.heartbeatSeconds ?? 0, 1), 3_600) * 1000;
  let timer: NodeJS.Timeout | undefined;
  let payloads = toPayloads(answer.payloads);
  let ended: Promise<SessionClose | null> | undefined;
  const beat = async ({ hookConfigHash, hooksSeen, onBeat }: HeartbeatOptions) => {
    try {
      const said = {
        ...{ sessionId, hookConfigHash: hookConfigHash?.() ?? '' },
        hooksSeen: hooksSeen?.() ?? false,
      };
      const beaten = await calls.heartbeatSession(said);
      const { state, policyVersion, policySeq, tamperedAt } = beaten;
      payloads = toPayloads(beaten.payloads);
      onBeat?.({
        state: (state && stateNames[state]) ?? 'live',
        policyVersion: Number(policyVersion ?? 0),
        policySeq: Number(policySeq ?? 0),
        tampered: tamperedAt !== undefined,
        payloads,
      });
    } catch {
      // The backend may be away for a while; the session lives on.
    }
  };
  const tellEnd = async (exitCode: number) => {
    clearInterval(timer);
    try {
      return toClose(await calls.endSession({ sessionId, exitCode }, { timeoutMs: endTimeoutMs }));
    } catch {
      return null;
    }
  };
  return {
    payloads: () => payloads,
    startHeartbeats(options = {}) {
      clearInterval(timer);
      timer = setInterval(() => void beat(options), intervalMs).unref();
      return () => void beat(options);
    },
    end(exitCode) {
      ended ??= tellEnd(exitCode);
      return ended;
    },
  };
}

const toClose = ({ leasesRevoked = 0, living = [] }: EndSessionResponseJson): SessionClose => ({
  leasesRevoked,
  living: living.map(({ provider = '', expiresAt }) => ({
    provider,
    expiresAt: expiresAt === undefined ? null : new Date(expiresAt),
  })),
});

const toPayloads = (said: PayloadSettingJson | undefined): PayloadSetting =>
  (said && payloadNames[said]) ?? 'summary';

const payloadNames: Readonly<Partial<Record<PayloadSettingJson, PayloadSetting>>> = {
  PAYLOAD_SETTING_FULL: 'full',
  PAYLOAD_SETTING_OMITTED: 'omitted',
};

const stateNames: Readonly<Partial<Record<SessionStateJson, Heartbeat['state']>>> = {
  SESSION_STATE_LIVE: 'live',
  SESSION_STATE_ENDED: 'ended',
  SESSION_STATE_LOST: 'lost',
};
