/** What is read, and what policy says of it, before `decide-wanted.ts` decides a batch of wanted credentials. */
import type { UsePolicy } from '../policies/use-policy.ts';
import type { ConnectionRow } from '../store/queries/connections.ts';
import {
  findProviderFacts,
  findUsableConnections,
  listProviderNames,
} from '../store/queries/credential-facts.ts';
import type { Tx } from '../store/tx.ts';
import { type ActingAgent, sessionlessAgent } from './acting-agent.ts';
import { loadApprovals } from './approvals.ts';
import { asksUser, decideCredentials } from './credential-policy.ts';
import { type BatchFacts, scopesUnasked } from './decide-wanted.ts';
import type { ExchangeDeps, ExchangeRequest, ExchangeSource } from './exchange-request.ts';
import { keyOf, lookupNames } from './wanted-credential.ts';

interface FactRows {
  readonly providers: Awaited<ReturnType<typeof findProviderFacts>>;
  readonly rows: readonly ConnectionRow[];
}

/** Providers and usable connections that a batch names; those that do not exist are missing. */
export async function loadRows(tx: Tx, { caller, sessionId, wanted }: ExchangeRequest): Promise<FactRows> {
  const { userId, orgId } = caller;
  const names = lookupNames(wanted);
  const agent = sessionId === null ? { orgId, name: sessionlessAgent } : { sessionId };
  const [providers, rows] = await Promise.all([
    findProviderFacts(tx, orgId, agent, names),
    findUsableConnections(tx, { orgId, userId }, names),
  ]);
  return { providers, rows };
}

/** The facts of a batch, from what was read of it: policy is asked, and approvals are looked up. */
export async function toFacts(
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
