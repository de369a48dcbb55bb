import type { Caller } from '../caller.ts';
import { insertLinks, type WantedLink } from '../connections/begin-connection.ts';
import { parseConnectionName } from '../connections/placeholder-parts.ts';
import type { ProviderRow } from '../store/queries/providers.ts';
import { findProvider } from '../store/queries/providers.ts';
import { isOvertaken } from '../store/store-errors.ts';
import type { ExchangeDeps } from './exchange-request.ts';
import type { BatchItem } from './load-and-lease.ts';
import type { Outcome } from './outcome.ts';

/** Most links one request makes; whoever misses more connects some first. */
const maxLinks = 20;

/**
 * Gives every outcome that a person can mend by connecting an OAuth provider a fresh link (identity.md §3); static
 * providers get none. Links are a help: when they cannot be made, the outcomes stay as they are.
 */
export async function addConnectLinks(
  deps: ExchangeDeps,
  caller: Pick<Caller, 'userId' | 'orgId'>,
  items: readonly BatchItem[],
  outcomes: readonly Outcome[],
): Promise<Outcome[]> {
  const places = outcomes.flatMap((outcome, index) =>
    !outcome.ok && outcome.refusal.failureReason === 'disconnected_or_reauth_required' ? [index] : [],
  );
  const wanted = new Map<string, LinkTarget>();
  for (const index of places) {
    const item = items[index];
    const target = item === undefined ? null : linkTarget(item);
    if (target === null) continue;
    const key = `${target.provider}/${target.name}`;
    const known = wanted.get(key);
    // All placeholders of one connection are asked for at once: nobody is sent to the provider twice.
    if (known) wanted.set(key, { ...known, scopes: [...new Set([...known.scopes, ...target.scopes])] });
    else if (wanted.size < maxLinks) wanted.set(key, target);
  }
  if (wanted.size === 0) return [...outcomes];
  const links = await makeLinks(deps, caller, wanted);
  return outcomes.map((outcome, index) => {
    const item = items[index];
    const target = outcome.ok || item === undefined || !places.includes(index) ? null : linkTarget(item);
    const link = target === null ? undefined : links.get(`${target.provider}/${target.name}`);
    if (outcome.ok || link === undefined) return outcome;
    const { connectUri: connect_uri, expiresInSeconds: connect_expires_in } = link;
    const members = { ...outcome.refusal.members, connect_uri, connect_expires_in };
    return { ...outcome, refusal: { ...outcome.refusal, members } };
  });
}

/** What one link is for. */
interface LinkTarget {
  readonly name: string;
  readonly provider: string;
  /** What the placeholders ask for; empty: they do not say. */
  readonly scopes: readonly string[];
}

/** Only the user's own connections are made by link. */
function linkTarget({ wanted, decision }: BatchItem): LinkTarget | null {
  if (decision.ok && decision.connection.userId === null) return null;
  try {
    const name = decision.ok ? decision.connection.name : parseConnectionName(wanted.resource);
    return { provider: wanted.provider, name, scopes: wanted.scopes };
  } catch {
    return null;
  }
}

async function makeLinks(
  deps: ExchangeDeps,
  caller: Pick<Caller, 'userId' | 'orgId'>,
  wanted: ReadonlyMap<string, LinkTarget>,
): Promise<Map<string, { readonly connectUri: string; readonly expiresInSeconds: number }>> {
  try {
    return await deps.store.transaction({ role: 'app', orgId: caller.orgId }, async (tx) => {
      const targets: [string, WantedLink][] = [];
      for (const [key, { provider: providerName, name, scopes: asked }] of wanted) {
        const provider: ProviderRow | null = await findProvider(tx, caller.orgId, providerName);
        if (provider?.kind !== 'oauth2') continue;
        // What the provider was not added with cannot be had by connecting: the next resolve says so.
        const known = provider.scopes;
        const scopes = known.length === 0 ? asked : asked.filter((scope) => known.includes(scope));
        targets.push([key, { provider, name, owner: caller.userId, scopes, addScopes: true }]);
      }
      const links = await insertLinks(
        tx,
        deps,
        caller,
        targets.map(([, target]) => target),
      );
      return new Map(
        targets.flatMap(([key], i) => (links[i] === undefined ? [] : [[key, links[i]] as const])),
      );
    });
  } catch (error) {
    // Another request begins the same connection at this moment: it gets the link.
    if (isOvertaken(error)) return new Map();
    throw error;
  }
}
