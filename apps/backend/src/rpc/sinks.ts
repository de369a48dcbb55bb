import { create } from '@bufbuild/protobuf';
import { type Timestamp, timestampDate, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { KontextError } from '@kontext/errors';
import {
  DeliveryState,
  type Sink,
  type SinkDelivery,
  SinkDeliverySchema,
  SinkSchema,
  SinkService,
  SinkState,
} from '@kontext/protocol';
import type { DeliveryPage, LaggingSink, Replay, SinkService as Sinks } from '../sinks/sink-service.ts';
import { callerOf } from './authenticate.ts';
import type { RpcRoutes } from './router.ts';
import { maskUrl } from './webhooks.ts';

/**
 * The edge of `sinks/`: wire in, wire out.
 *
 * @param nowMs Clock; a sink's lag is told by it.
 */
export const sinkRoutes =
  (sinks: Sinks, nowMs: () => number): RpcRoutes =>
  (router) =>
    router.service(SinkService, {
      addSink: async ({ name, url, kinds, payloads, since }, context) => {
        const wanted = { name, url, kinds, payloads, since: since ? askedInstant(since) : null };
        const { sink, secret } = await sinks.add(callerOf(context), wanted);
        return { sink: toMessage(sink, nowMs()), secret };
      },
      setSink: async ({ sinkId, state }, context) => {
        const sink = await sinks.setState(callerOf(context), sinkId, wantedState(state));
        return { sink: toMessage(sink, nowMs()) };
      },
      removeSink: async ({ sinkId }, context) => {
        await sinks.remove(callerOf(context), sinkId);
        return {};
      },
      listSinks: async (_request, context) => {
        const found = await sinks.list(callerOf(context));
        return { sinks: found.map((sink) => toMessage(sink, nowMs())) };
      },
      testSink: async ({ sinkId }, context) => {
        const { status, error } = await sinks.test(callerOf(context), sinkId);
        return { status, error };
      },
      replaySink: async ({ sinkId, since, deadLetters }, context) => {
        const what = toReplay(since && askedInstant(since), deadLetters);
        return { segments: BigInt(await sinks.replay(callerOf(context), sinkId, what)) };
      },
      listSinkDeliveries: async ({ sinkId, state, pageSize, pageToken }, context) => {
        const query = { sinkId, state: states[state] ?? null, pageSize, cursor: pageToken };
        const { deliveries, next } = await sinks.listDeliveries(callerOf(context), query);
        return { deliveries: deliveries.map(toDelivery), nextPageToken: next ?? '' };
      },
    });

const states: Readonly<Partial<Record<DeliveryState, 'delivered' | 'failed' | 'dead'>>> = {
  [DeliveryState.DELIVERED]: 'delivered',
  [DeliveryState.FAILED]: 'failed',
  [DeliveryState.DEAD]: 'dead',
};

const deliveryStates = {
  delivered: DeliveryState.DELIVERED,
  failed: DeliveryState.FAILED,
  dead: DeliveryState.DEAD,
} as const;

const sinkStates = {
  active: SinkState.ACTIVE,
  paused: SinkState.PAUSED,
  disabled: SinkState.DISABLED,
} as const;

function wantedState(state: SinkState): 'active' | 'paused' | null {
  if (state === SinkState.UNSPECIFIED) return null;
  if (state === SinkState.ACTIVE) return 'active';
  if (state === SinkState.PAUSED) return 'paused';
  throw new KontextError('KX_REQUEST_INVALID', 'a sink can be made active or paused');
}

/** @throws KontextError `KX_REQUEST_INVALID` for what no date reaches. */
function askedInstant(since: Timestamp): Date {
  const date = timestampDate(since);
  if (Number.isNaN(date.getTime())) throw new KontextError('KX_REQUEST_INVALID', 'since is no instant');
  return date;
}

function toReplay(since: Date | undefined, deadLetters: boolean): Replay {
  if (deadLetters) return { case: 'dead' };
  if (since === undefined) throw new KontextError('KX_REQUEST_INVALID', 'since or dead_letters is missing');
  return { case: 'since', since };
}

function toMessage({ sink, lagSegments, oldestAt, dead }: LaggingSink, nowMs: number): Sink {
  const { id, name, kinds, payloads, state, createdAt, createdBy, lastDeliveredAt, lastError } = sink;
  const lagMs = oldestAt === null ? 0 : Math.max(0, nowMs - oldestAt.getTime());
  return create(SinkSchema, {
    ...{ id, name, kinds, payloads, createdBy, lastError, url: maskUrl(sink.url) },
    ...{ state: sinkStates[state], createdAt: timestampFromDate(createdAt) },
    ...{ lagSegments: BigInt(lagSegments), lagSeconds: BigInt(Math.floor(lagMs / 1000)), dead: BigInt(dead) },
    ...(lastDeliveredAt ? { lastDeliveredAt: timestampFromDate(lastDeliveredAt) } : {}),
  });
}

function toDelivery(row: DeliveryPage['deliveries'][number]): SinkDelivery {
  const { id, state, firstLeaf, lastLeaf, events, attempts, status, error, at } = row;
  return create(SinkDeliverySchema, {
    ...{ id, events, attempts, error, state: deliveryStates[state], status: status ?? 0 },
    ...{ firstLeaf: BigInt(firstLeaf), lastLeaf: BigInt(lastLeaf), at: timestampFromDate(at) },
  });
}
