import { KontextError } from '@kontext/errors';
import { generateP256Jwk, isP256PublicJwk, jwkThumbprint, type P256PrivateJwk } from '@kontext/oauth';
import type { Kms } from '@kontext/vault';
import { openRow, sealAsRow } from '../kms/sealed-secrets.ts';
import type { OrgKeyRow } from '../store/queries/secrets.ts';

const contextOf = (orgId: string, kid: string) => ({
  ...{ purpose: 'policy-key', orgId, subjectId: kid, version: 1 },
});

/**
 * Makes the key that signs an organisation's policy snapshots, sealed, ready to be stored.
 *
 * Its id is the RFC 7638 thumbprint that clients pin at login. Call it before the transaction: sealing may ask a key service.
 */
export async function preparePolicyKey(kms: Kms, orgId: string, now: Date): Promise<OrgKeyRow> {
  const { d, kty, crv, x, y } = generateP256Jwk();
  const publicJwk = { kty, crv, x, y };
  const kid = jwkThumbprint(publicJwk);
  const plaintext = Buffer.from(d, 'utf8');
  const secret = await sealAsRow(kms, contextOf(orgId, kid), plaintext, now);
  plaintext.fill(0);
  return { kid, publicJwk: JSON.stringify(publicJwk), secret };
}

/**
 * Opens a stored policy key.
 *
 * @throws KontextError `KX_VAULT_OPEN` when it does not open or is not a P-256 key.
 */
export async function openPolicyKey(kms: Kms, orgId: string, row: OrgKeyRow): Promise<P256PrivateJwk> {
  const jwk: unknown = JSON.parse(row.publicJwk);
  if (!isP256PublicJwk(jwk)) throw new KontextError('KX_VAULT_OPEN', 'a policy key is not a P-256 key');
  const plaintext = await openRow(kms, contextOf(orgId, row.kid), row.secret);
  const { kty, crv, x, y } = jwk;
  const key = { kty, crv, x, y, d: plaintext.toString('utf8') };
  plaintext.fill(0);
  return key;
}
