import {
  createStreamWriter,
  type EventFields,
  type EventLineage,
  hashEvent,
  headerLimits,
  headerTextFields,
  parseHeader,
  toHeaderText,
} from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { appendEvents } from '../store/queries/append-events.ts';
import { lockServerStream, type StreamRow } from '../store/queries/audit-streams.ts';
import { insertRefs } from '../store/queries/lineage.ts';
import type { Tx } from '../store/tx.ts';
import { toNewEvent } from './new-event.ts';
import { withoutSecrets } from './withhold-payloads.ts';

/** Which stream the backend writes to: that of a session, or with null the organisation's admin stream. */
export interface ServerStream {
  readonly orgId: string;
  readonly sessionId: string | null;
  /** The stream as this transaction made it: nobody else can see it, so it needs no lock. Left out: it is read and locked. */
  readonly made?: StreamRow;
}

/** What happened. `facts` become the payload, as JSON; nothing secret may stand in them. */
export interface ServerEvent extends Omit<EventFields, 'session' | 'occurredAt'> {
  readonly facts?: Readonly<Record<string, unknown>>;
}

/** Where the event stands. */
export interface ServerEventRef {
  readonly streamId: string;
  readonly seq: number;
  readonly eventId: string;
  /** 32 bytes; what the next client event carries in `lineage.serverEvent` (as hex). */
  readonly eventHash: Buffer;
}

/**
 * Appends one event to a stream of the backend; see {@link appendServerEvents}.
 */
export async function appendServerEvent(
  tx: Tx,
  stream: ServerStream,
  event: ServerEvent,
  now: Date,
): Promise<ServerEventRef> {
  const [ref] = await appendServerEvents(tx, stream, [event], now);
  if (ref === undefined) throw new KontextError('KX_INTERNAL', 'an audit event was not stored');
  return ref;
}

/**
 * Appends events to a stream of the backend, in the transaction that does the work they are about: both or neither.
 *
 * The stream's head stays locked until that transaction ends: call it last, and for one stream per transaction (a session's
 * before the organisation's where both are needed). Works under the roles `app`, `ingest` and `system`.
 *
 * @returns One reference per event, same order.
 * @throws KontextError `KX_INTERNAL` when the stream does not exist.
 */
export async function appendServerEvents(
  tx: Tx,
  { orgId, sessionId, made }: ServerStream,
  events: readonly ServerEvent[],
  now: Date,
): Promise<ServerEventRef[]> {
  const stream = made ?? (await lockServerStream(tx, orgId, sessionId));
  if (stream === null) {
    throw new KontextError('KX_INTERNAL', 'the audit stream to write to does not exist', {
      why: sessionId ?? orgId,
    });
  }
  const head = { seq: stream.headSeq, hash: stream.headHash };
  const nowMs = () => now.getTime();
  const writer = createStreamWriter({ orgId, streamId: stream.id, from: { head }, nowMs });
  const written = events.map(({ facts, ...fields }) =>
    writer.append(
      { ...fields, ...namesOf(fields), session: sessionId },
      facts === undefined ? null : JSON.stringify(facts),
    ),
  );
  const refs = written.map(({ seq, id, header }) => ({
    streamId: stream.id,
    seq,
    eventId: id,
    eventHash: hashEvent(header),
  }));
  const last = refs.at(-1);
  if (last === undefined) return [];
  const rows = written.map((event) => toNewEvent(event, parseHeader(event.header)));
  const stored = await appendEvents(tx, stream, rows, { eventHash: last.eventHash, late: false, now });
  if (!stored) throw new KontextError('KX_INTERNAL', 'the head of a locked audit stream moved');
  await insertRefs(
    tx,
    { orgId, streamId: stream.id, now },
    written.flatMap(({ seq, header }, at) =>
      refsOf(parseHeader(header).lineage, events[at]).map((ref) => ({ seq, ref })),
    ),
  );
  return refs;
}

/** Names of a call come from clients here, too: a question about it has them. */
function namesOf(fields: EventFields): Partial<EventFields> {
  const named = headerTextFields.flatMap((field) => {
    const text = fields[field];
    return text ? [[field, toHeaderText(text, headerLimits[field], redactName)]] : [];
  });
  return Object.fromEntries(named);
}

const redactName = (text: string): string => withoutSecrets(text) || '[redacted]';

/** What an event is about: for search and lineage, beside the header. */
function refsOf({ leases, connection, approval }: EventLineage, event: ServerEvent | undefined): string[] {
  const provider = event?.facts?.provider;
  const named =
    typeof provider === 'string' && /^[a-z0-9][a-z0-9-]*$/.test(provider) ? [`provider:${provider}`] : [];
  const ids = [...leases, connection, approval].filter((id) => id !== null);
  return [...new Set([...ids, ...named])];
}
