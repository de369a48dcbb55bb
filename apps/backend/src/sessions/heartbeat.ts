import { KontextError } from '@kontext/errors';
import { appendServerEvents, type ServerEvent } from '../audit/append-server-event.ts';
import type { Caller } from '../caller.ts';
import { loadHolding } from '../policies/holding.ts';
import { type AuditSettings, loadAuditSettings } from '../store/queries/audit-settings.ts';
import { lockSession, markTampered, type SessionRow, updateSession } from '../store/queries/sessions.ts';
import type { Store } from '../store/store.ts';
import { checkHookConfigHash } from './open-session.ts';

/** What a heartbeat learns. */
export interface HeartbeatResult {
  readonly state: SessionRow['state'];
  /** Version that holds for the caller; 0 where there is none. */
  readonly policyVersion: number;
  /** Newest publication of the organisation: with another number a newer snapshot can be had. */
  readonly policySeq: number;
  /** When it was found tampered with; null while it was not. */
  readonly tamperedAt: Date | null;
  /** What to keep of payloads from now on. */
  readonly payloads: AuditSettings['payloads'];
}

/** What a client says with a heartbeat. */
export interface Beat {
  /** Hex SHA-256; empty where the agent has none, then it is not compared. */
  readonly hookConfigHash: string;
  /** The agent called a hook: it really runs under its command. */
  readonly hooksSeen: boolean;
}

/**
 * Notes that the caller's session lives. A lost session that comes back (a laptop that slept) lives again, which is recorded;
 * an ended one stays ended.
 *
 * A hook configuration other than the one last heard of is recorded as tampering.
 *
 * @throws KontextError `KX_NOT_FOUND` when there is no such session, or it is not the caller's own.
 */
export async function heartbeat(
  store: Store,
  caller: Caller,
  sessionId: string,
  { hookConfigHash, hooksSeen }: Beat,
  now: Date,
): Promise<HeartbeatResult> {
  checkHookConfigHash(hookConfigHash);
  return store.transaction({ role: 'app', orgId: caller.orgId }, async (tx) => {
    const session = await lockSession(tx, sessionId);
    if (session?.userId !== caller.userId) throw notYours();
    const holding = await loadHolding(tx, caller.orgId, caller.userId);
    const { payloads } = await loadAuditSettings(tx, caller.orgId);
    const told = { policyVersion: holding?.version ?? 0, policySeq: holding?.seq ?? 0, payloads };
    if (session.state === 'ended') return { state: 'ended', ...told, tamperedAt: session.tamperedAt };
    const changed = hookConfigHash !== '' && hookConfigHash !== session.hookConfigHash;
    await updateSession(tx, sessionId, {
      state: 'live',
      lastHeartbeatAt: now,
      ...(changed ? { hookConfigHash } : {}),
      ...(hooksSeen && session.hooksSeenAt === null ? { hooksSeenAt: now } : {}),
    });
    if (changed) await markTampered(tx, sessionId, now);
    const events = [
      ...(session.state === 'lost' ? [cameBack(session)] : []),
      ...(changed ? [settingsChanged(session, hookConfigHash)] : []),
    ];
    if (events.length > 0) await appendServerEvents(tx, { orgId: caller.orgId, sessionId }, events, now);
    return { state: 'live', ...told, tamperedAt: session.tamperedAt ?? (changed ? now : null) };
  });
}

const cameBack = (session: SessionRow): ServerEvent => ({
  kind: 'session.opened',
  user: session.userId,
  agent: session.agent,
  mode: session.mode,
  facts: { resumed: true, silentSince: session.lastHeartbeatAt.toISOString() },
});

const settingsChanged = (session: SessionRow, hookConfigHash: string): ServerEvent => ({
  kind: 'tamper.settings_changed',
  user: session.userId,
  agent: session.agent,
  facts: { before: session.hookConfigHash, after: hookConfigHash },
});

const notYours = (): KontextError =>
  new KontextError('KX_NOT_FOUND', 'there is no such session, or it is not yours');
