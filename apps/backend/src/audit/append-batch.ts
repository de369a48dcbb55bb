import {
  type BatchEvent,
  type BatchInput,
  type CheckedEvent,
  checkBatch,
  hashEvent,
  type StreamHead,
} from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { Caller } from '../caller.ts';
import { appendEvents, beginsSegment } from '../store/queries/append-events.ts';
import { readChains } from '../store/queries/audit-events.ts';
import {
  type ClientStreamRow,
  findClientStream,
  findStream,
  type StreamRow,
} from '../store/queries/audit-streams.ts';
import { markTampered } from '../store/queries/sessions.ts';
import type { Store } from '../store/store.ts';
import type { Tx } from '../store/tx.ts';
import { findUnfitHeader } from './find-unfit-header.ts';
import { toNewEvent } from './new-event.ts';
import {
  recordForeignStream,
  recordFork,
  recordUnfitHeader,
  recordWithheld,
  type UnfitHeader,
} from './record-refused.ts';
import type { StreamMemory } from './stream-memory.ts';
import { withholdPayloads } from './withhold-payloads.ts';

/** A batch as it came over the wire. */
export interface Batch {
  readonly streamId: string;
  /** Chain value before the first event. */
  readonly prev: Uint8Array;
  readonly events: readonly BatchEvent[];
}

/** What became of a batch, and where the stream stands now. */
export interface AppendResult {
  readonly status: 'ok' | 'dup' | 'gap' | 'fork';
  readonly headSeq: number;
  readonly headHash: Buffer;
}

/** After the end of a session (or its last sign of life) batches are taken for so long, marked late. */
const lateForMs = 7 * 86_400_000;
/** A live session without a sign of life for so long writes late, too. */
const silentForMs = 86_400_000;
/** Each lost race means that another batch got in, so this many in a row are not met outside an attack. */
const maxAttempts = 20;

/**
 * Appends a batch to a client stream of the caller; idempotent.
 *
 * The rules are those of `checkBatch` in packages/audit; here they meet the stored head. A fork, and a batch for somebody
 * else's stream or with a header that {@link findUnfitHeader} finds, are refused and recorded. A batch that tells of tampering
 * marks its session. A payload in which a secret is found is not stored, and an event of ours says so.
 *
 * @throws KontextError `KX_EVENT_INVALID` when the batch is not one of this stream, or has such a header; nothing of it is stored.
 * @throws KontextError `KX_NOT_FOUND` when the stream does not exist or is not the caller's.
 * @throws KontextError `KX_SESSION_ENDED` when its session ended more than 7 days ago.
 */
export async function appendBatch(
  store: Store,
  memory: StreamMemory,
  caller: Caller,
  batch: Batch,
  now: Date,
): Promise<AppendResult> {
  const known = memory.find(batch.streamId);
  const quick = known ? await appendToKnown(store, known, caller, batch, now) : null;
  if (quick === null) memory.forget(batch.streamId);
  const { moved, ...result } = quick ?? (await appendToFound(store, memory, caller, batch, now));
  if (moved !== null) memory.remember(moved);
  return result;
}

/** What became of a batch, and the stream after it; null when the next batch has to look at it. */
type Appended = AppendResult & { readonly moved: StreamRow | null };

/**
 * The common batch in one statement: of a live session, right after the head as this process left it, with nothing in it that
 * has to be recorded.
 *
 * @returns Null for any other batch; nothing was stored.
 */
async function appendToKnown(
  store: Store,
  stream: StreamRow,
  caller: Caller,
  batch: Batch,
  now: Date,
): Promise<Appended | null> {
  if (stream.orgId !== caller.orgId || stream.userId !== caller.userId) return null;
  const verdict = checkBatch({ ...inputOf(stream, batch), storedChain: () => undefined });
  if (verdict.status !== 'ok' || verdict.events.some(tellsOfTampering)) return null;
  if (findUnfitHeader(verdict.events) !== null) return null;
  const { events, withheld } = withholdPayloads(verdict.events);
  if (withheld.length > 0) return null;
  const terms = { ...termsOf(events, now), late: false, liveSince: new Date(now.getTime() - silentForMs) };
  const rows = events.map((event) => toNewEvent(event, event.parsed));
  const scope = { role: 'ingest', orgId: caller.orgId } as const;
  const stored = await store.single(scope, (tx) => appendEvents(tx, stream, rows, terms));
  return stored ? okAt(stream, verdict.head, { late: false, now }) : null;
}

