/**
 * Sends the log to one sink, message after message, while it is claimed.
 *
 * - A message is stored before its first attempt, and the next one is made only when it is settled: a sink hears of events in the
 *   order of the log, also when two replicas believe that they have claimed it.
 * - Settling is one transaction that counts only for a message that is still open, so each moves the sink on once.
 * - Whatever is not 2xx is tried again with the same id, later and later, spread at random over the whole pause (full jitter),
 *   not before the receiver's `Retry-After`. After a day and some attempts it is given up, and the sink goes on with the next.
 * - 410 means that nobody is there any more: the sink is disabled. So it is after three days of nothing but failures. The message
 *   stays open: nothing is skipped when somebody makes the sink active again.
 */
import { KontextError } from '@kontext/errors';
import { appendServerEvent } from '../audit/append-server-event.ts';
import {
  findDueDeadLetter,
  findOpenDelivery,
  insertSinkDelivery,
  type SinkDeliveryRow,
  settleSinkDelivery,
} from '../store/queries/sink-deliveries.ts';
import {
  advanceSink,
  findKeyedSink,
  type KeyedSink,
  lockSink,
  type SinkRow,
  updateClaimed,
  updateSink,
} from '../store/queries/sinks.ts';
import { isUniqueViolation } from '../store/store-errors.ts';
import type { Tx } from '../store/tx.ts';
import { pauseMs } from '../webhooks/deliver-messages.ts';
import type { SenderDeps } from '../webhooks/deps.ts';
import { type Attempt, postSigned } from '../webhooks/post-signed.ts';
import { placeAfter, planMessage, rebuildMessage } from './build-message.ts';

const hourMs = 60 * 60_000;
const firstPauseMs = 1_000;
/** A message is given up when it is this old and was tried so often. */
const givenUpAfterMs = 24 * hourMs;
const fewestAttempts = 5;
const disabledAfterMs = 72 * hourMs;
/** A claim ends by itself: longer than one attempt can take. */
export const claimMs = 60_000;
/** Longest one claim is worked on, so that others have their turn. */
const turnMs = 20_000;

/** Works on a sink that this replica has claimed, until nothing is left, an attempt failed, or its turn is over. */
export async function sendSink(deps: SenderDeps, claimed: SinkRow): Promise<void> {
  const { orgId, id } = claimed;
  const endsAtMs = deps.nowMs() + turnMs;
  let claimedUntil = claimed.claimedUntil;
  for (;;) {
    const keyed = await deps.store.transaction({ role: 'app', orgId }, (tx) => findKeyedSink(tx, orgId, id));
    if (keyed === null || keyed.sink.claimedUntil?.getTime() !== claimedUntil?.getTime()) return;
    if (keyed.sink.state !== 'active') return release(deps, keyed.sink);
    const goesOn = await sendNext(deps, keyed);
    if (!goesOn || deps.nowMs() >= endsAtMs) return release(deps, keyed.sink);
    claimedUntil = new Date(deps.nowMs() + claimMs);
    if (!(await change(deps, keyed.sink, { claimedUntil }))) return;
  }
}

const release = async (deps: SenderDeps, sink: SinkRow): Promise<void> =>
  void (await change(deps, sink, { claimedUntil: null }));

const change = (deps: SenderDeps, sink: SinkRow, values: Partial<SinkRow>): Promise<boolean> =>
  deps.store.transaction({ role: 'app', orgId: sink.orgId }, (tx) => updateClaimed(tx, sink, values));

/** @returns Whether there may be more to do now. */
async function sendNext(deps: SenderDeps, keyed: KeyedSink): Promise<boolean> {
  const { sink } = keyed;
  const now = new Date(deps.nowMs());
  const { orgId } = sink;
  const stored = await deps.store.transaction({ role: 'app', orgId }, async (tx) => {
    return (await findDueDeadLetter(tx, sink.id, now)) ?? (await findOpenDelivery(tx, sink.id));
  });
  if (stored !== null) return attempt(deps, keyed, stored, await rebuildMessage(deps.store, sink, stored));
  const next = await planMessage(deps.store, sink, now);
  if (next.case === 'nothing') return false;
  const from = { leaf: sink.nextLeaf, seq: sink.nextSeq };
  if (next.case === 'skip') {
    const { to } = next;
    return deps.store.transaction({ role: 'app', orgId }, (tx) => advanceSink(tx, sink.id, from, to));
  }
  if (!(await open(deps, sink, next.delivery))) return true;
  return attempt(deps, keyed, next.delivery, next.body);
}

/** Stores a message, if the sink still stands where it begins. @returns False when somebody else was faster. */
async function open(deps: SenderDeps, sink: SinkRow, delivery: SinkDeliveryRow): Promise<boolean> {
  try {
    return await deps.store.transaction({ role: 'app', orgId: sink.orgId }, async (tx) => {
      const place = { leaf: sink.nextLeaf, seq: sink.nextSeq };
      // Locks the row: nobody moves the sink, and no replay drops its open message, before this one is stored.
      if (!(await advanceSink(tx, sink.id, place, place))) return false;
      await insertSinkDelivery(tx, delivery);
      return true;
    });
  } catch (error) {
    if (isUniqueViolation(error)) return false;
    throw error;
  }
}

