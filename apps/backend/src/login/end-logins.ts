import { appendServerEvents } from '../audit/append-server-event.ts';
import { endSessions } from '../sessions/end-sessions.ts';
import {
  endBrowserLogins,
  endGrantRows,
  type LoginFilter,
  type LoginRow,
  listGrantsOf,
  markLoginsEnded,
} from '../store/queries/logins.ts';
import type { Tx } from '../store/tx.ts';

export type { LoginFilter };

/**
 * Why logins end before their time; stands in the audit event, in the row, and reaches the terminal (`refuse-refresh.ts`).
 *
 * - `logout`: their owner logged that terminal out. `revoked`: their owner or an administrator ended them from elsewhere.
 * - `suspended`: an administrator took the account's access.
 * - `upstream_logout`: the identity provider ended the session (OIDC Back-Channel Logout 1.0).
 * - `upstream_disabled`: the identity provider does not vouch for the account any more.
 * - `upstream_expired`: the identity provider's word is too old, and it can be asked again only with the person.
 * - `identity_provider_removed`: the organisation does not believe that provider any more.
 * - `reused`: a refresh token that had been replaced came again.
 */
export type LoginEndReason =
  | 'logout'
  | 'revoked'
  | 'suspended'
  | 'upstream_logout'
  | 'upstream_disabled'
  | 'upstream_expired'
  | 'identity_provider_removed'
  | 'reused';

/** What ended. */
export interface EndedLogins {
  readonly logins: number;
  readonly sessions: number;
  readonly leases: number;
}

/**
 * Ends logins of one organisation and everything below them: grants with their tokens, the sessions they opened, the leases
 * of those sessions; and writes one `login.ended` per login to the admin stream.
 *
 * A filter without `grantIdHash` also logs the same people out of their browsers. One by `userId` alone ends all their
 * sessions, whichever login opened them. Tell `AppendSignal` after the commit.
 *
 * @param tx Role `system`: the grants belong to no organisation's rows. Nothing else is asked of the authorization server.
 * @param filter At least one member; the logins that match all of them end.
 * @param reason Kept with each login.
 * @returns How much ended now; what had ended before does not count.
 */
export async function endLogins(
  tx: Tx,
  orgId: string,
  filter: LoginFilter,
  reason: LoginEndReason,
  now: Date,
): Promise<EndedLogins> {
  const ended = await markLoginsEnded(tx, orgId, filter, reason, now);
  const { userId, grantIdHash, identityProviderId, upstreamSid } = filter;
  const isWholeUser =
    userId !== undefined && (grantIdHash ?? identityProviderId ?? upstreamSid) === undefined;
  const grants = [
    ...ended.map((login) => login.grantIdHash),
    ...(isWholeUser ? await listGrantsOf(tx, userId) : []),
  ];
  await endGrantRows(tx, [...new Set(grants)]);
  if (grantIdHash === undefined) await endBrowserLogins(tx, orgId, filter);
  const below = isWholeUser
    ? [await endSessions(tx, orgId, { userId }, `login.ended:${reason}`, now)]
    : await endSessionsOf(tx, orgId, ended, reason, now);
  await appendServerEvents(
    tx,
    { orgId, sessionId: null },
    ended.map((login) => describeEnd(login, reason)),
    now,
  );
  return {
    logins: ended.length,
    sessions: below.reduce((sum, { sessions }) => sum + sessions, 0),
    leases: below.reduce((sum, { leases }) => sum + leases, 0),
  };
}

async function endSessionsOf(
  tx: Tx,
  orgId: string,
  ended: readonly LoginRow[],
  reason: LoginEndReason,
  now: Date,
): Promise<{ sessions: number; leases: number }[]> {
  const below = [];
  for (const { grantIdHash } of ended) {
    below.push(await endSessions(tx, orgId, { grantIdHash }, `login.ended:${reason}`, now));
  }
  return below;
}

const describeEnd = (login: LoginRow, reason: LoginEndReason) => ({
  kind: 'login.ended' as const,
  user: login.userId,
  facts: {
    login: login.grantIdHash,
    client: login.clientId,
    machine: login.machine,
    address: login.address,
    reason,
  },
});
