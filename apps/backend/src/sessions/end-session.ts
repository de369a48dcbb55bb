import { KontextError } from '@kontext/errors';
import type { Caller } from '../caller.ts';
import type { LeaseRow } from '../store/queries/leases.ts';
import { listSilentSessions, lockSession, updateSession } from '../store/queries/sessions.ts';
import type { Store } from '../store/store.ts';
import { closeLeases } from './end-sessions.ts';

/** What ending a session did. `ended` are the leases this call ended; what they stand for may be revoked now. */
export interface EndResult {
  readonly leases: readonly LeaseRow[];
}

/** A session without a sign of life for so long is lost, unless set otherwise. */
export const lostAfterMs = 90_000;
/** Sessions per sweep; what is left waits for the next. */
const sweepLimit = 200;

/**
 * Ends a session of the caller and its leases, and records it. Ending an ended session does nothing.
 *
 * @param exitCode 0 to 255, as the agent ended.
 * @throws KontextError `KX_NOT_FOUND` when there is no such session, or it is not the caller's own.
 */
export async function endSession(
  store: Store,
  caller: Caller,
  sessionId: string,
  exitCode: number,
  now: Date,
): Promise<EndResult> {
  if (!Number.isInteger(exitCode) || exitCode < 0 || exitCode > 255) {
    throw new KontextError('KX_REQUEST_INVALID', 'exit_code must be 0 to 255');
  }
  return store.transaction({ role: 'app', orgId: caller.orgId }, async (tx) => {
    const session = await lockSession(tx, sessionId);
    if (session?.userId !== caller.userId) {
      throw new KontextError('KX_NOT_FOUND', 'there is no such session, or it is not yours');
    }
    if (session.state === 'ended') return { leases: [] };
    await updateSession(tx, sessionId, { state: 'ended', endedAt: now, exitCode });
    return { leases: await closeLeases(tx, session, 'session.ended', { exitCode }, now) };
  });
}

/**
 * Marks silent sessions as lost, ends their leases, and records it; run it every few seconds on every replica.
 *
 * @returns The leases it ended.
 */
export async function sweepLostSessions(
  store: Store,
  now: Date,
  afterMs: number = lostAfterMs,
): Promise<EndResult> {
  const before = new Date(now.getTime() - afterMs);
  const silent = await store.transaction({ role: 'system', orgId: null }, (tx) =>
    listSilentSessions(tx, before, sweepLimit),
  );
  const leases: LeaseRow[] = [];
  for (const { id, orgId } of silent) {
    const ended = await store.transaction({ role: 'app', orgId }, async (tx) => {
      const session = await lockSession(tx, id);
      // Another replica, a heartbeat or the session's end may have been faster.
      if (session?.state !== 'live' || session.lastHeartbeatAt >= before) return [];
      await updateSession(tx, id, { state: 'lost' });
      return closeLeases(
        tx,
        session,
        'session.lost',
        { silentSince: session.lastHeartbeatAt.toISOString() },
        now,
      );
    });
    leases.push(...ended);
  }
  return { leases };
}
