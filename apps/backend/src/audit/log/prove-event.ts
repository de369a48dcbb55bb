import { isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { type Caller, seesOrganisation } from '../../caller.ts';
import { findEventPlace } from '../../store/queries/audit-events.ts';
import { findStream } from '../../store/queries/audit-streams.ts';
import type { Store } from '../../store/store.ts';

/** Which event to prove: by stream and seq, or with an empty stream by its id. */
export interface EventQuery {
  readonly streamId: string;
  readonly seq: number;
  /** `evt_…`, or empty. */
  readonly eventId: string;
  /** Of the checkpoint to prove it against. */
  readonly size: number;
}

/**
 * Proves that the log holds an event the caller may see.
 *
 * @param inclusion `AuditLog.inclusion`.
 * @throws KontextError `KX_NOT_FOUND` when there is no such event, or the caller may not see it; and as `AuditLog.inclusion`.
 */
export async function proveEvent<Proof extends object>(
  store: Store,
  inclusion: (orgId: string, streamId: string, seq: number, size: number) => Promise<Proof>,
  caller: Caller,
  { streamId, seq, eventId, size }: EventQuery,
): Promise<Proof & { readonly seq: number }> {
  const { orgId } = caller;
  const place = streamId === '' ? await findEventById(store, orgId, eventId) : { streamId, seq };
  const stream = await store.transaction({ role: 'read', orgId }, (tx) => findStream(tx, place.streamId));
  const visible = stream !== null && (seesOrganisation(caller) || stream.userId === caller.userId);
  if (!visible) throw notFound();
  return { ...(await inclusion(orgId, place.streamId, place.seq, size)), seq: place.seq };
}

const minuteMs = 60_000;
const dayMs = 1440 * minuteMs;

/**
 * Where an event stands, by its id. Ids hold the instant at which they were made (RFC 9562 §5.7): what came up at once is found
 * near it, the rest further away.
 *
 * @throws KontextError `KX_REQUEST_INVALID` when it is not the id of an event, `KX_NOT_FOUND` when the organisation has none such.
 */
export async function findEventById(
  store: Store,
  orgId: string,
  eventId: string,
): Promise<{ readonly streamId: string; readonly seq: number }> {
  if (!isId('evt', eventId)) throw new KontextError('KX_REQUEST_INVALID', 'that is not the id of an event');
  const madeMs = Number.parseInt(eventId.slice(4).replaceAll('-', '').slice(0, 12), 16);
  for (const reachMs of [5 * minuteMs, dayMs, null]) {
    const received =
      reachMs === null ? null : { from: new Date(madeMs - reachMs), to: new Date(madeMs + reachMs) };
    const found = await store.transaction({ role: 'read', orgId }, (tx) =>
      findEventPlace(tx, orgId, eventId, received),
    );
    if (found !== null) return found;
  }
  throw notFound();
}

const notFound = (): KontextError =>
  new KontextError('KX_NOT_FOUND', 'there is no such audit event, or it is not yours');
