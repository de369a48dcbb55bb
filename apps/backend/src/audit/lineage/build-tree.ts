import { type EventHeader, parseHeader } from '@kontext/audit';
import type {
  LineageApproval,
  LineageConnection,
  LineageEvent,
  LineageLease,
  LineageSession,
} from '../../store/queries/lineage.ts';
import type { EventRef } from '../log/find-event.ts';

/** What was found, before it is made a tree. */
export interface LineageParts {
  /** What was asked for: by its id, or an event, whose id others may bear, by its place. */
  readonly askedId: string;
  readonly askedPlace: EventRef | null;
  readonly leases: readonly LineageLease[];
  readonly connections: readonly LineageConnection[];
  readonly sessions: readonly LineageSession[];
  readonly approvals: readonly LineageApproval[];
  readonly calls: readonly LineageEvent[];
  /** The event that was asked for, when it is none of the calls. */
  readonly event: LineageEvent | null;
  /** A client wrote that event. */
  readonly isClients: boolean;
  /** Consent to each connection, by its id; login before each session without leases, by its id. */
  readonly consents: ReadonlyMap<string, LineageEvent>;
  readonly names: ReadonlyMap<string, string>;
}

/** One thing of the tree. */
export interface LineageNode {
  /** Of an event whose id another one of the tree bears: its stream and seq, joined by a colon. */
  readonly id: string;
  /** Empty for a root. */
  readonly parentId: string;
  readonly type: 'consent' | 'connection' | 'lease' | 'session' | 'approval' | 'event';
  /** Kind of the event that is or made it; empty when none is stored. */
  readonly kind: string;
  readonly eventId: string;
  /** Where that event stands; empty and 0 when there is none. */
  readonly streamId: string;
  readonly seq: number;
  readonly at: Date;
  readonly userName: string;
  readonly label: string;
  readonly tool: string;
  readonly decision: string;
  readonly asked: boolean;
}

/** Whether an event is the one that stands at a place. */
export const isSame = ({ streamId, seq }: EventRef, place: EventRef | null): boolean =>
  place !== null && streamId === place.streamId && seq === place.seq;

type Fields = Pick<LineageNode, 'id' | 'type' | 'at' | 'label'> & Partial<LineageNode>;

/** Makes the tree: parents before their children. Pure. */
export function buildTree(parts: LineageParts): LineageNode[] {
  const nodes: LineageNode[] = [];
  const add = (fields: Fields): void => {
    const empty = { parentId: '', kind: '', eventId: '', streamId: '', seq: 0 };
    const noCall = { userName: '', tool: '', decision: '' };
    const asked = fields.id === parts.askedId || isSame({ ...empty, ...fields }, parts.askedPlace);
    nodes.push({ ...empty, ...noCall, asked, ...fields, id: ownId(fields) });
  };
  const places = new Map<string, string>();
  const ownId = ({ id, type, streamId = '', seq = 0 }: Fields): string => {
    if (type !== 'event' && type !== 'consent') return id;
    const place = `${streamId}:${seq}`;
    if (!places.has(id)) places.set(id, place);
    return places.get(id) === place ? id : place;
  };
  const name = (userId: string | null): string =>
    userId === null ? '' : (parts.names.get(userId) ?? userId);
  addConnections(parts, add, name);
  addLeases(parts, add, name);
  for (const session of parts.sessions) addSession(parts, session, add, name);
  if (parts.event !== null)
    add({ ...eventFields(parts.event, name), parentId: parentOfEvent(parts, parts.event) });
  return nodes;
}

type Add = (fields: Fields) => void;
type NameOf = (userId: string | null) => string;

function addConnections({ connections, consents }: LineageParts, add: Add, name: NameOf): void {
  for (const { id, userId, provider, name: own, account, createdAt } of connections) {
    const consent = consents.get(id);
    const parentId = consent === undefined ? '' : `${consent.eventId}`;
    if (consent !== undefined) add(consentFields(consent, `consented to ${provider}`, name));
    const of = userId === null ? 'shared by the organisation' : `of ${name(userId)}`;
    const label = `${provider} (${own})${account === null ? '' : ` as ${account}`}, ${of}`;
    add({ id, parentId, type: 'connection', at: createdAt, userName: name(userId), label });
  }
}

const recordOf = ({ kind, eventId, streamId, seq }: LineageEvent) => ({ kind, eventId, streamId, seq });

const consentFields = (event: LineageEvent, what: string, name: NameOf): Fields => ({
  ...{ id: event.eventId, type: 'consent', at: event.receivedAt, ...recordOf(event) },
  ...{ userName: name(event.userId), label: `${name(event.userId)} ${what}` },
});

