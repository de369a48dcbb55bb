import { setTimeout as sleep } from 'node:timers/promises';
import { KontextError } from '@kontext/errors';
import { appendServerEvent } from '../audit/append-server-event.ts';
import type { Caller } from '../caller.ts';
import { findOpenable, type OpenableConnection } from '../store/queries/connections.ts';
import { endLeasesOf } from '../store/queries/leases.ts';
import {
  countConnections,
  countMinted,
  deleteProvider,
  detachAll,
  listConnectionIds,
  lockProvider,
  type ProviderRow,
} from '../store/queries/providers.ts';
import type { Tx } from '../store/tx.ts';
import type { ConnectionDeps } from './deps.ts';
import { unknownProvider } from './manage-providers.ts';
import { isProviderName } from './placeholder-parts.ts';
import { revokeAtProvider } from './revoke-connection.ts';
import { requireAdministrator } from './roles.ts';

/** What removing a provider did at the provider. */
export interface RemoveResult {
  /** Connections whose tokens the provider was told to end. */
  readonly revokedAtProvider: number;
  /** What could not be ended there, in words; empty when nothing is left. */
  readonly message: string;
}

/** How long the caller waits for the provider; what is not done by then goes on without being reported. */
const defaultPatienceMs = 15_000;
/** Connections revoked at the provider at the same time. */
const concurrency = 4;
const minted: ReadonlySet<ProviderRow['kind']> = new Set([
  'github_app',
  'aws_sts',
  'postgres',
  'token_exchange',
]);

/**
 * Removes a provider; with `force` also its connections and their secrets, which are then revoked at the provider as well as it
 * can be told. Leases of it end. What was minted of it is taken back first: without the provider nobody could.
 *
 * @throws KontextError `KX_FORBIDDEN`, `KX_PROVIDER_UNKNOWN`, or without `force` `KX_PROVIDER_IN_USE`.
 */
export async function removeProvider(
  deps: ConnectionDeps,
  caller: Caller,
  name: string,
  force: boolean,
): Promise<RemoveResult> {
  requireAdministrator(caller, 'remove a provider');
  if (!isProviderName(name)) throw unknownProvider(name);
  const { left, ended } = await takeMintedBack(deps, caller, name, force);
  const held = await deps.store.transaction({ role: 'app', orgId: caller.orgId }, (tx) =>
    remove(tx, caller, { name, force, ended }, new Date(deps.nowMs())),
  );
  deps.appended.notify(caller.orgId);
  const { revoked, messages } = await revokeAll(deps, held);
  const lost = left === 0 ? [] : [`${left} credentials made for leases could not be taken back`];
  return { revokedAtProvider: revoked, message: [...lost, ...messages].join('; ') };
}

/** The transaction that removes. `ended`: leases that ended for it before. @returns Connections as they were, for the provider to be told. */
async function remove(
  tx: Tx,
  { orgId, userId }: Caller,
  { name, force, ended }: { readonly name: string; readonly force: boolean; readonly ended: number },
  now: Date,
): Promise<OpenableConnection[]> {
  const row = await lockProvider(tx, orgId, name);
  if (row === null) throw unknownProvider(name);
  const connections = minted.has(row.kind) ? 0 : await countConnections(tx, row.id);
  if (connections > 0 && !force) throw inUse(name, `there are ${connections}`);
  const held: OpenableConnection[] = [];
  // Locked: a refresh that is running has stored what the provider gave it before its tokens are read here.
  for (const id of await listConnectionIds(tx, row.id)) {
    const found = await findOpenable(tx, id, true);
    if (found !== null) held.push(found);
  }
  const leasesEnded = ended + (await deleteProvider(tx, row, now));
  const facts = { provider: name, providerId: row.id, connections, leasesEnded };
  const event = { kind: 'provider.removed', user: userId, facts } as const;
  await appendServerEvent(tx, { orgId, sessionId: null }, event, now);
  return held;
}

/**
 * Ends what was minted, or narrowed for one lease, and waits until it is taken back; from now on nobody gets more.
 *
 * @returns How many are left, and how many leases ended.
 */
async function takeMintedBack(
  deps: ConnectionDeps,
  { orgId }: Caller,
  name: string,
  force: boolean,
): Promise<{ readonly left: number; readonly ended: number }> {
  const scope = { role: 'app', orgId } as const;
  const taken = await deps.store.transaction(scope, async (tx) => {
    const row = await lockProvider(tx, orgId, name);
    if (row === null) return null;
    const count = await countMinted(tx, row.id);
    // Without `force` a provider that is connected stays as it is: the removal itself says so.
    if (!minted.has(row.kind) && (count === 0 || !force)) return null;
    if (count > 0 && !force) throw inUse(name, `${count} credentials made for leases are in use`);
    await detachAll(tx, row.id);
    const leases = await endLeasesOf(tx, { providerId: row.id }, 'provider_removed', new Date(deps.nowMs()));
    return { id: row.id, ended: leases.length };
  });
  if (taken === null) return { left: 0, ended: 0 };
  deps.appended.notify(orgId);
  const until = performance.now() + (deps.removePatienceMs ?? defaultPatienceMs);
  for (;;) {
    const left = await deps.store.transaction(scope, (tx) => countMinted(tx, taken.id));
    if (left === 0 || performance.now() >= until) return { left, ended: taken.ended };
    await sleep(250);
  }
}

async function revokeAll(
  deps: ConnectionDeps,
  held: readonly OpenableConnection[],
): Promise<{ revoked: number; messages: string[] }> {
  const waiting = [...held];
  const messages = new Set<string>();
  let revoked = 0;
  let done = 0;
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const result = await revokeAtProvider(deps, next);
      done += 1;
      if (result.revokedAtProvider) revoked += 1;
      else messages.add(result.message);
    }
  };
  const work = Promise.all(Array.from({ length: concurrency }, worker));
  const stop = new AbortController();
  await Promise.race([
    work,
    sleep(deps.removePatienceMs ?? defaultPatienceMs, null, { signal: stop.signal }).catch(() => null),
  ]);
  stop.abort();
  const late = held.length - done;
  return {
    revoked,
    messages: [...messages, ...(late === 0 ? [] : [`${late} connections are still being revoked there`])],
  };
}

const inUse = (name: string, why: string): KontextError =>
  new KontextError('KX_PROVIDER_IN_USE', `${name} is still in use`, { why });
