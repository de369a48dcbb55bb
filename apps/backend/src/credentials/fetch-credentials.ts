import { KontextError } from '@kontext/errors';
import { leaseSeconds, refuseUpstreamDown } from '@kontext/oauth';
import { Secret } from '@kontext/redaction';
import { openKey } from '../connections/token-set.ts';
import { findSecretsOf, type SecretOfConnection } from '../store/queries/connections.ts';
import type { SecretRow } from '../store/queries/secrets.ts';
import type { BatchAgent } from './acting-agent.ts';
import type { ExchangeDeps, ExchangeRequest } from './exchange-request.ts';
import type { BatchItem } from './load-and-lease.ts';
import { mapBounded } from './map-bounded.ts';
import { type MintedByName, mintCredentials } from './mint-credentials.ts';
import { narrowForLease, narrowingOf } from './narrow-for-lease.ts';
import { type IssuedCredential, type RefusedCredential, refusedBy, refusedWith } from './outcome.ts';

/** A decided item with what was fetched for it. */
export interface FetchedItem {
  readonly item: BatchItem;
  readonly outcome: IssuedCredential | RefusedCredential;
  /** When the provider says the token ends; null when it does not, or has not said. */
  readonly upstreamExpiresAt: Date | null;
  /** What taking it back needs, sealed with `sealKept`; of several that share a lease only the first has it. */
  readonly kept?: { readonly leaseId: string; readonly secret: SecretRow };
  /** Takes back what was minted, when it is not handed out after all; one function for all that share it. */
  readonly undo?: () => Promise<void>;
  /** The provider refused clearly: there is nothing to be taken back. */
  readonly nothingMade?: boolean;
}

/** Connections worked on at the same time. */
const concurrency = 8;

/** The secret of a connection, or why there is none. */
type Fetched =
  | { readonly value: Secret; readonly expiresAtMs: number | null; readonly scopes?: readonly string[] }
  | { readonly error: unknown };

/** Step 2 of the exchange: fetches what was granted, each connection once, and mints. Never throws for one of them. */
export async function fetchCredentials(
  deps: ExchangeDeps,
  request: ExchangeRequest,
  agent: BatchAgent,
  items: readonly BatchItem[],
): Promise<FetchedItem[]> {
  const { orgId } = request.caller;
  const [byConnection, byName] = await Promise.all([
    fetchConnections(
      deps,
      orgId,
      items.filter(({ mint }) => mint === null),
    ),
    mintCredentials(deps, request, agent, items),
  ]);
  const nowMs = deps.nowMs();
  const fetched = items.map((item) =>
    item.mint === null ? toFetchedItem(item, byConnection, nowMs) : toMintedItem(item, byName, nowMs),
  );
  return mapBounded(fetched, concurrency, (one) => narrow(deps, one));
}

/** Where the provider's settings say so, nobody gets the user's own token but one that this lease alone has. */
async function narrow(deps: ExchangeDeps, one: FetchedItem): Promise<FetchedItem> {
  const { item, outcome } = one;
  const { decision, leaseId, wanted } = item;
  if (!decision.ok || !outcome.ok || leaseId === null) return one;
  const { provider } = decision;
  try {
    const narrowing = narrowingOf(provider);
    if (narrowing === null) return one;
    const lease = { id: leaseId, provider, narrowing };
    const made = await narrowForLease(deps, lease, wanted.scopes, outcome.value);
    const { value, kept, undo } = made;
    const expiresAtMs = made.expiresAtMs ?? one.upstreamExpiresAt?.getTime() ?? null;
    const fetched = { value, expiresAtMs, ...(made.scopes === null ? {} : { scopes: made.scopes }) };
    return { ...withOutcome(item, fetched, deps.nowMs()), kept: { leaseId, secret: kept }, undo };
  } catch (error) {
    return withOutcome(item, { error }, deps.nowMs());
  }
}

