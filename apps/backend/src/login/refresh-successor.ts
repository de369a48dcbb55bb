import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

const successorKey = (predecessor: string): Buffer =>
  Buffer.from(hkdfSync('sha256', predecessor, '', 'kontext-successor-v1', 32));

/** Encrypts the value of a refresh token under a key that only the holder of its predecessor has. */
export function sealSuccessor(predecessor: string, successor: string): string {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', successorKey(predecessor), iv, { authTagLength: 16 });
  return Buffer.concat([iv, cipher.update(successor, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString(
    'base64url',
  );
}

/** Opens what {@link sealSuccessor} made. */
export function openSuccessor(predecessor: string, sealed: string): string {
  const bytes = Buffer.from(sealed, 'base64url');
  const decipher = createDecipheriv('aes-256-gcm', successorKey(predecessor), bytes.subarray(0, 12), {
    authTagLength: 16,
  });
  decipher.setAuthTag(bytes.subarray(-16));
  return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString('utf8');
}
