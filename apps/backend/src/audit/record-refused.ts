/** What is recorded of batches that were not taken as they came. */
import type { BatchEvent } from '@kontext/audit';
import type { Caller } from '../caller.ts';
import { findStream } from '../store/queries/audit-streams.ts';
import { markTampered } from '../store/queries/sessions.ts';
import type { Store } from '../store/store.ts';
import type { Tx } from '../store/tx.ts';
import { appendServerEvent, appendServerEvents } from './append-server-event.ts';
import { type WithheldPayload, withoutSecrets } from './withhold-payloads.ts';

/** Whose client stream it is. */
export interface Owner {
  readonly orgId: string;
  readonly sessionId: string;
  readonly userId: string;
}

/** A batch that was sent. */
interface SentBatch {
  readonly streamId: string;
  readonly events: readonly BatchEvent[];
}

/** With the events or not at all: a payload that is gone without a word would look like an erasure. */
export async function recordWithheld(
  tx: Tx,
  owner: Owner,
  stream: string,
  withheld: readonly WithheldPayload[],
  now: Date,
): Promise<void> {
  const events = withheld.map(({ seq, rules }) => ({
    ...{ kind: 'payload.withheld' as const, user: owner.userId },
    facts: { stream, seq, rules },
  }));
  await appendServerEvents(tx, owner, events, now);
}

export async function recordFork(
  tx: Tx,
  owner: Owner,
  batch: SentBatch,
  seq: number,
  now: Date,
): Promise<void> {
  const offered = batch.events.find((event) => event.seq === seq);
  await markTampered(tx, owner.sessionId, now);
  await appendServerEvent(
    tx,
    owner,
    {
      kind: 'tamper.fork',
      user: owner.userId,
      facts: {
        stream: batch.streamId,
        seq,
        offeredChain: Buffer.from(offered?.chain ?? []).toString('hex'),
        offeredHeader: offered ? withoutSecrets(offered.header) : null,
      },
    },
    now,
  );
}

/** Where a header that was refused would have stood, and what is wrong with it; no byte of it. */
export interface UnfitHeader {
  readonly seq: number;
  readonly why: string;
}

export async function recordUnfitHeader(
  tx: Tx,
  owner: Owner,
  stream: string,
  { seq, why: reason }: UnfitHeader,
  now: Date,
): Promise<void> {
  const facts = { stream, seq, reason };
  await appendServerEvent(tx, owner, { kind: 'tamper.fork', user: owner.userId, facts }, now);
}

/**
 * Records that a caller wrote to a stream of somebody else, in the caller's organisation. A stream that exists nowhere is
 * only refused: an old spool after a new database is no attack.
 */
export async function recordForeignStream(
  store: Store,
  caller: Caller,
  streamId: string,
  now: Date,
): Promise<void> {
  await store.transaction({ role: 'system', orgId: null }, async (tx) => {
    if ((await findStream(tx, streamId)) === null) return;
    const facts = { stream: streamId, reason: 'not the stream of this user' };
    const target = { orgId: caller.orgId, sessionId: null };
    await appendServerEvent(tx, target, { kind: 'tamper.fork', user: caller.userId, facts }, now);
  });
}
