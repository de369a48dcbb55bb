import { createSecretKey, type KeyObject } from 'node:crypto';
import { KontextError } from '@kontext/errors';
import { cannotOpen, decrypt, encrypt, IV_BYTES, KEY_BYTES } from './aes-gcm.ts';
import type { Kms } from './kms.ts';

/**
 * Makes a key service whose KEKs lie in this process; where they come from is the caller's business.
 *
 * A wrapped key is `iv (12) ‖ encrypted DEK (32) ‖ tag (16)` under AES-256-GCM.
 * To rotate, make a new one with both keys and the new id active; to retire a KEK, make one without it.
 *
 * @param keks KEK id → 32 bytes. The bytes are copied: the caller may zero them afterwards.
 * @param activeKekId The KEK for new data keys; must be one of `keks`.
 * @throws KontextError `KX_KEK_MISSING` when the active KEK is missing or a KEK has not 32 bytes.
 */
export function createLocalKms(keks: ReadonlyMap<string, Buffer>, activeKekId: string): Kms {
  const keys = new Map([...keks].map(([id, bytes]) => [id, importKek(id, bytes)]));
  const active = findKek(keys, activeKekId);
  return {
    activeKekId,
    async wrap(dek, aad) {
      const { iv, ciphertext } = encrypt(active, aad, dek);
      return { kekId: activeKekId, wrapped: Buffer.concat([iv, ciphertext]) };
    },
    async unwrap(kekId, wrapped, aad) {
      const kek = findKek(keys, kekId);
      const iv = wrapped.subarray(0, IV_BYTES);
      const dek = decrypt(kek, aad, { iv, ciphertext: wrapped.subarray(IV_BYTES) });
      if (dek.length === KEY_BYTES) return dek;
      dek.fill(0);
      throw cannotOpen();
    },
  };
}

function importKek(id: string, bytes: Buffer): KeyObject {
  if (bytes.length === KEY_BYTES) return createSecretKey(bytes);
  throw new KontextError('KX_KEK_MISSING', `the key-encryption key ${id} cannot be used`, {
    why: `it must have ${KEY_BYTES} bytes`,
  });
}

function findKek(keys: ReadonlyMap<string, KeyObject>, id: string): KeyObject {
  const kek = keys.get(id);
  if (kek) return kek;
  throw new KontextError('KX_KEK_MISSING', `the key-encryption key ${id} is not available`, {
    why: 'it was never loaded here, or was retired',
  });
}
