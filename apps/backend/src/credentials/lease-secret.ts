import { Secret } from '@kontext/redaction';
import type { Kms } from '@kontext/vault';
import { openRow, sealAsRow } from '../kms/sealed-secrets.ts';
import type { SecretRow } from '../store/queries/secrets.ts';

/** What of a lease is bound into the seal of the value kept with it. */
export interface SealedLease {
  readonly id: string;
  readonly orgId: string;
}

const contextOf = ({ id: subjectId, orgId }: SealedLease) => ({
  ...{ purpose: 'lease', orgId, subjectId, version: 1 },
});

/** Seals what revoking a credential will need; it is kept until that is done. */
export async function sealKept(kms: Kms, lease: SealedLease, kept: Secret, now: Date): Promise<SecretRow> {
  const plaintext = Buffer.from(kept.reveal(), 'utf8');
  try {
    return await sealAsRow(kms, contextOf(lease), plaintext, now);
  } finally {
    plaintext.fill(0);
  }
}

/**
 * Opens what {@link sealKept} sealed.
 *
 * @throws KontextError `KX_VAULT_OPEN` when it does not belong to this lease, `KX_KEK_MISSING`.
 */
export async function openKept(kms: Kms, lease: SealedLease, row: SecretRow): Promise<Secret> {
  const plaintext = await openRow(kms, contextOf(lease), row);
  try {
    return new Secret(plaintext.toString('utf8'));
  } finally {
    plaintext.fill(0);
  }
}
