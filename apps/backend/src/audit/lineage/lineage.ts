/**
 * What stands behind a thing: consent → connection → lease → session → tool calls, as a tree.
 *
 * - Whatever is asked for, the tree is that of the leases and sessions it belongs to; it is bounded, and says when it was clipped.
 * - A lease that came from another hangs below that one; a session hangs below each of its leases, and its calls below the first.
 * - A session without leases hangs below the login of its user.
 * - A member gets what belongs to their own sessions, leases and connections; to others it does not exist.
 */
import { type EventHeader, isId, parseHeader } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { type Caller, seesOrganisation } from '../../caller.ts';
import {
  findEventsAbout,
  findLineageApprovals,
  findLineageConnections,
  findLineageEvent,
  findLineageLeases,
  findLineageSessions,
  findLoginBefore,
  findSessionCalls,
  findUserNames,
  type LineageEvent,
  type LineageLease,
  type LineageSession,
} from '../../store/queries/lineage.ts';
import type { Store } from '../../store/store.ts';
import type { Tx } from '../../store/tx.ts';
import { findEventById } from '../log/prove-event.ts';
import { buildTree, type LineageNode } from './build-tree.ts';

export type { LineageNode };

/** A tree, parents before their children. */
export interface Lineage {
  readonly nodes: readonly LineageNode[];
  /** There is more than was returned. */
  readonly clipped: boolean;
}

const maxCalls = 200;
const maxLeases = 50;
const maxApprovals = 100;
const maxDepth = 10;

/**
 * Finds the tree of an event, lease, connection, approval or session.
 *
 * @throws KontextError `KX_REQUEST_INVALID` when the id is of another kind, `KX_NOT_FOUND` when there is none such, or the caller
 *   may not see it.
 */
export async function findLineage(store: Store, caller: Caller, id: string): Promise<Lineage> {
  const { orgId } = caller;
  const place = isId('evt', id) ? await findEventById(store, orgId, id) : null;
  return store.transaction({ role: 'read', orgId }, async (tx) => {
    const event = place === null ? null : await findLineageEvent(tx, place.streamId, place.seq);
    const start = await findStart(tx, id, event);
    checkVisible(caller, start);
    // What a client's event names is only its word, and a lease may be near those of others: each part is looked at by itself.
    const isSeen = seenBy(caller);
    const leases = (await widenLeases(tx, start)).filter(isSeen);
    const sessionIds = unique([...start.sessionIds, ...leases.map(({ sessionId }) => sessionId)]);
    const sessions = (await ifAny(sessionIds, () => findLineageSessions(tx, sessionIds))).filter(isSeen);
    const found = await findRest(tx, orgId, { leases, sessions, start, isSeen });
    const calls = found.calls.slice(0, maxCalls);
    const isShown = [...calls, ...found.consents.values()].some(({ eventId }) => eventId === id);
    const parts = { askedId: id, leases, sessions, ...found, calls, event: isShown ? null : event };
    const clipped =
      found.calls.length > maxCalls || leases.length >= maxLeases || found.approvals.length >= maxApprovals;
    return { nodes: buildTree(parts), clipped };
  });
}

/** What was asked for, as leases and sessions to begin with. */
interface Start {
  readonly leases: readonly LineageLease[];
  readonly sessionIds: readonly string[];
  readonly connectionIds: readonly string[];
  /** Users of whom one must be the caller, unless they oversee; null stands for the organisation. */
  readonly owners: readonly (string | null)[];
}

async function findStart(tx: Tx, id: string, event: LineageEvent | null): Promise<Start> {
  if (event !== null) return startOfEvent(tx, event);
  if (isId('lea', id)) {
    const found = await findLineageLeases(tx, { ids: [id] }, 1);
    return { leases: found, sessionIds: [], connectionIds: [], owners: found.map(({ userId }) => userId) };
  }
  if (isId('con', id)) {
    const [connection] = await findLineageConnections(tx, [id]);
    if (connection === undefined) throw notFound();
    const leases = await findLineageLeases(tx, { connectionIds: [id] }, maxLeases);
    return { leases, sessionIds: [], connectionIds: [id], owners: [connection.userId] };
  }
  if (isId('apr', id)) {
    const [approval] = await findLineageApprovals(tx, { id }, 1);
    if (approval === undefined) throw notFound();
    return startOfSession(tx, approval.sessionId);
  }
  if (isId('ses', id)) return startOfSession(tx, id);
  throw new KontextError('KX_REQUEST_INVALID', 'that has no lineage', {
    why: 'it is not the id of an event, a lease, a connection, an approval or a session',
  });
}

async function startOfSession(tx: Tx, sessionId: string): Promise<Start> {
  const owners = (await findLineageSessions(tx, [sessionId])).map(({ userId }) => userId);
  const leases = await findLineageLeases(tx, { sessionIds: [sessionId] }, maxLeases);
  return { leases, sessionIds: [sessionId], connectionIds: [], owners };
}

