import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import {
  AppendStatus,
  type AuditEvent,
  AuditService,
  SegmentSchema,
  type StoredEvent,
  StoredEventSchema,
  type Stream,
  StreamKind,
  StreamSchema,
} from '@kontext/protocol';
import type { AuditService as Audit, EventRow, StreamRow } from '../audit/audit-service.ts';
import type { AuditLog, EventProof } from '../audit/log/audit-log.ts';
import { callerOf } from './authenticate.ts';
import type { RpcRoutes } from './router.ts';
import { toSafeNumber } from './safe-number.ts';

const statuses = {
  ok: AppendStatus.OK,
  dup: AppendStatus.DUP,
  gap: AppendStatus.GAP,
  fork: AppendStatus.FORK,
} as const;
const kinds = { client: StreamKind.CLIENT, server: StreamKind.SERVER, admin: StreamKind.ADMIN } as const;

/** The edge of `audit/`; `more`: what `audit-settings.ts` and others beside it make. */
export const auditRoutes =
  (audit: Audit, log: LogWork, more: MoreMethods = {}): RpcRoutes =>
  (router) =>
    router.service(AuditService, {
      ...more,
      appendEvents: async ({ streamId, prev, events }, context) => {
        const batch = { streamId, prev, events: events.map(toBatchEvent) };
        const caller = callerOf(context);
        const { status, headSeq, headHash } = await audit.append(caller, batch);
        const checkpoint = log.recentNote(caller.orgId);
        return { status: statuses[status], headSeq: BigInt(headSeq), headHash, checkpoint };
      },
      listStreams: async ({ sessionId, pageSize, pageToken }, context) => {
        const query = { sessionId: sessionId || null, pageSize, cursor: pageToken };
        const page = await audit.listStreams(callerOf(context), query);
        return { streams: page.streams.map(toStreamMessage), nextPageToken: page.next ?? '' };
      },
      readStream: async ({ streamId, fromSeq, pageSize }, context) => {
        const query = { streamId, fromSeq: toSafeNumber('from_seq', fromSeq), pageSize };
        const { stream, events } = await audit.readStream(callerOf(context), query);
        return { stream: toStreamMessage(stream), events: events.map(toStoredMessage) };
      },
      watchEvents: async function* ({ sessionId, sinceSeconds, cursor: from }, context) {
        const caller = callerOf(context);
        const untilMs = caller.tokenExpiresAtMs;
        const query = { sessionId: sessionId || null, sinceSeconds, cursor: from, untilMs };
        for await (const { events, cursor } of audit.watch(caller, query, context.signal)) {
          yield { events: events.map(toStoredMessage), cursor };
        }
      },
      getEventFacets: async (request, context) => {
        const { counts, countedUntil } = await audit.facets(callerOf(context), request);
        const facets = counts.map(({ field, clipped, values }) => ({
          ...{ field, clipped },
          values: values.map(({ value, label, count }) => ({ value, label, count: BigInt(count) })),
        }));
        return { facets, countedUntil: timestampFromDate(countedUntil) };
      },
      getEventHistogram: async (request, context) => {
        const { counts, countedUntil } = await audit.histogram(callerOf(context), request);
        const buckets = counts.map(({ start, count, denied, asked }) => ({
          start: timestampFromDate(start),
          ...{ count: BigInt(count), denied: BigInt(denied), asked: BigInt(asked) },
        }));
        return { buckets, countedUntil: timestampFromDate(countedUntil) };
      },
      searchEvents: async ({ query, pageSize, pageToken, payloads }, context) => {
        const search = { query, pageSize, cursor: pageToken, payloads };
        const { events, next, searchedUntil } = await audit.search(callerOf(context), search);
        return {
          events: events.map(toStoredMessage),
          nextPageToken: next ?? '',
          ...(searchedUntil ? { searchedUntil: timestampFromDate(searchedUntil) } : {}),
        };
      },
      getCheckpoint: async (_request, context) => {
        const { orgId } = callerOf(context);
        const newest = await log.checkpoint(orgId);
        return newest ?? { verifierKey: await log.verifierKey(orgId) };
      },
      getConsistencyProof: async (request, context) => {
        const [oldSize, size] = [
          toSafeNumber('old_size', request.oldSize),
          toSafeNumber('size', request.size),
        ];
        return { proof: [...(await log.consistency(callerOf(context).orgId, oldSize, size))] };
      },
      getInclusionProof: async ({ streamId, eventId, ...request }, context) => {
        const [seq, size] = [toSafeNumber('seq', request.seq), toSafeNumber('size', request.size)];
        const found = await log.prove(callerOf(context), { streamId, seq, eventId, size });
        return {
          segment: toSegmentMessage(found.segment),
          leafIndex: BigInt(found.leafIndex),
          proof: [...found.proof],
          seq: BigInt(found.seq),
          sameId: found.sameId.map(({ seq: at, ...place }) => ({ ...place, seq: BigInt(at) })),
        };
      },
    });

/** Methods of the service that other files write: what they are about has a room of its own. */
type MoreMethods = Partial<ServiceImpl<typeof AuditService>>;

/** What this edge needs of the log. */
export type LogWork = Pick<AuditLog, 'checkpoint' | 'recentNote' | 'verifierKey' | 'consistency' | 'prove'>;

const toSegmentMessage = ({ streamId, firstSeq, lastSeq, prev, head }: EventProof['segment']) =>
  create(SegmentSchema, {
    ...{ streamId, prev, head },
    firstSeq: BigInt(firstSeq),
    lastSeq: BigInt(lastSeq),
  });

const toBatchEvent = ({ seq, header, payload, salt, chain }: AuditEvent) => ({
  seq: toSafeNumber('seq', seq),
  ...{ header, payload: payload ?? null, salt, chain },
});

function toStreamMessage({ id, kind, orgId, sessionId, nonce, headSeq, headHash }: StreamRow): Stream {
  return create(StreamSchema, {
    ...{ id, orgId, nonce, headHash },
    kind: kinds[kind],
    sessionId: sessionId ?? '',
    headSeq: BigInt(headSeq),
  });
}

function toStoredMessage(row: EventRow): StoredEvent {
  const { header, salt, chain, payload, streamId, eventId, kind, late } = row;
  return create(StoredEventSchema, {
    event: {
      ...{ seq: BigInt(row.seq), header, chain, salt: salt ?? new Uint8Array() },
      ...(payload === null ? {} : { payload }),
    },
    ...{ streamId, eventId, kind, late },
    receivedAt: timestampFromDate(row.receivedAt),
    sessionId: row.sessionId ?? '',
    userId: row.userId ?? '',
    userName: row.userName ?? '',
    tool: row.tool ?? '',
    decision: row.decision ?? '',
    repository: row.repository ?? '',
    retentionClass: row.retentionClass ?? '',
  });
}
