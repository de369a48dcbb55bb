/**
 * What stands behind a thing: consent → connection → lease → session → tool calls, as a tree.
 *
 * - Whatever is asked for, the tree is that of the leases and sessions it belongs to; it is bounded, and says when it was clipped.
 * - A lease that came from another hangs below that one; a session hangs below each of its leases, and its calls below the first.
 * - A session without leases hangs below the login it was opened by.
 * - What a client's event names is only its client's word: it is shown among what belongs to its own session, and nothing else.
 * - A member gets what belongs to their own sessions, leases and connections; to others it does not exist.
 */
import { isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { type Caller, seesOrganisation } from '../../caller.ts';
import { hashOidcId } from '../../login/oidc-adapter.ts';
import { findStream } from '../../store/queries/audit-streams.ts';
import {
  findEventAbout,
  findLineageApprovals,
  findLineageConnections,
  findLineageEvent,
  findLineageLeases,
  findLineageSessions,
  findLoginOf,
  findSessionCalls,
  findUserNames,
  type LineageEvent,
  type LineageLease,
  type LineageSession,
} from '../../store/queries/lineage.ts';
import type { Store } from '../../store/store.ts';
import type { Tx } from '../../store/tx.ts';
import { type EventRef, findEventById } from '../log/find-event.ts';
import { buildTree, isSame, type LineageNode, lineageOf } from './build-tree.ts';

export type { LineageNode };

/** A tree, parents before their children. */
export interface Lineage {
  readonly nodes: readonly LineageNode[];
  /** There is more than was returned. */
  readonly clipped: boolean;
  /** Asked for an event: where others stand that bear its id. The tree is that of the first. */
  readonly sameId: readonly EventRef[];
}

const maxCalls = 200;
const maxLeases = 50;
const maxApprovals = 100;
const maxDepth = 10;

/**
 * Finds the tree of an event, lease, connection, approval or session.
 *
 * @throws KontextError `KX_REQUEST_INVALID` when the id is of another kind, `KX_NOT_FOUND` when there is none such, or the caller
 *   may not see it, `KX_EVENT_AMBIGUOUS` as `findEventById`.
 */
export async function findLineage(store: Store, caller: Caller, id: string): Promise<Lineage> {
  const { orgId } = caller;
  const place = isId('evt', id) ? await findEventById(store, caller, id) : null;
  return store.transaction({ role: 'read', orgId }, async (tx) => {
    const event = place === null ? null : await findLineageEvent(tx, place);
    const isClients = place !== null && (await findStream(tx, place.streamId))?.kind === 'client';
    const start = await findStart(tx, id, event, isClients);
    checkVisible(caller, start);
    // A lease may be near those of others: each part is looked at by itself.
    const isSeen = seenBy(caller);
    const leases = (await widenLeases(tx, start)).filter(isSeen);
    const sessionIds = unique([...start.sessionIds, ...leases.map(({ sessionId }) => sessionId)]);
    const sessions = (await ifAny(sessionIds, () => findLineageSessions(tx, sessionIds))).filter(isSeen);
    const found = await findRest(tx, orgId, { leases, sessions, start, isSeen });
    const calls = found.calls.slice(0, maxCalls);
    const isShown = [...calls, ...found.consents.values()].some((shown) => isSame(shown, place));
    const asked = { askedId: place === null ? id : '', askedPlace: place };
    const parts = { ...asked, leases, sessions, ...found, calls, event: isShown ? null : event, isClients };
    const clipped =
      found.calls.length > maxCalls || leases.length >= maxLeases || found.approvals.length >= maxApprovals;
    return { nodes: buildTree(parts), clipped, sameId: place?.sameId ?? [] };
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

async function findStart(tx: Tx, id: string, event: LineageEvent | null, isClients: boolean): Promise<Start> {
  if (event !== null) return isClients ? startOfCall(tx, event) : startOfEvent(tx, event);
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

/** An event of a client belongs to its session; of the leases it names, to those that are the session's own. */
async function startOfCall(tx: Tx, { sessionId, header }: LineageEvent): Promise<Start> {
  if (sessionId === null) throw notFound();
  const start = await startOfSession(tx, sessionId);
  const named = new Set<string>(lineageOf(header)?.leases ?? []);
  const leases = start.leases.filter(({ id }) => named.has(id));
  return leases.length === 0 ? start : { ...start, leases };
}

/** An event of the backend belongs to what it is about. */
async function startOfEvent(tx: Tx, event: LineageEvent): Promise<Start> {
  const lineage = lineageOf(event.header);
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
    const consent = await findEventAbout(tx, { orgId, ref: id, kinds });
    if (consent !== null) consents.set(id, consent);
  }
  for (const { id, loginGrantId, ...session } of sessions) {
    if (leases.some(({ sessionId, connectionId }) => sessionId === id && connectionId !== null)) continue;
    const login = await findLoginOf(tx, orgId, {
      ...session,
      grantIdHash: hashOidcId('Grant', loginGrantId),
    });
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

const notFound = (): KontextError =>
  new KontextError('KX_NOT_FOUND', 'there is nothing with that id, or it is not yours');
