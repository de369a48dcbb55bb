import { KontextError } from '@kontext/errors';
import type { Caller } from '../../caller.ts';
import { loadAuditSettings } from '../../store/queries/audit-settings.ts';
import { dueUntil, makePartitions } from '../../store/queries/partitions.ts';
import { listPayloadDays, lockStreamsOf, markHeld, movePayloads } from '../../store/queries/payloads.ts';
import { holdClass, retentionClasses } from '../../store/retention-classes.ts';
import type { Tx } from '../../store/tx.ts';
import { appendServerEvent } from '../append-server-event.ts';
import type { PayloadDeps } from './deps.ts';

/** What to hold or let go. */
export interface Hold {
  readonly sessionId: string;
  readonly held: boolean;
  readonly reason: string;
}

/**
 * Holds the payloads of a session, those to come too: neither retention nor an erasure takes them. Or lets them go, into the
 * class they would have now; those whose time is over there are erased at once.
 *
 * Recorded as `payload.held` or `payload.released`; what is so already is not recorded again.
 *
 * @returns How many payloads were moved or erased.
 * @throws KontextError `KX_NOT_FOUND` when there is no such session.
 */
export async function holdPayloads(
  { store, nowMs }: PayloadDeps,
  { orgId, userId }: Caller,
  { sessionId, held, reason }: Hold,
): Promise<number> {
  const now = new Date(nowMs());
  const days = await store.transaction({ role: 'erase', orgId }, (tx) => listPayloadDays(tx, sessionId));
  if (days.length === 0) throw new KontextError('KX_NOT_FOUND', 'there is no such session');
  // A class that is new, or whose old days were dropped, has no place for them yet.
  await store.transaction({ role: 'retention', orgId: null }, async (tx) => {
    for (const day of days) await makePartitions(tx, day, 1);
  });
  return store.transaction({ role: 'erase', orgId }, async (tx) => {
    const streams = await lockStreamsOf(tx, { sessionId });
    const streamIds = streams.map(({ id }) => id);
    const note = { sessionId, orgId, reason, heldBy: userId, heldAt: now };
    if (!(await markHeld(tx, note, streamIds, held))) return 0;
    const to = held ? { retentionClass: holdClass, dueUntil: null } : await classNow(tx, orgId, now);
    let [moved, erased] = [0, 0];
    for (const id of streamIds) {
      const done = await movePayloads(tx, id, to);
      moved += done.moved;
      erased += done.erased;
    }
    const facts = { session: sessionId, reason, payloads: moved, ...(held ? {} : { erased, ...named(to) }) };
    const kind = held ? 'payload.held' : 'payload.released';
    await appendServerEvent(tx, { orgId, sessionId: null }, { kind, user: userId, facts }, now);
    return moved + erased;
  });
}

const named = ({ retentionClass }: { readonly retentionClass: string }) => ({ retentionClass });

async function classNow(tx: Tx, orgId: string, now: Date) {
  const { retentionClass } = await loadAuditSettings(tx, orgId);
  const known = retentionClasses.find(({ name }) => name === retentionClass);
  return { retentionClass, dueUntil: known === undefined ? null : dueUntil(known, now) };
}
