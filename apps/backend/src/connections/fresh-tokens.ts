/**
 * Access tokens that still live, refreshed when they have to be (identity.md §4).
 *
 * A refresh token often works once: two refreshes at the same time kill the connection, and so does losing an answer.
 * - One refresh at a time: callers of this process share it; replicas wait for the connection's row (`SELECT … FOR UPDATE`)
 *   and look again once they have it. PGlite has one connection and one process: no transaction is open while the provider
 *   answers.
 * - `refresh_started_at` is committed before the provider is asked, and cleared with the answer. Whoever finds it set knows
 *   that an answer may have been lost, and asks again with the refresh token that is stored.
 * - New tokens are stored before they are handed out; when the database fails at that moment, storing is tried again.
 * - `invalid_grant` is final. Anything else is not: then the old token is handed out while it lives, and the provider is left
 *   in peace for a while.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { KontextError } from '@kontext/errors';
import { quirksOf } from '../providers/quirks-of.ts';
import { unreachable } from '../providers/safe-fetch.ts';
import { findOpenable, markRefreshStarted, type OpenableConnection } from '../store/queries/connections.ts';
import type { SecretRow } from '../store/queries/secrets.ts';
import type { ConnectionDeps } from './deps.ts';
import { createRetryPauses, type RetryPauses } from './retry-pauses.ts';
import { type RefreshAttempt, settleRefresh } from './settle-refresh.ts';
import { isAlive, needsRefresh } from './token-life.ts';
import { openClient, openTokens, sealTokens, type TokenSet } from './token-set.ts';

/** Hands out access tokens of OAuth connections. */
export interface FreshTokens {
  /**
   * @throws KontextError `KX_CONNECTION_MISSING` when it is revoked or never was connected, `KX_CONNECTION_REAUTH_REQUIRED`
   *   when the provider wants the user again, `KX_PROVIDER_UNREACHABLE` (with `retry_after_seconds`) when it does not answer
   *   and the old token is dead.
   */
  get(orgId: string, connectionId: string): Promise<TokenSet>;
}

/** A connection and its opened tokens. */
interface Held {
  readonly found: OpenableConnection;
  readonly tokens: TokenSet;
}

/** Creates the source; one per process. */
export function createFreshTokens(deps: ConnectionDeps): FreshTokens {
  const running = new Map<string, Promise<TokenSet>>();
  const pauses = createRetryPauses(deps.nowMs);

  const refreshShared = (orgId: string, held: Held): Promise<TokenSet> => {
    const key = keyOf(orgId, held.found.connection.id);
    const known = running.get(key);
    if (known) return known;
    const started = refresh(deps, pauses, orgId, held).finally(() => running.delete(key));
    running.set(key, started);
    return started;
  };

  return {
    get: async (orgId, connectionId) => {
      const shared = running.get(keyOf(orgId, connectionId));
      if (shared) return shared;
      const found = await deps.store.transaction({ role: 'app', orgId }, (tx) =>
        findOpenable(tx, connectionId, false),
      );
      const held = await openHeld(deps, found);
      const interrupted = held.found.connection.refreshStartedAt !== null;
      const { refreshBeforeSeconds } = quirksOf(held.found.provider);
      if (!interrupted && !needsRefresh(held.tokens, deps.nowMs(), refreshBeforeSeconds)) return held.tokens;
      return refreshShared(orgId, held);
    },
  };
}

/** With the organisation: an id alone must not be enough to share in another one's token. */
const keyOf = (orgId: string, connectionId: string): string => `${orgId}/${connectionId}`;

async function openHeld({ kms }: ConnectionDeps, found: OpenableConnection | null): Promise<Held> {
  const name = found?.provider.name ?? 'the provider';
  if (found?.connection.state === 'reauth_required') throw reauth(name);
  if (found?.connection.state !== 'connected' || found.secret === null) {
    throw new KontextError('KX_CONNECTION_MISSING', `${name} is not connected`);
  }
  return { found, tokens: await openTokens(kms, found.connection, found.secret) };
}

async function refresh(
  deps: ConnectionDeps,
  pauses: RetryPauses,
  orgId: string,
  held: Held,
): Promise<TokenSet> {
  const { found, tokens } = held;
  const { id } = found.connection;
  const { name } = found.provider;
  if (tokens.refreshToken === null) {
    if (isAlive(tokens, deps.nowMs())) return tokens;
    await settle(deps, orgId, held, { ok: false, error: reauth(name) });
    throw reauth(name);
  }
  const pauseSeconds = pauses.left(id);
  const attempt: RefreshAttempt | Overtaken =
    pauseSeconds > 0
      ? { ok: false, error: unreachable('status', name, 'it did not answer a moment ago', pauseSeconds) }
      : await refreshOnce(deps, orgId, held);
  deps.appended.notify(orgId);
  if (attempt.ok === 'overtaken') return reload(deps, orgId, held, attempt.orphan);
  if (attempt.ok) {
    pauses.clear(id);
    return attempt.tokens;
  }
  if (attempt.error.code === 'KX_CONNECTION_REAUTH_REQUIRED') throw reauth(name);
  if (pauseSeconds === 0) pauses.add(id, Number(attempt.error.details.retry_after_seconds ?? 0));
  if (isAlive(tokens, deps.nowMs())) return tokens;
  throw unreachable('status', name, attempt.error.why, Math.max(1, pauses.left(id)));
}

