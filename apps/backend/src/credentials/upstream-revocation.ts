/**
 * Takes back at providers what ended here: roles that were made for one lease, tokens that were narrowed for it.
 *
 * Rules:
 * - Whoever ends a lease marks it in the same transaction; this loop does the rest, so a crash loses nothing.
 * - A replica claims what is due before it calls a provider: no two do the same at the same time. A claim lapses.
 * - A call that fails or takes too long is repeated with growing pauses, then given up: recorded, logged, shown.
 * - Of a mint that was never confirmed the planned name is taken back. While such a mint may still be under way, finding
 *   nothing proves nothing: it is looked for again.
 */
import { KontextError } from '@kontext/errors';
import { Secret } from '@kontext/redaction';
import type { Kms } from '@kontext/vault';
import { appendServerEvent } from '../audit/append-server-event.ts';
import type { AppendSignal } from '../audit/append-signal.ts';
import { clientSecretContext, openClient } from '../connections/token-set.ts';
import { openRow } from '../kms/sealed-secrets.ts';
import type { Logger } from '../log.ts';
import type { MintersByKind, RevokeOutcome } from '../providers/minted/minter.ts';
import type { SafeFetch } from '../providers/safe-fetch.ts';
import type { LeaseRow } from '../store/queries/leases.ts';
import {
  claimRevocations,
  findRevocable,
  postponeRevocation,
  type RevocableLease,
  settleRevocation,
} from '../store/queries/revocations.ts';
import type { Store } from '../store/store.ts';
import { openKept } from './lease-secret.ts';
import { mapBounded } from './map-bounded.ts';

/** What taking back needs. */
export interface RevocationDeps {
  readonly store: Store;
  readonly kms: Kms;
  readonly fetch: SafeFetch;
  readonly minters: MintersByKind;
  readonly appended: AppendSignal;
  readonly logger: Pick<Logger, 'error'>;
  readonly nowMs: () => number;
  /** Longest call to a provider; default 30,000 ms. */
  readonly callTimeoutMs?: number;
  /** 0 to 1, spreads repeated calls; default `Math.random`. */
  readonly random?: () => number;
}

/** The loop. */
export interface UpstreamRevocations {
  /** Takes back all that is due now; one pass at a time, a call meanwhile makes it look again. */
  run(): Promise<void>;
  /** Starts a pass and does not wait for it: something has just ended. */
  wake(): void;
}

/** Longest life of a mint whose lease was never confirmed, see `Minter.mint`. */
export const mintGraceMs = 60_000;
/** Tries before a revocation is given up: about half a day. */
export const maxAttempts = 24;
const firstPauseMs = 1_000;
const longestPauseMs = 3_600_000;
const batch = 32;
const concurrency = 8;

/** Creates the loop; it does nothing by itself. */
export function createUpstreamRevocations(deps: RevocationDeps): UpstreamRevocations {
  let running: Promise<void> | null = null;
  let again = false;
  const passes = async (): Promise<void> => {
    do {
      again = false;
      await pass(deps);
    } while (again);
  };
  const run = (): Promise<void> => {
    again = running !== null;
    running ??= passes().finally(() => {
      running = null;
    });
    return running;
  };
  // The timer comes by again, and reports what goes wrong.
  return { run, wake: () => void run().catch(() => undefined) };
}

async function pass(deps: RevocationDeps): Promise<void> {
  const { store, nowMs, callTimeoutMs = 30_000 } = deps;
  for (;;) {
    const claim = { now: new Date(nowMs()), holdMs: 2 * callTimeoutMs, limit: batch };
    const claimed = await store.transaction({ role: 'system', orgId: null }, (tx) =>
      claimRevocations(tx, claim),
    );
    const results = await mapBounded(claimed, concurrency, (lease) =>
      takeBack(deps, lease).then(
        () => null,
        (error: unknown) => ({ error }),
      ),
    );
    const failed = results.find((result) => result !== null);
    if (failed) throw failed.error;
    if (claimed.length < batch) return;
  }
}

async function takeBack(deps: RevocationDeps, claimed: LeaseRow): Promise<void> {
  const scope = { role: 'app', orgId: claimed.orgId } as const;
  const found = await deps.store.transaction(scope, (tx) => findRevocable(tx, claimed.id));
  if (found === null) return;
  const held: RevocableLease = { ...found, lease: claimed };
  const { provider } = held;
  if (provider === null) return settle(deps, held, 'failed', 'the provider was removed');
  const answer = await withDeadline(
    callProvider(deps, { ...held, provider }),
    deps.callTimeoutMs ?? 30_000,
  ).catch((error: unknown) => ({ error }));
  if (typeof answer === 'object') return putOff(deps, held, answer.error);
  const stillMinting = answer === 'gone' && claimed.activatedAt === null && mayBeMinting(deps, claimed);
  if (stillMinting) return postpone(deps, claimed, claimed.createdAt.getTime() + mintGraceMs);
  await settle(deps, held, answer === 'impossible' ? 'impossible' : 'done', answer);
}

