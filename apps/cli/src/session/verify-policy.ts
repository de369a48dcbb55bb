import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { KontextError } from '@kontext/errors';
import { type SnapshotClaims, verifySnapshot } from '@kontext/oauth';
import { hashPolicies, type PolicyText } from '@kontext/policy';
import type { PolicySnapshotJson } from '@kontext/protocol';
import type { VerifiedPolicy } from '../hooks/active-policy.ts';
import { readStateFile, writeStateFile } from '../state-file.ts';

/** Whose policy it must be, and what was seen before. */
export interface PolicyOwner {
  readonly apiUrl: string;
  readonly orgId: string;
  /** RFC 7638 thumbprint pinned at login. */
  readonly policyKey: string;
  readonly stateDir: string;
}

/**
 * Checks a snapshot: signed by the pinned key for this organisation, its policies those that were signed, and of no earlier
 * publication than the newest this machine has seen. Remembers its `seq`, and keeps it for {@link loadCachedPolicy}.
 *
 * @throws KontextError `KX_SNAPSHOT_INVALID`, `KX_SNAPSHOT_ROLLBACK`.
 */
export async function verifyPolicy(
  snapshot: PolicySnapshotJson | undefined,
  owner: PolicyOwner,
  nowMs = Date.now(),
): Promise<VerifiedPolicy> {
  if (snapshot === undefined) {
    throw new KontextError('KX_SNAPSHOT_INVALID', 'the backend sent no policy snapshot');
  }
  const signed = toSigned(snapshot);
  const claims = await verifySigned(signed, owner, { nowMs });
  noteSeen(owner, claims.seq);
  // A full disk costs the copy, not the session.
  tryWrite(cacheFile(owner), { v: 1, place: placeOf(owner), ...signed });
  return toPolicy(claims, signed.policies);
}

/**
 * Loads the newest snapshot that {@link verifyPolicy} accepted on this machine, also one that has expired: whoever decides
 * with it treats it as stale from `publication.expiresAtMs` on.
 *
 * @returns Null when there is none.
 * @throws KontextError `KX_SNAPSHOT_INVALID`, `KX_SNAPSHOT_ROLLBACK` when the file is not what was kept.
 */
export async function loadCachedPolicy(
  owner: PolicyOwner,
  nowMs = Date.now(),
): Promise<VerifiedPolicy | null> {
  const kept = readStateFile(cacheFile(owner));
  if (kept?.v !== 1 || kept.place !== placeOf(owner)) return null;
  const signed = toSigned(kept as PolicySnapshotJson);
  return toPolicy(await verifySigned(signed, owner, { nowMs, acceptExpired: true }), signed.policies);
}

interface Signed {
  readonly jws: string;
  readonly policies: readonly PolicyText[];
}

const toSigned = ({ jws = '', policies = [] }: PolicySnapshotJson): Signed => ({
  jws,
  policies: policies.map(({ id = '', text = '' }) => ({ id, text })),
});

const verifySigned = (
  { jws, policies }: Signed,
  owner: PolicyOwner,
  when: { readonly nowMs: number; readonly acceptExpired?: boolean },
): Promise<SnapshotClaims> =>
  verifySnapshot({
    ...{ jws, policiesHash: hashPolicies(policies), pinnedThumbprint: owner.policyKey },
    ...{ minSeq: readSeen(owner.stateDir)[placeOf(owner)] ?? 0, orgId: owner.orgId, ...when },
  });

const toPolicy = (
  { version, mode, seq, stale, iat, exp }: SnapshotClaims,
  policies: readonly PolicyText[],
): VerifiedPolicy => ({
  ...{ version, mode, policies },
  publication: { seq, staleRule: stale, issuedAtMs: iat * 1000, expiresAtMs: exp * 1000 },
});

const placeOf = ({ apiUrl, orgId }: PolicyOwner): string => `${apiUrl} ${orgId}`;

const seenFile = (stateDir: string): string => join(stateDir, 'policy-versions.json');

const cacheFile = (owner: PolicyOwner): string => {
  const name = createHash('sha256').update(placeOf(owner)).digest('hex').slice(0, 16);
  return join(owner.stateDir, `policy-snapshot-${name}.json`);
};

/**
 * Highest `seq` per place. Version 1 of the file kept policy versions; publications were counted on from the newest of
 * those, so its numbers hold on as they are.
 */
function readSeen(stateDir: string): Readonly<Record<string, number>> {
  const { v, seen } = readStateFile(seenFile(stateDir)) ?? {};
  const isKnown = v === 1 || v === 2;
  return isKnown && typeof seen === 'object' && seen !== null ? (seen as Record<string, number>) : {};
}

/** Read again just before: another session may have seen a later one. */
function noteSeen(owner: PolicyOwner, seq: number): void {
  const seen = readSeen(owner.stateDir);
  const place = placeOf(owner);
  if ((seen[place] ?? 0) < seq)
    writeStateFile(seenFile(owner.stateDir), JSON.stringify({ v: 2, seen: { ...seen, [place]: seq } }));
}

function tryWrite(file: string, content: object): void {
  try {
    writeStateFile(file, JSON.stringify(content));
  } catch {
    // What was kept before stays.
  }
}
