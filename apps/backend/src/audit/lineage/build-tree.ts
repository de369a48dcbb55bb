import type {
  LineageApproval,
  LineageConnection,
  LineageEvent,
  LineageLease,
  LineageSession,
} from '../../store/queries/lineage.ts';

/** What was found, before it is made a tree. */
export interface LineageParts {
  readonly askedId: string;
  readonly leases: readonly LineageLease[];
  readonly connections: readonly LineageConnection[];
  readonly sessions: readonly LineageSession[];
  readonly approvals: readonly LineageApproval[];
  readonly calls: readonly LineageEvent[];
  /** The event that was asked for, when it is none of the calls. */
  readonly event: LineageEvent | null;
  /** Consent to each connection, by its id; login before each session without leases, by its id. */
  readonly consents: ReadonlyMap<string, LineageEvent>;
  readonly names: ReadonlyMap<string, string>;
}

/** One thing of the tree. */
export interface LineageNode {
  readonly id: string;
  /** Empty for a root. */
  readonly parentId: string;
  readonly type: 'consent' | 'connection' | 'lease' | 'session' | 'approval' | 'event';
  /** Kind of the event that is or made it; empty when none is stored. */
  readonly kind: string;
  readonly eventId: string;
  readonly at: Date;
  readonly userName: string;
  readonly label: string;
  readonly tool: string;
  readonly decision: string;
  readonly asked: boolean;
}

type Fields = Pick<LineageNode, 'id' | 'type' | 'at' | 'label'> & Partial<LineageNode>;

/** Makes the tree: parents before their children. Pure. */
export function buildTree(parts: LineageParts): LineageNode[] {
  const nodes: LineageNode[] = [];
  const add = (fields: Fields): void => {
    const empty = { parentId: '', kind: '', eventId: '', userName: '', tool: '', decision: '' };
    const asked = fields.id === parts.askedId || (fields.eventId ?? '') === parts.askedId;
    nodes.push({ ...empty, asked, ...fields });
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

const consentFields = (event: LineageEvent, what: string, name: NameOf): Fields => ({
  ...{ id: event.eventId, type: 'consent', kind: event.kind, eventId: event.eventId, at: event.receivedAt },
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
  for (const call of parts.calls.filter(({ sessionId }) => sessionId === id)) {
    const approval = approvals.find(({ toolUseId }) => toolUseId !== null && toolUseId === call.toolUseId);
    add({ ...eventFields(call, name), parentId: approval?.id ?? id });
  }
}

function approvalFields(approval: LineageApproval, name: NameOf): Fields {
  const { id, sessionId, tool, state, decidedBy, decidedAt, createdAt } = approval;
  const by = decidedBy === null ? '' : ` by ${name(decidedBy)}`;
  return {
    ...{ id, parentId: sessionId, type: 'approval', at: decidedAt ?? createdAt, tool },
    ...{ userName: name(decidedBy), label: `approval of ${tool}: ${state}${by}` },
  };
}

const eventFields = (event: LineageEvent, name: NameOf): Fields => ({
  ...{ id: event.eventId, type: 'event', kind: event.kind, eventId: event.eventId, at: event.receivedAt },
  ...{ userName: name(event.userId), tool: event.tool ?? '', decision: event.decision ?? '' },
  label: [event.kind, event.tool, event.decision].filter((text) => text !== null).join(' '),
});

/** An event that is no call hangs below what it is about: the newest lease, the connection, its session. */
function parentOfEvent(
  { leases, connections, sessions }: LineageParts,
  { sessionId, header }: LineageEvent,
): string {
  const named = [...leases, ...connections].filter(({ id }) => header.includes(`"${id}"`));
  return named[0]?.id ?? sessions.find(({ id }) => id === sessionId)?.id ?? '';
}
