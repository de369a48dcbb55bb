/**
 * Leavers (identity.md §5): an identity provider's word counts for `revalidate_seconds`, at most 12 h. Before that time is
 * over it is asked again, with the refresh token it gave us at the login:
 *
 * - in the background from three quarters of the time on, for everybody who is logged in;
 * - when a terminal refreshes its tokens in the last minutes, before it gets new ones: an access token that lives on for its
 *   300 s ends with the time, not after it.
 *
 * "No longer good" ends all logins of the person. No answer changes nothing until the time is over; then no terminal gets
 * tokens until there is one. Without a refresh token the person has to log in at the browser again.
 */
import {
  type DueIdentity,
  findIdentity,
  findSecretById,
  listDueIdentities,
  listValidities,
  lockPerson,
  markIdentityValid,
  replaceRefreshSecret,
} from '../../store/queries/identities.ts';
import { findLoginProvider, type LoginProvider } from '../../store/queries/identity-providers.ts';
import type { SecretRow } from '../../store/queries/secrets.ts';
import { endLogins } from '../end-logins.ts';
import type { RateLimit } from '../rate-limiter.ts';
import { lockOwners, refreshPerson } from './admit-identity.ts';
import { type FederationDeps, systemScope } from './deps.ts';
import type { UpstreamRefresh, UpstreamTokens } from './relying-party.ts';
import { parseIdentity, type UpstreamIdentity } from './upstream-identity.ts';
import { openRefreshToken, openUpstream, sealRefreshToken } from './upstream-secrets.ts';

/**
 * Whether a person is still who their identity provider vouched for.
 *
 * - `valid`: yes, or nobody but us vouches for them. `unreachable`: it cannot be told now.
 * - `ended`: no, or they have to say so themselves at the browser; their logins have ended now.
 */
export type UpstreamVerdict = 'valid' | 'ended' | 'unreachable';

/** Keeps the word of identity providers fresh. */
export interface Revalidation {
  /** To be asked before a person gets new tokens. */
  check(userId: string): Promise<UpstreamVerdict>;
  /** One round of background work. */
  sweep(): Promise<void>;
}

const backgroundShare = 0.75;
/** Life of an access token, which the last one has to spend within the time. */
const tokenTailSeconds = 300;
/** One attempt at a time, on whichever replica: a refresh token may be good for one use. */
const oneAttempt: RateLimit = { name: 'revalidate', limit: 1, windowSeconds: 20 };

type Attempt = UpstreamVerdict | 'busy';

/**
 * Creates the revalidation; one per process.
 *
 * @param batch How many accounts are looked up at once; default 50.
 */
export function createRevalidation(deps: FederationDeps, batch = 50): Revalidation {
  const running = new Map<string, Promise<Attempt>>();
  const attempt = (due: DueIdentity): Promise<Attempt> => {
    const key = JSON.stringify([due.iss, due.sub]);
    const known = running.get(key);
    if (known) return known;
    const started = askAgain(deps, due).finally(() => running.delete(key));
    running.set(key, started);
    return started;
  };
  return {
    check: async (userId) => {
      const [newest] = await deps.store.transaction(systemScope, (tx) => listValidities(tx, userId));
      if (newest === undefined || deps.nowMs() < deadlineOf(newest)) return 'valid';
      if (newest.refreshSecretId === null) return expire(deps, newest);
      const verdict = await attempt(newest);
      return verdict === 'busy' ? 'unreachable' : verdict;
    },
    sweep: async () => {
      // A provider that is down must not keep the others from being asked.
      const down = new Set<string>();
      for (let progress = true; progress; ) {
        progress = false;
        const filter = {
          share: backgroundShare,
          now: new Date(deps.nowMs()),
          limit: batch,
          except: [...down],
        };
        const due = await deps.store.transaction(systemScope, (tx) => listDueIdentities(tx, filter));
        for (const identity of due) {
          if (down.has(identity.providerId)) continue;
          const verdict = await attempt(identity).catch((err: unknown): Attempt => {
            // One account that cannot be worked on must not keep the others from being asked.
            deps.logger.error({ err, orgId: identity.orgId }, 'an upstream login could not be worked on');
            return 'busy';
          });
          if (verdict === 'unreachable') down.add(identity.providerId);
          progress ||= verdict !== 'busy' && due.length === batch;
        }
      }
    },
  };
}

