import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { KontextError } from '@kontext/errors';
import { verifySnapshot } from '@kontext/oauth';
import { hashPolicies } from '@kontext/policy';
import type { PolicySnapshotJson } from '@kontext/protocol';
import type { VerifiedPolicy } from '../hooks/active-policy.ts';

/** Whose policy it must be, and what was seen before. */
export interface PolicyOwner {
  readonly apiUrl: string;
  readonly orgId: string;
  /** RFC 7638 thumbprint pinned at login. */
  readonly policyKey: string;
  readonly stateDir: string;
}

/**
 * Checks a snapshot: signed by the pinned key for this organisation, its policies those that were signed, and not
 * older than the newest this machine has seen. Remembers its publication.
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
  const seen = readSeen(owner.stateDir);
  const place = `${owner.apiUrl} ${owner.orgId}`;
  const policies = (snapshot.policies ?? []).map(({ id = '', text = '' }) => ({ id, text }));
  const claims = await verifySnapshot({
    jws: snapshot.jws ?? '',
    policiesHash: hashPolicies(policies),
    pinnedThumbprint: owner.policyKey,
    minSeq: seen[place] ?? 0,
    orgId: owner.orgId,
    nowMs,
  });
  if (seen[place] !== claims.seq) writeSeen(owner.stateDir, { ...seen, [place]: claims.seq });
  return { version: claims.version, mode: claims.mode, policies };
}

const seenFile = (stateDir: string): string => join(stateDir, 'policy-versions.json');

function readSeen(stateDir: string): Readonly<Record<string, number>> {
  try {
    const { v, seen } = JSON.parse(readFileSync(seenFile(stateDir), 'utf8')) as Record<string, unknown>;
    if (v === 1 && typeof seen === 'object' && seen !== null) return seen as Record<string, number>;
  } catch {
    // Nothing was seen yet.
  }
  return {};
}

function writeSeen(stateDir: string, seen: Readonly<Record<string, number>>): void {
  const file = seenFile(stateDir);
  const temporary = `${file}.${process.pid}.tmp`;
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(temporary, JSON.stringify({ v: 1, seen }), { mode: 0o600 });
  renameSync(temporary, file);
}
