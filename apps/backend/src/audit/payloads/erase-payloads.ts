import { KontextError } from '@kontext/errors';
import type { Caller } from '../../caller.ts';
import { lockServerStream, type StreamRow } from '../../store/queries/audit-streams.ts';
import {
  type Erased,
  eraseAdminPayloads,
  eraseEventPayload,
  eraseQuestions,
  eraseStreamPayloads,
  findPlacedEvent,
  isRecordOfRecords,
  isUser,
  lockStreamsOf,
} from '../../store/queries/payloads.ts';
import type { Tx } from '../../store/tx.ts';
import { appendServerEvent } from '../append-server-event.ts';
import { ambiguous, findEventById } from '../log/find-event.ts';
import type { PayloadDeps } from './deps.ts';

/** What to erase: exactly one of them, the others empty. */
export interface ErasureTarget {
  readonly eventId: string;
  readonly sessionId: string;
  readonly userId: string;
}

interface Counts extends Erased {
  /** Texts of what was asked about calls. */
  readonly questions: number;
}

/** Streams of a user in one transaction, each with thousands of payloads. */
const streamsAtOnce = 100;

/**
 * Erases payloads and their salts for good. Headers, hashes and chains stay, so everything still verifies; what is held is left
 * and counted. With the events of a session go the texts of what was asked about its calls.
 *
 * Of a user: the streams of their sessions, and what the organisation's own stream says of what they did. Each transaction
 * records what it erased in `payload.erased`; what fails half-way is recorded up to there, and can be asked for again.
 *
 * @throws KontextError `KX_REQUEST_INVALID` when not exactly one thing is named, or it is an event that says what became of
 *   the record; `KX_NOT_FOUND`; `KX_EVENT_AMBIGUOUS` when several events bear the id.
 */
export async function erasePayloads(
  deps: PayloadDeps,
  caller: Caller,
  { eventId, sessionId, userId }: ErasureTarget,
  reason: string,
): Promise<Erased> {
  if ([eventId, sessionId, userId].filter((id) => id !== '').length !== 1) {
    throw new KontextError('KX_REQUEST_INVALID', 'name one event, one session or one user');
  }
  if (eventId !== '') return eraseEvent(deps, caller, eventId, reason);
  if (sessionId !== '') return eraseSession(deps, caller, sessionId, reason);
  return eraseUser(deps, caller, userId, reason);
}

async function eraseEvent(
  deps: PayloadDeps,
  caller: Caller,
  eventId: string,
  reason: string,
): Promise<Erased> {
  const place = await findEventById(deps.store, caller, eventId);
  // Erasing cannot be undone: nobody guesses which one is meant.
  if (place.sameId.length > 0)
    throw ambiguous([place, ...place.sameId].map(({ streamId, seq }) => `${streamId} ${seq}`).join(', '));
  return recorded(deps, caller, { event: eventId, reason }, async (tx) => {
    await lockStreamsOf(tx, { streamId: place.streamId });
    const event = await findPlacedEvent(tx, place.streamId, place.seq);
    if (event === null) throw notFound('audit event');
    if (isRecordOfRecords(event.kind)) {
      throw new KontextError('KX_REQUEST_INVALID', 'the payload of this event cannot be erased', {
        why: `${event.kind} says what became of the record itself`,
      });
    }
    return { ...(await eraseEventPayload(tx, event)), questions: 0 };
  });
}

async function eraseSession(
  deps: PayloadDeps,
  caller: Caller,
  sessionId: string,
  reason: string,
): Promise<Erased> {
  return recorded(deps, caller, { session: sessionId, reason }, async (tx) => {
    const streams = await lockStreamsOf(tx, { sessionId });
    if (streams.length === 0) throw notFound('session');
    return eraseStreams(tx, streams);
  });
}

async function eraseUser(deps: PayloadDeps, caller: Caller, userId: string, reason: string): Promise<Erased> {
  let total: Erased = { erased: 0, held: 0 };
  for (let after: string | null = ''; after !== null; ) {
    const page: { readonly after: string; readonly limit: number } = { after, limit: streamsAtOnce };
    const counts = await recorded(deps, caller, { member: userId, reason }, async (tx) => {
      if (!(await isUser(tx, userId))) throw notFound('user');
      const streams = await lockStreamsOf(tx, { userId }, page);
      after = streams.length < page.limit ? null : (streams.at(-1)?.id ?? null);
      const ofSessions = await eraseStreams(tx, streams);
      return after === null ? add(ofSessions, await eraseAdmin(tx, caller.orgId, userId)) : ofSessions;
    });
    total = { erased: total.erased + counts.erased, held: total.held + counts.held };
  }
  return total;
}

/** Does the work and records it, in one transaction of the role that alone may. */
async function recorded(
  { store, nowMs }: PayloadDeps,
  { orgId, userId }: Caller,
  said: Readonly<Record<string, string>>,
  work: (tx: Tx) => Promise<Counts>,
): Promise<Erased> {
  const now = new Date(nowMs());
  return store.transaction({ role: 'erase', orgId }, async (tx) => {
    const counts = await work(tx);
    const event = { kind: 'payload.erased', user: userId, facts: { ...said, ...counts } } as const;
    await appendServerEvent(tx, { orgId, sessionId: null }, event, now);
    return { erased: counts.erased, held: counts.held };
  });
}

async function eraseStreams(tx: Tx, streams: readonly StreamRow[]): Promise<Counts> {
  let counts = nothing;
  // One statement each: a limit of time is one of a statement.
  for (const { id } of streams)
    counts = add(counts, { ...(await eraseStreamPayloads(tx, id)), questions: 0 });
  const sessionIds = streams.flatMap(({ sessionId }) => (sessionId === null ? [] : [sessionId]));
  return add(counts, { ...nothing, questions: await eraseQuestions(tx, [...new Set(sessionIds)]) });
}

async function eraseAdmin(tx: Tx, orgId: string, userId: string): Promise<Counts> {
  const stream = await lockServerStream(tx, orgId, null);
  return stream === null ? nothing : { ...(await eraseAdminPayloads(tx, stream.id, userId)), questions: 0 };
}

const nothing: Counts = { erased: 0, held: 0, questions: 0 };

const add = (a: Counts, b: Counts): Counts => ({
  erased: a.erased + b.erased,
  held: a.held + b.held,
  questions: a.questions + b.questions,
});

const notFound = (what: string): KontextError => new KontextError('KX_NOT_FOUND', `there is no such ${what}`);
