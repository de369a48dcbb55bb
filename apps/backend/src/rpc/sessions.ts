import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Mode, SessionSchema, SessionService, SessionState } from '@kontext/protocol';
import type { NamedSession, SessionService as Sessions } from '../sessions/session-service.ts';
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
        const { agent, agentVersion, hostname, cliVersion, hookConfigHash } = request;
        const caller = callerOf(context);
        const opened = await sessions.open(caller, {
          ...{ agent, agentVersion, hostname, cliVersion, hookConfigHash },
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
        };
      },
      heartbeatSession: async ({ sessionId, hookConfigHash }, context) => {
        const result = await sessions.heartbeat(callerOf(context), sessionId, hookConfigHash);
        return { state: states[result.state], policyVersion: BigInt(result.policyVersion) };
      },
      endSession: async ({ sessionId, exitCode }, context) => {
        const { leases } = await sessions.end(callerOf(context), sessionId, exitCode);
        return { leasesEnded: leases.length };
      },
      listSessions: async ({ pageSize, pageToken, mine }, context) => {
        const page = await sessions.list(callerOf(context), { mine, pageSize, cursor: pageToken });
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

function toSessionMessage({ session, userName }: NamedSession) {
  const { id, userId, orgId, agent, agentVersion, hostname, state, mode, policyVersion } = session;
  const init: MessageInitShape<typeof SessionSchema> = {
    ...{ id, userId, userName, orgId, agent, agentVersion, hostname },
    state: states[state],
    mode: mode === 'observe' ? Mode.OBSERVE : Mode.ENFORCE,
    policyVersion: BigInt(policyVersion),
    startedAt: timestampFromDate(session.startedAt),
    ...(session.endedAt ? { endedAt: timestampFromDate(session.endedAt) } : {}),
    ...(session.tamperedAt ? { tamperedAt: timestampFromDate(session.tamperedAt) } : {}),
  };
  return create(SessionSchema, init);
}
