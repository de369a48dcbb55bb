/**
 * Property of delivery: whatever receivers answer, whichever replica dies, and however many work at once, a receiver hears of
 * every event of its organisation's log, first of each in the order of the log, and of no other organisation's.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SafeFetch } from '../providers/safe-fetch.ts';
import { readSinkEvents } from '../store/queries/sink-events.ts';
import { auditSinks } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { openSinkRoom, type SinkRoom } from './test-sinks.ts';

/** What becomes of a request: taken, taken but nobody hears of it, refused, lost, or the replica dies while it waits. */
type Fate = 'taken' | 'answer lost' | 'refused' | 'lost' | 'dies before' | 'dies after';

const steps = fc.array(
  fc.oneof(
    fc.record({
      do: fc.constant('append' as const),
      org: fc.constantFrom(0 as const, 1 as const),
      count: fc.integer({ min: 1, max: 4 }),
    }),
    fc.record({ do: fc.constant('run' as const) }),
    fc.record({ do: fc.constant('both' as const) }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(500, 5_000, 61_000) }),
  ),
  { minLength: 4, maxLength: 12 },
);
const fates = fc.array(
  fc.constantFrom<Fate>('taken', 'answer lost', 'refused', 'lost', 'dies before', 'dies after'),
  { maxLength: 15 },
);

interface Message {
  readonly organisation: string;
  readonly events: readonly { readonly id: string; readonly leaf: number; readonly seq: number }[];
}

/** A receiver by organisation: what it heard, and with which id. */
class Model {
  readonly heard: { readonly id: string; readonly message: Message }[] = [];
  private readonly fates: Fate[];

  constructor(planned: readonly Fate[]) {
    this.fates = [...planned];
  }

  /** From now on everything is taken. */
  recover(): void {
    this.fates.splice(0);
  }

  /** How one replica reaches the receiver; `onDeath` is called when the replica is to die. */
  fetchOf(onDeath: () => void): SafeFetch {
    return async (_url, { headers = {}, body = '' }) => {
      const fate = this.fates.shift() ?? 'taken';
      const isHeard = fate === 'taken' || fate === 'answer lost' || fate === 'dies after';
      if (isHeard) this.heard.push({ id: headers['webhook-id'] ?? '', message: JSON.parse(body) });
      if (fate === 'dies before' || fate === 'dies after') {
        onDeath();
        return new Promise(() => undefined);
      }
      if (fate === 'answer lost' || fate === 'lost') throw new Error('no answer');
      return { status: fate === 'refused' ? 503 : 200, headers: {}, body: Buffer.alloc(0) };
    };
  }

  /** Events of an organisation in the order in which each was first heard of. */
  firsts(orgId: string): string[] {
    const own = this.heard.filter(({ message }) => message.organisation === orgId);
    return [...new Set(own.flatMap(({ message }) => message.events.map(({ id }) => id)))];
  }

  /** Whether one id always meant the same events. */
  isStable(): boolean {
    const byId = new Map<string, string>();
    return this.heard.every(({ id, message }) => {
      const text = JSON.stringify(message);
      const before = byId.get(id) ?? text;
      byId.set(id, text);
      return before === text;
    });
  }
}

describe.each(testStores())('delivery on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
  });
  afterAll(() => opened?.close());

  /** Ids of an organisation's events in the order of its log, from the sink's beginning on. */
  const logOf = async (room: SinkRoom, fromLeaf: number): Promise<string[]> => {
    const range = { from: { leaf: fromLeaf, seq: 0 }, untilLeaf: 1_000_000, kinds: [], payloads: false };
    const rows = await store.transaction({ role: 'read', orgId: room.org.orgId }, (tx) =>
      readSinkEvents(tx, room.org.orgId, { ...range, maxEvents: 10_000, maxBytes: 1e9 }),
    );
    return rows.map(({ eventId }) => eventId);
  };

  it('loses nothing, keeps the order, mixes no organisations, and gives one message one id', async () => {
    await fc.assert(
      fc.asyncProperty(steps, fates, async (planned, plannedFates) => {
        const model = new Model(plannedFates);
        const rooms = [await openSinkRoom(store), await openSinkRoom(store)] as const;
        const now = { ms: Math.max(...rooms.map((room) => room.nowMs())) };
        /** A replica that works until it has nothing to do or dies, and then nobody waits for it. */
        const run = (): Promise<void> =>
          new Promise((resolve, reject) => {
            const fetch = model.fetchOf(resolve);
            rooms[0]
              .replica({ fetch, nowMs: () => now.ms })
              .deliver()
              .then(resolve, reject);
          });
        const begins: number[] = [];
        for (const { org, sinks, sequence } of rooms) {
          await sequence();
          const wanted = { name: 's', url: 'https://logs.example/', kinds: [], payloads: true, since: null };
          begins.push((await sinks.add(org.owner, wanted)).sink.sink.nextLeaf);
          await sequence();
        }
        for (const step of planned) {
          if (step.do === 'append') await rooms[step.org].append(step.count);
          else if (step.do === 'run') await run();
          else if (step.do === 'both') await Promise.all([run(), run()]);
          else now.ms += step.ms;
        }
        model.recover();
        // Claims of the dead end, pauses are over.
        now.ms += 3_600_000;
        await run();
        for (const [at, room] of rooms.entries()) {
          expect(model.firsts(room.org.orgId)).toEqual(await logOf(room, begins[at] ?? 0));
        }
        expect(model.isStable()).toBe(true);
        await store.transaction({ role: 'system', orgId: null }, (tx) =>
          tx.update(auditSinks).set({ state: 'paused' }),
        );
      }),
      { numRuns: 10 },
    );
  }, 240_000);
});
