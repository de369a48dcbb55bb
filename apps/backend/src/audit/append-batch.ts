import { type BatchEvent, type BatchVerdict, type CheckedEvent, checkBatch, hashEvent } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { Caller } from '../caller.ts';
import { appendEvents, readChains } from '../store/queries/audit-events.ts';
import {
  type ClientStreamRow,
  findClientStream,
  findStream,
  type StreamRow,
} from '../store/queries/audit-streams.ts';
import { markTampered } from '../store/queries/sessions.ts';
import type { Store } from '../store/store.ts';
import type { Tx } from '../store/tx.ts';
import { appendServerEvent, appendServerEvents } from './append-server-event.ts';
import { toNewEvent } from './new-event.ts';
import { type WithheldPayload, withholdPayloads, withoutSecrets } from './withhold-payloads.ts';

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
 * else's stream, are refused and recorded. A batch that tells of tampering marks its session. A payload in which a secret is
 * found is not stored, and an event of ours says so.
 *
 * @throws KontextError `KX_EVENT_INVALID` when the batch is not one of this stream; nothing is stored.
 * @throws KontextError `KX_NOT_FOUND` when the stream does not exist or is not the caller's.
 * @throws KontextError `KX_SESSION_ENDED` when its session ended more than 7 days ago.
 */
export async function appendBatch(
  store: Store,
  caller: Caller,
  batch: Batch,
  now: Date,
): Promise<AppendResult> {
  const scope = { role: 'ingest', orgId: caller.orgId } as const;
  const outcome = await store.transaction(scope, async (tx) => {
    const owned = await findClientStream(tx, batch.streamId);
    if (owned === null || owned.stream.userId !== caller.userId) return 'foreign';
    const late = checkInTime(owned.session, now);
    let stream: StreamRow | null = owned.stream;
    for (let attempt = 0; stream !== null && attempt < maxAttempts; attempt += 1) {
      const result = await tryAppend(tx, stream, batch, late, now);
      if (result !== 'lost the race') return result;
      stream = await findStream(tx, batch.streamId);
    }
    throw new KontextError('KX_TEMPORARY', 'the stream moves too fast to append to');
  });
  if (outcome !== 'foreign') return outcome;
  await recordForeignStream(store, caller, batch.streamId, now);
  throw new KontextError('KX_NOT_FOUND', 'there is no such audit stream, or it is not yours');
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
  stream: StreamRow,
  batch: Batch,
  late: boolean,
  now: Date,
): Promise<AppendResult | 'lost the race'> {
  const { sessionId, userId } = stream;
  if (sessionId === null || userId === null)
    throw new KontextError('KX_INTERNAL', 'a client stream lost its owner');
  const [first, last] = [batch.events[0]?.seq ?? 0, batch.events.at(-1)?.seq ?? 0];
  const overlaps = first >= 1 && first <= stream.headSeq && last - first < 500;
  const chains = overlaps
    ? await readChains(tx, stream.id, first, Math.min(last, stream.headSeq))
    : new Map<number, Buffer>();
  const verdict = checkBatch({
    stream: { orgId: stream.orgId, streamId: stream.id, sessionId, userId },
    head: { seq: stream.headSeq, hash: stream.headHash },
    prev: batch.prev,
    events: batch.events,
    storedChain: (seq) => chains.get(seq),
  });
  if (verdict.status === 'invalid') throw invalidBatch(verdict);
  if (verdict.status === 'fork') {
    await recordFork(tx, { orgId: stream.orgId, sessionId, userId }, batch, verdict.seq, now);
  }
  if (verdict.status !== 'ok') {
    return { status: verdict.status, headSeq: stream.headSeq, headHash: stream.headHash };
  }
  const { events, withheld } = withholdPayloads(verdict.events);
  const rows = events.map((event) => toNewEvent(event, event.parsed));
  const eventHash = hashEvent(lastHeader(verdict.events));
  if (!(await appendEvents(tx, stream, rows, { eventHash, late, now }))) return 'lost the race';
  // With the events or not at all: what tells of tampering stops renewals in enforce.
  if (verdict.events.some(({ parsed }) => parsed.kind.startsWith('tamper.'))) {
    await markTampered(tx, sessionId, now);
  }
  if (withheld.length > 0) {
    await recordWithheld(tx, { orgId: stream.orgId, sessionId, userId }, stream.id, withheld, now);
  }
  return { status: 'ok', headSeq: verdict.head.seq, headHash: Buffer.from(verdict.head.hash) };
}

const lastHeader = (events: readonly CheckedEvent[]): string => events.at(-1)?.header ?? '';

const invalidBatch = ({ seq, why }: Extract<BatchVerdict, { status: 'invalid' }>): KontextError =>
  new KontextError('KX_EVENT_INVALID', `the event with seq ${seq} is refused`, { why, details: { seq } });

/** Whose client stream it is. */
interface Owner {
  readonly orgId: string;
  readonly sessionId: string;
  readonly userId: string;
}

/** With the events or not at all: a payload that is gone without a word would look like an erasure. */
async function recordWithheld(
  tx: Tx,
  owner: Owner,
  stream: string,
  withheld: readonly WithheldPayload[],
  now: Date,
): Promise<void> {
  const events = withheld.map(({ seq, rules }) => ({
    ...{ kind: 'payload.withheld' as const, user: owner.userId },
    facts: { stream, seq, rules },
  }));
  await appendServerEvents(tx, owner, events, now);
}

async function recordFork(tx: Tx, owner: Owner, batch: Batch, seq: number, now: Date): Promise<void> {
  const offered = batch.events.find((event) => event.seq === seq);
  await markTampered(tx, owner.sessionId, now);
  await appendServerEvent(
    tx,
    owner,
    {
      kind: 'tamper.fork',
      user: owner.userId,
      facts: {
        stream: batch.streamId,
        seq,
        offeredChain: Buffer.from(offered?.chain ?? []).toString('hex'),
        offeredHeader: offered ? withoutSecrets(offered.header) : null,
      },
    },
    now,
  );
}

/**
 * Records that a caller wrote to a stream of somebody else, in the caller's organisation. A stream that exists nowhere is
 * only refused: an old spool after a new database is no attack.
 */
async function recordForeignStream(store: Store, caller: Caller, streamId: string, now: Date): Promise<void> {
  await store.transaction({ role: 'system', orgId: null }, async (tx) => {
    if ((await findStream(tx, streamId)) === null) return;
    const facts = { stream: streamId, reason: 'not the stream of this user' };
    const target = { orgId: caller.orgId, sessionId: null };
    await appendServerEvent(tx, target, { kind: 'tamper.fork', user: caller.userId, facts }, now);
  });
}
