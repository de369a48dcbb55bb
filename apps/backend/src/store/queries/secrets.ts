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

/** What an organisation's key signs: policy snapshots, or checkpoints of its audit log. */
export type OrgKeyPurpose = 'policy' | 'log';

/** A key an organisation signs with. */
export interface OrgKeyRow {
  readonly kid: string;
  /** JSON text of the public JWK. */
  readonly publicJwk: string;
  readonly secret: SecretRow;
}

const algorithms = { policy: 'ES256', log: 'EdDSA' } as const;

/** Stores an organisation's active key and its sealed private half. */
export async function insertOrgKey(
  tx: Tx,
  orgId: string,
  purpose: OrgKeyPurpose,
  key: OrgKeyRow,
  now: Date,
): Promise<void> {
  await insertSecret(tx, key.secret);
  await tx.insert(signingKeys).values({
    ...{ kid: key.kid, orgId, purpose, alg: algorithms[purpose], publicJwk: key.publicJwk },
    ...{ secretId: key.secret.id, active: true, createdAt: now },
  });
}

/** The key an organisation signs with now; null before it has one. */
export async function findOrgKey(tx: Tx, orgId: string, purpose: OrgKeyPurpose): Promise<OrgKeyRow | null> {
  const [row] = await tx
    .select({ kid: signingKeys.kid, publicJwk: signingKeys.publicJwk, secret: secrets })
    .from(signingKeys)
    .innerJoin(secrets, eq(secrets.id, signingKeys.secretId))
    .where(activeKey(orgId, purpose))
    .limit(1);
  return row ? { ...row, publicJwk: row.publicJwk ?? '' } : null;
}

/** Its id and public half, readable without the right to see secrets. */
export async function findOrgPublicKey(
  tx: Tx,
  orgId: string,
  purpose: OrgKeyPurpose,
): Promise<Pick<OrgKeyRow, 'kid' | 'publicJwk'> | null> {
  const [row] = await tx
    .select({ kid: signingKeys.kid, publicJwk: signingKeys.publicJwk })
    .from(signingKeys)
    .where(activeKey(orgId, purpose))
    .limit(1);
  return row ? { kid: row.kid, publicJwk: row.publicJwk ?? '' } : null;
}

const activeKey = (orgId: string, purpose: OrgKeyPurpose) =>
  and(
    eq(signingKeys.orgId, orgId),
    eq(signingKeys.purpose, purpose),
    eq(signingKeys.active, true),
    isNull(signingKeys.retiredAt),
  );
