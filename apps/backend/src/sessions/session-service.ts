import { isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { AppendSignal } from '../audit/append-signal.ts';
import { type Caller, seesOrganisation } from '../caller.ts';
import type { PolicyService, SignedSnapshot } from '../policies/policy-service.ts';
import { findSession, listSessions, type NamedSession } from '../store/queries/sessions.ts';
import type { Store } from '../store/store.ts';
import {
  lostAfterMs as defaultLostAfterMs,
  type EndResult,
  endSession,
  type SessionEnd,
  sweepLostSessions,
} from './end-session.ts';
import { type Beat, type HeartbeatResult, heartbeat } from './heartbeat.ts';
import { type OpenedSession, type OpenSessionInput, openSession } from './open-session.ts';

export type { NamedSession };

/** Heartbeats a session may miss, and a little, before it is lost. */
const missedBeats = 4;
/** Longest time between heartbeats. */
const maxHeartbeatMs = 20_000;

/** One page of sessions; `next` is the cursor of the following one, null on the last. */
export interface SessionPage {
  readonly sessions: readonly NamedSession[];
  readonly next: string | null;
}

/** Which sessions. */
export interface SessionQuery {
  /** Only the caller's own; a member gets no others in any case. */
  readonly mine: boolean;
  /** Leave out those that ended. */
  readonly live: boolean;
  /** 1 to 200; 0 means 50. */
  readonly pageSize: number;
  readonly cursor: string;
}

/** What `open` gives: the session, the snapshot to decide with, and how often to say that it lives. */
export interface StartedSession extends OpenedSession {
  readonly snapshot: SignedSnapshot;
  readonly heartbeatSeconds: number;
}

/** Sessions as their edge uses them. What each function refuses is said where it is written. */
export interface SessionService {
  open(caller: Caller, input: OpenSessionInput): Promise<StartedSession>;
  heartbeat(caller: Caller, sessionId: string, beat: Beat): Promise<HeartbeatResult>;
  end(caller: Caller, sessionId: string, end: SessionEnd): Promise<EndResult>;
  list(caller: Caller, query: SessionQuery): Promise<SessionPage>;
  /** @throws KontextError `KX_NOT_FOUND` when there is no such session, or the caller may not see it. */
  get(caller: Caller, sessionId: string): Promise<NamedSession>;
  /** Marks silent sessions as lost; call it every few seconds. */
  sweep(): Promise<void>;
}

/** What the session service needs. */
export interface SessionServiceDeps {
  readonly store: Store;
  readonly policies: PolicyService;
  /** Wakes watchers; share the one of the audit service. */
  readonly appended: AppendSignal;
  /** Told after leases that ended with a session were committed: what they stand for can be taken back. */
  readonly onLeasesEnded?: () => void;
  /** A session without heartbeat for so long is lost; default 90,000 ms. */
  readonly lostAfterMs?: number;
  /** Default `Date.now`. */
  readonly nowMs?: () => number;
}

/** Puts the sessions together. */
export function createSessionService(deps: SessionServiceDeps): SessionService {
  const { store, policies, appended, nowMs = Date.now, onLeasesEnded = () => undefined } = deps;
  const { lostAfterMs = defaultLostAfterMs } = deps;
  const heartbeatSeconds = Math.max(
    1,
    Math.floor(Math.min(maxHeartbeatMs, lostAfterMs / missedBeats) / 1000),
  );
  const now = () => new Date(nowMs());
  return {
    open: async (caller, input) => {
      // Signed before the transaction: the key may have to be opened by a key service.
      const snapshot = await policies.snapshot(caller);
      const opened = await openSession(store, caller, input, snapshot.holding, now());
      appended.notify(caller.orgId);
      return { ...opened, snapshot, heartbeatSeconds };
    },
    heartbeat: (caller, sessionId, beat) => heartbeat(store, caller, sessionId, beat, now()),
    end: async (caller, sessionId, end) => {
      const result = await endSession(store, caller, sessionId, end, now());
      appended.notify(caller.orgId);
      onLeasesEnded();
      return result;
    },
    list: (caller, query) => listVisibleSessions(store, caller, query),
    get: async (caller, sessionId) => {
      const found = await store.transaction({ role: 'read', orgId: caller.orgId }, (tx) =>
        findSession(tx, sessionId),
      );
      const visible = found !== null && (seesOrganisation(caller) || found.session.userId === caller.userId);
      if (!visible) throw new KontextError('KX_NOT_FOUND', 'there is no such session, or it is not yours');
      return found;
    },
    sweep: async () => {
      const ended = await sweepLostSessions(store, now(), lostAfterMs);
      if (ended > 0) onLeasesEnded();
    },
  };
}

async function listVisibleSessions(store: Store, caller: Caller, query: SessionQuery): Promise<SessionPage> {
  const limit = query.pageSize === 0 ? 50 : query.pageSize;
  if (limit < 1 || limit > 200) throw new KontextError('KX_REQUEST_INVALID', 'page_size must be 1 to 200');
  if (query.cursor !== '' && !isId('ses', query.cursor)) {
    throw new KontextError('KX_REQUEST_INVALID', 'page_token is not one of ours');
  }
  const userId = query.mine || !seesOrganisation(caller) ? caller.userId : null;
  const before = query.cursor === '' ? null : query.cursor;
  const sessions = await store.transaction({ role: 'read', orgId: caller.orgId }, (tx) =>
    listSessions(tx, { userId, live: query.live }, { before, limit }),
  );
  return { sessions, next: sessions.length < limit ? null : (sessions.at(-1)?.session.id ?? null) };
}
