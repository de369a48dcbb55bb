/** What a request must be checked against, in one round trip. */
import { sql } from 'drizzle-orm';
import type { Tx } from '../tx.ts';

/** Facts about whoever calls. */
export interface CallerRow {
  /** False when the proof was seen before. */
  readonly proofIsNew: boolean;
  readonly grantIsLive: boolean;
  readonly userName: string;
  readonly userDisabled: boolean;
  readonly orgName: string;
  readonly role: string;
  readonly groups: readonly string[];
}

/** Whose facts are wanted. */
export interface CallerKey {
  readonly userId: string;
  readonly orgId: string;
  readonly grantIdHash: string;
  readonly proofHash: string;
  readonly proofExpiresAt: Date;
  readonly now: Date;
}

/**
 * Remembers the proof and reads who calls, in one statement; role `system`.
 *
 * @returns Null when the user is not a member of that organisation.
 */
export async function recordProofAndReadCaller(tx: Tx, key: CallerKey): Promise<CallerRow | null> {
  const { rows } = await tx.execute<Record<string, unknown>>(sql`
    WITH proof AS (
      INSERT INTO dpop_proofs (jti_hash, expires_at) VALUES (${key.proofHash}, ${key.proofExpiresAt.toISOString()}::timestamptz)
      ON CONFLICT DO NOTHING RETURNING 1)
    SELECT EXISTS (SELECT FROM proof) AS proof_is_new,
      ${grantIsLive(key.grantIdHash, key.now)} AS grant_is_live,
      u.name AS user_name, u.disabled_at IS NOT NULL AS user_disabled, o.name AS org_name, m.role, m.groups
    FROM users u JOIN memberships m ON m.org_id = u.org_id AND m.user_id = u.id JOIN orgs o ON o.id = u.org_id
    WHERE u.id = ${key.userId} AND u.org_id = ${key.orgId}`);
  const row = rows[0];
  if (!row) return null;
  return {
    proofIsNew: row.proof_is_new === true,
    grantIsLive: row.grant_is_live === true,
    userName: String(row.user_name),
    userDisabled: row.user_disabled === true,
    orgName: String(row.org_name),
    role: String(row.role),
    groups: (row.groups as string[] | null) ?? [],
  };
}

/** Remembers a proof alone; role `system`. @returns False when it was seen before. */
export async function recordProof(tx: Tx, proofHash: string, expiresAt: Date): Promise<boolean> {
  const { rows } = await tx.execute(sql`
    INSERT INTO dpop_proofs (jti_hash, expires_at) VALUES (${proofHash}, ${expiresAt.toISOString()}::timestamptz)
    ON CONFLICT DO NOTHING RETURNING 1 AS one`);
  return rows.length === 1;
}

/** Whether a grant exists, has not expired, and its user may still log in; role `system`. */
export async function readGrantIsLive(
  tx: Tx,
  grantIdHash: string,
  userId: string,
  now: Date,
): Promise<boolean> {
  const { rows } = await tx.execute<Record<string, unknown>>(sql`
    SELECT ${grantIsLive(grantIdHash, now)}
      AND EXISTS (SELECT FROM users WHERE id = ${userId} AND disabled_at IS NULL) AS live`);
  return rows[0]?.live === true;
}

const grantIsLive = (grantIdHash: string, now: Date) => sql`EXISTS (
  SELECT FROM oidc_payloads g WHERE g.model = 'Grant' AND g.id_hash = ${grantIdHash}
    AND (g.expires_at IS NULL OR g.expires_at > ${now.toISOString()}::timestamptz))`;
