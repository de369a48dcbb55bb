import { KontextError } from '@kontext/errors';
import type { Caller } from '../caller.ts';
import type { EventRow } from '../store/queries/audit-events.ts';
import { readLog } from '../store/queries/audit-log.ts';
import { findMember } from '../store/queries/members.ts';
import {
  daysOfRuns,
  type EventRun,
  findLogSizeAt,
  type LogSegment,
  listStreamsFrom,
  measureRuns,
  readNewSegments,
  readRuns,
} from '../store/queries/segment-events.ts';
import type { Store } from '../store/store.ts';
import type { Tx } from '../store/tx.ts';
import type { AppendSignal } from './append-signal.ts';
import { visibleStreams } from './read-audit.ts';
import { maxSentStreams, openWatchCursor, sealWatchCursor, type WatchState } from './watch-cursor.ts';
import type { WatchSlots } from './watch-slots.ts';

/** What is followed, and for how long. */
export interface WatchQuery {
  /** Null: everything the caller may see. */
  readonly sessionId: string | null;
  /** Also the events of the last so many seconds, 0 to 86,400. */
  readonly sinceSeconds: number;
  /** Where an earlier watch of the same ended; then `sinceSeconds` counts for nothing. Empty or left out: a new watch. */
  readonly cursor?: string;
  /** Unix time at which the watch ends: the expiry of the access token. */
  readonly untilMs: number;
}

/** How the watch works; the defaults are those of the backend. */
export interface WatchOptions {
  readonly nowMs: () => number;
  /** Looks again after so long when no signal came (another replica stored something). Default 400. */
  readonly pollMs?: number;
  /** An empty batch after so long without events. Default 15,000. */
  readonly keepAliveMs?: number;
  /** Most bytes of headers and payloads of a batch; one event is always sent. Default 4 MiB. */
  readonly maxBytes?: number;
  /** How many may be open; one per process. */
  readonly slots: WatchSlots;
}

/** What a watch sends. */
export interface WatchBatch {
  /** Up to 500, and up to 4 MiB; none is a keep-alive. */
  readonly events: readonly EventRow[];
  /** Where to go on after them. */
  readonly cursor: string;
}

/** Replicas' clocks may differ by so much, and a transaction may be open for so long, and a watch still begins early enough. */
const overlapMs = 20_000;
const maxSegments = 500;
const maxEvents = 500;
const defaultMaxBytes = 4 * 1024 ** 2;

/**
 * Follows events as they are stored: in the order of the log, and before they enter it, each stream's in order of seq.
 *
 * Works with any number of replicas: it reads the segments that are new, so nothing depends on being told. Whatever commits late
 * is still ahead in the log, so nothing is left out and nothing sent twice, also when a watch goes on by the cursor of another.
 * It ends when `signal` is aborted, when the token expires, or when the user was disabled or removed.
 *
 * @throws KontextError `KX_REQUEST_INVALID` when `sinceSeconds` is out of range, or the cursor cannot be used; `KX_WATCH_LIMIT`
 *   when as many are open as may be.
 */
export async function* watchEvents(
  store: Store,
  appended: AppendSignal,
  caller: Caller,
  query: WatchQuery,
  signal: AbortSignal,
  options: WatchOptions,
): AsyncGenerator<WatchBatch> {
  if (query.sinceSeconds < 0 || query.sinceSeconds > 86_400) {
    throw new KontextError('KX_REQUEST_INVALID', 'since_seconds must be 0 to 86,400');
  }
  const giveBack = options.slots.take(caller);
  try {
    yield* follow(store, appended, caller, query, signal, options);
  } finally {
    giveBack();
  }
}

async function* follow(
  store: Store,
  appended: AppendSignal,
  caller: Caller,
  query: WatchQuery,
  signal: AbortSignal,
  { nowMs, pollMs = 400, keepAliveMs = 15_000, maxBytes = defaultMaxBytes }: WatchOptions,
): AsyncGenerator<WatchBatch> {
  const state = await begin(store, caller, query, nowMs());
  let quietSinceMs = nowMs();
  while (!signal.aborted && nowMs() < query.untilMs) {
    const step = await poll(store, caller, state, maxBytes);
    if (step === null) return;
    if (step.events.length > 0 || nowMs() - quietSinceMs >= keepAliveMs) {
      yield { events: step.events, cursor: sealWatchCursor(state) };
      quietSinceMs = nowMs();
    }
    if (step.isUpToDate) {
      await appended.wait(caller.orgId, Math.min(pollMs, Math.max(0, query.untilMs - nowMs())), signal);
    }
  }
}