async function appendToFound(
  store: Store,
  memory: StreamMemory,
  caller: Caller,
  batch: Batch,
  now: Date,
): Promise<Appended> {
  const scope = { role: 'ingest', orgId: caller.orgId } as const;
  const outcome = await store.transaction(scope, async (tx) => {
    const owned = await findClientStream(tx, batch.streamId);
    if (owned === null || owned.stream.userId !== caller.userId) return 'foreign';
    const late = checkInTime(owned.session, now);
    let stream: StreamRow | null = owned.stream;
    for (let attempt = 0; stream !== null && attempt < maxAttempts; attempt += 1) {
      const result = await tryAppend(tx, memory, stream, batch, late, now);
      if (result !== 'lost the race') return result;
      stream = await findStream(tx, batch.streamId);
    }
    throw new KontextError('KX_TEMPORARY', 'the stream moves too fast to append to');
  });
  if (outcome === 'foreign') {
    await recordForeignStream(store, caller, batch.streamId, now);
    throw new KontextError('KX_NOT_FOUND', 'there is no such audit stream, or it is not yours');
  }
  if (!('why' in outcome)) return outcome;
  // Only here, where what was recorded of it is committed.
  memory.noteRefused(batch.streamId, outcome.seq);
  throw invalidBatch(outcome);
}

/** @returns Whether the batch is late. */
function checkInTime(session: ClientStreamRow['session'], now: Date): boolean {
  const silentMs = now.getTime() - (session.endedAt ?? session.lastHeartbeatAt).getTime();
  if (silentMs > lateForMs) {
    throw new KontextError('KX_SESSION_ENDED', 'the session ended more than 7 days ago');
  }
  return session.state !== 'live' || silentMs > silentForMs;
}

async function tryAppend(
  tx: Tx,
  memory: StreamMemory,
  stream: StreamRow,
  batch: Batch,
  late: boolean,
  now: Date,
): Promise<Appended | UnfitHeader | 'lost the race'> {
  const [first, last] = [batch.events[0]?.seq ?? 0, batch.events.at(-1)?.seq ?? 0];
  const overlaps = first >= 1 && first <= stream.headSeq && last - first < 500;
  const chains = overlaps
    ? await readChains(tx, stream.id, first, Math.min(last, stream.headSeq))
    : new Map<number, Buffer>();
  const input = inputOf(stream, batch);
  const verdict = checkBatch({ ...input, storedChain: (seq) => chains.get(seq) });
  if (verdict.status === 'invalid') throw invalidBatch(verdict);
  if (verdict.status === 'fork') await recordFork(tx, input.stream, batch, verdict.seq, now);
  if (verdict.status !== 'ok') {
    const { headSeq, headHash } = stream;
    return { status: verdict.status, headSeq, headHash, moved: null };
  }
  const unfit = findUnfitHeader(verdict.events);
  if (unfit !== null) {
    // A client halves a refused batch and tries again: once is enough to tell.
    if (!memory.wasRefused(stream.id, unfit.seq))
      await recordUnfitHeader(tx, input.stream, stream.id, unfit, now);
    return unfit;
  }
  const { events, withheld } = withholdPayloads(verdict.events);
  const rows = events.map((event) => toNewEvent(event, event.parsed));
  if (!(await appendEvents(tx, stream, rows, { ...termsOf(events, now), late }))) return 'lost the race';
  // With the events or not at all: what tells of tampering stops renewals in enforce.
  if (verdict.events.some(tellsOfTampering)) await markTampered(tx, input.stream.sessionId, now);
  if (withheld.length > 0) await recordWithheld(tx, input.stream, stream.id, withheld, now);
  return okAt(stream, verdict.head, { late, now });
}

function inputOf(stream: StreamRow, { prev, events }: Batch): Omit<BatchInput, 'storedChain'> {
  const { id: streamId, orgId, sessionId, userId, headSeq: seq, headHash: hash } = stream;
  if (sessionId === null || userId === null)
    throw new KontextError('KX_INTERNAL', 'a client stream lost its owner');
  return { stream: { orgId, streamId, sessionId, userId }, head: { seq, hash }, prev, events };
}

const termsOf = (events: readonly CheckedEvent[], now: Date) => ({
  ...{ now, eventHash: hashEvent(events.at(-1)?.header ?? '') },
});

function okAt(
  stream: StreamRow,
  head: StreamHead,
  { late, now }: { readonly late: boolean; readonly now: Date },
): Appended {
  const at = { headSeq: head.seq, headHash: Buffer.from(head.hash) };
  const moved = late || beginsSegment(stream, now) ? null : { ...stream, ...at };
  return { status: 'ok', ...at, moved };
}

const tellsOfTampering = ({ parsed }: CheckedEvent): boolean => parsed.kind.startsWith('tamper.');

const invalidBatch = ({ seq, why }: UnfitHeader): KontextError =>
  new KontextError('KX_EVENT_INVALID', `the event with seq ${seq} is refused`, { why, details: { seq } });
