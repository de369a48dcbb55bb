/**
 * Turns what an agent asks for into credentials: the one way they leave the backend, for `ResolveCredentials` and for the
 * token endpoint alike (identity.md §3, design.md decision 9).
 *
 * 1. one transaction: load the facts, decide each, store a pending lease for each that is granted
 * 2. no transaction: open static keys, fetch or refresh tokens, mint under the names stored in 1; each once
 * 3. one transaction: activate the leases and write an audit event for each outcome
 * 4. only then hand anything out; a lease that ended in between (session over, connection revoked) gives nothing
 *
 * A crash after 1 leaves pending leases, which the sweep ends; what was minted for them is found by its planned name.
 */
import { KontextError } from '@kontext/errors';
import { addConnectLinks } from './connect-links.ts';
import { type ExchangeDeps, type ExchangeRequest, maxBatch } from './exchange-request.ts';
import { type FetchedItem, fetchCredentials } from './fetch-credentials.ts';
import { loadAndLease } from './load-and-lease.ts';
import { type Outcome, refusedWith } from './outcome.ts';
import { recordOutcomes } from './record-outcomes.ts';
import { keyOf } from './wanted-credential.ts';

/** The answer to a batch. */
export interface ExchangeResult {
  /** One per wanted credential, same order; one that fails spoils no other. */
  readonly outcomes: readonly Outcome[];
  /** Hash of the newest event on the session's server stream; null without session, and when nothing was recorded. */
  readonly serverEventHash: Buffer | null;
}

/**
 * Exchanges a batch; see the steps on top of this file.
 *
 * @throws KontextError `KX_REQUEST_INVALID` for more than 10,000; `KX_NOT_FOUND` for a session that is not the caller's own;
 *   `KX_SESSION_ENDED`. Everything else is an outcome of its own.
 */
export async function exchangeCredentials(
  deps: ExchangeDeps,
  request: ExchangeRequest,
): Promise<ExchangeResult> {
  if (request.wanted.length > maxBatch) {
    throw new KontextError('KX_REQUEST_INVALID', `more than ${maxBatch} placeholders`);
  }
  const keys = request.wanted.map(keyOf);
  const distinct = [...new Map(request.wanted.map((wanted, i) => [keys[i] ?? '', wanted])).values()];
  if (distinct.length === 0) return { outcomes: [], serverEventHash: null };
  const batch = await loadAndLease(deps, { ...request, wanted: distinct });
  const { outcomes, serverEventHash } = request.dryRun
    ? { outcomes: batch.items.map(({ dry }) => dry), serverEventHash: null }
    : await carryOut(deps, request, batch);
  const byKey = new Map(distinct.map((wanted, i) => [keyOf(wanted), outcomes[i]]));
  return { outcomes: keys.map((key) => byKey.get(key) ?? lost()), serverEventHash };
}

async function carryOut(
  deps: ExchangeDeps,
  request: ExchangeRequest,
  batch: Awaited<ReturnType<typeof loadAndLease>>,
): Promise<ExchangeResult> {
  const fetched = await fetchCredentials(deps, request, batch.agent, batch.items);
  await deps.afterFetch?.();
  const recorded = await recordOutcomes(deps, request, batch.agent, fetched).catch(async (error: unknown) => {
    await undoMints(fetched, []);
    throw error;
  });
  await undoMints(fetched, recorded.outcomes);
  const outcomes = await addConnectLinks(deps, request.caller, batch.items, recorded.outcomes);
  deps.appended.notify(request.caller.orgId);
  return { outcomes, serverEventHash: recorded.serverEventHash };
}

/** Takes back at once what was minted and is not handed out; what cannot be is left to the revoking of ended leases. */
async function undoMints(fetched: readonly FetchedItem[], outcomes: readonly Outcome[]): Promise<void> {
  const handedOut = new Set(fetched.flatMap(({ undo }, i) => (outcomes[i]?.ok ? [undo] : [])));
  const undos = new Set(fetched.flatMap(({ undo }) => (undo && !handedOut.has(undo) ? [undo] : [])));
  await Promise.all([...undos].map((undo) => undo()));
}

const lost = (): Outcome =>
  refusedWith({
    ...{ ok: false, code: 'KX_INTERNAL', oauthError: 'temporarily_unavailable' },
    ...{ failureReason: 'transient_exchange_error', message: 'the placeholder was lost', members: {} },
  });
