/**
 * A key service: holds key-encryption keys (KEKs) and wraps data keys (DEKs) under them.
 *
 * A KEK never leaves it. It authenticates `aad` without storing it: an unwrap with other bytes must fail.
 */
export interface Kms {
  /** Id of the KEK that new data keys are wrapped under. */
  readonly activeKekId: string;

  /**
   * Wraps a data key under the active KEK.
   *
   * @param dek The data key, 32 bytes; still the caller's to zero.
   * @param aad Bytes the wrapped key is bound to.
   */
  wrap(dek: Buffer, aad: Buffer): Promise<{ kekId: string; wrapped: Buffer }>;

  /**
   * Unwraps a data key; the caller zeroes it after use.
   *
   * @throws KontextError `KX_KEK_MISSING` when the KEK is unknown or retired.
   * @throws KontextError `KX_VAULT_OPEN` when the wrapped key, its KEK or `aad` do not belong together.
   */
  unwrap(kekId: string, wrapped: Buffer, aad: Buffer): Promise<Buffer>;
}