async function begin(store: Store, caller: Caller, query: WatchQuery, nowMs: number): Promise<WatchState> {
  return store.transaction({ role: 'read', orgId: caller.orgId }, async (tx) => {
    if (query.cursor) {
      const state = openWatchCursor(query.cursor, query.sessionId);
      if (state.nextLeaf <= (await readLog(tx, caller.orgId)).size) return state;
      throw new KontextError('KX_REQUEST_INVALID', 'cursor is of another log');
    }
    const startMs = nowMs - query.sinceSeconds * 1000;
    const nextLeaf = await findLogSizeAt(tx, caller.orgId, new Date(startMs - overlapMs));
    return { startMs, sessionId: query.sessionId, nextLeaf, sent: new Map() };
  });
}

interface Step {
  readonly events: readonly EventRow[];
  readonly isUpToDate: boolean;
}

/** Moves the state on. @returns What is new; null when the caller may not look any longer. */
async function poll(store: Store, caller: Caller, state: WatchState, maxBytes: number): Promise<Step | null> {
  return store.transaction({ role: 'read', orgId: caller.orgId }, async (tx) => {
    const member = await findMember(tx, caller.userId);
    if (member === null || member.disabled) return null;
    const filter = visibleStreams({ ...caller, role: member.role }, state.sessionId);
    // The size first: what is in the log by now is among the segments read after it.
    const { size } = await readLog(tx, caller.orgId);
    const from = { ...filter, orgId: caller.orgId, fromLeaf: state.nextLeaf };
    const hasRoom = state.sent.size < maxSentStreams;
    const segments = await readNewSegments(tx, from, { sent: state.sent, hasRoom, limit: maxSegments });
    const wanted = takeRuns({ ...state, sent: new Map(state.sent) }, segments, maxEvents).runs;
    const days = await daysOfRuns(tx, wanted);
    const room = countFitting(await measureRuns(tx, wanted, days), maxBytes);
    const { runs, isDone } = takeRuns(state, segments, room);
    const isUpToDate = isDone && segments.length < maxSegments;
    if (isUpToDate) state.nextLeaf = Math.max(state.nextLeaf, size);
    const events = await readRuns(tx, runs, days);
    await forgetSettled(tx, caller.orgId, state);
    return { events: events.filter(({ receivedAt }) => receivedAt.getTime() >= state.startMs), isUpToDate };
  });
}

/** How many events from the first on are no larger together than wanted; at least one. @param sizes What each has. */
function countFitting(sizes: readonly number[], maxBytes: number): number {
  let sum = 0;
  const over = sizes.findIndex((bytes) => {
    sum += bytes;
    return sum > maxBytes;
  });
  return over === -1 ? maxEvents : Math.max(1, over);
}

/** Takes what was not sent yet from segments in order, as many events as there is room for, and notes them as sent. */
function takeRuns(state: WatchState, segments: readonly LogSegment[], most: number) {
  const runs: EventRun[] = [];
  let room = most;
  for (const { streamId, lastSeq, leafIndex, ...segment } of segments) {
    const firstSeq = Math.max(segment.firstSeq, (state.sent.get(streamId) ?? 0) + 1);
    if (firstSeq <= lastSeq) {
      if (room === 0) return { runs, isDone: false };
      const until = Math.min(lastSeq, firstSeq + room - 1);
      runs.push({ streamId, firstSeq, lastSeq: until });
      room -= until - firstSeq + 1;
      state.sent.set(streamId, until);
      if (until < lastSeq) return { runs, isDone: false };
    }
    if (leafIndex !== null) state.nextLeaf = leafIndex + 1;
  }
  return { runs, isDone: true };
}

/** Streams all of whose segments lie before the next leaf need no memory: what comes of them is new. */
async function forgetSettled(tx: Tx, orgId: string, { sent, nextLeaf }: WatchState): Promise<void> {
  if (sent.size === 0) return;
  const unsettled = await listStreamsFrom(tx, orgId, nextLeaf, [...sent.keys()]);
  for (const streamId of [...sent.keys()]) if (!unsettled.has(streamId)) sent.delete(streamId);
}
