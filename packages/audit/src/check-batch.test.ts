import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type BatchEvent,
  type BatchVerdict,
  type ChainedEvent,
  type ClientStream,
  checkBatch,
  createId,
  createStreamWriter,
  type EventFields,
  firstLink,
  type StreamHead,
} from './index.ts';

const nonce = randomBytes(32);
const stream: ClientStream = {
  orgId: createId('org'),
  streamId: createId('str'),
  sessionId: createId('ses'),
  userId: createId('usr'),
};
const empty: StreamHead = { seq: 0, hash: firstLink(stream.orgId, stream.streamId, nonce) };

function writeEvents(count: number, head = empty, fields: Partial<EventFields> = {}): ChainedEvent[] {
  const owner = { session: stream.sessionId, user: stream.userId, agent: 'claude' };
  const writer = createStreamWriter({ ...stream, from: { head }, owner });
  return Array.from({ length: count }, (_, n) =>
    writer.append({ kind: 'agent.event', ...fields }, n % 2 === 0 ? `{"n":${n}}` : null),
  );
}

/** A stream's stored side, driven by verdicts as the backend drives its tables. */
function createStore() {
  const rows: BatchEvent[] = [];
  let head = empty;
  return {
    rows,
    append(events: readonly BatchEvent[], prev: Uint8Array): BatchVerdict {
      const storedChain = (seq: number) => rows[seq - 1]?.chain;
      const verdict = checkBatch({ stream, head, prev, events, storedChain });
      if (verdict.status === 'ok') {
        rows.push(...verdict.events);
        head = verdict.head;
      }
      return verdict;
    },
  };
}

const prevOf = (events: readonly ChainedEvent[]): Buffer => events[0]?.prev ?? Buffer.alloc(32);
const sendTo = (store: ReturnType<typeof createStore>, events: readonly ChainedEvent[]): BatchVerdict =>
  store.append(events, prevOf(events));

describe('checkBatch', () => {
  const all = writeEvents(6);

  it('takes a batch after the head and moves the head', () => {
    const verdict = sendTo(createStore(), all.slice(0, 3));

    expect(verdict).toMatchObject({ status: 'ok', head: { seq: 3, hash: all[2]!.chain } });
  });

  it('answers dup to what is stored, also to an old part of it', () => {
    const store = createStore();
    sendTo(store, all);

    expect(sendTo(store, all)).toEqual({ status: 'dup' });
    expect(sendTo(store, all.slice(1, 3))).toEqual({ status: 'dup' });
  });

  it('takes only the rest of a batch that is partly stored', () => {
    const store = createStore();
    sendTo(store, all.slice(0, 4));

    const verdict = sendTo(store, all.slice(2));

    expect(verdict).toMatchObject({ status: 'ok', events: [{ seq: 5 }, { seq: 6 }] });
  });

  it('names the seq to send from when events are missing before the batch', () => {
    const store = createStore();
    sendTo(store, all.slice(0, 2));

    expect(sendTo(store, all.slice(3))).toEqual({ status: 'gap', expectedSeq: 3 });
  });

  it('calls other events at stored seqs, or linked to another past, a fork', () => {
    const store = createStore();
    sendTo(store, all.slice(0, 3));
    const other = writeEvents(5);
    const branch = [...all.slice(0, 2), ...writeEvents(3, { seq: 2, hash: all[1]!.chain })];

    expect(sendTo(store, other)).toEqual({ status: 'fork', seq: 1 });
    expect(sendTo(store, other.slice(3))).toEqual({ status: 'fork', seq: 4 });
    expect(sendTo(store, branch)).toEqual({ status: 'fork', seq: 3 });
  });

  it('does not take an overlap whose stored chain value is unknown', () => {
    const verdict = checkBatch({
      stream,
      head: { seq: 6, hash: all[5]!.chain },
      prev: prevOf(all),
      events: all.slice(0, 2),
      storedChain: () => undefined,
    });

    expect(verdict).toEqual({ status: 'fork', seq: 1 });
  });

  it('takes an event whose payload was left out, and keeps its header', () => {
    const [first] = all as [ChainedEvent];

    const verdict = createStore().append([{ ...first, payload: null, salt: null }], first.prev);

    expect(verdict.status).toBe('ok');
  });

  const [a, b] = all as [ChainedEvent, ChainedEvent];
  const longRun = writeEvents(501);
  it.each<[string, readonly BatchEvent[], Uint8Array?]>([
    ['an empty batch', []],
    ['over 500 events', longRun],
    ['events out of order', [b, a]],
    ['an event twice', [a, a]],
    ['a seq that is not the one of the header', [{ ...a, seq: 2 }]],
    ['a header that is not one', [{ ...a, header: '{}' }]],
    ['another payload', [{ ...a, payload: '{"n":1}' }]],
    ['another salt', [{ ...a, salt: Buffer.alloc(16) }]],
    ['a payload without salt', [{ ...a, salt: null }]],
    ['a payload the header does not name', [a, { ...b, payload: '', salt: Buffer.alloc(16) }]],
    ['a payload with NUL', [{ ...a, payload: 'a\0' }]],
    ['another chain value', [{ ...a, chain: Buffer.alloc(32) }]],
    ['a chain value of another length', [a, { ...b, chain: b.chain.subarray(1) }]],
    ['a first link of another length', [a], Buffer.alloc(31)],
    ['a first link the chain does not follow from', [a], Buffer.alloc(32)],
    ['another organisation', forgedBy({ orgId: createId('org') })],
    ['another stream', forgedBy({ streamId: createId('str') })],
    ['another session', forgedBy({ sessionId: createId('ses') })],
    ['another user', forgedBy({ userId: createId('usr') })],
    ['a kind only the backend writes', writeEvents(1, empty, { kind: 'credential.resolved' })],
  ])('calls %s invalid and stores nothing', (_, events, prev = a.prev) => {
    const store = createStore();

    expect(store.append(events, prev).status).toBe('invalid');
    expect(store.rows).toEqual([]);
  });

  function forgedBy(change: Partial<ClientStream>): ChainedEvent[] {
    const other = { ...stream, ...change };
    const owner = { session: other.sessionId, user: other.userId };
    return [createStreamWriter({ ...other, from: { head: empty }, owner }).append({ kind: 'agent.event' })];
  }
});

