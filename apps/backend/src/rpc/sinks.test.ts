import { createClient, createRouterTransport } from '@connectrpc/connect';
import { SinkService, SinkState } from '@kontext/protocol';
import { describe, expect, it } from 'vitest';
import type { SinkService as Sinks } from '../sinks/sink-service.ts';
import { callerKey } from './authenticate.ts';
import { toConnectError } from './connect-error.ts';
import { sinkRoutes } from './sinks.ts';

const nothing = {} as Sinks;
const client = createClient(
  SinkService,
  createRouterTransport(
    sinkRoutes(nothing, () => 0),
    {
      router: {
        interceptors: [
          (next) => async (request) => {
            request.contextValues.set(callerKey, { userId: 'usr_1', orgId: 'org_1' } as never);
            return next(request).catch((error: unknown) => {
              throw toConnectError(error);
            });
          },
        ],
      },
    },
  ),
);

describe('requests about sinks', () => {
  it('are refused when they want a state that nobody can set, or a replay of nothing', async () => {
    await expect(client.setSink({ sinkId: 'snk_1', state: SinkState.DISABLED })).rejects.toThrow(
      'a sink can be made active or paused',
    );
    await expect(client.replaySink({ sinkId: 'snk_1' })).rejects.toThrow('since or dead_letters is missing');
    const since = { seconds: 10n ** 15n };
    await expect(client.replaySink({ sinkId: 'snk_1', since })).rejects.toThrow('since is no instant');
    await expect(client.addSink({ name: 'x', url: 'https://h.example/', since })).rejects.toThrow(
      'since is no instant',
    );
  });
});
