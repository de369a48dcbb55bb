import { KontextError } from '@kontext/errors';
import type { KekProvider } from '../store/queries/keks.ts';

/**
 * A service that holds key-encryption keys: the key file, a cloud's, Vault.
 *
 * Unlike the vault's `Kms` it has no active key; a {@link Keyring} puts services together and chooses.
 */
export interface KeyService {
  readonly provider: KekProvider;

  /**
   * Wraps a data key under the named KEK.
   *
   * @param dek Still the caller's to zero.
   * @throws KontextError `KX_KMS_UNAVAILABLE` when there was no answer in time, twice; `KX_KMS_REFUSED` when the service does
   *   not know the key, disabled it, or does not let the backend use it.
   */
  wrap(kekId: string, dek: Buffer, aad: Buffer): Promise<Buffer>;

  /**
   * Unwraps a data key; the caller zeroes it.
   *
   * @throws KontextError `KX_VAULT_OPEN` when the wrapped key, its KEK or `aad` do not belong together; else as `wrap`.
   */
  unwrap(kekId: string, wrapped: Buffer, aad: Buffer): Promise<Buffer>;
}

/** The answer to a KEK that nothing here holds. */
export const kekMissing = (id: string): KontextError =>
  new KontextError('KX_KEK_MISSING', `the key-encryption key ${id} is not available`, {
    why: 'it is neither in the key file nor among KONTEXT_KMS_KEYS of this process',
    hint: 'give every replica the same key file and KONTEXT_KMS_KEYS; docs/keys.md tells the order',
  });
