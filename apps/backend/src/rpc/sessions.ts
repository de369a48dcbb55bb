import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Mode, SessionSchema, SessionService, SessionState } from '@kontext/protocol';
import { recallOf } from '../credentials/recall.ts';
import type { NamedSession, SessionService as Sessions } from '../sessions/session-service.ts';
import { toPayloadSetting } from './audit-settings.ts';
import { callerOf } from './authenticate.ts';
import { toSnapshotMessage } from './policies.ts';
import type { RpcRoutes } from './router.ts';

const states = {
  live: SessionState.LIVE,
  ended: SessionState.ENDED,
  lost: SessionState.LOST,
} as const;

/** The edge of `sessions/`: wire in, wire out. */
export const sessionRoutes =
  (sessions: Sessions): RpcRoutes =>
  (router) =>
    router.service(SessionService, {
      openSession: async (request, context) => {
        const { agent, agentVersion, hostname, cliVersion, hookConfigHash, interactive, repository } =
          request;
        const caller = callerOf(context);
        const opened = await sessions.open(caller, {
          ...{ agent, agentVersion, hostname, cliVersion, hookConfigHash, interactive, repository },
          mode: askedMode(request.mode),
        });
        const { clientStreamId, clientStreamNonce, serverStreamId, serverEventHash, orgName } = opened;
        return {
          ...{ clientStreamId, clientStreamNonce, serverStreamId, serverEventHash, orgName },
          session: toSessionMessage(opened),
          snapshot: toSnapshotMessage(opened.snapshot),
          heartbeatSeconds: opened.heartbeatSeconds,
          role: caller.role,
          groups: [...caller.groups],
          payloads: toPayloadSetting(opened.payloads),
        };
      },
      heartbeatSession: async ({ sessionId, hookConfigHash, hooksSeen }, context) => {
        const beat = { hookConfigHash, hooksSeen };
        const { state, policyVersion, policySeq, tamperedAt, payloads } = await sessions.heartbeat(
          callerOf(context),
          sessionId,
          beat,
        );
        return {
          ...{ state: states[state], policyVersion: BigInt(policyVersion), policySeq: BigInt(policySeq) },
          ...(tamperedAt ? { tamperedAt: timestampFromDate(tamperedAt) } : {}),
          payloads: toPayloadSetting(payloads),
        };
      },
      endSession: async ({ sessionId, exitCode, reason }, context) => {
        const { leases } = await sessions.end(callerOf(context), sessionId, { exitCode, reason });
        return describeEnd(leases);
      },
      listSessions: async ({ pageSize, pageToken, mine, live }, context) => {
        const query = { mine, live, pageSize, cursor: pageToken };
        const page = await sessions.list(callerOf(context), query);
        return { sessions: page.sessions.map(toSessionMessage), nextPageToken: page.next ?? '' };
      },
      getSession: async ({ sessionId }, context) => ({
        session: toSessionMessage(await sessions.get(callerOf(context), sessionId)),
      }),
    });

/** An unknown value degrades to the safe meaning: enforce. */
const askedMode = (mode: Mode): 'observe' | 'enforce' | null => {
  if (mode === Mode.UNSPECIFIED) return null;
  return mode === Mode.OBSERVE ? 'observe' : 'enforce';
};

const maxLiving = 100;

/** What became of the leases of an ended session: what dies now, and what lives on at its provider. */
function describeEnd(leases: Awaited<ReturnType<Sessions['end']>>['leases']) {
  const living = leases.filter(({ lease, provider }) => recallOf(lease, provider) !== 'upstream');
  return {
    leasesEnded: leases.length,
    leasesRevoked: leases.length - living.length,
    living: living.slice(0, maxLiving).map(({ lease }) => ({
      ...{ provider: lease.provider, leaseId: lease.id },
      ...(lease.upstreamExpiresAt ? { expiresAt: timestampFromDate(lease.upstreamExpiresAt) } : {}),
    })),
  };
}

function toSessionMessage({ session, userName, liveLeases }: NamedSession) {
  const { id, userId, orgId, agent, agentVersion, hostname, state, mode, policyVersion } = session;
  const init: MessageInitShape<typeof SessionSchema> = {
    ...{ id, userId, userName, orgId, agent, agentVersion, hostname, liveLeases },
    endReason: session.endReason ?? '',
    repository: session.repository,
    state: states[state],
    mode: mode === 'observe' ? Mode.OBSERVE : Mode.ENFORCE,
    policyVersion: BigInt(policyVersion),
    startedAt: timestampFromDate(session.startedAt),
    ...(session.endedAt ? { endedAt: timestampFromDate(session.endedAt) } : {}),
    ...(session.tamperedAt ? { tamperedAt: timestampFromDate(session.tamperedAt) } : {}),
  };
  return create(SessionSchema, init);
}
