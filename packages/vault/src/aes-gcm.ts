import { createCipheriv, createDecipheriv, type KeyObject, randomBytes } from 'node:crypto';
import { KontextError } from '@kontext/errors';

/** Length of every key, in bytes. */
export const KEY_BYTES = 32;
/** Length of the nonce (NIST SP 800-38D §8.2.2: 96 random bits). */
export const IV_BYTES = 12;
const TAG_BYTES = 16;
const ALGORITHM = 'aes-256-gcm';
// Without it Node accepts tags of 4 bytes, which can be guessed.
const options = { authTagLength: TAG_BYTES } as const;

/** What one encryption yields. */
export interface Encrypted {
  readonly iv: Buffer;
  /** The ciphertext followed by its 16-byte tag. */
  readonly ciphertext: Buffer;
}

/**
 * Encrypts with AES-256-GCM under a fresh random nonce.
 *
 * @param key 32 bytes. With random nonces one key serves at most 2³² messages (NIST SP 800-38D §8.3).
 */
export function encrypt(key: Buffer | KeyObject, aad: Buffer, plaintext: Buffer): Encrypted {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv(ALGORITHM, key, iv, options).setAAD(aad);
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  return { iv, ciphertext };
}

/**
 * Decrypts what {@link encrypt} made; the caller zeroes the result after use.
 *
 * @throws KontextError `KX_VAULT_OPEN` for whatever reason: telling reasons apart would help a forger.
 */
export function decrypt(key: Buffer | KeyObject, aad: Buffer, { iv, ciphertext }: Encrypted): Buffer {
  if (iv.length !== IV_BYTES || ciphertext.length < TAG_BYTES) throw cannotOpen();
  const tagAt = ciphertext.length - TAG_BYTES;
  const decipher = createDecipheriv(ALGORITHM, key, iv, options)
    .setAAD(aad)
    .setAuthTag(ciphertext.subarray(tagAt));
  const plaintext = decipher.update(ciphertext.subarray(0, tagAt));
  try {
    decipher.final();
    return plaintext;
  } catch {
    // The cause is dropped on purpose; the unauthenticated plaintext must not stay in memory.
    plaintext.fill(0);
    throw cannotOpen();
  }
}

/** The one answer to every record that cannot be opened. */
export const cannotOpen = (): KontextError =>
  new KontextError('KX_VAULT_OPEN', 'a sealed secret cannot be opened', {
    why: 'the record, its context or its key-encryption key is not the one it was sealed with',
  });