/** The connection has moved on meanwhile: refreshed by another replica, connected anew, or revoked. */
interface Overtaken {
  readonly ok: 'overtaken';
  /** Tokens that were issued and could not be stored. */
  readonly orphan: TokenSet | null;
}

const overtaken = (attempt: RefreshAttempt | null): Overtaken => ({
  ok: 'overtaken',
  orphan: attempt?.ok ? attempt.tokens : null,
});

/** One refresh upstream, its outcome stored. */
function refreshOnce(deps: ConnectionDeps, orgId: string, held: Held): Promise<RefreshAttempt | Overtaken> {
  return deps.refreshStore.kind === 'postgres'
    ? refreshLocked(deps, orgId, held)
    : refreshUnlocked(deps, orgId, held);
}

async function refreshUnlocked(
  deps: ConnectionDeps,
  orgId: string,
  held: Held,
): Promise<RefreshAttempt | Overtaken> {
  if (!(await mark(deps, orgId, held))) return overtaken(null);
  const attempt = await ask(deps, orgId, held);
  return (await settle(deps, orgId, held, attempt)) ? attempt : overtaken(attempt);
}

async function refreshLocked(
  deps: ConnectionDeps,
  orgId: string,
  held: Held,
): Promise<RefreshAttempt | Overtaken> {
  // Its own transaction: the mark must outlive a crash of the one that waits for the provider.
  if (!(await mark(deps, orgId, held))) return overtaken(null);
  const { id, version } = held.found.connection;
  let answered: RefreshAttempt | null = null;
  try {
    return await deps.refreshStore.transaction({ role: 'app', orgId }, async (tx) => {
      const found = await findOpenable(tx, id, true);
      if (found === null || found.connection.version !== version || found.connection.state !== 'connected') {
        return overtaken(null);
      }
      answered = await ask(deps, orgId, { ...held, found });
      return (await settleRefresh(tx, found, answered, new Date(deps.nowMs())))
        ? answered
        : overtaken(answered);
    });
  } catch (error) {
    // The provider has answered, the database has not: the new refresh token exists nowhere but here.
    if (answered === null) throw error;
    return (await settle(deps, orgId, held, answered)) ? answered : overtaken(answered);
  }
}

const mark = (deps: ConnectionDeps, orgId: string, { found }: Held): Promise<boolean> =>
  deps.refreshStore.transaction({ role: 'app', orgId }, (tx) =>
    markRefreshStarted(tx, found.connection.id, found.connection.version, new Date(deps.nowMs())),
  );

/** Asks the provider, and seals what it gave. Never throws. */
async function ask(deps: ConnectionDeps, orgId: string, { found, tokens }: Held): Promise<RefreshAttempt> {
  const { id: connectionId, version: fromVersion } = found.connection;
  try {
    const client = await openClient(deps, found);
    const issued = await client.refresh(tokens.refreshToken ?? '');
    const next = { orgId, connectionId, fromVersion };
    const sealed: { tokens: TokenSet; row: SecretRow } = await sealTokens(
      deps.kms,
      next,
      issued,
      tokens,
      new Date(deps.nowMs()),
    );
    return { ok: true, ...sealed, scopes: issued.scopes };
  } catch (error) {
    const known =
      error instanceof KontextError
        ? error
        : unreachable('answer', found.provider.name, 'unexpected failure');
    return { ok: false, error: known };
  }
}

const settleTries = 5;

/** Stores the outcome in a transaction of its own, again and again while the database does not answer. */
async function settle(
  deps: ConnectionDeps,
  orgId: string,
  { found }: Held,
  attempt: RefreshAttempt,
): Promise<boolean> {
  for (let tried = 1; ; tried += 1) {
    try {
      return await deps.refreshStore.transaction({ role: 'app', orgId }, (tx) =>
        settleRefresh(tx, found, attempt, new Date(deps.nowMs())),
      );
    } catch (error) {
      const again =
        error instanceof KontextError && error.code === 'KX_STORE_UNREACHABLE' && tried < settleTries;
      if (!again) throw error;
      await sleep(200 * 2 ** tried);
    }
  }
}

/** What somebody else stored, without another refresh. */
async function reload(
  deps: ConnectionDeps,
  orgId: string,
  held: Held,
  orphan: TokenSet | null,
): Promise<TokenSet> {
  const { connection, provider } = held.found;
  const found = await deps.store.transaction({ role: 'app', orgId }, (tx) =>
    findOpenable(tx, connection.id, false),
  );
  if (found?.connection.state !== 'connected' && orphan !== null) await discard(deps, held, orphan);
  const { tokens } = await openHeld(deps, found);
  if (isAlive(tokens, deps.nowMs())) return tokens;
  throw unreachable('status', provider.name, 'its token has just expired', 1);
}

/** Revoked while the provider answered: nobody would ever end what it just issued. As well as it can be told. */
async function discard(deps: ConnectionDeps, { found }: Held, tokens: TokenSet): Promise<void> {
  try {
    const client = await openClient(deps, found);
    if (client.canRevoke) await client.revokeGrant(tokens);
  } catch {
    // The one who revoked was told what the provider said; there is nobody to tell here.
  }
}

const reauth = (name: string): KontextError =>
  new KontextError('KX_CONNECTION_REAUTH_REQUIRED', `${name} wants the user to log in again`);
