/**
 * What to do with a batch of events that a client sends to its stream.
 *
 * - The batch must be right in itself first: every event in form, in the stream it is sent to, of the session and
 *   user who own the stream, of a kind a client may write, seq by seq, each chain value following from the one before.
 * - Then its place is compared with the stored head. Beginning right after the head it must link to the head's hash;
 *   beginning earlier its chain values must be the stored ones, which by the chain means all bytes before are the
 *   same too; beginning later it leaves a gap.
 * - Sending a batch again is always safe: what is stored is skipped, the rest is taken.
 *
 * The verdict is pure. The store applies it with a compare-and-set of the head it was given, and asks again if
 * another batch came between.
 */
import { KontextError } from '@kontext/errors';
import { checkPayload } from './check-payload.ts';
import { type EventHeader, parseHeader } from './event-header.ts';
import { clientEventKinds } from './event-kinds.ts';
import { chainLink, hashEvent, sameBytes } from './hashes.ts';
import { checkPayloadText } from './payload-text.ts';
import type { StreamHead } from './stream-writer.ts';

/** Most events of one batch. */
export const maxBatchEvents = 500;

/** An event as it comes over the wire. */
export interface BatchEvent {
  readonly seq: number;
  readonly header: string;
  readonly payload: string | null;
  /** 16 bytes with a payload, else null or empty. */
  readonly salt: Uint8Array | null;
  readonly chain: Uint8Array;
}

/** An event that may be stored, with its header read. */
export interface CheckedEvent extends BatchEvent {
  readonly parsed: EventHeader;
}

/** The client stream a batch is sent to, and who owns it. */
export interface ClientStream {
  readonly orgId: string;
  readonly streamId: string;
  readonly sessionId: string;
  readonly userId: string;
}

/** A batch and what is stored already. */
export interface BatchInput {
  readonly stream: ClientStream;
  /** The stored head; seq 0 with {@link firstLink} for an empty stream. */
  readonly head: StreamHead;
  /** Chain value before the first event, as the client says. */
  readonly prev: Uint8Array;
  readonly events: readonly BatchEvent[];
  /** The stored chain value of a seq up to the head's; asked only for seqs of this batch. */
  readonly storedChain: (seq: number) => Uint8Array | undefined;
}

/** The verdict; only `ok` changes the stream. */
export type BatchVerdict =
  /** Store these events (not always all of the batch) and move the head. */
  | { readonly status: 'ok'; readonly events: readonly CheckedEvent[]; readonly head: StreamHead }
  /** All of it is stored. */
  | { readonly status: 'dup' }
  /** Events between the head and the batch are missing; send from here. */
  | { readonly status: 'gap'; readonly expectedSeq: number }
  /** The first seq that is stored with, or links to, other bytes: refuse and record. */
  | { readonly status: 'fork'; readonly seq: number }
  /** Not a batch of this stream at all; `seq` is that of the event at fault. */
  | { readonly status: 'invalid'; readonly seq: number; readonly why: string };

/** Decides what becomes of a batch. Never throws because of the batch. */
export function checkBatch(input: BatchInput): BatchVerdict {
  const { head, prev, events } = input;
  const firstSeq = events[0]?.seq ?? 0;
  if (events.length === 0 || events.length > maxBatchEvents) {
    return { status: 'invalid', seq: firstSeq, why: `a batch has 1 to ${maxBatchEvents} events` };
  }
  const checked: CheckedEvent[] = [];
  let before = prev;
  for (const [index, event] of events.entries()) {
    const result = checkEvent(input, event, firstSeq + index, before);
    if (typeof result === 'string') return { status: 'invalid', seq: event.seq, why: result };
    checked.push(result);
    before = event.chain;
  }
  if (firstSeq > head.seq + 1) return { status: 'gap', expectedSeq: head.seq + 1 };
  const forkedSeq = firstSeq > head.seq ? forkAfterHead(firstSeq, prev, head) : forkInOverlap(checked, input);
  if (forkedSeq !== null) return { status: 'fork', seq: forkedSeq };
  const fresh = checked.filter((event) => event.seq > head.seq);
  const last = fresh.at(-1);
  if (last === undefined) return { status: 'dup' };
  return { status: 'ok', events: fresh, head: { seq: last.seq, hash: last.chain } };
}

function forkAfterHead(firstSeq: number, prev: Uint8Array, head: StreamHead): number | null {
  return sameBytes(prev, head.hash) ? null : firstSeq;
}

/** The first overlapping seq whose chain value is not the stored one; an unknown one cannot be shown to be the same. */
function forkInOverlap(events: readonly CheckedEvent[], { head, storedChain }: BatchInput): number | null {
  const forked = events.find(({ seq, chain }) => {
    if (seq > head.seq) return false;
    const stored = seq === head.seq ? head.hash : storedChain(seq);
    return stored === undefined || !sameBytes(stored, chain);
  });
  return forked?.seq ?? null;
}

/** The event with its header, or why it is not one of this stream at this place. */
function checkEvent(
  { stream }: BatchInput,
  event: BatchEvent,
  seq: number,
  before: Uint8Array,
): CheckedEvent | string {
  if (event.seq !== seq) return 'the seqs of the batch do not follow each other';
  try {
    const parsed = parseHeader(event.header);
    const wrong = wrongOwner(stream, parsed) ?? wrongPayload(event, parsed);
    if (wrong !== null) return wrong;
    if (parsed.seq !== seq) return 'the header names another seq';
    if (!sameBytes(chainLink(before, hashEvent(event.header)), event.chain)) {
      return 'the chain value does not follow from the event before';
    }
    return { ...event, parsed };
  } catch (error) {
    if (error instanceof KontextError) return error.why;
    throw error;
  }
}

function wrongOwner(stream: ClientStream, header: EventHeader): string | null {
  if (header.org !== stream.orgId) return 'the header names another organisation';
  if (header.stream !== stream.streamId) return 'the header names another stream';
  if (header.session !== stream.sessionId) return 'the header names another session';
  if (header.user !== stream.userId) return 'the header names another user';
  return clientEventKinds.has(header.kind) ? null : `a client may not write ${header.kind}`;
}

function wrongPayload(event: BatchEvent, header: EventHeader): string | null {
  if (event.payload !== null) checkPayloadText(event.payload);
  return checkPayload(header, event) === 'wrong' ? 'the payload does not match its hash' : null;
}