/** Parents first: a lease is older than those that came from it, and ids sort by time. */
function addLeases({ leases, connections }: LineageParts, add: Add, name: NameOf): void {
  for (const lease of byParent(leases)) {
    const { id, kind, provider, resource, userId, createdAt, state, parentLeaseId, connectionId } = lease;
    const above = [parentLeaseId, connectionId].find(
      (one) => leases.some((other) => other.id === one) || connections.some((other) => other.id === one),
    );
    const label = `${kind} for ${provider}${resource === '' ? '' : `/${resource}`}, ${state}`;
    add({ id, parentId: above ?? '', type: 'lease', at: createdAt, userName: name(userId), label });
  }
}

function byParent(leases: readonly LineageLease[]): LineageLease[] {
  const done = new Set<string>();
  const sorted: LineageLease[] = [];
  const visit = (lease: LineageLease): void => {
    if (done.has(lease.id)) return;
    done.add(lease.id);
    const parent = leases.find(({ id }) => id === lease.parentLeaseId);
    if (parent !== undefined) visit(parent);
    sorted.push(lease);
  };
  for (const lease of leases) visit(lease);
  return sorted;
}

function addSession(parts: LineageParts, session: LineageSession, add: Add, name: NameOf): void {
  const { id, agent, hostname, startedAt, userId, repository } = session;
  const own = byParent(parts.leases).filter(({ sessionId }) => sessionId === id);
  const login = parts.consents.get(id);
  if (login !== undefined) add(consentFields(login, 'logged in', name));
  const above = [...own.map((lease) => lease.id), ...(login === undefined ? [] : [login.eventId])];
  const label = `${agent} on ${hostname}${repository === '' ? '' : ` in ${repository}`}`;
  for (const parentId of above.length === 0 ? [''] : above)
    add({ id, parentId, type: 'session', at: startedAt, userName: name(userId), label });
  const approvals = parts.approvals.filter(({ sessionId }) => sessionId === id);
  for (const approval of approvals) add(approvalFields(approval, name));
  for (const call of parts.calls.filter(({ sessionId }) => sessionId === id))
    add({ ...eventFields(call, name), parentId: approvalOf(call, approvals)?.id ?? id });
}

/** The approval of its session that a call names, or that was asked for with the same tool and tool-use id. */
function approvalOf(
  { header, tool, toolUseId }: LineageEvent,
  approvals: readonly LineageApproval[],
): LineageApproval | undefined {
  const named = lineageOf(header)?.approval;
  return (
    approvals.find(({ id }) => id === named) ??
    approvals.find(
      (approval) => toolUseId !== null && approval.toolUseId === toolUseId && approval.tool === tool,
    )
  );
}

/** What a header names; null when it cannot be read. */
export function lineageOf(header: string): EventHeader['lineage'] | null {
  try {
    return parseHeader(header).lineage;
  } catch {
    return null;
  }
}

function approvalFields(approval: LineageApproval, name: NameOf): Fields {
  const { id, sessionId, tool, state, decidedBy, decisionReason, decidedAt, createdAt } = approval;
  const by = decidedBy === null ? '' : ` by ${name(decidedBy)}`;
  const why = decisionReason === '' ? '' : `: ${decisionReason.replace(/[\p{C}\p{Z}]+/gu, ' ')}`;
  return {
    ...{ id, parentId: sessionId, type: 'approval', at: decidedAt ?? createdAt, tool },
    ...{ userName: name(decidedBy), label: `approval of ${tool}: ${state}${by}${why}` },
  };
}

const eventFields = (event: LineageEvent, name: NameOf): Fields => ({
  ...{ id: event.eventId, type: 'event', at: event.receivedAt, ...recordOf(event) },
  ...{ userName: name(event.userId), tool: event.tool ?? '', decision: event.decision ?? '' },
  label: [event.kind, event.tool, event.decision].filter((text) => text !== null).join(' '),
});

/** An event that is no call hangs below what it is about: an approval, a lease, the connection, else its session. */
function parentOfEvent(
  { approvals, leases, connections, sessions, isClients }: LineageParts,
  { sessionId, header }: LineageEvent,
): string {
  const about = isClients ? null : lineageOf(header);
  const named = new Set<string | null>([
    about?.approval ?? null,
    about?.connection ?? null,
    ...(about?.leases ?? []),
  ]);
  const first = [...approvals, ...leases, ...connections].find(({ id }) => named.has(id));
  return first?.id ?? sessions.find(({ id }) => id === sessionId)?.id ?? '';
}
