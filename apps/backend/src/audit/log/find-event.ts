/**
 * Events by their ids.
 *
 * - Ids are UUIDv7 (RFC 9562 §5.7) and hold the instant at which their writer made them. A batch is taken for seven days, and a
 *   clock may be off by one: the partitions of eight days to both sides are looked at, and no others. With years of partitions
 *   a statement about all of them would take thousands of locks, for an id that anybody can make up.
 * - Writers choose their ids, so some may bear the same one. The event that was received first is meant: one that came later
 *   takes nobody's place. Where the others stand is said.
 * - A caller hears of no event that they may not see, nor that there is one.
 */
import { isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { type Caller, seesOrganisation } from '../../caller.ts';
import { type EventPlace, findEventPlaces } from '../../store/queries/audit-events.ts';
import { dayOf } from '../../store/queries/audit-streams.ts';
import type { Store } from '../../store/store.ts';

/** An event by where it stands. */
export type EventRef = Pick<EventPlace, 'streamId' | 'seq'>;

/** An event that was found by its id. */
export interface FoundEvent extends EventPlace {
  /** Other events that bear the id, in the order they were received, at most 20. */
  readonly sameId: readonly EventRef[];
}

const dayMs = 86_400_000;
const reachMs = 8 * dayMs;
/** A partition has what was received until the end of the day after its own; another day for clocks of replicas. */
const behindMs = 2 * dayMs;
/** More than so many with one id are an attack, and none of them is chosen. */
const maxSame = 100;
const maxShown = 20;
/** End of the year 9999, beyond which a day has another spelling. */
const lastMs = 253_402_300_799_999;

/**
 * Finds an event by its id: of those that the caller may see, the one that was received first.
 *
 * @throws KontextError `KX_REQUEST_INVALID` when it is not the id of an event; `KX_NOT_FOUND` when there is none such within eight
 *   days of the instant in it; `KX_EVENT_AMBIGUOUS` when more than a hundred bear it.
 */
export async function findEventById(
  store: Store,
  caller: Pick<Caller, 'orgId' | 'userId' | 'role'>,
  eventId: string,
): Promise<FoundEvent> {
  if (!isId('evt', eventId)) throw new KontextError('KX_REQUEST_INVALID', 'that is not the id of an event');
  const days = daysOf(eventId);
  if (days === null) throw notFound();
  const { orgId } = caller;
  const owner = seesOrganisation(caller) ? null : caller.userId;
  const found = await store.transaction({ role: 'read', orgId }, (tx) =>
    findEventPlaces(tx, { orgId, owner, eventId }, days, maxSame + 1),
  );
  if (found.length > maxSame) throw ambiguous(`more than ${maxSame} events bear it`);
  const [first, ...others] = found.sort(byReceipt);
  if (first === undefined) throw notFound();
  const { streamId, seq, partDay } = first;
  const sameId = others.slice(0, maxShown).map((other) => ({ streamId: other.streamId, seq: other.seq }));
  return { streamId, seq, partDay, sameId };
}

/**
 * An id that does not say which event is meant.
 *
 * @param why Which there are.
 */
export const ambiguous = (why: string): KontextError =>
  new KontextError('KX_EVENT_AMBIGUOUS', 'several audit events bear that id', { why });

function daysOf(eventId: string): { readonly first: string; readonly last: string } | null {
  const madeMs = Number.parseInt(eventId.slice(4).replaceAll('-', '').slice(0, 12), 16);
  const [firstMs, untilMs] = [Math.max(0, madeMs - reachMs - behindMs), madeMs + reachMs];
  return untilMs > lastMs ? null : { first: dayOf(new Date(firstMs)), last: dayOf(new Date(untilMs)) };
}

type Received = EventRef & { readonly receivedAt: Date };

const byReceipt = (a: Received, b: Received): number =>
  a.receivedAt.getTime() - b.receivedAt.getTime() ||
  (a.streamId === b.streamId ? a.seq - b.seq : a.streamId < b.streamId ? -1 : 1);

const notFound = (): KontextError =>
  new KontextError('KX_NOT_FOUND', 'there is no such audit event, or it is not yours', {
    why: 'events are looked for within eight days of the instant their id holds',
    hint: 'check the id, or name the event by its stream and seq',
  });
