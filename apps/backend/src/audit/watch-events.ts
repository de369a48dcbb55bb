import { KontextError } from '@kontext/errors';
import type { Caller } from '../caller.ts';
import { type EventRow, findFirstSeqSince, readEvents } from '../store/queries/audit-events.ts';
import { listMovedStreams, type StreamRow } from '../store/queries/audit-streams.ts';
import { findMember } from '../store/queries/members.ts';
import type { Store } from '../store/store.ts';
import type { Tx } from '../store/tx.ts';
import type { AppendSignal } from './append-signal.ts';
import { visibleStreams } from './read-audit.ts';

/** What is followed, and for how long. */
export interface WatchQuery {
  /** Null: everything the caller may see. */
  readonly sessionId: string | null;
  /** Also the events of the last so many seconds, 0 to 86,400. */
  readonly sinceSeconds: number;
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
}

/**
 * Replicas' clocks may differ by so much, and a transaction may be open for so long, without an event being missed. What was
 * sent is remembered by seq, so looking back costs no doubles.
 */
const overlapMs = 20_000;
const maxStreams = 10_000;
const maxEvents = 500;

/**
 * Follows events as they are stored, stream by stream in order of seq.
 *
 * Works with any number of replicas: it reads the heads of streams that moved and then their events, so nothing depends on
 * being told. It ends when `signal` is aborted, when the token expires, or when the user was disabled or removed.
 *
 * @returns Batches of 1 to 500 events; an empty one is a keep-alive.
 * @throws KontextError `KX_REQUEST_INVALID` when `sinceSeconds` is out of range.
 */
export async function* watchEvents(
  store: Store,
  appended: AppendSignal,
  caller: Caller,
  query: WatchQuery,
  signal: AbortSignal,
  { nowMs, pollMs = 400, keepAliveMs = 15_000 }: WatchOptions,
): AsyncGenerator<readonly EventRow[]> {
  if (query.sinceSeconds < 0 || query.sinceSeconds > 86_400) {
    throw new KontextError('KX_REQUEST_INVALID', 'since_seconds must be 0 to 86,400');
  }
  const start = new Date(nowMs() - query.sinceSeconds * 1000);
  const sent = new Map<string, number>();
  let lookFrom = start;
  let quietSinceMs = nowMs();
  while (!signal.aborted && nowMs() < query.untilMs) {
    const lookedAtMs = nowMs();
    const events = await poll(store, caller, query.sessionId, start, lookFrom, sent);
    if (events === null) return;
    if (events.length > 0 || nowMs() - quietSinceMs >= keepAliveMs) {
      yield events;
      quietSinceMs = nowMs();
    }
    if (events.length < maxEvents) {
      lookFrom = new Date(Math.max(start.getTime(), lookedAtMs - overlapMs));
      await appended.wait(caller.orgId, Math.min(pollMs, Math.max(0, query.untilMs - nowMs())), signal);
    }
  }
}

/** @returns Events not sent yet; null when the caller may not look any longer. */
async function poll(
  store: Store,
  caller: Caller,
  sessionId: string | null,
  start: Date,
  lookFrom: Date,
  sent: Map<string, number>,
): Promise<EventRow[] | null> {
  return store.transaction({ role: 'read', orgId: caller.orgId }, async (tx) => {
    const member = await findMember(tx, caller.userId);
    if (member === null || member.disabled) return null;
    const filter = visibleStreams({ ...caller, role: member.role }, sessionId);
    const found: EventRow[] = [];
    for (const stream of await listMovedStreams(tx, filter, lookFrom, maxStreams)) {
      const room = maxEvents - found.length;
      if (room <= 0) break;
      found.push(...(await readNew(tx, stream, start, sent, room)));
    }
    return found;
  });
}

async function readNew(
  tx: Tx,
  stream: StreamRow,
  start: Date,
  sent: Map<string, number>,
  limit: number,
): Promise<EventRow[]> {
  const known =
    sent.get(stream.id) ?? ((await findFirstSeqSince(tx, stream, start)) ?? stream.headSeq + 1) - 1;
  const wanted = Math.min(limit, stream.headSeq - known);
  const events = wanted < 1 ? [] : await readEvents(tx, stream.id, known + 1, wanted);
  sent.set(stream.id, events.at(-1)?.seq ?? known);
  return events;
}
