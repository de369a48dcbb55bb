import { isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { AppendSignal } from '../audit/append-signal.ts';
import { type Caller, seesOrganisation } from '../caller.ts';
import type { PolicyService, SignedSnapshot } from '../policies/policy-service.ts';
import type { LeaseRow } from '../store/queries/leases.ts';
import { findSession, listSessions, type NamedSession } from '../store/queries/sessions.ts';
import type { Store } from '../store/store.ts';
import { type EndResult, endSession, sweepLostSessions } from './end-session.ts';
import { type HeartbeatResult, heartbeat } from './heartbeat.ts';
import { type OpenedSession, type OpenSessionInput, openSession } from './open-session.ts';

export type { NamedSession };

/** Wanted seconds between heartbeats; a session is lost after twenty missed ones. */
const heartbeatSeconds = 30;

/** One page of sessions; `next` is the cursor of the following one, null on the last. */
export interface SessionPage {
  readonly sessions: readonly NamedSession[];
  readonly next: string | null;
}

/** What `open` gives: the session, the snapshot to decide with, and how often to say that it lives. */
export interface StartedSession extends OpenedSession {
  readonly snapshot: SignedSnapshot;
  readonly heartbeatSeconds: number;
}

/** Sessions as their edge uses them. What each function refuses is said where it is written. */
export interface SessionService {
  open(caller: Caller, input: OpenSessionInput): Promise<StartedSession>;
  heartbeat(caller: Caller, sessionId: string, hookConfigHash: string): Promise<HeartbeatResult>;
  end(caller: Caller, sessionId: string, exitCode: number): Promise<EndResult>;
  /** @param query `mine`: only the caller's own; a member gets no others in any case. Page size 1 to 200; 0 means 50. */
  list(
    caller: Caller,
    query: { readonly mine: boolean; readonly pageSize: number; readonly cursor: string },
  ): Promise<SessionPage>;
  /** @throws KontextError `KX_NOT_FOUND` when there is no such session, or the caller may not see it. */
  get(caller: Caller, sessionId: string): Promise<NamedSession>;
  /** Marks silent sessions as lost; call it every minute. */
  sweep(): Promise<void>;
}

/** What the session service needs. */
export interface SessionServiceDeps {
  readonly store: Store;
  readonly policies: PolicyService;
  /** Wakes watchers; share the one of the audit service. */
  readonly appended: AppendSignal;
  /** Told of leases that ended with a session, after it was committed: what they stand for can be revoked now. */
  readonly onLeasesEnded?: (leases: readonly LeaseRow[]) => void;
  /** Default `Date.now`. */
  readonly nowMs?: () => number;
}

/** Puts the sessions together. */
export function createSessionService(deps: SessionServiceDeps): SessionService {
  const { store, policies, appended, nowMs = Date.now, onLeasesEnded = () => undefined } = deps;
  const now = () => new Date(nowMs());
  return {
    open: async (caller, input) => {
      // Signed before the transaction: the key may have to be opened by a key service.
      const snapshot = await policies.snapshot(caller.orgId);
      const opened = await openSession(store, caller, input, snapshot.version, now());
      appended.notify(caller.orgId);
      return { ...opened, snapshot, heartbeatSeconds };
    },
    heartbeat: (caller, sessionId, hash) => heartbeat(store, caller, sessionId, hash, now()),
    end: async (caller, sessionId, exitCode) => {
      const result = await endSession(store, caller, sessionId, exitCode, now());
      appended.notify(caller.orgId);
      onLeasesEnded(result.leases);
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
    sweep: async () => onLeasesEnded((await sweepLostSessions(store, now())).leases),
  };
}

async function listVisibleSessions(
  store: Store,
  caller: Caller,
  query: { readonly mine: boolean; readonly pageSize: number; readonly cursor: string },
): Promise<SessionPage> {
  const limit = query.pageSize === 0 ? 50 : query.pageSize;
  if (limit < 1 || limit > 200) throw new KontextError('KX_REQUEST_INVALID', 'page_size must be 1 to 200');
  if (query.cursor !== '' && !isId('ses', query.cursor)) {
    throw new KontextError('KX_REQUEST_INVALID', 'page_token is not one of ours');
  }
  const userId = query.mine || !seesOrganisation(caller) ? caller.userId : null;
  const before = query.cursor === '' ? null : query.cursor;
  const sessions = await store.transaction({ role: 'read', orgId: caller.orgId }, (tx) =>
    listSessions(tx, userId, { before, limit }),
  );
  return { sessions, next: sessions.length < limit ? null : (sessions.at(-1)?.session.id ?? null) };
}
