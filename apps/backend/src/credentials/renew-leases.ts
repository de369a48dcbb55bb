/**
 * Renewals: successors of live leases for a session that lives and was not tampered with.
 *
 * A renewal is an exchange like any other (`exchange-credentials.ts`): the same decision, a lease and an event of its own. The
 * old lease ends as `renewed` in the transaction that activates the new one. A shared token may be the same under both; what
 * was made for the old lease alone lives until it expires, because a running process may hold it.
 */
import { isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { appendServerEvent } from '../audit/append-server-event.ts';
import type { Caller } from '../caller.ts';
import { holdSession } from '../store/queries/credential-facts.ts';
import { holdRenewable, type RenewableLease, renewableEnds } from '../store/queries/issued-leases.ts';
import type { LeaseRow } from '../store/queries/leases.ts';
import type { SessionRow } from '../store/queries/sessions.ts';
import { type ExchangeResult, exchangeCredentials } from './exchange-credentials.ts';
import type { ExchangeDeps } from './exchange-request.ts';
import { makeRefusal, type RefusedCredential, refusedWith } from './outcome.ts';
import { keyOf, type WantedCredential } from './wanted-credential.ts';
import { type WithheldReason, withheldBecause } from './withheld.ts';

/** What is asked for: a lease, and which of its values. */
export interface RenewItem {
  readonly leaseId: string;
  /** Null: the default value of the lease. */
  readonly wanted: WantedCredential | null;
}

/** A renewal over RPC. */
export interface RenewInput {
  readonly sessionId: string;
  /** At most 1,000. */
  readonly items: readonly RenewItem[];
}

const maxRenewals = 1000;

/**
 * Renews leases of a session; see the top of this file. Each item gets its own answer.
 *
 * @throws KontextError `KX_NOT_FOUND` when the session is not the caller's own, `KX_SESSION_ENDED`; `KX_RENEWAL_WITHHELD` in
 *   enforce, when the session was tampered with or its agent was never seen; `KX_REQUEST_INVALID`.
 */
export async function renewCredentials(
  deps: ExchangeDeps,
  caller: Caller,
  { sessionId, items }: RenewInput,
): Promise<ExchangeResult> {
  if (items.length > maxRenewals) {
    throw new KontextError('KX_REQUEST_INVALID', `more than ${maxRenewals} leases`);
  }
  const gate = await passGate(deps, caller, sessionId, items);
  if (gate.withheld !== null) throw withheldBecause(gate.withheld);
  const judged = items.map((item) => judge(item, gate.renewable));
  const wanted = judged.flatMap((one) => ('wanted' in one ? [one.wanted] : []));
  const renews = new Map(
    judged.flatMap((one) => ('wanted' in one ? [[keyOf(one.wanted), one.leaseId]] : [])),
  );
  const result = await exchangeCredentials(deps, {
    ...{ caller, sessionId, channel: 'inject', wanted, dryRun: false, renews },
  });
  let next = 0;
  const outcomes = judged.map((one) => ('wanted' in one ? (result.outcomes[next++] ?? gone()) : one));
  return { outcomes, serverEventHash: result.serverEventHash };
}

interface Gate {
  readonly withheld: WithheldReason | null;
  readonly renewable: ReadonlyMap<string, LeaseRow>;
}

async function passGate(
  { store, nowMs, appended }: ExchangeDeps,
  caller: Caller,
  sessionId: string,
  items: readonly RenewItem[],
): Promise<Gate> {
  const gate = await store.transaction({ role: 'app', orgId: caller.orgId }, async (tx): Promise<Gate> => {
    const session = isId('ses', sessionId) ? await holdSession(tx, sessionId) : null;
    // A delegation renews nothing: what was exchanged with it hangs below it, and is narrowed anew.
    if (session?.userId !== caller.userId || caller.delegation) throw notYours();
    if (session.state !== 'live') throw new KontextError('KX_SESSION_ENDED', 'the session has ended');
    const ids = items.map(({ leaseId }) => leaseId).filter((id) => isId('lea', id));
    const withheld = whyWithheld(session);
    if (withheld === null) return { withheld, renewable: byAskedId(await holdRenewable(tx, sessionId, ids)) };
    const event = {
      ...{ kind: 'credential.refused' as const, user: caller.userId, agent: session.agent },
      lineage: { leases: ids.slice(0, 50) },
      facts: { code: 'KX_RENEWAL_WITHHELD', why: withheld, renewal: true },
    };
    await appendServerEvent(tx, { orgId: caller.orgId, sessionId }, event, new Date(nowMs()));
    return { withheld, renewable: new Map() };
  });
  if (gate.withheld !== null) appended.notify(caller.orgId);
  return gate;
}

/** Why a session gets no renewals; null: it does. In observe the command warns, and nothing is withheld. */
function whyWithheld({ mode, tamperedAt, hooksSeenAt }: SessionRow): Gate['withheld'] {
  if (mode === 'observe') return null;
  if (tamperedAt !== null) return 'tampered';
  return hooksSeenAt === null ? 'agent_unseen' : null;
}

const byAskedId = (rows: readonly RenewableLease[]): ReadonlyMap<string, LeaseRow> =>
  new Map(rows.map(({ askedId, newest }) => [askedId, newest]));

function judge(
  { leaseId, wanted }: RenewItem,
  renewable: ReadonlyMap<string, LeaseRow>,
): RefusedCredential | { readonly leaseId: string; readonly wanted: WantedCredential } {
  const lease = renewable.get(leaseId);
  if (lease === undefined) {
    return refuse('KX_NOT_FOUND', 'there is no such lease, or it is not of this session');
  }
  if (lease.kind === 'static' || lease.kind === 'token' || lease.parentLeaseId !== null) {
    return refuse('KX_NOTHING_TO_RENEW', `the credential of ${lease.provider} has no successor`);
  }
  if (lease.state === 'ended' && !renewableEnds.includes(lease.endReason ?? '')) {
    return refuse('KX_LEASE_ENDED', `the lease of ${lease.provider} was ended: ${lease.endReason}`);
  }
  if (lease.state === 'pending') return refuse('KX_TEMPORARY', 'the lease is being made');
  const { provider, resource, scope } = lease;
  if (wanted === null)
    return { leaseId: lease.id, wanted: { provider, resource, scopes: scope, delivery: 'inject' } };
  return wanted.provider === provider
    ? { leaseId: lease.id, wanted }
    : refuse('KX_REQUEST_INVALID', 'the placeholder is not the one the lease was made for');
}

const refuse = (code: Parameters<typeof makeRefusal>[0], message: string): RefusedCredential =>
  refusedWith(makeRefusal(code, 'invalid_request', null, message));

const gone = (): RefusedCredential => refuse('KX_INTERNAL', 'the renewal was lost');

const notYours = (): KontextError =>
  new KontextError('KX_NOT_FOUND', 'there is no such session, or it is not yours');
