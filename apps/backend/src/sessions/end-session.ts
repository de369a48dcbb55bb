import { KontextError } from '@kontext/errors';
import { appendServerEvent } from '../audit/append-server-event.ts';
import type { Caller } from '../caller.ts';
import { describeLeases, type ListedLease } from '../store/queries/listed-leases.ts';
import {
  listSilentSessions,
  lockSession,
  type SessionRow,
  updateSession,
} from '../store/queries/sessions.ts';
import type { Store } from '../store/store.ts';
import type { Tx } from '../store/tx.ts';
import { closeLeases } from './end-sessions.ts';

/** What ending a session did. `leases` are those this call ended. */
export interface EndResult {
  readonly leases: readonly ListedLease[];
}

/** A session without a sign of life for so long is lost, unless set otherwise. */
export const lostAfterMs = 90_000;
/** Sessions per sweep; what is left waits for the next. */
const sweepLimit = 200;

/** How a session ends. */
export interface SessionEnd {
  /** 0 to 255, as the agent ended. */
  readonly exitCode: number;
  /** Why, when it is not its own command that ends it; empty when it is. At most 200 characters. */
  readonly reason: string;
}

/** Who may end sessions of others. */
const guardians: ReadonlySet<string> = new Set(['owner', 'admin', 'security']);

/**
 * Ends a session and its leases, and records it; where somebody else ended it, in the organisation's stream too. Ending an ended
 * session does nothing.
 *
 * @throws KontextError `KX_NOT_FOUND` when there is no such session, or it is not the caller's to end; `KX_REQUEST_INVALID`.
 */
export async function endSession(
  store: Store,
  caller: Caller,
  sessionId: string,
  { exitCode, reason }: SessionEnd,
  now: Date,
): Promise<EndResult> {
  if (!Number.isInteger(exitCode) || exitCode < 0 || exitCode > 255) {
    throw new KontextError('KX_REQUEST_INVALID', 'exit_code must be 0 to 255');
  }
  if (reason.length > 200 || hasControls(reason)) {
    throw new KontextError('KX_REQUEST_INVALID', 'reason must be at most 200 printable characters');
  }
  return store.transaction({ role: 'app', orgId: caller.orgId }, async (tx) => {
    const session = await lockSession(tx, sessionId);
    const isOwn = session?.userId === caller.userId;
    // A word of its own: nobody ends a session of others by its id alone.
    const mayEnd = isOwn || (guardians.has(caller.role) && reason !== '');
    if (session === null || !mayEnd) {
      throw new KontextError('KX_NOT_FOUND', 'there is no such session, or it is not yours');
    }
    if (session.state === 'ended') return { leases: [] };
    const byHand = reason !== '';
    const how = byHand ? { endReason: reason } : { exitCode };
    await updateSession(tx, sessionId, { state: 'ended', endedAt: now, ...how });
    const facts = byHand ? { reason, by: caller.userId } : { exitCode };
    const ended = await closeLeases(tx, session, 'session.ended', facts, now);
    if (!isOwn) await recordByOthers(tx, caller, session, reason, now);
    const ids = ended.map(({ id }) => id);
    return { leases: await describeLeases(tx, ids) };
  });
}

/** Control characters would reach the terminal of whoever looks. */
const hasControls = (text: string): boolean => /\p{C}/u.test(text);

async function recordByOthers(
  tx: Tx,
  { orgId, userId }: Caller,
  { id, userId: owner, agent }: SessionRow,
  reason: string,
  now: Date,
): Promise<void> {
  const facts = { session: id, owner, reason };
  await appendServerEvent(
    tx,
    { orgId, sessionId: null },
    { kind: 'session.ended', user: userId, agent, facts },
    now,
  );
}

/**
 * Marks silent sessions as lost, ends their leases, and records it; run it every few seconds on every replica.
 *
 * @returns How many leases it ended.
 */
export async function sweepLostSessions(
  store: Store,
  now: Date,
  afterMs: number = lostAfterMs,
): Promise<number> {
  const before = new Date(now.getTime() - afterMs);
  const silent = await store.transaction({ role: 'system', orgId: null }, (tx) =>
    listSilentSessions(tx, before, sweepLimit),
  );
  let leases = 0;
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
    leases += ended.length;
  }
  return leases;
}
