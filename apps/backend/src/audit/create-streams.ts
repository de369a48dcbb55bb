import { randomBytes } from 'node:crypto';
import { createId, firstLink } from '@kontext/audit';
import { insertStream, type NewStream } from '../store/queries/audit-streams.ts';
import type { Tx } from '../store/tx.ts';

/** A stream that was just made; `nonce` is what its first link hashes. */
export interface CreatedStream {
  readonly id: string;
  readonly nonce: Buffer;
}

/**
 * Makes an empty stream.
 *
 * @param owner Null session and user for the organisation's admin stream.
 */
export async function createStream(
  tx: Tx,
  kind: NewStream['kind'],
  owner: { readonly orgId: string; readonly sessionId: string | null; readonly userId: string | null },
  now: Date,
): Promise<CreatedStream> {
  const id = createId('str', now.getTime());
  const nonce = randomBytes(32);
  await insertStream(tx, { id, kind, ...owner, nonce, headHash: firstLink(owner.orgId, id, nonce), now });
  return { id, nonce };
}
