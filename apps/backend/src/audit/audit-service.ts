import type { Caller } from '../caller.ts';
import type { EventRow } from '../store/queries/audit-events.ts';
import type { StreamRow } from '../store/queries/audit-streams.ts';
import type { BucketCount } from '../store/queries/rollups.ts';
import type { Store } from '../store/store.ts';
import { type AppendResult, appendBatch, type Batch } from './append-batch.ts';
import { type AppendSignal, createAppendSignal } from './append-signal.ts';
import { listVisibleStreams, readVisibleStream, type StreamPage } from './read-audit.ts';
import { type Counted, countFacets, countHistogram, type EventFacet } from './rollups/count-events.ts';
import { type EventSearch, type FoundEvents, searchEvents } from './search/search-events.ts';
import { createStreamMemory } from './stream-memory.ts';
import { type WatchBatch, type WatchQuery, watchEvents } from './watch-events.ts';
import { createWatchSlots, type WatchLimits } from './watch-slots.ts';

export type { EventRow, StreamRow };

/** The audit log as its edge uses it. What each function refuses is said where it is written. */
export interface AuditService {
  append(caller: Caller, batch: Batch): Promise<AppendResult>;
  listStreams(
    caller: Caller,
    query: { readonly sessionId: string | null; readonly pageSize: number; readonly cursor: string },
  ): Promise<StreamPage>;
  readStream(
    caller: Caller,
    query: { readonly streamId: string; readonly fromSeq: number; readonly pageSize: number },
  ): Promise<{ stream: StreamRow; events: EventRow[] }>;
  search(caller: Caller, search: EventSearch): Promise<FoundEvents>;
  facets(
    caller: Caller,
    request: { readonly query: string; readonly fields: readonly string[]; readonly limit: number },
  ): Promise<Counted<EventFacet>>;
  histogram(
    caller: Caller,
    request: { readonly query: string; readonly bucketSeconds: number },
  ): Promise<Counted<BucketCount>>;
  watch(caller: Caller, query: WatchQuery, signal: AbortSignal): AsyncGenerator<WatchBatch>;
}

/** What the audit service needs. */
export interface AuditServiceDeps {
  readonly store: Store;
  /** Default `Date.now`. */
  readonly nowMs?: () => number;
  /** Share one among everything that appends, to wake watchers early. */
  readonly appended?: AppendSignal;
  /** Default those of `watch-slots.ts`; the service is one per process. */
  readonly watchLimits?: WatchLimits;
}

/** Puts the audit log together. */
export function createAuditService({
  store,
  nowMs = Date.now,
  appended = createAppendSignal(),
  watchLimits,
}: AuditServiceDeps): AuditService {
  const slots = createWatchSlots(watchLimits);
  const memory = createStreamMemory();
  return {
    append: async (caller, batch) => {
      const result = await appendBatch(store, memory, caller, batch, new Date(nowMs()));
      if (result.status === 'ok') appended.notify(caller.orgId);
      return result;
    },
    listStreams: (caller, query) => listVisibleStreams(store, caller, query),
    readStream: (caller, query) => readVisibleStream(store, caller, query),
    facets: (caller, request) => countFacets({ store, nowMs }, caller, request),
    histogram: (caller, request) => countHistogram({ store, nowMs }, caller, request),
    search: (caller, search) => searchEvents(store, caller, search, { nowMs }),
    watch: (caller, query, signal) => watchEvents(store, appended, caller, query, signal, { nowMs, slots }),
  };
}
