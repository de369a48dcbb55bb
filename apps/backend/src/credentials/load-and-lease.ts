import { createId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { Decision } from '@kontext/policy';
import { Secret } from '@kontext/redaction';
import { loadUsePolicy } from '../policies/use-policy.ts';
import { holdLease, insertLeases } from '../store/queries/issued-leases.ts';
import type { LeaseRow } from '../store/queries/leases.ts';
import type { Tx } from '../store/tx.ts';
import { type BatchAgent, findActingAgent } from './acting-agent.ts';
import { askApprovals } from './approvals.ts';
import { loadRows, toFacts } from './batch-facts.ts';
import { type BatchFacts, decideWanted, type GrantedCredential, type MeantMint } from './decide-wanted.ts';
import type { ExchangeDeps, ExchangeRequest } from './exchange-request.ts';
import type { Outcome, RefusedCredential } from './outcome.ts';
import { keyOf, type WantedCredential } from './wanted-credential.ts';

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

/** What is exchanged from holds until the new leases are stored: whoever ends it sees them. */
async function holdSource(tx: Tx, { source, sessionId }: ExchangeRequest): Promise<LeaseRow | null> {
  if (!source) return null;
  const lease = await holdLease(tx, source.leaseId);
  if (lease !== null && lease.sessionId === sessionId) return lease;
  throw new KontextError('KX_SUBJECT_INVALID', 'what is exchanged from has ended');
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
