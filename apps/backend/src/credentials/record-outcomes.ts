import { refuseDisconnected } from '@kontext/oauth';
import { appendServerEvents, type ServerEvent } from '../audit/append-server-event.ts';
import { lockServerStream } from '../store/queries/audit-streams.ts';
import { activateLeases, keepSecrets, touchConnections } from '../store/queries/issued-leases.ts';
import { endRenewedLeases, endUnissuedLeases, endUnmadeLeases } from '../store/queries/leases.ts';
import { findSession } from '../store/queries/sessions.ts';
import type { Tx } from '../store/tx.ts';
import type { BatchAgent } from './acting-agent.ts';
import { policyFields } from './credential-policy.ts';
import type { ExchangeDeps, ExchangeRequest } from './exchange-request.ts';
import type { FetchedItem } from './fetch-credentials.ts';
import { gitHostingOf } from './git-hosting.ts';
import {
  type IssuedCredential,
  makeRefusal,
  type Outcome,
  type RefusedCredential,
  refusedWith,
} from './outcome.ts';
import { recallByKind } from './recall.ts';
import { keyOf } from './wanted-credential.ts';

/** What was stored: the final outcomes, and where the session's server stream now ends. */
export interface RecordedOutcomes {
  readonly outcomes: readonly Outcome[];
  readonly serverEventHash: Buffer | null;
}

/** Step 3 of the exchange: activates leases and writes one audit event per outcome, all in one transaction. */
export async function recordOutcomes(
  { store, nowMs }: ExchangeDeps,
  request: ExchangeRequest,
  agent: BatchAgent,
  fetched: readonly FetchedItem[],
): Promise<RecordedOutcomes> {
  const { caller, sessionId } = request;
  const now = new Date(nowMs());
  return store.transaction({ role: 'app', orgId: caller.orgId }, async (tx) => {
    await keepSecrets(
      tx,
      fetched.flatMap(({ kept }) => kept ?? []),
    );
    const [active, stream] = await Promise.all([
      activate(tx, fetched, now),
      // Locked after the leases, as everybody does who ends them.
      lockServerStream(tx, caller.orgId, sessionId),
    ]);
    const late = fetched.some(({ outcome }) => outcome.ok && !active.has(outcome.leaseId))
      ? await whyLate(tx, sessionId)
      : null;
    const final = fetched.map((one): FetchedItem => {
      if (!one.outcome.ok) return one;
      if (active.has(one.outcome.leaseId)) return { ...one, outcome: withFacts(one, one.outcome) };
      return { ...one, outcome: late ?? (request.renews ? leaseEnded() : disconnected(one)) };
    });
    const failed = final.filter(({ item, outcome }) => !outcome.ok && item.leaseId !== null);
    const idsOf = (items: readonly FetchedItem[]) => items.flatMap(({ item }) => item.leaseId ?? []);
    await endUnissuedLeases(tx, idsOf(failed.filter((one) => !one.nothingMade)), 'not_issued', now);
    await endUnmadeLeases(tx, idsOf(failed.filter((one) => one.nothingMade)), 'not_issued', now);
    await endRenewedLeases(tx, renewedBy(request, final), now);
    const used = final.flatMap(({ outcome }) => (outcome.ok ? [outcome.connectionId] : []));
    const events = final.map((one) => toEvent(request, agent, one));
    const at = { orgId: caller.orgId, sessionId, ...(stream === null ? {} : { made: stream }) };
    const [refs] = await Promise.all([
      appendServerEvents(tx, at, events, now),
      touchConnections(tx, [...new Set(used)], now),
    ]);
    const serverEventHash = sessionId === null ? null : (refs.at(-1)?.eventHash ?? null);
    return { outcomes: final.map(({ outcome }) => outcome), serverEventHash };
  });
}

/** Leases that those handed out took over from. */
const renewedBy = ({ renews }: ExchangeRequest, fetched: readonly FetchedItem[]): string[] =>
  renews === undefined
    ? []
    : fetched.flatMap(({ item, outcome }) => (outcome.ok ? (renews.get(keyOf(item.wanted)) ?? []) : []));

const activate = (tx: Tx, fetched: readonly FetchedItem[], now: Date): Promise<Set<string>> =>
  activateLeases(
    tx,
    fetched.flatMap(({ outcome, upstreamExpiresAt }) =>
      outcome.ok
        ? [
            {
              ...{ id: outcome.leaseId, upstreamExpiresAt, expiresAt: outcome.expiresAt },
              scope: outcome.scopes,
            },
          ]
        : [],
    ),
    now,
  );

/** Why a lease ended before it was active: its session did, or (null) its connection. */
async function whyLate(tx: Tx, sessionId: string | null): Promise<RefusedCredential | null> {
  const found = sessionId === null ? null : await findSession(tx, sessionId);
  if (found === null || found.session.state === 'live') return null;
  return refusedWith(makeRefusal('KX_SESSION_ENDED', 'invalid_request', null, 'the session has ended'));
}

const withFacts = (
  { item: { decision }, kept }: FetchedItem,
  outcome: IssuedCredential,
): IssuedCredential => ({
  ...outcome,
  recall: recallByKind(outcome.kind, kept !== undefined, decision.ok ? decision.provider : null),
  git: decision.ok ? gitHostingOf(decision.provider) : null,
});

/** Whoever revoked the lease that was being renewed revoked its successor with it. */
const leaseEnded = (): RefusedCredential =>
  refusedWith(makeRefusal('KX_LEASE_ENDED', 'invalid_request', null, 'the lease was revoked meanwhile'));

function disconnected({ item: { decision } }: FetchedItem): RefusedCredential {
  const provider = decision.ok ? { id: decision.provider.id, name: decision.provider.name } : null;
  return refusedWith(refuseDisconnected(provider));
}

/** What the log says about it; nothing secret is in reach here but `outcome.value`, which is not touched. */
function toEvent(
  { caller, channel, renews }: ExchangeRequest,
  agent: BatchAgent,
  { item: { wanted, decision, leaseId, policy }, outcome, upstreamExpiresAt }: FetchedItem,
): ServerEvent {
  const connection = decision.ok ? decision.connection.id : null;
  const said = policyFields(policy);
  const named = { provider: wanted.provider.slice(0, 63), resource: wanted.resource.slice(0, 256), channel };
  const asked = { ...named, ...said.facts };
  const common = { user: caller.userId, agent: agent.name, ...said.fields };
  if (!outcome.ok) {
    const { code, failureReason, members } = outcome.refusal;
    const facts = { ...asked, code, failureReason, ...(members.scope ? { excess: members.scope } : {}) };
    const lineage = { leases: leaseId === null ? [] : [leaseId], connection };
    return { ...common, kind: 'credential.refused', lineage, facts };
  }
  const { kind, scopes, expiresAt, connectionName } = outcome;
  const before = renews?.get(keyOf(wanted));
  return {
    ...common,
    kind: before === undefined ? 'credential.resolved' : 'credential.renewed',
    // The one it took over from comes second.
    lineage: { leases: [outcome.leaseId, ...(before === undefined ? [] : [before])], connection },
    facts: {
      ...{ ...asked, kind, connectionName, scopes },
      ...{ expiresAt: expiresAt?.toISOString() ?? null },
      ...{ upstreamExpiresAt: upstreamExpiresAt?.toISOString() ?? null },
    },
  };
}
