import { KontextError } from '@kontext/errors';
import { type EventHeader, type EventLineage, encodeHeader } from './event-header.ts';
import { chainLink, firstLink, hashEvent, hashPayload, saltBytes } from './hashes.ts';
import { showHidden } from './header-text.ts';
import { createId } from './ids.ts';
import { checkPayloadText } from './payload-text.ts';
import { pooledRandomBytes, type RandomBytes } from './random-pool.ts';

/** The newest event of a stream; seq 0 with the first link while it is empty. */
export interface StreamHead {
  readonly seq: number;
  /** Chain value of that event, 32 bytes. */
  readonly hash: Uint8Array;
}

/** A place in the stream that was promised to an event before its header was known. */
export interface Reservation {
  readonly seq: number;
  readonly id: string;
}

/**
 * What the caller says about an event; what is left out is null. Ids are checked when the header is written; in the texts,
 * characters that cannot be seen become U+FFFD.
 */
export type EventFields = Pick<EventHeader, 'kind'> &
  Partial<
    Pick<
      EventHeader,
      'agent' | 'tool' | 'toolUse' | 'decision' | 'rule' | 'policyVersion' | 'mode' | 'redaction' | 'missing'
    >
  > & {
    readonly session?: string | null;
    readonly user?: string | null;
    /** RFC 3339 in UTC with milliseconds; now when left out. */
    readonly occurredAt?: string;
    readonly lineage?: {
      readonly leases?: readonly string[];
      readonly connection?: string | null;
      readonly approval?: string | null;
      readonly serverEvent?: string | null;
    };
  };

/** An event in its final form, as it is spooled, sent and stored. */
export interface ChainedEvent {
  readonly seq: number;
  readonly id: string;
  readonly header: string;
  readonly payload: string | null;
  /** 16 bytes, present with the payload. */
  readonly salt: Buffer | null;
  /** Chain value before this event, 32 bytes. */
  readonly prev: Buffer;
  /** Chain value of this event, 32 bytes. */
  readonly chain: Buffer;
}

/** Where a stream stands and what it depends on. */
export interface StreamWriterOptions {
  readonly orgId: string;
  readonly streamId: string;
  /** `{ nonce }` (32 bytes) for a new stream, or `{ head }` to go on after the newest event. */
  readonly from: { readonly nonce: Uint8Array } | { readonly head: StreamHead };
  /** Who every event of the stream belongs to, unless its own fields say otherwise. */
  readonly owner?: Pick<EventFields, 'session' | 'user' | 'agent'>;
  /** Default `Date.now`. */
  readonly nowMs?: () => number;
  /** Default that of `node:crypto`, pooled. */
  readonly randomBytes?: RandomBytes;
}

/** The one writer of a stream. */
export interface StreamWriter {
  readonly head: StreamHead;
  /** Promises the next seq and an id, for an intent line that is written before the event. */
  reserve(): Reservation;
  /**
   * Adds the next event.
   *
   * @param payload Text to be kept beside the header, already redacted; absent or null for none.
   * @param reservation From {@link StreamWriter.reserve}, or from the intent line of an earlier run.
   * @throws KontextError `KX_EVENT_INVALID` when a field or the payload is not acceptable; the stream is unchanged,
   * and the same reservation can be used again.
   * @throws KontextError `KX_INTERNAL` when the event is not the next in order: reserved events are appended in order
   * of seq.
   */
  append(fields: EventFields, payload?: string | null, reservation?: Reservation): ChainedEvent;
}

/**
 * Creates the writer of a stream: it assigns seq, id and salt, writes the header and links the chain.
 *
 * It keeps nothing but the head: the caller stores what {@link StreamWriter.append} returns, and a backend stores
 * the head in the same transaction.
 */
export function createStreamWriter(options: StreamWriterOptions): StreamWriter {
  const { orgId, streamId, from, owner = {}, nowMs = Date.now, randomBytes = pooledRandomBytes } = options;
  let head: StreamHead =
    'head' in from ? from.head : { seq: 0, hash: firstLink(orgId, streamId, from.nonce) };
  let lastReserved = head.seq;

  const reserve = (): Reservation => {
    lastReserved += 1;
    return { seq: lastReserved, id: createId('evt', nowMs(), randomBytes) };
  };
  const next = (): Reservation => ({ seq: lastReserved + 1, id: createId('evt', nowMs(), randomBytes) });

  const append = (fields: EventFields, payload: string | null = null, reservation = next()): ChainedEvent => {
    if (reservation.seq !== head.seq + 1) {
      const why = `seq ${reservation.seq} was appended after seq ${head.seq}`;
      throw new KontextError('KX_INTERNAL', 'audit events were appended out of order', { why });
    }
    const salt = payload === null ? null : randomBytes(saltBytes);
    if (payload !== null) checkPayloadText(payload);
    const payloadHash = payload === null || salt === null ? null : hashPayload(salt, payload).toString('hex');
    const occurredAt = fields.occurredAt ?? new Date(nowMs()).toISOString();
    const header = encodeHeader(
      completeHeader(orgId, streamId, reservation, { ...owner, ...fields, occurredAt }, payloadHash),
    );
    const prev = Buffer.from(head.hash);
    const chain = chainLink(prev, hashEvent(header));
    head = { seq: reservation.seq, hash: chain };
    lastReserved = Math.max(lastReserved, head.seq);
    return { seq: head.seq, id: reservation.id, header, payload, salt, prev, chain };
  };

  return {
    get head() {
      return head;
    },
    reserve,
    append,
  };
}

/** Ids are strings until here; `encodeHeader` checks each one, which is what the casts rely on. */
function completeHeader(
  orgId: string,
  streamId: string,
  { seq, id }: Reservation,
  fields: EventFields & { readonly occurredAt: string },
  payloadHash: string | null,
): EventHeader {
  const { lineage = {} } = fields;
  return {
    v: 1,
    org: orgId as EventHeader['org'],
    stream: streamId as EventHeader['stream'],
    seq,
    id: id as EventHeader['id'],
    kind: fields.kind,
    session: (fields.session ?? null) as EventHeader['session'],
    user: (fields.user ?? null) as EventHeader['user'],
    agent: shown(fields.agent),
    tool: shown(fields.tool),
    toolUse: shown(fields.toolUse),
    decision: fields.decision ?? null,
    rule: shown(fields.rule),
    policyVersion: fields.policyVersion ?? null,
    mode: fields.mode ?? null,
    occurredAt: fields.occurredAt,
    lineage: {
      leases: (lineage.leases ?? []) as EventLineage['leases'],
      connection: (lineage.connection ?? null) as EventLineage['connection'],
      approval: (lineage.approval ?? null) as EventLineage['approval'],
      serverEvent: lineage.serverEvent ?? null,
    },
    redaction: fields.redaction ?? 'none',
    payloadHash,
    missing: fields.missing ?? null,
  };
}

/** Whatever an agent calls its tools, and whatever an older version left in its spool: a backend refuses what is hidden. */
const shown = (text: string | null | undefined): string | null => (text ? showHidden(text) : (text ?? null));
