import { createId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { type Kms, open, type SealContext, type SealedSecret, seal } from '@kontext/vault';
import type { SecretRow } from '../store/queries/secrets.ts';

/** What a secret is for and whose it is; all of it is bound into the seal. */
export interface SecretContext {
  /** For example `policy-key`, `connection`, `client-secret`. */
  readonly purpose: string;
  /** Null: the backend's own. */
  readonly orgId: string | null;
  /** Id of what it belongs to. */
  readonly subjectId: string;
  /** From 1; a new value is a new version. */
  readonly version: number;
}

/**
 * Seals a value as a row to be stored. Do this before the transaction: the key service may be across a network.
 *
 * @param plaintext Still the caller's to zero.
 */
export async function sealAsRow(
  kms: Kms,
  context: SecretContext,
  plaintext: Buffer,
  now: Date,
): Promise<SecretRow> {
  const sealed = await seal(kms, sealContextOf(context), plaintext);
  return { id: createId('key', now.getTime()), ...context, ...sealed, createdAt: now, replacedAt: null };
}

/**
 * Opens a stored secret; the caller zeroes the buffer.
 *
 * @param context What the secret is wanted for, from the thing it belongs to and never from `row`: a row says itself what it
 *   is for, so whoever can write to the database could point one connection to the secret of another.
 * @throws KontextError `KX_VAULT_OPEN` when row, context and key do not belong together.
 * @throws KontextError `KX_KEK_MISSING` when the key-encryption key is not available.
 */
export async function openRow(kms: Kms, context: SecretContext, row: SecretRow): Promise<Buffer> {
  return open(kms, sealContextOf(context), sealedOf(row));
}

/**
 * The sealed secret of a row.
 *
 * @throws KontextError `KX_VAULT_OPEN` when it has a format this build does not know.
 */
export function sealedOf({ format, kekId, wrappedDek, iv, ciphertext }: SecretRow): SealedSecret {
  if (format !== 1) throw new KontextError('KX_VAULT_OPEN', 'a sealed secret has an unknown format');
  return { format, kekId, wrappedDek, iv, ciphertext };
}

/** The context as the vault binds it; what belongs to no organisation belongs to `system`. */
export const sealContextOf = ({ purpose, orgId, subjectId, version }: SecretContext): SealContext => ({
  purpose,
  orgId: orgId ?? 'system',
  subjectId,
  version,
});
