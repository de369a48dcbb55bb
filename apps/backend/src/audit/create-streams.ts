import { randomBytes } from 'node:crypto';
import { createId, firstLink } from '@kontext/audit';
import { insertStreams, type NewStream, type StreamRow } from '../store/queries/audit-streams.ts';
import type { Tx } from '../store/tx.ts';

/** Whose streams they are; null session and user for the organisation's admin stream. */
export interface StreamOwner {
  readonly orgId: string;
  readonly sessionId: string | null;
  readonly userId: string | null;
}

/**
 * Makes empty streams, in one statement.
 *
 * @returns One row per kind, same order; `nonce` is what the first link of a stream hashes.
 */
export async function createStreams<const Kinds extends readonly NewStream['kind'][]>(
  tx: Tx,
  kinds: Kinds,
  owner: StreamOwner,
  now: Date,
): Promise<{ [K in keyof Kinds]: StreamRow }> {
  const streams = kinds.map((kind) => {
    const id = createId('str', now.getTime());
    const nonce = randomBytes(32);
    return { id, kind, ...owner, nonce, headHash: firstLink(owner.orgId, id, nonce), now };
  });
  const rows = await insertStreams(tx, streams);
  return kinds.map((kind) => rows.find((row) => row.kind === kind)) as { [K in keyof Kinds]: StreamRow };
}
