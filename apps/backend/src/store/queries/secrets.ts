/** Sealed secrets; what is in them is nobody's business here. */
import { and, eq, isNull } from 'drizzle-orm';
import { secrets, signingKeys } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** A sealed secret as stored. */
export type SecretRow = typeof secrets.$inferSelect;

/** Stores a sealed secret. */
export async function insertSecret(tx: Tx, secret: SecretRow): Promise<void> {
  await tx.insert(secrets).values(secret);
}

/** An organisation's key that signs policy snapshots. */
export interface PolicyKeyRow {
  readonly kid: string;
  /** JSON text of the public JWK. */
  readonly publicJwk: string;
  readonly secret: SecretRow;
}

/** Stores an organisation's active policy key and its sealed private half. */
export async function insertPolicyKey(tx: Tx, orgId: string, key: PolicyKeyRow, now: Date): Promise<void> {
  await insertSecret(tx, key.secret);
  await tx.insert(signingKeys).values({
    kid: key.kid,
    orgId,
    purpose: 'policy',
    alg: 'ES256',
    publicJwk: key.publicJwk,
    secretId: key.secret.id,
    active: true,
    createdAt: now,
  });
}

/** The key an organisation signs with now; null before it has one. */
export async function findPolicyKey(tx: Tx, orgId: string): Promise<PolicyKeyRow | null> {
  const [row] = await tx
    .select({ kid: signingKeys.kid, publicJwk: signingKeys.publicJwk, secret: secrets })
    .from(signingKeys)
    .innerJoin(secrets, eq(secrets.id, signingKeys.secretId))
    .where(activePolicyKey(orgId))
    .limit(1);
  return row ? { ...row, publicJwk: row.publicJwk ?? '' } : null;
}

/** Thumbprint of that key, which is its id; readable without the right to see secrets. */
export async function findPolicyKeyId(tx: Tx, orgId: string): Promise<string | null> {
  const [row] = await tx
    .select({ kid: signingKeys.kid })
    .from(signingKeys)
    .where(activePolicyKey(orgId))
    .limit(1);
  return row?.kid ?? null;
}

const activePolicyKey = (orgId: string) =>
  and(
    eq(signingKeys.orgId, orgId),
    eq(signingKeys.purpose, 'policy'),
    eq(signingKeys.active, true),
    isNull(signingKeys.retiredAt),
  );