const mayBeMinting = ({ nowMs }: RevocationDeps, { createdAt }: LeaseRow): boolean =>
  nowMs() < createdAt.getTime() + mintGraceMs;

type Revocable = RevocableLease & { readonly provider: NonNullable<RevocableLease['provider']> };

async function callProvider(deps: RevocationDeps, held: Revocable): Promise<RevokeOutcome> {
  const { lease, provider } = held;
  const kept = held.kept === null ? null : await openKept(deps.kms, lease, held.kept);
  const minter = deps.minters[provider.kind];
  if (minter === undefined) return revokeToken(deps, held, kept);
  return minter.revoke({
    provider,
    providerSecret: await openProviderSecret(deps, held),
    ...{ plannedName: lease.plannedName, kept, resource: lease.resource, leaseId: lease.id },
  });
}

async function openProviderSecret(
  { kms }: RevocationDeps,
  { provider, providerSecret }: Revocable,
): Promise<Secret | null> {
  if (providerSecret === null) return null;
  const plaintext = await openRow(kms, clientSecretContext(provider), providerSecret);
  try {
    return new Secret(plaintext.toString('utf8'));
  } finally {
    plaintext.fill(0);
  }
}

/** A token of an OAuth provider that was made for this lease alone, in the way the provider has for it. */
async function revokeToken(
  deps: RevocationDeps,
  { lease, provider, providerSecret }: Revocable,
  kept: Secret | null,
): Promise<RevokeOutcome> {
  if (kept === null) return 'gone';
  if (lease.upstreamExpiresAt !== null && lease.upstreamExpiresAt.getTime() <= deps.nowMs()) return 'gone';
  const client = await openClient(deps, { provider, clientSecret: providerSecret });
  if (!client.canRevoke) return 'impossible';
  await client.revokeGrant({ accessToken: kept.reveal(), refreshToken: null });
  return 'revoked';
}

async function putOff(deps: RevocationDeps, held: RevocableLease, error: unknown): Promise<void> {
  const { lease } = held;
  const code = error instanceof KontextError ? error.code : 'KX_INTERNAL';
  if (lease.revocationAttempts >= maxAttempts) return settle(deps, held, 'failed', code);
  const { random = Math.random } = deps;
  const pauseMs = Math.min(firstPauseMs * 2 ** (lease.revocationAttempts - 1), longestPauseMs);
  await postpone(deps, lease, deps.nowMs() + pauseMs * (0.5 + random() / 2));
}

async function postpone({ store }: RevocationDeps, lease: LeaseRow, dueAtMs: number): Promise<void> {
  await store.transaction({ role: 'app', orgId: lease.orgId }, (tx) =>
    postponeRevocation(tx, lease, new Date(dueAtMs)),
  );
}

async function settle(
  { store, nowMs, appended, logger }: RevocationDeps,
  { lease }: RevocableLease,
  outcome: 'done' | 'failed' | 'impossible',
  detail: string,
): Promise<void> {
  const { id, orgId, sessionId, provider, resource, userId, connectionId, revocationAttempts } = lease;
  const settled = await store.transaction({ role: 'app', orgId }, async (tx) => {
    if (!(await settleRevocation(tx, lease, outcome))) return false;
    const event = {
      ...{ kind: 'credential.revoked' as const, user: userId },
      lineage: { leases: [id], connection: connectionId },
      facts: { provider, resource, upstream: outcome, detail, attempts: revocationAttempts },
    };
    await appendServerEvent(tx, { orgId, sessionId }, event, new Date(nowMs()));
    return true;
  });
  if (!settled) return;
  appended.notify(orgId);
  if (outcome === 'failed') {
    const facts = { lease: id, org: orgId, provider, detail };
    logger.error(facts, 'a credential could not be taken back at its provider; somebody has to do it there');
  }
}

/** Fails with `KX_PROVIDER_UNREACHABLE` when the work takes longer; what it does then is not waited for. */
async function withDeadline<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new KontextError('KX_PROVIDER_UNREACHABLE', 'the provider takes too long')),
      ms,
    );
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