async function fetchConnections(
  deps: ExchangeDeps,
  orgId: string,
  items: readonly BatchItem[],
): Promise<ReadonlyMap<string, Fetched>> {
  const kinds = new Map<string, 'oauth' | 'static' | 'minted'>();
  for (const { decision } of items) if (decision.ok) kinds.set(decision.connection.id, decision.granted.kind);
  const staticIds = [...kinds].filter(([, kind]) => kind === 'static').map(([id]) => id);
  const keys =
    staticIds.length === 0
      ? new Map<string, SecretOfConnection>()
      : await deps.store.single({ role: 'app', orgId }, (tx) => findSecretsOf(tx, staticIds));
  const results = await mapBounded([...kinds], concurrency, async ([id, kind]) => {
    const fetched = kind === 'static' ? fetchKey(deps, keys.get(id)) : fetchToken(deps, orgId, id);
    return [id, await fetched.catch((error: unknown): Fetched => ({ error }))] as const;
  });
  return new Map(results);
}

async function fetchKey({ kms }: ExchangeDeps, held: SecretOfConnection | undefined): Promise<Fetched> {
  // Its provider or connection went away in the middle of this.
  if (held === undefined)
    return { error: new KontextError('KX_CONNECTION_MISSING', 'the connection was revoked') };
  return { value: new Secret(await openKey(kms, held.connection, held.secret)), expiresAtMs: null };
}

async function fetchToken({ tokens }: ExchangeDeps, orgId: string, connectionId: string): Promise<Fetched> {
  const { accessToken, expiresAtMs } = await tokens.get(orgId, connectionId);
  return { value: new Secret(accessToken), expiresAtMs };
}

/** Errors after which nothing stands under the planned name. */
const nothingMade: ReadonlySet<string> = new Set([
  'KX_MINT_REFUSED',
  'KX_PROVIDER_INVALID',
  'KX_CONNECTION_MISSING',
  'KX_CONNECTION_REAUTH_REQUIRED',
]);

function toMintedItem(item: BatchItem, byName: MintedByName, nowMs: number): FetchedItem {
  const made = byName.get(item.mint?.plannedName ?? '') ?? { error: new Error('the mint was not asked') };
  if ('error' in made) {
    const clear = made.error instanceof KontextError && nothingMade.has(made.error.code);
    return { ...withOutcome(item, made, nowMs), nothingMade: clear };
  }
  const { minted, kept, undo } = made;
  const value = minted.values.get(item.mint?.target.field ?? '');
  const expiresAtMs = minted.expiresAt?.getTime() ?? null;
  const fetched: Fetched =
    value === undefined
      ? { error: new Error('the field was not minted') }
      : { value, expiresAtMs, scopes: minted.scopes };
  const mine = kept !== null && kept.leaseId === item.leaseId ? { kept } : {};
  return { ...withOutcome(item, fetched, nowMs), ...mine, undo };
}

function toFetchedItem(
  item: BatchItem,
  byConnection: ReadonlyMap<string, Fetched>,
  nowMs: number,
): FetchedItem {
  const id = item.decision.ok ? item.decision.connection.id : '';
  return withOutcome(
    item,
    byConnection.get(id) ?? { error: new Error('the connection was not asked') },
    nowMs,
  );
}

function withOutcome(item: BatchItem, fetched: Fetched, nowMs: number): FetchedItem {
  const { decision, leaseId } = item;
  if (!decision.ok) return { item, outcome: decision, upstreamExpiresAt: null };
  const { provider, connection, granted } = decision;
  const target = { id: provider.id, name: provider.name, attached: true };
  if ('error' in fetched) return { item, outcome: refusedBy(fetched.error, target), upstreamExpiresAt: null };
  const { value, expiresAtMs, scopes = decision.scopes } = fetched;
  const leftSeconds = expiresAtMs === null ? null : (expiresAtMs - nowMs) / 1000;
  const cap = granted.expiresInCapSeconds;
  const expiresInSeconds = cap === null ? null : leaseSeconds(leftSeconds, cap);
  if (expiresInSeconds === 0) {
    const message = `the token of ${provider.name} has 30 s or less to live, too little to hand out`;
    const refusal = { ...refuseUpstreamDown(target), message };
    return { item, outcome: refusedWith(refusal), upstreamExpiresAt: null };
  }
  const outcome: IssuedCredential = {
    ...{ ok: true, value, kind: granted.kind, leaseId: leaseId ?? '', scopes, expiresInSeconds },
    ...{ connectionId: connection.id, connectionName: connection.name },
    expiresAt: expiresInSeconds === null ? null : new Date(nowMs + expiresInSeconds * 1000),
  };
  return { item, outcome, upstreamExpiresAt: expiresAtMs === null ? null : new Date(expiresAtMs) };
}
