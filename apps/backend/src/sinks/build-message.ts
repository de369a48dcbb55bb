/**
 * A message of a sink: events that follow each other in the organisation's log.
 *
 * Which events a message holds is stored before its first attempt (`audit_sink_deliveries`), so that one id means the same events
 * in every attempt. Events are never changed; a payload can have been erased between two attempts.
 */
import { createId } from '@kontext/audit';
import type { SinkDeliveryRow } from '../store/queries/sink-deliveries.ts';
import {
  findStretchEnd,
  type LogPlace,
  readSinkEvents,
  type SinkEventRow,
} from '../store/queries/sink-events.ts';
import type { SinkRow } from '../store/queries/sinks.ts';
import type { Store } from '../store/store.ts';

/** Events in one message. */
const maxEvents = 500;
/** Bytes of a body; a single event larger than that goes alone. */
const maxBodyBytes = 1024 * 1024;
/** What surrounds the events. */
const frameBytes = 1024;
/** Events looked at for one message of a sink that wants only some kinds. */
const scannedEvents = 5000;

/** What comes next for a sink. */
export type NextMessage =
  | { readonly case: 'nothing' }
  /** Nothing of that stretch is wanted. */
  | { readonly case: 'skip'; readonly to: LogPlace }
  | { readonly case: 'message'; readonly delivery: SinkDeliveryRow; readonly body: string };

/** Looks for the next events that a sink is to get. Nothing is stored. */
export async function planMessage(store: Store, sink: SinkRow, now: Date): Promise<NextMessage> {
  const { orgId, nextLeaf, nextSeq, kinds, payloads } = sink;
  const from = { leaf: nextLeaf, seq: nextSeq };
  return store.transaction({ role: 'read', orgId }, async (tx) => {
    const wanted = kinds.length === 0 ? maxEvents : scannedEvents;
    const untilLeaf = await findStretchEnd(tx, orgId, nextLeaf, wanted);
    if (untilLeaf === nextLeaf) return { case: 'nothing' };
    const range = { from, untilLeaf, kinds, payloads, maxEvents: maxEvents + 1, maxBytes: maxBodyBytes };
    const found = await readSinkEvents(tx, orgId, range);
    if (found.length === 0) return { case: 'skip', to: { leaf: untilLeaf, seq: 0 } };
    const { taken, isCut } = takeFitting(found.map((event) => ({ event, json: encodeEvent(event) })));
    const last = taken.at(-1)?.event;
    if (last === undefined) return { case: 'nothing' };
    const delivery: SinkDeliveryRow = {
      ...{ id: createId('skd', now.getTime()), orgId, sinkId: sink.id, state: 'failed' },
      ...{ firstLeaf: nextLeaf, firstSeq: nextSeq, events: taken.length },
      ...(isCut ? endAt(last) : { lastLeaf: untilLeaf - 1, lastSeq: null }),
      ...{ attempts: 0, status: null, error: '', firstAt: now, at: now, dueAt: null },
    };
    return {
      case: 'message',
      delivery,
      body: frame(
        delivery,
        taken.map(({ json }) => json),
      ),
    };
  });
}

/** The body of a stored message, with the same events each time. */
export async function rebuildMessage(
  store: Store,
  { kinds, payloads }: Pick<SinkRow, 'kinds' | 'payloads'>,
  delivery: SinkDeliveryRow,
): Promise<string> {
  const { orgId, firstLeaf, firstSeq, lastLeaf, events } = delivery;
  const from = { leaf: firstLeaf, seq: firstSeq };
  const range = { from, untilLeaf: lastLeaf + 1, kinds, payloads, maxEvents: events };
  const found = await store.transaction({ role: 'read', orgId }, (tx) =>
    readSinkEvents(tx, orgId, { ...range, maxBytes: Number.MAX_SAFE_INTEGER }),
  );
  return frame(delivery, found.map(encodeEvent));
}

/** Where a sink stands once a message is delivered or given up. */
export const placeAfter = ({ lastLeaf, lastSeq }: SinkDeliveryRow): LogPlace =>
  lastSeq === null ? { leaf: lastLeaf + 1, seq: 0 } : { leaf: lastLeaf, seq: lastSeq + 1 };

/** A message that only says that it is a test. */
export const testBody = (sink: SinkRow, now: Date): string =>
  JSON.stringify({
    ...{ type: 'ping', timestamp: now.toISOString(), sink: sink.id, organisation: sink.orgId },
    text: 'kontext: this sink works',
  });

interface Encoded {
  readonly event: SinkEventRow;
  readonly json: string;
}

/** As many as a body holds, at least one. What the query did not read for its size would not fit either. */
function takeFitting(events: readonly Encoded[]): { readonly taken: Encoded[]; readonly isCut: boolean } {
  let bytes = frameBytes;
  const taken: Encoded[] = [];
  for (const one of events) {
    bytes += Buffer.byteLength(one.json) + 1;
    if (taken.length === maxEvents || (bytes > maxBodyBytes && taken.length > 0))
      return { taken, isCut: true };
    taken.push(one);
  }
  return { taken, isCut: bytes > maxBodyBytes };
}

const endAt = ({ leaf, seq, segmentEnd }: SinkEventRow) => ({
  lastLeaf: leaf,
  lastSeq: seq === segmentEnd ? null : seq,
});

/** Texts of headers and payloads go as they are stored: their hashes are over these bytes. */
const encodeEvent = (event: SinkEventRow): string =>
  JSON.stringify({
    ...{ id: event.eventId, stream: event.streamId, seq: event.seq, leaf: event.leaf, kind: event.kind },
    ...{ receivedAt: event.receivedAt.toISOString(), header: event.header, chain: event.chain },
    ...{ payload: event.payload, salt: event.salt },
  });

function frame(
  { orgId, sinkId, firstLeaf, lastLeaf, firstAt }: SinkDeliveryRow,
  events: readonly string[],
): string {
  const head = JSON.stringify({
    ...{ type: 'audit.events', timestamp: firstAt.toISOString(), sink: sinkId, organisation: orgId },
    ...{ firstLeaf, lastLeaf },
  });
  return `${head.slice(0, -1)},"events":[${events.join(',')}]}`;
}
