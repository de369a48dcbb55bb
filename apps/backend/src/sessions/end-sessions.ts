import { headerLimits } from '@kontext/audit';
import { appendServerEvent } from '../audit/append-server-event.ts';
import { endLeasesOf, type LeaseRow } from '../store/queries/leases.ts';
import {
  lockOpenSessions,
  type SessionFilter,
  type SessionRow,
  updateSession,
} from '../store/queries/sessions.ts';
import type { Tx } from '../store/tx.ts';

export type { SessionFilter };

/** How much {@link endSessions} ended. */
export interface EndedCounts {
  readonly sessions: number;
  readonly leases: number;
}

/**
 * Ends sessions and everything handed out in them, and records each on its own stream. Of a user or an agent also leases outside
 * of any session end.
 *
 * Writes to the sessions' streams: whoever writes to the organisation's stream in the same transaction does it afterwards.
 * What was made for the leases is taken back at its provider by the loop that does so, within seconds of the commit.
 *
 * @param reason What `end_reason` will say of both, for example `logged_out`; shown to people.
 */
export async function endSessions(
  tx: Tx,
  orgId: string,
  filter: SessionFilter,
  reason: string,
  now: Date,
): Promise<EndedCounts> {
  const sessions = (await lockOpenSessions(tx, filter)).filter((session) => session.orgId === orgId);
  let leases = 0;
  for (const session of sessions) {
    await updateSession(tx, session.id, { state: 'ended', endedAt: now, endReason: reason });
    leases += (await closeLeases(tx, session, 'session.ended', { reason }, now, reason)).length;
  }
  const outside = 'userId' in filter || 'agentId' in filter ? filter : null;
  if (outside !== null) leases += (await endLeasesOf(tx, outside, reason, now)).length;
  return { sessions: sessions.length, leases };
}

/** Ends the leases of a session that is over, and records both. @returns Those it ended. */
export async function closeLeases(
  tx: Tx,
  session: SessionRow,
  kind: 'session.ended' | 'session.lost',
  facts: Readonly<Record<string, unknown>>,
  now: Date,
  reason: string = kind,
): Promise<LeaseRow[]> {
  const leases = await endLeasesOf(tx, { sessionId: session.id }, reason, now);
  const ids = leases.map((lease) => lease.id);
  await appendServerEvent(
    tx,
    { orgId: session.orgId, sessionId: session.id },
    {
      ...{ kind, user: session.userId, agent: session.agent },
      // The header has room for so many; all of them stand in the facts, up to what a payload may hold.
      lineage: { leases: ids.slice(0, headerLimits.leases) },
      facts: { ...facts, leasesEnded: ids.length, leases: ids.slice(0, 1000) },
    },
    now,
  );
  return leases;
}
