import { headerLimits, isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { appendServerEvent } from '../audit/append-server-event.ts';
import type { AppendSignal } from '../audit/append-signal.ts';
import type { Caller } from '../caller.ts';
import { findConnection } from '../store/queries/connections.ts';
import {
  endLeasesOf,
  findLeaseOwner,
  findLeasesOf,
  type LeaseFilter,
  type LeaseRow,
} from '../store/queries/leases.ts';
import { describeLeases, type ListedLease } from '../store/queries/listed-leases.ts';
import { findAgent } from '../store/queries/members.ts';
import { findSession } from '../store/queries/sessions.ts';
import type { Store } from '../store/store.ts';
import type { Tx } from '../store/tx.ts';

/** What to revoke, as asked for; exactly one filter. `agent` and `provider` are names. */
export type RevokeFilter =
  | { readonly leaseId: string }
  | { readonly sessionId: string }
  | { readonly connectionId: string }
  | { readonly userId: string }
  | { readonly agent: string }
  | { readonly provider: string }
  | { readonly everything: true };

/** What revoking ended, or would end; at most 1,000 of them are described. */
export interface RevokedLeases {
  readonly leases: readonly ListedLease[];
  readonly count: number;
}

/** What revoking needs. */
export interface RevokeDeps {
  readonly store: Store;
  readonly appended: AppendSignal;
  readonly nowMs: () => number;
  /** Told after the commit: what the leases stood for can be taken back. */
  readonly onLeasesEnded: () => void;
}

const describedAtMost = 1000;
/** Who may end what was handed out to others. */
const guardians: ReadonlySet<string> = new Set(['owner', 'admin', 'security']);

/**
 * Ends leases and everything exchanged from them, or with `dryRun` says which. What was made for them is taken back at its
 * provider within seconds.
 *
 * Each session's stream gets one `credential.revoked`; the organisation's too, when somebody else's leases ended or some were
 * outside of any session.
 *
 * @throws KontextError `KX_NOT_FOUND` when there is no such lease, session or connection or it is not the caller's to end;
 *   `KX_FORBIDDEN` for more than the caller's own; `KX_REQUEST_INVALID`, `KX_AGENT_UNKNOWN`.
 */
export async function revokeLeases(
  { store, appended, nowMs, onLeasesEnded }: RevokeDeps,
  caller: Caller,
  asked: RevokeFilter,
  dryRun: boolean,
): Promise<RevokedLeases> {
  const now = new Date(nowMs());
  const revoked = await store.transaction({ role: 'app', orgId: caller.orgId }, async (tx) => {
    const filter = await permit(tx, caller, asked);
    if (dryRun) return describe(tx, await findLeasesOf(tx, filter));
    const ended = await endLeasesOf(tx, filter, 'revoked', now);
    await record(tx, caller, asked, ended, now);
    return describe(tx, ended);
  });
  if (!dryRun) {
    appended.notify(caller.orgId);
    onLeasesEnded();
  }
  return revoked;
}

/** What the caller asks for as the store knows it, if they may. */
async function permit(tx: Tx, caller: Caller, asked: RevokeFilter): Promise<LeaseFilter> {
  checkId(asked);
  const isGuardian = guardians.has(caller.role);
  if ('leaseId' in asked) {
    requireOwn(await findLeaseOwner(tx, asked.leaseId), caller, isGuardian, 'lease');
    return asked;
  }
  if ('sessionId' in asked) {
    const owner = (await findSession(tx, asked.sessionId))?.session.userId ?? null;
    requireOwn(owner, caller, isGuardian, 'session');
    return asked;
  }
  if ('connectionId' in asked) {
    const found = await findConnection(tx, asked.connectionId);
    // A shared one belongs to nobody.
    requireOwn(found === null ? null : (found.connection.userId ?? ''), caller, isGuardian, 'connection');
    return asked;
  }
  if ('userId' in asked && asked.userId === caller.userId) return asked;
  if (!isGuardian) {
    throw new KontextError('KX_FORBIDDEN', 'only an owner, admin or security may end leases of others', {
      why: `your role is ${caller.role}`,
    });
  }
  if (!('agent' in asked)) return asked;
  const agent = await findAgent(tx, caller.orgId, asked.agent);
  if (agent !== null) return { agentId: agent.id };
  throw new KontextError('KX_AGENT_UNKNOWN', `the organisation has no agent named ${asked.agent}`);
}

const kinds = { leaseId: 'lea', sessionId: 'ses', connectionId: 'con', userId: 'usr' } as const;

function checkId(asked: RevokeFilter): void {
  for (const [name, kind] of Object.entries(kinds)) {
    const value = (asked as Readonly<Record<string, unknown>>)[name];
    if (value === undefined || (typeof value === 'string' && isId(kind, value))) continue;
    throw new KontextError('KX_REQUEST_INVALID', `the ${kind}_ id is not one of ours`);
  }
}

/** What is not theirs does not exist for them. */
function requireOwn(ownerId: string | null, caller: Caller, isGuardian: boolean, what: string): void {
  if (ownerId !== null && (isGuardian || ownerId === caller.userId)) return;
  throw new KontextError('KX_NOT_FOUND', `there is no such ${what}, or it is not yours`);
}

async function describe(tx: Tx, rows: readonly LeaseRow[]): Promise<RevokedLeases> {
  const ids = rows.slice(0, describedAtMost).map(({ id }) => id);
  return { leases: await describeLeases(tx, ids), count: rows.length };
}

async function record(
  tx: Tx,
  { orgId, userId }: Caller,
  asked: RevokeFilter,
  ended: readonly LeaseRow[],
  now: Date,
): Promise<void> {
  if (ended.length === 0) return;
  const append = async (sessionId: string | null, rows: readonly LeaseRow[]): Promise<void> => {
    const ids = rows.map(({ id }) => id);
    const event = {
      ...{ kind: 'credential.revoked' as const, user: userId },
      lineage: { leases: ids.slice(0, headerLimits.leases) },
      facts: { filter: asked, ended: ids.length, leases: ids.slice(0, 1000) },
    };
    await appendServerEvent(tx, { orgId, sessionId }, event, now);
  };
  const sessionIds = new Set(ended.flatMap(({ sessionId }) => sessionId ?? []));
  // In one order, so that two who revoke do not wait for each other.
  for (const id of [...sessionIds].sort()) {
    await append(
      id,
      ended.filter(({ sessionId }) => sessionId === id),
    );
  }
  const forOthers = ended.some((lease) => lease.userId !== userId || lease.sessionId === null);
  if (forOthers) await append(null, ended);
}
