/** What a request must be checked against, in one round trip. */
import { eq, sql } from 'drizzle-orm';
import { deniedTokens, leases } from '../schema.ts';
import type { Tx } from '../tx.ts';
import { endLeases } from './leases.ts';

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
  /** When and how the person was authenticated; null when the login is not known. */
  readonly authAt: Date | null;
  readonly acr: string | null;
  /** False when the token was revoked before its time, or when what it was delegated from has ended. */
  readonly tokenIsLive: boolean;
  /** Lease of a delegation token; null for a login's. */
  readonly leaseId: string | null;
}

/** Whose facts are wanted. */
export interface CallerKey {
  readonly userId: string;
  readonly orgId: string;
  readonly grantIdHash: string;
  readonly token: TokenKey;
  readonly proofHash: string;
  readonly proofExpiresAt: Date;
  readonly now: Date;
}

/** What a token is found by. */
export interface TokenKey {
  /** Its name on the deny-list. */
  readonly deniedKey: string;
  /** `jti` of a delegation token, whose lease must live with all above it; null for a login's token. */
  readonly leaseJti: string | null;
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
      ${tokenIsLive(key.token, key.now)} AS token_is_live, l.auth_at, l.acr,
      ${leaseIdOf(key.token)} AS lease_id, u.name AS user_name, u.disabled_at IS NOT NULL AS user_disabled, o.name AS org_name, m.role, m.groups
    FROM users u JOIN memberships m ON m.org_id = u.org_id AND m.user_id = u.id JOIN orgs o ON o.id = u.org_id
      LEFT JOIN logins l ON l.grant_id_hash = ${key.grantIdHash} AND l.user_id = u.id
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
    authAt: row.auth_at === null ? null : new Date(row.auth_at as string | Date),
    acr: row.acr === null ? null : String(row.acr),
    tokenIsLive: row.token_is_live === true,
    leaseId: row.lease_id === null ? null : String(row.lease_id),
  };
}

/** Remembers a proof alone; role `system`. @returns False when it was seen before. */
export async function recordProof(tx: Tx, proofHash: string, expiresAt: Date): Promise<boolean> {
  const { rows } = await tx.execute(sql`
    INSERT INTO dpop_proofs (jti_hash, expires_at) VALUES (${proofHash}, ${expiresAt.toISOString()}::timestamptz)
    ON CONFLICT DO NOTHING RETURNING 1 AS one`);
  return rows.length === 1;
}

/** Whether a token still counts: its grant exists, its user may log in, and nothing ended it; role `system`. */
export async function readTokenIsLive(
  tx: Tx,
  grantIdHash: string,
  userId: string,
  token: TokenKey,
  now: Date,
): Promise<boolean> {
  const { rows } = await tx.execute<Record<string, unknown>>(sql`
    SELECT ${grantIsLive(grantIdHash, now)} AND ${tokenIsLive(token, now)}
      AND EXISTS (SELECT FROM users WHERE id = ${userId} AND disabled_at IS NULL) AS live`);
  return rows[0]?.live === true;
}

/** Puts a token on the deny-list until it expires; role `app` or `system`. */
export async function denyToken(tx: Tx, key: string, orgId: string, expiresAt: Date): Promise<void> {
  await tx.insert(deniedTokens).values({ key, orgId, expiresAt }).onConflictDoNothing();
}

/** Ends the lease of a delegation token with all that was exchanged from it; role `app` or `system`. */
export async function endLeaseOfToken(tx: Tx, jti: string, reason: string, now: Date): Promise<void> {
  const rows = await tx.select({ id: leases.id }).from(leases).where(eq(leases.jti, jti));
  await endLeases(
    tx,
    rows.map(({ id }) => id),
    reason,
    now,
  );
}

const grantIsLive = (grantIdHash: string, now: Date) => sql`EXISTS (
  SELECT FROM oidc_payloads g WHERE g.model = 'Grant' AND g.id_hash = ${grantIdHash}
    AND (g.expires_at IS NULL OR g.expires_at > ${now.toISOString()}::timestamptz))`;

/**
 * The chain is walked up to the login, at most eight rows: what was exchanged in the very moment its source was ended is dead
 * too, although whoever ended it could not see it.
 */
const tokenIsLive = ({ deniedKey, leaseJti }: TokenKey, now: Date) => {
  const isAllowed = sql`NOT EXISTS (SELECT FROM denied_tokens d WHERE d.key = ${deniedKey})`;
  if (leaseJti === null) return isAllowed;
  return sql`(${isAllowed} AND (
    WITH RECURSIVE chain AS (
      SELECT id, parent_lease_id, state, expires_at, session_id, agent_id FROM leases WHERE jti = ${leaseJti}
      UNION ALL
      SELECT p.id, p.parent_lease_id, p.state, p.expires_at, p.session_id, p.agent_id
      FROM leases p JOIN chain c ON p.id = c.parent_lease_id)
    SELECT count(*) > 0 AND bool_and(c.state = 'active' AND c.expires_at > ${now.toISOString()}::timestamptz
      AND s.state = 'live' AND a.disabled_at IS NULL)
    FROM chain c LEFT JOIN sessions s ON s.id = c.session_id LEFT JOIN agents a ON a.id = c.agent_id) IS TRUE)`;
};

const leaseIdOf = ({ leaseJti }: TokenKey) =>
  leaseJti === null ? sql`NULL` : sql`(SELECT id FROM leases WHERE jti = ${leaseJti})`;