function deadlineOf({ validatedAt, revalidateSeconds }: DueIdentity): number {
  const tail = Math.min(tokenTailSeconds, revalidateSeconds / 4);
  return (validatedAt?.getTime() ?? 0) + (revalidateSeconds - tail) * 1000;
}

async function askAgain(deps: FederationDeps, due: DueIdentity): Promise<Attempt> {
  const { iss, sub } = due;
  const { allowed } = await deps.limiter.count(oneAttempt, JSON.stringify([iss, sub]));
  if (!allowed) return 'busy';
  const loaded = await deps.store.transaction(systemScope, async (tx) => {
    const identity = await findIdentity(tx, iss, sub);
    const secret = identity?.refreshSecretId ? await findSecretById(tx, identity.refreshSecretId) : null;
    return { secret, found: await findLoginProvider(tx, due.providerId) };
  });
  const { secret, found } = loaded;
  // Taken by another attempt meanwhile: whoever asks again sees what came of it.
  if (secret === null || found === null) return 'busy';
  const refreshToken = await openRefreshToken(deps.kms, due, secret);
  const upstream = await openUpstream(deps.kms, found);
  const answer = await deps.relyingParty.refresh(upstream, refreshToken, sub);
  return settle(deps, { due, found, secret }, answer);
}

interface Asked {
  readonly due: DueIdentity;
  readonly found: LoginProvider;
  /** What it was asked with. */
  readonly secret: SecretRow;
}

async function settle(deps: FederationDeps, asked: Asked, answer: UpstreamRefresh): Promise<Attempt> {
  const { due } = asked;
  switch (answer.state) {
    case 'valid':
      await keep(deps, asked, answer.tokens);
      return 'valid';
    case 'gone':
      return end(deps, asked);
    case 'unreachable':
      deps.logger.warn(
        { orgId: due.orgId, identityProvider: asked.found.provider.name },
        'an identity provider could not be asked again',
      );
      return 'unreachable';
  }
}

async function keep(
  deps: FederationDeps,
  { due, found, secret }: Asked,
  { claims, refreshToken }: UpstreamTokens,
): Promise<void> {
  const now = new Date(deps.nowMs());
  // OIDC Core §12.2: without a new one the old one stays good.
  const sealed = refreshToken && (await sealRefreshToken(deps.kms, due, refreshToken, secret, now));
  const identity =
    claims && parseIdentity({ ...claims, iss: due.iss, sub: due.sub }, found.provider.groupsClaim);
  await deps.store.transaction(systemScope, async (tx) => {
    await lockOwners(tx, found.provider);
    if (sealed) await replaceRefreshSecret(tx, due, secret.id, sealed);
    await markIdentityValid(tx, due, { validatedAt: now });
    const person = identity && (await lockPerson(tx, due.orgId, due.userId));
    if (person && saysSomething(identity)) await refreshPerson(tx, found.provider, person, identity, now);
  });
  deps.appended.notify(due.orgId);
}

/** An answer to a refresh may leave out what the one to the login had: that is no news of the person. */
const saysSomething = ({ email, groups }: UpstreamIdentity): boolean => email !== null || groups !== null;

/** Ends the logins that the provider vouched for and cannot be asked about. */
async function expire(
  deps: FederationDeps,
  { orgId, userId, providerId }: DueIdentity,
): Promise<UpstreamVerdict> {
  const now = new Date(deps.nowMs());
  const filter = { userId, identityProviderId: providerId };
  await deps.store.transaction(systemScope, (tx) => endLogins(tx, orgId, filter, 'upstream_expired', now));
  deps.appended.notify(orgId);
  return 'ended';
}

/** Ends everything of a person, unless somebody else asked with a newer token meanwhile or the person logged in again. */
async function end(deps: FederationDeps, { due, secret }: Asked): Promise<Attempt> {
  const now = new Date(deps.nowMs());
  const verdict = await deps.store.transaction(systemScope, async (tx): Promise<Attempt> => {
    if (!(await replaceRefreshSecret(tx, due, secret.id, null))) return 'busy';
    await endLogins(tx, due.orgId, { userId: due.userId }, 'upstream_disabled', now);
    return 'ended';
  });
  deps.appended.notify(due.orgId);
  return verdict;
}