/** A call belongs to its session, and to the leases it names if it names some; an event of the backend to what it is about. */
async function startOfEvent(tx: Tx, event: LineageEvent): Promise<Start> {
  const lineage = readLineage(event.header);
  const ids = lineage?.leases ?? [];
  const named = await ifAny(ids, () => findLineageLeases(tx, { ids }, maxLeases));
  const session = event.sessionId === null ? null : await startOfSession(tx, event.sessionId);
  const connectionIds = lineage?.connection == null ? [] : [lineage.connection];
  const owners = session?.owners ?? [event.userId];
  const leases = named.length > 0 ? named : (session?.leases ?? []);
  return { leases, sessionIds: session?.sessionIds ?? [], connectionIds, owners };
}

function checkVisible(caller: Caller, { owners }: Start): void {
  if (owners.length === 0) throw notFound();
  if (seesOrganisation(caller) || owners.includes(caller.userId)) return;
  throw notFound();
}

type IsSeen = (part: { readonly userId: string | null }) => boolean;

/** What a caller may see: an overseer everything, a member their own; connections that are the organisation's are everybody's. */
const seenBy =
  (caller: Caller): IsSeen =>
  ({ userId }) =>
    seesOrganisation(caller) || userId === null || userId === caller.userId;

/** With what each lease came from, and what came from it. */
async function widenLeases(tx: Tx, { leases }: Start): Promise<LineageLease[]> {
  const found = new Map(leases.map((lease) => [lease.id, lease]));
  const add = (more: readonly LineageLease[]): LineageLease[] => {
    const fresh = more.filter(({ id }) => !found.has(id));
    for (const lease of fresh) found.set(lease.id, lease);
    return fresh;
  };
  for (let [depth, ids] = [0, parentsOf(leases)]; ids.length > 0 && depth < maxDepth; depth += 1) {
    const wanted = ids.filter((id) => !found.has(id));
    ids = parentsOf(add(await ifAny(wanted, () => findLineageLeases(tx, { ids: wanted }, maxLeases))));
  }
  for (
    let [depth, from] = [0, leases];
    from.length > 0 && depth < maxDepth && found.size < maxLeases;
    depth += 1
  ) {
    const parentIds = from.map(({ id }) => id);
    from = add(await findLineageLeases(tx, { parentIds }, maxLeases - found.size));
  }
  return [...found.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
}

const parentsOf = (leases: readonly LineageLease[]): string[] =>
  unique(leases.map(({ parentLeaseId }) => parentLeaseId));

async function findRest(
  tx: Tx,
  orgId: string,
  found: {
    readonly leases: readonly LineageLease[];
    readonly sessions: readonly LineageSession[];
    readonly start: Start;
    readonly isSeen: IsSeen;
  },
) {
  const { leases, sessions, start, isSeen } = found;
  const sessionIds = sessions.map(({ id }) => id);
  const connectionIds = unique([...start.connectionIds, ...leases.map(({ connectionId }) => connectionId)]);
  const connections = (await ifAny(connectionIds, () => findLineageConnections(tx, connectionIds))).filter(
    isSeen,
  );
  const approvals = await ifAny(sessionIds, () => findLineageApprovals(tx, { sessionIds }, maxApprovals));
  const calls = await ifAny(sessionIds, () => findSessionCalls(tx, sessionIds, maxCalls + 1));
  const consents = new Map<string, LineageEvent>();
  for (const { id } of connections) {
    const kinds = ['connection.connected', 'secret.put'];
    const [consent] = await findEventsAbout(tx, { orgId, ref: id, kinds }, 1);
    if (consent !== undefined) consents.set(id, consent);
  }
  for (const { id, userId, startedAt } of sessions) {
    if (leases.some(({ sessionId, connectionId }) => sessionId === id && connectionId !== null)) continue;
    const login = await findLoginBefore(tx, orgId, userId, startedAt);
    if (login !== null) consents.set(id, login);
  }
  const people = [
    ...[...leases, ...connections, ...sessions, ...approvals, ...consents.values()].map(
      ({ userId }) => userId,
    ),
    ...approvals.map(({ decidedBy }) => decidedBy),
  ];
  const names = await findUserNames(tx, unique(people));
  return { connections, approvals, calls, consents, names };
}

const unique = (ids: readonly (string | null)[]): string[] => [...new Set(ids.filter((id) => id !== null))];

const ifAny = async <T>(ids: readonly string[], find: () => Promise<T[]>): Promise<T[]> =>
  ids.length === 0 ? [] : find();

function readLineage(header: string): EventHeader['lineage'] | null {
  try {
    return parseHeader(header).lineage;
  } catch {
    return null;
  }
}

const notFound = (): KontextError =>
  new KontextError('KX_NOT_FOUND', 'there is nothing with that id, or it is not yours');