/** @returns Whether the sink may go on at once. */
async function attempt(
  deps: SenderDeps,
  keyed: KeyedSink,
  delivery: SinkDeliveryRow,
  body: string,
): Promise<boolean> {
  const outcome = await send(deps, keyed, delivery.id, body);
  const isDisabled = await settle(deps, keyed.sink, delivery, outcome);
  if (isDisabled) deps.appended.notify(keyed.sink.orgId);
  // One that had been given up before holds up nothing.
  return outcome.error === '' || delivery.state === 'dead';
}

/** Signs and sends one message. */
export const send = (
  deps: SenderDeps,
  { sink, secret }: KeyedSink,
  id: string,
  body: string,
): Promise<Attempt> =>
  postSigned(deps, {
    receiver: { kind: 'sink', id: sink.id, orgId: sink.orgId },
    ...{ url: sink.url, sealed: secret, id, body },
  });

/** @returns Whether the sink is disabled by it. */
async function settle(
  deps: SenderDeps,
  { orgId, id, claimedUntil }: SinkRow,
  delivery: SinkDeliveryRow,
  outcome: Attempt,
): Promise<boolean> {
  const now = new Date(deps.nowMs());
  return deps.store.transaction({ role: 'app', orgId }, async (tx) => {
    // The sink's row first, as whoever changes or removes it does.
    const sink = await lockSink(tx, orgId, id);
    if (sink === null) return false;
    if (outcome.error === '') {
      await settleTaken(tx, sink, delivery, outcome, now);
      return false;
    }
    // Somebody else has claimed it since, and sends the same message.
    if (sink.claimedUntil?.getTime() !== claimedUntil?.getTime()) return false;
    const dueAt = new Date(now.getTime() + pauseAfter(deps, delivery, outcome));
    return settleFailed(tx, sink, delivery, { outcome, now, dueAt });
  });
}

const pauseAfter = (
  { random }: SenderDeps,
  { attempts }: SinkDeliveryRow,
  { retryAfterMs }: Attempt,
): number => Math.max(pauseMs(attempts + 1, firstPauseMs, random), retryAfterMs);

async function settleTaken(
  tx: Tx,
  sink: SinkRow,
  delivery: SinkDeliveryRow,
  { status }: Attempt,
  now: Date,
): Promise<void> {
  await updateSink(tx, sink.id, { attempts: 0, lastError: '', lastDeliveredAt: now, failingSince: null });
  const attempts = delivery.attempts + 1;
  const taken = { state: 'delivered' as const, attempts, status, error: '', at: now, dueAt: null };
  const counts = await settleSinkDelivery(tx, delivery, taken);
  if (counts && delivery.state === 'failed') await advance(tx, sink, delivery);
}

interface Failure {
  readonly outcome: Attempt;
  readonly now: Date;
  readonly dueAt: Date;
}

/** @returns Whether the sink is disabled by it. */
async function settleFailed(
  tx: Tx,
  sink: SinkRow,
  delivery: SinkDeliveryRow,
  { outcome: { status, error }, now, dueAt }: Failure,
): Promise<boolean> {
  const attempts = delivery.attempts + 1;
  const failed = { attempts, status, error, at: now };
  const isGivenUp =
    attempts >= fewestAttempts && now.getTime() - delivery.firstAt.getTime() >= givenUpAfterMs;
  if (delivery.state === 'dead') {
    await settleSinkDelivery(tx, delivery, { ...failed, dueAt: isGivenUp ? null : dueAt });
    return false;
  }
  const failingSince = sink.failingSince ?? now;
  const isOver = status === 410 || now.getTime() - failingSince.getTime() >= disabledAfterMs;
  await updateSink(tx, sink.id, {
    ...{ attempts: sink.attempts + 1, lastError: error, failingSince, dueAt },
    ...(isOver ? { state: 'disabled' } : {}),
  });
  if (isOver) {
    await settleSinkDelivery(tx, delivery, failed);
    const facts = { sink: sink.id, name: sink.name, host: new URL(sink.url).host, reason: error };
    const event = { kind: 'sink.disabled', facts } as const;
    await appendServerEvent(tx, { orgId: sink.orgId, sessionId: null }, event, now);
  } else if (!isGivenUp) await settleSinkDelivery(tx, delivery, failed);
  else if (await settleSinkDelivery(tx, delivery, { ...failed, state: 'dead' }))
    await advance(tx, sink, delivery);
  return isOver;
}

/** Moves the sink behind its message. @throws KontextError `KX_INTERNAL` when it does not stand there. */
async function advance(tx: Tx, sink: SinkRow, delivery: SinkDeliveryRow): Promise<void> {
  const from = { leaf: delivery.firstLeaf, seq: delivery.firstSeq };
  if (!(await advanceSink(tx, sink.id, from, placeAfter(delivery))))
    throw new KontextError('KX_INTERNAL', 'a sink does not stand where its message begins', { why: sink.id });
}
