import { randomUUID } from 'node:crypto';
import { createId, isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import {
  type AccessTokenClaims,
  type DelegationGranted,
  decideDelegation,
  type ExchangeRefusal,
  signDelegationToken,
} from '@kontext/oauth';
import { Secret } from '@kontext/redaction';
import { appendServerEvent, type ServerEvent } from '../audit/append-server-event.ts';
import type { Caller } from '../caller.ts';
import { lockServerStream } from '../store/queries/audit-streams.ts';
import { holdSessionWithAgent, listAttachments } from '../store/queries/credential-facts.ts';
import { holdLease, insertLeases } from '../store/queries/issued-leases.ts';
import type { LeaseRow } from '../store/queries/leases.ts';
import type { Tx } from '../store/tx.ts';
import { requireLive } from './acting-agent.ts';
import type { ExchangeDeps } from './exchange-request.ts';
import { type Outcome, refusedWith } from './outcome.ts';
import type { SubjectDeps } from './verify-subject.ts';

/** A delegation somebody asks for. Its parties were judged before. */
export interface DelegationRequest {
  readonly caller: Caller;
  /** Claims of the token it is made from. */
  readonly claims: Pick<AccessTokenClaims, 'clientId' | 'jkt'>;
  readonly sessionId: string | null;
  /** Empty: all that may be had. */
  readonly scopes: readonly string[];
  /** Null: as long as may be had. */
  readonly ttlSeconds: number | null;
}

/** A delegation, and where the session's server stream now ends. */
export interface DelegatedToken {
  readonly outcome: Outcome;
  readonly serverEventHash: Buffer | null;
}

/**
 * Makes a delegation token for the session's agent (RFC 8693 §4.1): from a login the first link of the chain, from a delegation
 * token the next, narrower one.
 *
 * The lease is stored active, with its audit event, in one transaction; signing needs nobody else, so nothing is ever pending.
 *
 * @throws KontextError `KX_EXCHANGE_REFUSED` without session; `KX_NOT_FOUND`, `KX_SESSION_ENDED`, `KX_AGENT_UNKNOWN`,
 *   `KX_AGENT_DISABLED`; `KX_SUBJECT_INVALID` when what it is made from has ended meanwhile.
 */
export async function delegateToken(
  deps: ExchangeDeps & SubjectDeps,
  request: DelegationRequest,
): Promise<DelegatedToken> {
  const { caller, sessionId } = request;
  if (sessionId === null)
    throw new KontextError('KX_EXCHANGE_REFUSED', 'a delegation token needs a session_id', {
      details: { oauth_error: 'invalid_request' },
    });
  const now = new Date(deps.nowMs());
  const made = await deps.store.transaction({ role: 'app', orgId: caller.orgId }, async (tx) => {
    // The stream is locked together with the rest: the decision takes no time, and on Postgres all of it is one round trip.
    const [{ agent, parent, decision }, stream] = await Promise.all([
      decide(tx, request, sessionId, now),
      lockServerStream(tx, caller.orgId, sessionId),
    ]);
    const lease = decision.ok ? makeLease(deps, request, { sessionId, agent, parent, decision, now }) : null;
    const event = toEvent(request, agent.name, decision, lease);
    const at = { orgId: caller.orgId, sessionId, ...(stream === null ? {} : { made: stream }) };
    const [{ eventHash }] = await Promise.all([
      appendServerEvent(tx, at, event, now),
      insertLeases(tx, lease === null ? [] : [lease]),
    ]);
    return { decision, lease, serverEventHash: eventHash };
  });
  deps.appended.notify(caller.orgId);
  const { decision, lease, serverEventHash } = made;
  if (!decision.ok || lease === null)
    return { outcome: refusedWith(decision as ExchangeRefusal), serverEventHash };
  return { outcome: sign(deps, request, decision, lease, sessionId), serverEventHash };
}

async function decide(
  tx: Tx,
  { caller, scopes, ttlSeconds }: DelegationRequest,
  sessionId: string,
  now: Date,
) {
  const delegation = caller.delegation ?? null;
  const [held, parent, attached] = await Promise.all([
    isId('ses', sessionId) ? holdSessionWithAgent(tx, sessionId) : null,
    delegation === null ? null : holdLease(tx, delegation.leaseId),
    listAttachments(tx, { sessionId }),
  ]);
  const agent = requireLive(held, caller.userId);
  if (delegation !== null && parent === null)
    throw new KontextError('KX_SUBJECT_INVALID', 'what is exchanged from has ended');
  const subject =
    delegation === null
      ? { scope: null, act: null, leftSeconds: null }
      : {
          ...{ scope: delegation.scopes, act: delegation.act },
          leftSeconds: (delegation.expiresAtMs - now.getTime()) / 1000,
        };
  const decision = decideDelegation({
    ...{ subject, actor: agent.id, wanted: scopes, wantedSeconds: ttlSeconds, agent },
    attached,
  });
  return { agent, parent, decision };
}

interface LeaseFacts {
  readonly sessionId: string;
  readonly agent: { readonly id: string };
  readonly parent: LeaseRow | null;
  readonly decision: DelegationGranted;
  readonly now: Date;
}

function makeLease(
  { apiUrl }: SubjectDeps,
  { caller: { orgId, userId } }: DelegationRequest,
  { sessionId, agent, parent, decision, now }: LeaseFacts,
): LeaseRow {
  // On the wire an instant has whole seconds: the row must not end before the token.
  const expiresAt = new Date((Math.floor(now.getTime() / 1000) + decision.expiresInSeconds) * 1000);
  return {
    ...{ id: createId('lea', now.getTime()), orgId, state: 'active', kind: 'token', jti: randomUUID() },
    ...{ parentLeaseId: parent?.id ?? null, sessionId, connectionId: null, providerId: null },
    ...{ provider: 'kontext', userId, agentId: agent.id, subject: userId, actor: decision.act.sub },
    ...{ audience: apiUrl, scope: [...decision.scope], delivery: 'exchange', plannedName: null },
    ...{ renewsLeaseId: null, depth: decision.depth, resource: '', secretId: null, revocation: 'none' },
    ...{ revocationAttempts: 0, revocationDueAt: null, upstreamExpiresAt: expiresAt, expiresAt },
    ...{ createdAt: now, activatedAt: now, endedAt: null, endReason: null },
  };
}

function sign(
  { issuer, apiUrl, keys }: SubjectDeps,
  { caller, claims }: DelegationRequest,
  { scope, act, expiresInSeconds }: DelegationGranted,
  { id: leaseId, jti, createdAt, expiresAt }: LeaseRow,
  sid: string,
): Outcome {
  const [key] = keys.signing;
  if (key === undefined || jti === null) throw new KontextError('KX_INTERNAL', 'there is no signing key');
  const { userId: sub, orgId: org, grantId, delegation } = caller;
  const token = signDelegationToken(
    {
      ...{ issuer, audience: apiUrl, sub, org, grantId, jti, sid, scope, act, expiresInSeconds },
      ...{ clientId: claims.clientId, jkt: claims.jkt, issuedAtMs: createdAt.getTime() },
      txn: delegation?.txn ?? randomUUID(),
    },
    key,
  );
  return {
    ...{ ok: true, value: new Secret(token), kind: 'token', leaseId, scopes: scope },
    ...{ connectionId: '', connectionName: '', expiresAt, expiresInSeconds },
  };
}

function toEvent(
  { caller, sessionId }: DelegationRequest,
  agent: string,
  decision: DelegationGranted | ExchangeRefusal,
  lease: LeaseRow | null,
): ServerEvent {
  const common = { user: caller.userId, agent };
  const asked = { provider: 'kontext', resource: '', channel: 'exchange', session: sessionId };
  if (!decision.ok || lease === null) {
    const { code, failureReason, members } = decision as ExchangeRefusal;
    const facts = { ...asked, code, failureReason, ...(members.scope ? { excess: members.scope } : {}) };
    return { ...common, kind: 'credential.refused', lineage: { leases: [], connection: null }, facts };
  }
  const { scope: scopes, depth, act } = decision;
  const above = lease.parentLeaseId === null ? [] : [lease.parentLeaseId];
  return {
    ...{
      ...common,
      kind: 'credential.resolved',
      lineage: { leases: [lease.id, ...above], connection: null },
    },
    facts: {
      ...{ ...asked, kind: 'token', scopes, depth, actor: act.sub },
      expiresAt: lease.expiresAt?.toISOString() ?? null,
    },
  };
}
