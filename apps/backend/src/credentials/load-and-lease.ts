import { createId, isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { Decision } from '@kontext/policy';
import { Secret } from '@kontext/redaction';
import { loadUsePolicy, type UsePolicy } from '../policies/use-policy.ts';
import type { ConnectionRow } from '../store/queries/connections.ts';
import {
  findProviderFacts,
  findUsableConnections,
  holdSessionWithAgent,
  listProviderNames,
} from '../store/queries/credential-facts.ts';
import { holdLease, insertLeases } from '../store/queries/issued-leases.ts';
import type { LeaseRow } from '../store/queries/leases.ts';
import { findAgent } from '../store/queries/members.ts';
import type { Tx } from '../store/tx.ts';
import { askApprovals, loadApprovals } from './approvals.ts';
import { asksUser, decideCredentials } from './credential-policy.ts';
import {
  type BatchFacts,
  decideWanted,
  type GrantedCredential,
  type MeantMint,
  scopesUnasked,
} from './decide-wanted.ts';
import type { ExchangeDeps, ExchangeRequest, ExchangeSource } from './exchange-request.ts';
import type { Outcome, RefusedCredential } from './outcome.ts';
import { keyOf, lookupNames, type WantedCredential } from './wanted-credential.ts';
import { withheldBecause } from './withheld.ts';

/** Agent that acts outside of any session. */
const sessionlessAgent = 'run';

/** The agent a batch is for. */
export interface BatchAgent {
  readonly id: string;
  readonly name: string;
  readonly ceilingScopes: readonly string[] | null;
  readonly maxTtlSeconds: number;
}

/** The agent, and the session it acts in; null: outside of any. */
interface ActingAgent extends BatchAgent {
  readonly session: { readonly id: string; readonly mode: 'observe' | 'enforce' } | null;
}

/** How a granted credential is to be minted. Items that share a planned name share what is minted. */
export interface PlannedMint extends MeantMint {
  /** Stored with the pending lease. */
  readonly plannedName: string;
  readonly plannedAtMs: number;
}

/** One wanted credential, decided. */
export interface BatchItem {
  readonly wanted: WantedCredential;
  readonly decision: GrantedCredential | RefusedCredential;
  /** Null when it was refused, and in a dry run. */
  readonly leaseId: string | null;
  /** What a dry run answers. */
  readonly dry: Outcome;
  /** Null when nothing is to be minted. */
  readonly mint: PlannedMint | null;
  /** What policy says; null when it was not asked. */
  readonly policy: Decision | null;
}

/**
 * Step 1 of the exchange, in one transaction. The session is held meanwhile: whoever ends it ends these leases too.
 *
 * @throws KontextError `KX_NOT_FOUND`, `KX_SESSION_ENDED`, `KX_AGENT_UNKNOWN`, `KX_AGENT_DISABLED`; `KX_SUBJECT_INVALID` when what is
 *   exchanged from has ended.
 */
export async function loadAndLease(
  deps: ExchangeDeps,
  request: ExchangeRequest,
): Promise<{ readonly agent: BatchAgent; readonly items: readonly BatchItem[] }> {
  const { store, nowMs, minters } = deps;
  const { caller, wanted, dryRun } = request;
  return store.transaction({ role: 'app', orgId: caller.orgId }, async (tx) => {
    const now = new Date(nowMs());
    // None waits for the answer of another: on Postgres all of them are one round trip.
    const [agent, parent, rows, policy] = await Promise.all([
      findActingAgent(tx, request),
      holdSource(tx, request),
      loadRows(tx, request),
      loadUsePolicy(tx, caller),
    ]);
    const facts = { ...(await toFacts(tx, deps, request, { agent, ...rows, policy }, now)), minters };
    const leases: LeaseRow[] = [];
    const plans = new Map<string, string>();
    const items = wanted.map((one): BatchItem => {
      const decision = decideWanted(one, facts);
      const said = { wanted: one, policy: facts.policy.get(keyOf(one)) ?? null };
      if (!decision.ok) return { ...said, decision, leaseId: null, dry: decision, mint: null };
      const dry = describeDry(decision);
      if (dryRun) return { ...said, decision, leaseId: null, dry, mint: null };
      const lease = makeLease(request, agent, parent, one, decision, now);
      const mint = planMint(plans, decision, lease);
      leases.push({ ...lease, plannedName: mint?.plannedName ?? null });
      return { ...said, decision, leaseId: lease.id, dry, mint };
    });
    await insertLeases(tx, leases);
    if (dryRun) return { agent, items };
    return {
      agent,
      items: await askForApprovals(tx, deps, { ...request, agent: agent.name }, facts, items, now),
    };
  });
}

/** Asks a person about providers that want it, and tells in the refusals where. */
async function askForApprovals(
  tx: Tx,
  deps: ExchangeDeps,
  request: Parameters<typeof askApprovals>[2],
  { providers, approvals }: Pick<BatchFacts, 'providers' | 'approvals'>,
  items: readonly BatchItem[],
  now: Date,
): Promise<readonly BatchItem[]> {
  const idOf = ({ wanted, decision }: BatchItem): string | null => {
    if (decision.ok || decision.refusal.code !== 'KX_APPROVAL_PENDING') return null;
    return providers.get(wanted.provider)?.provider.id ?? null;
  };
  const unasked = new Set(items.map(idOf).filter((id) => id !== null && !approvals.has(id)));
  const wanting = [...providers.values()].filter(({ provider }) => unasked.has(provider.id));
  const asked = await askApprovals(
    tx,
    deps,
    request,
    wanting.map(({ provider }) => provider),
    now,
  );
  return items.map((item) => {
    const pending = asked.get(idOf(item) ?? '');
    if (pending === undefined || item.decision.ok) return item;
    const { refusal } = item.decision;
    const decision = { ...item.decision, refusal: { ...refusal, members: pending.members } };
    return { ...item, decision, dry: decision };
  });
}

/** What differs in the field alone (`…/user`, `…/password`) is one credential, made once: all of it gets one planned name. */
function planMint(
  plans: Map<string, string>,
  { provider, mint, scopes, granted }: GrantedCredential,
  lease: LeaseRow,
): PlannedMint | null {
  if (mint === null) return null;
  const key = JSON.stringify([provider.id, mint.target.base, scopes.toSorted(), granted.expiresInCapSeconds]);
  const plannedName = plans.get(key) ?? mint.minter.plan(lease.id);
  plans.set(key, plannedName);
  return { ...mint, plannedName, plannedAtMs: lease.createdAt.getTime() };
}

async function findActingAgent(tx: Tx, { caller, sessionId }: ExchangeRequest): Promise<ActingAgent> {
  if (sessionId === null) {
    const agent = requireAgent(await findAgent(tx, caller.orgId, sessionlessAgent));
    return { ...agent, session: null };
  }
  const held = isId('ses', sessionId) ? await holdSessionWithAgent(tx, sessionId) : null;
  const agent = requireLive(held, caller.userId);
  return { ...agent, session: held === null ? null : { id: sessionId, mode: held.session.mode } };
}

/**
 * The agent of a session that is live, and the user's own. What a tampered session is not renewed, it cannot resolve anew.
 *
 * @throws KontextError `KX_NOT_FOUND`, `KX_SESSION_ENDED`, `KX_RENEWAL_WITHHELD`, and what {@link requireAgent} throws.
 */
export function requireLive(held: Awaited<ReturnType<typeof holdSessionWithAgent>>, userId: string) {
  if (held?.session.userId !== userId) {
    throw new KontextError('KX_NOT_FOUND', 'there is no such session, or it is not yours');
  }
  const { state, mode, tamperedAt } = held.session;
  if (state !== 'live') throw new KontextError('KX_SESSION_ENDED', 'the session has ended');
  if (mode === 'enforce' && tamperedAt !== null) throw withheldBecause('tampered');
  return requireAgent(held.agent);
}

/**
 * The agent, when it may act.
 *
 * @throws KontextError `KX_AGENT_UNKNOWN` when there is none, `KX_AGENT_DISABLED`.
 */
export function requireAgent<A extends { readonly name: string; readonly disabledAt: Date | null }>(
  agent: A | null,
): A {
  if (agent === null) throw new KontextError('KX_AGENT_UNKNOWN', 'the organisation has no such agent');
  if (agent.disabledAt === null) return agent;
  throw new KontextError('KX_AGENT_DISABLED', `the agent ${agent.name} is disabled`);
}

/** What is exchanged from holds until the new leases are stored: whoever ends it sees them. */
async function holdSource(tx: Tx, { source, sessionId }: ExchangeRequest): Promise<LeaseRow | null> {
  if (!source) return null;
  const lease = await holdLease(tx, source.leaseId);
  if (lease !== null && lease.sessionId === sessionId) return lease;
  throw new KontextError('KX_SUBJECT_INVALID', 'what is exchanged from has ended');
}

interface FactRows {
  readonly providers: Awaited<ReturnType<typeof findProviderFacts>>;
  readonly rows: readonly ConnectionRow[];
}

async function loadRows(tx: Tx, { caller, sessionId, wanted }: ExchangeRequest): Promise<FactRows> {
  const { userId, orgId } = caller;
  const names = lookupNames(wanted);
  const agent = sessionId === null ? { orgId, name: sessionlessAgent } : { sessionId };
  const [providers, rows] = await Promise.all([
    findProviderFacts(tx, orgId, agent, names),
    findUsableConnections(tx, { orgId, userId }, names),
  ]);
  return { providers, rows };
}

async function toFacts(
  tx: Tx,
  deps: ExchangeDeps,
  request: ExchangeRequest,
  {
    agent,
    providers,
    rows,
    policy: asked,
  }: FactRows & { readonly agent: ActingAgent; readonly policy: UsePolicy },
  now: Date,
): Promise<Omit<BatchFacts, 'minters'>> {
  const { caller, wanted, source = null } = request;
  const { orgId, authAt } = caller;
  const connections = new Map<string, ConnectionRow[]>();
  for (const row of rows) {
    const known = connections.get(row.providerId);
    if (known) known.push(row);
    else connections.set(row.providerId, [row]);
  }
  const someUnknown = wanted.some(({ provider }) => !providers.has(provider));
  const providerNames = someUnknown ? await listProviderNames(tx, orgId) : [];
  const session = agent.session === null ? null : { ...agent.session, agent: agent.name };
  const policy = await decideCredentials(asked, wanted, providers, {
    ...{ session, nowMs: now.getTime() },
    scopesOf: (one, found) =>
      scopesUnasked(one, found, connections.get(found.provider.id) ?? [], deps.minters),
  });
  const asking = new Set(
    wanted.filter((one) => asksUser(policy.get(keyOf(one)))).map(({ provider }) => provider),
  );
  const found = [...providers.values()]
    .filter(({ attached }) => attached)
    .map(({ provider }) =>
      asking.has(provider.name) ? { ...provider, approval: 'user' as const } : provider,
    );
  const approvals = await loadApprovals(tx, deps, request, found, now);
  return {
    ...{ agent, providers, connections, providerNames, approvals, policy },
    loginAgeSeconds: authAt ? (now.getTime() - authAt.getTime()) / 1000 : null,
    source:
      source === null ? null : { scopesLeftOf: source.scopesLeftOf, leftSeconds: leftSeconds(source, now) },
  };
}

function leftSeconds({ expiresAtMs, wantedSeconds = null }: ExchangeSource, now: Date): number | null {
  const bounds = [expiresAtMs === null ? null : (expiresAtMs - now.getTime()) / 1000, wantedSeconds];
  const known = bounds.filter((bound) => bound !== null);
  return known.length === 0 ? null : Math.min(...known);
}

function makeLease(
  { caller, sessionId, channel, source, renews }: ExchangeRequest,
  agent: BatchAgent,
  parent: LeaseRow | null,
  wanted: WantedCredential,
  { provider, connection, granted, scopes }: GrantedCredential,
  now: Date,
): LeaseRow {
  const { provider: name, resource } = wanted;
  return {
    ...{ id: createId('lea', now.getTime()), orgId: caller.orgId, state: 'pending', kind: granted.kind },
    ...{
      jti: null,
      parentLeaseId: parent?.id ?? null,
      sessionId,
      connectionId: connection.id,
      providerId: provider.id,
    },
    ...{ provider: name, userId: caller.userId, agentId: agent.id, subject: caller.userId },
    actor: source?.actor ?? null,
    ...{ audience: resource === '' ? name : `${name}/${resource}`, scope: [...scopes], delivery: channel },
    ...{ plannedName: null, upstreamExpiresAt: null, expiresAt: null, createdAt: now },
    ...{ activatedAt: null, endedAt: null, endReason: null, resource },
    renewsLeaseId: renews?.get(keyOf(wanted)) ?? null,
    depth: parent === null ? 0 : parent.depth + 1,
    ...{ secretId: null, revocation: 'none', revocationAttempts: 0, revocationDueAt: null },
  };
}

const describeDry = ({ connection, granted, scopes }: GrantedCredential): Outcome => ({
  ...{ ok: true, value: new Secret(''), kind: granted.kind, leaseId: '', scopes },
  ...{ connectionId: connection.id, connectionName: connection.name },
  ...{ expiresAt: null, expiresInSeconds: null },
});
