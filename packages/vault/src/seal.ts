/**
 * Envelope encryption of one secret.
 *
 * - Every sealing makes a fresh 256-bit DEK, used once, then zeroed.
 * - The ciphertext is bound to format, purpose, organisation, subject and version; the wrapped DEK to the same
 *   and to its KEK id. The KEK id is left out of the ciphertext's AAD: re-wrapping must not touch the ciphertext.
 * - Every refusal looks the same (`KX_VAULT_OPEN`).
 */
import { randomBytes } from 'node:crypto';
import { KontextError } from '@kontext/errors';
import { cannotOpen, decrypt, encrypt, KEY_BYTES } from './aes-gcm.ts';
import { encodeAad } from './encode-aad.ts';
import type { Kms } from './kms.ts';

const FORMAT = 1;

/** What a sealed secret belongs to. It is not stored with it: whoever opens must know it. */
export interface SealContext {
  /** What the secret is for, such as `connection` or `signing-key`. */
  readonly purpose: string;
  readonly orgId: string;
  /** Id of the connection or key the secret belongs to. */
  readonly subjectId: string;
  /** Counts the values the subject has had, from 1; an old value cannot be put back as the new one. */
  readonly version: number;
}

/** A sealed secret as it is stored; nothing in it is secret. */
export interface SealedSecret {
  readonly format: 1;
  readonly kekId: string;
  readonly wrappedDek: Buffer;
  /** 12 bytes. */
  readonly iv: Buffer;
  /** Ciphertext followed by its 16-byte tag. */
  readonly ciphertext: Buffer;
}

/**
 * Seals a secret under a fresh data key.
 *
 * @param plaintext The secret; it stays the caller's, who zeroes it.
 * @throws KontextError `KX_TEMPORARY` when the key service changed its active KEK meanwhile.
 */
export async function seal(kms: Kms, context: SealContext, plaintext: Buffer): Promise<SealedSecret> {
  const dek = randomBytes(KEY_BYTES);
  try {
    const { iv, ciphertext } = encrypt(dek, secretAad(context), plaintext);
    return { format: FORMAT, ...(await wrapDek(kms, context, dek)), iv, ciphertext };
  } finally {
    dek.fill(0);
  }
}

/**
 * Opens a sealed secret; the caller zeroes the result after use.
 *
 * @param context Exactly what it was sealed with.
 * @throws KontextError `KX_VAULT_OPEN` when any byte of the record, the context or the KEK differs.
 * @throws KontextError `KX_KEK_MISSING` when the KEK is unknown or retired.
 */
export async function open(kms: Kms, context: SealContext, sealed: SealedSecret): Promise<Buffer> {
  const dek = await unwrapDek(kms, context, sealed);
  try {
    return decrypt(dek, secretAad(context), sealed);
  } finally {
    dek.fill(0);
  }
}

/**
 * Puts the data key of a sealed secret under the active KEK, without decrypting the secret.
 *
 * That the ciphertext is intact is not checked; {@link open} does that.
 *
 * @returns The record to store instead; nonce and ciphertext are the same bytes.
 * @throws KontextError as {@link open} and {@link seal} do.
 */
export async function rewrap(kms: Kms, context: SealContext, sealed: SealedSecret): Promise<SealedSecret> {
  const dek = await unwrapDek(kms, context, sealed);
  try {
    return { ...sealed, ...(await wrapDek(kms, context, dek)) };
  } finally {
    dek.fill(0);
  }
}

async function wrapDek(kms: Kms, context: SealContext, dek: Buffer) {
  const wantedKekId = kms.activeKekId;
  const { kekId, wrapped } = await kms.wrap(dek, wrapAad(context, wantedKekId));
  // The AAD names the KEK that was active before the call; under another one it could never be unwrapped.
  if (kekId !== wantedKekId) {
    throw new KontextError('KX_TEMPORARY', 'the secret could not be sealed', {
      why: 'the key service changed its active key meanwhile',
    });
  }
  return { kekId, wrappedDek: wrapped };
}

async function unwrapDek(kms: Kms, context: SealContext, sealed: SealedSecret): Promise<Buffer> {
  if (sealed.format !== FORMAT) throw cannotOpen();
  return kms.unwrap(sealed.kekId, sealed.wrappedDek, wrapAad(context, sealed.kekId));
}

const contextFields = (context: SealContext): string[] => [
  String(FORMAT),
  context.purpose,
  context.orgId,
  context.subjectId,
  String(context.version),
];

const secretAad = (context: SealContext): Buffer => encodeAad(contextFields(context));

const wrapAad = (context: SealContext, kekId: string): Buffer =>
  encodeAad([...contextFields(context), kekId]);
