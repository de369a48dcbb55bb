import { createHash } from 'node:crypto';
import type { PolicyText } from './tool-call.ts';

/**
 * The hash a snapshot is signed over (`PolicySnapshot.jws` in proto/kontext/v1/policies.proto).
 *
 * SHA-256 of `kontext-policies-v1` followed by each policy's id and text as UTF-8, every one preceded by its length
 * as four bytes, big-endian, in the order given.
 *
 * @returns 64 hex digits, lower case.
 */
export function hashPolicies(policies: readonly PolicyText[]): string {
  const hash = createHash('sha256').update('kontext-policies-v1');
  for (const field of policies.flatMap(({ id, text }) => [id, text])) {
    const bytes = Buffer.from(field, 'utf8');
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    hash.update(length).update(bytes);
  }
  return hash.digest('hex');
}
