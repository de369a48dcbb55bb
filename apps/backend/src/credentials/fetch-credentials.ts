import { leaseSeconds, refuseUpstreamDown } from '@kontext/oauth';
import { Secret } from '@kontext/redaction';
import { openKey } from '../connections/token-set.ts';
import { findSecretsOf, type SecretOfConnection } from '../store/queries/connections.ts';
import type { SecretRow } from '../store/queries/secrets.ts';
import type { ExchangeDeps } from './exchange-request.ts';
import type { BatchItem } from './load-and-lease.ts';
import { mapBounded } from './map-bounded.ts';
import { type IssuedCredential, type RefusedCredential, refusedBy, refusedWith } from './outcome.ts';

/** A decided item with what was fetched for it. */
export interface FetchedItem {
  readonly item: BatchItem;
  readonly outcome: IssuedCredential | RefusedCredential;
  /** When the provider says the token ends; null when it does not, or has not said. */
  readonly upstreamExpiresAt: Date | null;
  /** What taking it back needs, sealed with `sealKept`; of several that share a lease only the first has it. */
  readonly kept?: { readonly leaseId: string; readonly secret: SecretRow };
}

/** Connections worked on at the same time. */
const concurrency = 8;

/** The secret of a connection, or why there is none. */
type Fetched = { readonly value: Secret; readonly expiresAtMs: number | null } | { readonly error: unknown };

/** Step 2 of the exchange: fetches what was granted, each connection once. Never throws for one of them. */
export async function fetchCredentials(
  deps: ExchangeDeps,
  orgId: string,
  items: readonly BatchItem[],
): Promise<FetchedItem[]> {
  const kinds = new Map<string, 'oauth' | 'static' | 'minted'>();
  for (const { decision } of items) if (decision.ok) kinds.set(decision.connection.id, decision.granted.kind);
  const staticIds = [...kinds].filter(([, kind]) => kind === 'static').map(([id]) => id);
  const keys =
    staticIds.length === 0
      ? new Map<string, SecretOfConnection>()
      : await deps.store.transaction({ role: 'app', orgId }, (tx) => findSecretsOf(tx, staticIds));
  const results = await mapBounded([...kinds], concurrency, async ([id, kind]) => {
    const fetched = kind === 'static' ? fetchKey(deps, keys.get(id)) : fetchToken(deps, orgId, id);
    return [id, await fetched.catch((error: unknown): Fetched => ({ error }))] as const;
  });
  const byConnection = new Map(results);
  return items.map((item) => toFetchedItem(item, byConnection, deps.nowMs()));
}

async function fetchKey({ kms }: ExchangeDeps, held: SecretOfConnection | undefined): Promise<Fetched> {
  if (held === undefined) return { error: new Error('the connection has no secret') };
  return { value: new Secret(await openKey(kms, held.connection, held.secret)), expiresAtMs: null };
}

async function fetchToken({ tokens }: ExchangeDeps, orgId: string, connectionId: string): Promise<Fetched> {
  const { accessToken, expiresAtMs } = await tokens.get(orgId, connectionId);
  return { value: new Secret(accessToken), expiresAtMs };
}

function toFetchedItem(
  item: BatchItem,
  byConnection: ReadonlyMap<string, Fetched>,
  nowMs: number,
): FetchedItem {
  const { decision, leaseId } = item;
  if (!decision.ok) return { item, outcome: decision, upstreamExpiresAt: null };
  const { provider, connection, granted, scopes } = decision;
  const target = { id: provider.id, name: provider.name, attached: true };
  const fetched = byConnection.get(connection.id) ?? { error: new Error('the connection was not asked') };
  if ('error' in fetched) return { item, outcome: refusedBy(fetched.error, target), upstreamExpiresAt: null };
  const { value, expiresAtMs } = fetched;
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
