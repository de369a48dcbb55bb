import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { errorTable, isErrorCode } from '@kontext/errors';
import { ConnectionSchema, ConnectionService, ConnectionState } from '@kontext/protocol';
import type { ConnectionService as Connections } from '../connections/connection-service.ts';
import { callerOf } from './authenticate.ts';
import type { RpcRoutes } from './router.ts';

const states = {
  pending: ConnectionState.PENDING,
  connected: ConnectionState.CONNECTED,
  reauth_required: ConnectionState.REAUTH_REQUIRED,
  revoked: ConnectionState.REVOKED,
} as const;

/** The edge of connections: wire in, wire out. */
export const connectionRoutes =
  (connections: Connections): RpcRoutes =>
  (router) =>
    router.service(ConnectionService, {
      beginConnection: async ({ provider, name, scopes, shared, addScopes }, context) => {
        const wanted = { provider, name, scopes, shared, addScopes };
        const link = await connections.begin(callerOf(context), wanted);
        const { connectionId, connectUri, expiresInSeconds } = link;
        return { connectionId, connectUri, expiresIn: expiresInSeconds };
      },
      getConnection: async ({ connectionId }, context) => ({
        connection: toMessage(await connections.get(callerOf(context), connectionId)),
      }),
      listConnections: async (_request, context) => ({
        connections: (await connections.list(callerOf(context))).map(toMessage),
      }),
      revokeConnection: async ({ connectionId }, context) => {
        const { revokedAtProvider, message } = await connections.revoke(callerOf(context), connectionId);
        return { revokedAtProvider, message };
      },
      testConnection: async ({ connectionId }, context) => {
        const { works, message, scopes, account } = await connections.test(callerOf(context), connectionId);
        return { works, message, scopes: [...(scopes ?? [])], account: account ?? '' };
      },
      putSecret: async ({ provider, name, value, shared }, context) => ({
        connection: toMessage({
          ...(await connections.putSecret(callerOf(context), { provider, name, value, shared })),
          liveLeases: 0,
        }),
      }),
    });

function toMessage({ connection, provider, liveLeases }: Awaited<ReturnType<Connections['get']>>) {
  const { id, name, state, scopes, connectedAt, lastUsedAt } = connection;
  const init: MessageInitShape<typeof ConnectionSchema> = {
    ...{ id, provider: provider.name, name, state: states[state], scopes },
    ...{ shared: connection.userId === null, liveLeases },
    ...{ account: connection.account ?? '', failure: failureText(connection.failure) },
    ...(connectedAt ? { connectedAt: timestampFromDate(connectedAt) } : {}),
    ...(lastUsedAt ? { lastUsedAt: timestampFromDate(lastUsedAt) } : {}),
  };
  return create(ConnectionSchema, init);
}

/** In words what the stored code of the last failure means; a code of an older version stands for itself. */
const failureText = (code: string | null): string =>
  code === null ? '' : isErrorCode(code) ? `${errorTable[code].summary} (${code})` : code;
