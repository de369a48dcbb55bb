import type { KontextError } from '@kontext/errors';
import { appendServerEvent } from '../audit/append-server-event.ts';
import type { UnreachableReason } from '../providers/safe-fetch.ts';
import {
  endLeasesOfConnection,
  type OpenableConnection,
  replaceSecret,
  updateConnectionAt,
} from '../store/queries/connections.ts';
import type { SecretRow } from '../store/queries/secrets.ts';
import type { Tx } from '../store/tx.ts';
import type { TokenSet } from './token-set.ts';

/** What became of one refresh: new tokens, sealed already, or why not. */
export type RefreshAttempt =
  | {
      readonly ok: true;
      readonly tokens: TokenSet;
      readonly row: SecretRow;
      /** Null: as before. */
      readonly scopes: readonly string[] | null;
    }
  | { readonly ok: false; readonly error: KontextError };

/** Failures after which the provider has certainly not rotated the refresh token. */
const certain: ReadonlySet<UnreachableReason> = new Set(['status', 'url', 'address', 'redirect']);

/**
 * Stores the outcome of a refresh, in the caller's transaction.
 *
 * @returns False when the connection has moved on (connected anew, revoked): the outcome is worth nothing then.
 */
export async function settleRefresh(
  tx: Tx,
  { connection, provider }: OpenableConnection,
  attempt: RefreshAttempt,
  now: Date,
): Promise<boolean> {
  const { id, version, orgId, userId } = connection;
  if (attempt.ok) {
    const { row, tokens, scopes } = attempt;
    return replaceSecret(tx, id, version, row, {
      accessExpiresAt: tokens.expiresAtMs === null ? null : new Date(tokens.expiresAtMs),
      ...(scopes === null ? {} : { scopes: [...scopes] }),
      failure: null,
    });
  }
  const { code, details } = attempt.error;
  if (code !== 'KX_CONNECTION_REAUTH_REQUIRED') {
    const isCertain = code !== 'KX_PROVIDER_UNREACHABLE' || certain.has(details.reason as UnreachableReason);
    return updateConnectionAt(tx, id, version, {
      failure: code,
      ...(isCertain ? { refreshStartedAt: null } : {}),
    });
  }
  const change = { state: 'reauth_required', failure: code, refreshStartedAt: null } as const;
  if (!(await updateConnectionAt(tx, id, version, change))) return false;
  const leasesEnded = await endLeasesOfConnection(tx, id, 'reauth_required', now);
  const event = {
    ...{ kind: 'connection.failed' as const, user: userId, lineage: { connection: id } },
    facts: { provider: provider.name, name: connection.name, code, leasesEnded },
  };
  await appendServerEvent(tx, { orgId, sessionId: null }, event, now);
  return true;
}
