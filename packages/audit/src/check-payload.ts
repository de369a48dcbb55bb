import type { EventHeader } from './event-header.ts';
import { hashPayload, saltBytes } from './hashes.ts';

/** A payload and its salt as they came or as they are stored; an empty salt counts as none. */
export interface PayloadParts {
  readonly payload: string | null;
  readonly salt: Uint8Array | null;
}

/**
 * Compares a payload with the hash in its header.
 *
 * @returns `present` when it matches, `none` when the header names no payload, `withheld` when the header names one
 * that is not there, `wrong` otherwise: other bytes, no salt, a salt of another length, or no hash to compare with.
 */
export function checkPayload(
  header: Pick<EventHeader, 'payloadHash'>,
  { payload, salt }: PayloadParts,
): 'present' | 'none' | 'withheld' | 'wrong' {
  if (payload === null) return header.payloadHash === null ? 'none' : 'withheld';
  if (header.payloadHash === null || salt?.length !== saltBytes) return 'wrong';
  return hashPayload(salt, payload).toString('hex') === header.payloadHash ? 'present' : 'wrong';
}
