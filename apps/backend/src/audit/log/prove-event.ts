import { KontextError } from '@kontext/errors';
import { type Caller, seesOrganisation } from '../../caller.ts';
import { findStream } from '../../store/queries/audit-streams.ts';
import type { Store } from '../../store/store.ts';
import { type EventRef, findEventById } from './find-event.ts';

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
 * Proves that the log holds an event the caller may see; by its id, the one that was received first.
 *
 * @param inclusion `AuditLog.inclusion`.
 * @throws KontextError `KX_NOT_FOUND` when there is no such event, or the caller may not see it; and as `findEventById` and
 *   `AuditLog.inclusion`.
 */
export async function proveEvent<Proof extends object>(
  store: Store,
  inclusion: (orgId: string, streamId: string, seq: number, size: number) => Promise<Proof>,
  caller: Caller,
  { streamId, seq, eventId, size }: EventQuery,
): Promise<Proof & ProvenPlace> {
  const { orgId } = caller;
  const place = streamId === '' ? await findEventById(store, caller, eventId) : { streamId, seq, sameId: [] };
  const stream = await store.transaction({ role: 'read', orgId }, (tx) => findStream(tx, place.streamId));
  const visible = stream !== null && (seesOrganisation(caller) || stream.userId === caller.userId);
  if (!visible) throw notFound();
  return {
    ...(await inclusion(orgId, place.streamId, place.seq, size)),
    seq: place.seq,
    sameId: place.sameId,
  };
}

/** Which event was proven, and asked by its id, where others stand that bear it. */
export interface ProvenPlace {
  readonly seq: number;
  readonly sameId: readonly EventRef[];
}

const notFound = (): KontextError =>
  new KontextError('KX_NOT_FOUND', 'there is no such audit event, or it is not yours');
