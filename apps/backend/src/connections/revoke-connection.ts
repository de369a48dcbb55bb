import { isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { appendServerEvent } from '../audit/append-server-event.ts';
import type { Caller } from '../caller.ts';
import {
  endConnection,
  findConnection,
  findOpenable,
  type OpenableConnection,
} from '../store/queries/connections.ts';
import type { ConnectionDeps } from './deps.ts';
import { isAdministrator } from './roles.ts';
import { openClient, openTokens } from './token-set.ts';

/** What revoking did. */
export interface RevokeResult {
  readonly revokedAtProvider: boolean;
  /** Why not, in words; empty when it was. */
  readonly message: string;
}

/** Whether the caller may end a connection: their own, or as owner or admin any. */
const mayRevoke = (caller: Caller, userId: string | null): boolean =>
  userId === caller.userId || isAdministrator(caller);

/**
 * Ends a connection: first here, with its secret, links and leases, then at the provider where it can be told.
 *
 * @throws KontextError `KX_CONNECTION_NOT_FOUND` when there is none, it is revoked already, or not the caller's to revoke.
 */
export async function revokeConnection(
  deps: ConnectionDeps,
  caller: Caller,
  connectionId: string,
): Promise<RevokeResult> {
  if (!isId('con', connectionId)) throw notFound();
  const now = new Date(deps.nowMs());
  const { orgId, userId } = caller;
  const visible = await deps.store.transaction({ role: 'app', orgId }, (tx) =>
    findConnection(tx, connectionId),
  );
  if (
    visible === null ||
    visible.connection.state === 'revoked' ||
    !mayRevoke(caller, visible.connection.userId)
  ) {
    throw notFound();
  }
  // On the pool of refreshes: one that is running holds the row until its provider has answered.
  const held = await deps.refreshStore.transaction({ role: 'app', orgId }, async (tx) => {
    const found = await findOpenable(tx, connectionId, true);
    if (found === null || found.connection.state === 'revoked') throw notFound();
    const leasesEnded = await endConnection(tx, found.connection, 'connection_revoked', now);
    const event = {
      ...{ kind: 'connection.revoked' as const, user: userId, lineage: { connection: connectionId } },
      facts: { provider: found.provider.name, name: found.connection.name, leasesEnded },
    };
    await appendServerEvent(tx, { orgId, sessionId: null }, event, now);
    return found;
  });
  deps.appended.notify(orgId);
  return revokeAtProvider(deps, held);
}

const notFound = (): KontextError =>
  new KontextError('KX_CONNECTION_NOT_FOUND', 'there is no such connection, or it is not yours');

/** Tells the provider, as well as it can be told (RFC 7009); never throws. */
export async function revokeAtProvider(
  deps: ConnectionDeps,
  held: OpenableConnection,
): Promise<RevokeResult> {
  const { provider, secret } = held;
  const manually = (why: string) => ({
    revokedAtProvider: false,
    message: `${why}; what ${provider.name} still honours has to be ended there`,
  });
  if (secret === null) return manually('nothing was stored');
  if (provider.kind === 'static') return manually('a static key cannot be revoked from here');
  try {
    const client = await openClient(deps, held);
    if (!client.canRevoke) return manually(`${provider.name} has no revocation endpoint`);
    await client.revokeGrant(await openTokens(deps.kms, held.connection, secret));
    return { revokedAtProvider: true, message: '' };
  } catch (error) {
    return manually(
      error instanceof KontextError ? `${error.message}: ${error.why}` : 'it could not be told',
    );
  }
}