/**
 * The model: a stream is a list of labels. Branch 0 is the true stream; branch k > 0 shares its first k events and
 * has its own after them. A sent batch is a range of one branch.
 */
const length = 12;
const trunk = writeEvents(length);
const branches = Array.from({ length: 5 }, (_, k) => {
  if (k === 0) return trunk;
  return [...trunk.slice(0, k), ...writeEvents(length - k, { seq: k, hash: trunk[k - 1]!.chain })];
});
const label = (branch: number, seq: number): string =>
  seq <= branch || branch === 0 ? `${seq}` : `${branch}:${seq}`;

function createModel() {
  const stored: string[] = [];
  return {
    stored,
    append(branch: number, from: number, to: number): string {
      if (from > stored.length + 1) return 'gap';
      const before = from === 1 ? undefined : label(branch, from - 1);
      if (before !== stored[from - 2]) return 'fork';
      const sent = Array.from({ length: to - from + 1 }, (_, n) => label(branch, from + n));
      const overlap = stored.slice(from - 1, to);
      if (overlap.some((value, n) => value !== sent[n])) return 'fork';
      const rest = sent.slice(overlap.length);
      stored.push(...rest);
      return rest.length === 0 ? 'dup' : 'ok';
    },
  };
}

describe('checkBatch against a model', () => {
  const command = fc.record({
    branch: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(4) }),
    from: fc.integer({ min: 1, max: length }),
    size: fc.integer({ min: 1, max: 6 }),
  });

  it('agrees for any mix of duplicated, reordered, overlapping and forked batches', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 25 }), (commands) => {
        const store = createStore();
        const model = createModel();
        for (const { branch, from, size } of commands) {
          const events = branches[branch]!.slice(from - 1, from - 1 + size);
          const verdict = sendTo(store, events);
          expect(verdict.status).toBe(model.append(branch, from, from - 1 + events.length));
        }
        const chains = model.stored.map(
          (name, n) => branches[Number(name.split(':').at(-2) ?? 0)]![n]!.chain,
        );
        expect(store.rows.map(({ chain }) => chain)).toEqual(chains);
      }),
      { numRuns: 300 },
    );
  });

  it('reaches the whole stream from any shuffled, repeated batches once no gap is left', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 10 }), (commands) => {
        const store = createStore();
        for (const { from, size } of commands) sendTo(store, trunk.slice(from - 1, from - 1 + size));

        expect(['ok', 'dup']).toContain(sendTo(store, trunk).status);
        expect(store.rows.map(({ seq }) => seq)).toEqual(trunk.map(({ seq }) => seq));
      }),
      { numRuns: 100 },
    );
  });
});
