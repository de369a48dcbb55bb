import type { ChainedEvent, EventFields, Reservation, SpoolEntry, StreamWriter } from '@kontext/audit';
import { fullRedaction } from '@kontext/redaction';
import { type EventSink, type IntentFields, leftOut, type WriteRecord } from '../hooks/event-sink.ts';

/** Limits of one session's spool; what is acknowledged does not count. */
export interface SpoolLimits {
  readonly maxBytes: number;
  readonly maxEvents: number;
}

/** Writes intents and records in order, and counts what had to be dropped. */
export interface RecordWriter extends EventSink {
  /** Events dropped so far. */
  readonly lost: number;
  /** Whether every event is on disk. */
  readonly drained: boolean;
  /** The next event names this event of the server stream. @param hash 32 bytes; anything else is left out. */
  noteServerEvent(hash: Uint8Array): void;
  /** Nothing more comes: records whose payload never came are written without one. */
  settle(): void;
}

/** What the writer stands on. `Place` is where a line lies, which only those two need to know. */
export interface RecordWriterOptions<Place> {
  /** Fields every event of the session has. */
  readonly common: Pick<EventFields, 'session' | 'user' | 'agent'>;
  readonly limits: SpoolLimits;
  readonly nowMs: () => number;
  readonly stream: StreamWriter;
  /** Where lines go; bytes count against the limits. */
  readonly segments: { readonly bytes: number; append(entry: SpoolEntry, seq: number): Place };
  /** Told of every record on disk. */
  readonly queue: { readonly length: number; add(event: ChainedEvent, place: Place): void };
  /** Told of every written line. */
  readonly onLine: () => void;
}

/** An event whose intent is written; `payload` is undefined until the answer is out. */
interface Pending {
  readonly fields: EventFields;
  readonly reservation: Reservation;
  payload: Parameters<WriteRecord>[0] | undefined;
}

/** Fields an intent line always has. */
const emptyIntent = {
  tool: null,
  toolUse: null,
  decision: null,
  rule: null,
  policyVersion: null,
  mode: null,
};

/** Makes the writer of one spool. */
export function createRecordWriter<Place>(options: RecordWriterOptions<Place>): RecordWriter {
  const { common, limits, nowMs, stream, segments, queue, onLine } = options;
  const pending: Pending[] = [];
  const losses = createLosses(nowMs);
  /** A promised seq whose intent line could not be written: the next event takes it, so that no gap appears. */
  let spare: Reservation | null = null;
  /** An event whose record could not be written: the chain has moved on, so it goes first, as it is. */
  let unwritten: ChainedEvent | null = null;
  let serverEvent: string | null = null;
  let diskRefuses = false;

  const drain = (): void => {
    diskRefuses = false;
    for (let next = pending[0]; next?.payload !== undefined; next = pending[0]) {
      unwritten ??= chain(next, next.payload);
      try {
        queue.add(unwritten, segments.append({ kind: 'record', record: unwritten }, unwritten.seq));
      } catch {
        diskRefuses = true;
        return;
      }
      unwritten = null;
      pending.shift();
      onLine();
    }
  };

  const chain = ({ fields, reservation }: Pending, payload: Parameters<WriteRecord>[0]): ChainedEvent => {
    // The last quarter of the space is for headers.
    if (payload === leftOut || (payload !== null && segments.bytes < limits.maxBytes * 0.75)) {
      try {
        return stream.append(fields, payload === leftOut ? null : payload, reservation);
      } catch {
        // A payload the format refuses must not cost the event.
      }
    }
    try {
      return stream.append({ ...fields, missing: 'payload' }, null, reservation);
    } catch {
      // Nor must a name: the promised seq is taken by an event that says no more than that it was.
      const { kind, occurredAt = new Date(nowMs()).toISOString() } = fields;
      return stream.append({ kind, occurredAt, ...common, missing: 'payload' }, null, reservation);
    }
  };

  const isFull = (): boolean =>
    segments.bytes >= limits.maxBytes || queue.length + pending.length >= limits.maxEvents;

  const begin = (fields: IntentFields): Pending | null => {
    const occurredAt = new Date(nowMs()).toISOString();
    const reservation = spare ?? stream.reserve();
    try {
      segments.append(
        { kind: 'intent', intent: { ...emptyIntent, ...fields, ...reservation, occurredAt } },
        reservation.seq,
      );
      spare = null;
    } catch {
      spare = reservation;
      return null;
    }
    onLine();
    const lineage = { ...fields.lineage, ...(serverEvent === null ? {} : { serverEvent }) };
    serverEvent = null;
    const item: Pending = {
      fields: { ...fields, ...common, lineage, occurredAt, redaction: fullRedaction },
      reservation,
      payload: undefined,
    };
    pending.push(item);
    return item;
  };

  const reportLosses = (): void => {
    const payload = losses.describe();
    const item = payload === null ? null : begin({ kind: 'events.lost' });
    if (item === null) return;
    item.payload = payload;
    losses.clear();
    drain();
  };

  return {
    get full() {
      if (diskRefuses) drain();
      return diskRefuses || isFull();
    },
    get lost() {
      return losses.total;
    },
    get drained() {
      return pending.length === 0 && losses.describe() === null;
    },
    noteServerEvent(hash) {
      if (hash.length === 32) serverEvent = Buffer.from(hash).toString('hex');
    },
    intend(fields): WriteRecord | null {
      if (diskRefuses) drain();
      if (diskRefuses || isFull()) return losses.add();
      reportLosses();
      const item = begin(fields);
      if (item === null) return losses.add();
      return (payload) => {
        item.payload ??= payload;
        drain();
      };
    },
    settle() {
      for (const item of pending) item.payload ??= null;
      drain();
      reportLosses();
    },
  };
}

/** Counts dropped events until one event of the stream has said so. */
function createLosses(nowMs: () => number) {
  let open: { readonly count: number; readonly from: string; readonly to: string } | null = null;
  let total = 0;
  return {
    get total() {
      return total;
    },
    add(): null {
      const to = new Date(nowMs()).toISOString();
      open = { count: (open?.count ?? 0) + 1, from: open?.from ?? to, to };
      total += 1;
      return null;
    },
    describe: (): string | null => (open === null ? null : JSON.stringify({ schema: 1, ...open })),
    clear() {
      open = null;
    },
  };
}
