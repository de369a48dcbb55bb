import { KontextError } from '@kontext/errors';
import { Secret } from '@kontext/redaction';
import { openClientSecret } from '../connections/token-set.ts';
import type { Minted } from '../providers/minted/minter.ts';
import { findProviderFacts, findUsableConnections } from '../store/queries/credential-facts.ts';
import { findClientSecrets } from '../store/queries/providers.ts';
import type { SecretRow } from '../store/queries/secrets.ts';
import type { BatchAgent } from './acting-agent.ts';
import { chooseConnection } from './choose-connection.ts';
import type { GrantedCredential } from './decide-wanted.ts';
import type { ExchangeDeps, ExchangeRequest } from './exchange-request.ts';
import { sealKept } from './lease-secret.ts';
import type { BatchItem, PlannedMint } from './load-and-lease.ts';
import { mapBounded } from './map-bounded.ts';

/** What was minted under one planned name. */
export interface MintedOnce {
  readonly minted: Minted;
  /** What taking it back needs, sealed for the first of its leases. */
  readonly kept: { readonly leaseId: string; readonly secret: SecretRow } | null;
  /** Takes it back at once; a failure is left to the revoking of ended leases. */
  readonly undo: () => Promise<void>;
}

/** By planned name: what was minted, or why nothing was. */
export type MintedByName = ReadonlyMap<string, MintedOnce | { readonly error: unknown }>;

const concurrency = 8;
/** Together less than the minute after which a pending lease counts as abandoned, see `Minter.mint`. */
const [latestBeginMs, mintTimeoutMs] = [25_000, 30_000];
const undoTimeoutMs = 10_000;

/** Mints for the items of a batch that want it, once for each planned name. Never throws for one of them. */
export async function mintCredentials(
  deps: ExchangeDeps,
  request: ExchangeRequest,
  agent: BatchAgent,
  items: readonly BatchItem[],
): Promise<MintedByName> {
  const wanted = items.flatMap(({ mint, leaseId, decision }) =>
    mint && leaseId !== null && decision.ok ? [{ mint, leaseId, decision }] : [],
  );
  // Of several with one name the first: what is kept belongs to its lease.
  const groups = [...new Map(wanted.toReversed().map((one) => [one.mint.plannedName, one])).values()];
  if (groups.length === 0) return new Map();
  const { orgId } = request.caller;
  const providerIds = [...new Set(groups.map(({ decision }) => decision.provider.id))];
  const secrets = await deps.store.transaction({ role: 'app', orgId }, (tx) =>
    findClientSecrets(tx, providerIds),
  );
  const results = await mapBounded(groups, concurrency, async (group) => {
    const secret = secrets.get(group.decision.provider.id) ?? null;
    const result = await mintOnce(deps, request, agent, group, secret).catch((error: unknown) => ({ error }));
    return [group.mint.plannedName, result] as const;
  });
  return new Map(results);
}

interface Group {
  readonly mint: PlannedMint;
  readonly leaseId: string;
  readonly decision: GrantedCredential;
}

async function mintOnce(
  deps: ExchangeDeps,
  request: ExchangeRequest,
  agent: BatchAgent,
  { mint: { minter, target, plannedName, plannedAtMs }, leaseId, decision }: Group,
  sealedSecret: SecretRow | null,
): Promise<MintedOnce> {
  const { provider, scopes, granted } = decision;
  const { orgId, userId } = request.caller;
  if (deps.nowMs() - plannedAtMs > latestBeginMs) throw late(provider.name);
  const providerSecret =
    sealedSecret === null ? null : new Secret(await openClientSecret(deps.kms, provider, sealedSecret));
  const minting = minter.mint({
    ...{ provider, providerSecret, plannedName, target, scopes, orgId, userId, agent: agent.name },
    ...{ sessionId: request.sessionId, userToken: (name) => findUserToken(deps, request, name) },
    ttlSeconds: Math.min(granted.expiresInCapSeconds ?? target.ttlSeconds.max, target.ttlSeconds.max),
  });
  const minted = await within(minting, mintTimeoutMs, () => late(provider.name));
  const revoke = { provider, providerSecret, plannedName, resource: target.base, leaseId };
  const undo = async (): Promise<void> => {
    const undoing = minter.revoke({ ...revoke, kept: minted.keep });
    await within(undoing, undoTimeoutMs, () => late(provider.name)).catch(() => undefined);
  };
  try {
    const now = new Date(deps.nowMs());
    const kept = minted.keep && {
      leaseId,
      secret: await sealKept(deps.kms, { id: leaseId, orgId }, minted.keep, now),
    };
    return { minted, kept, undo };
  } catch (error) {
    await undo();
    throw error;
  }
}

/** The token of the user's own connection, for providers that exchange it; it goes to them and to no agent. */
async function findUserToken(
  { store, tokens }: ExchangeDeps,
  { caller: { orgId, userId } }: ExchangeRequest,
  providerName: string,
): Promise<Secret> {
  const missing = () => new KontextError('KX_CONNECTION_MISSING', `${providerName} is not connected`);
  const connection = await store.transaction({ role: 'app', orgId }, async (tx) => {
    const provider = (await findProviderFacts(tx, orgId, null, [providerName])).get(providerName)?.provider;
    if (provider?.kind !== 'oauth2') throw missing();
    const own = (await findUsableConnections(tx, { orgId, userId }, [provider.name])).filter(
      (one) => one.userId === userId,
    );
    const choice = chooseConnection(own, '');
    if (choice.kind !== 'one') throw missing();
    return choice.connection;
  });
  return new Secret((await tokens.get(orgId, connection.id)).accessToken);
}

const late = (provider: string): KontextError =>
  new KontextError('KX_PROVIDER_UNREACHABLE', `${provider} takes too long`, {
    details: { reason: 'timeout' },
  });

async function within<T>(work: Promise<T>, ms: number, error: () => KontextError): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(error()), ms);
  });
  try {
    return await Promise.race([work, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
