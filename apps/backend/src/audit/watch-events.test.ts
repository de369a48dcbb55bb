import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Caller } from '../caller.ts';
import {
  createTestOrganisation,
  type TestOrganisation,
  testKms,
} from '../organisations/test-organisation.ts';
import type { Store } from '../store/store.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { createAppendSignal } from './append-signal.ts';
import { type AuditService, createAuditService } from './audit-service.ts';
import { createLogKeys } from './log/log-key.ts';
import { sequenceLogs } from './log/sequence-log.ts';
import { openTestSession, type TestClient } from './test-client.ts';
import { watchEvents } from './watch-events.ts';
import { createWatchSlots } from './watch-slots.ts';

describe.each(testStores())('a watch that goes on on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  let audit: AuditService;
  let org: TestOrganisation;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
    audit = createAuditService({ store });
    org = await createTestOrganisation(store, new Date());
  });
  afterAll(() => opened?.close());

  const sequence = () => {
    const keys = createLogKeys({ store, kms: testKms, host: 'kontext.test', nowMs: Date.now });
    return sequenceLogs({ store, keys, nowMs: Date.now });
  };
  const send = (client: TestClient, count: number, caller: Caller = org.owner) =>
    audit.append(caller, client.batch(Array.from({ length: count }, () => client.write())));
  const watch = (
    cursor: string,
    caller: Caller = org.owner,
    sessionId: string | null = null,
    sinceSeconds = 3600,
  ) => {
    const stop = new AbortController();
    const query = { sessionId, sinceSeconds, cursor, untilMs: Date.now() + 60_000 };
    return { batches: audit.watch(caller, query, stop.signal), stop };
  };
  /** What a watch from a cursor sends until it saw as many events as there are, and where it ended. */
  const readOn = async (cursor: string, count: number, caller?: Caller, sessionId?: string | null) => {
    const seen: string[] = [];
    const { batches, stop } = watch(cursor, caller, sessionId);
    let last = cursor;
    if (count > 0) {
      for await (const batch of batches) {
        seen.push(...batch.events.map(({ streamId, seq }) => `${streamId}:${seq}`));
        last = batch.cursor;
        if (seen.length >= count) break;
      }
    }
    stop.abort();
    return { seen, cursor: last };
  };

  test('sends each event once over any cuts, however the log moves between', async () => {
    const step = fc.constantFrom('send a', 'send b', 'send many', 'sequence', 'cut', 'cut');
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 12 }), async (steps) => {
        const own = await createTestOrganisation(store, new Date());
        const [a, b] = [
          await openTestSession(store, own.owner, new Date()),
          await openTestSession(store, own.owner, new Date()),
        ];
        const { clientStreamId: first } = a.opened;
        const { clientStreamId: second } = b.opened;
        // Of the two sessions; that they were opened comes besides.
        let cursor = '';
        let stored = 0;
        const seen: string[] = [];
        const isOurs = (id: string) => id.startsWith(first) || id.startsWith(second);
        const readNew = async () => {
          while (seen.filter(isOurs).length < stored) {
            const next = await readOn(cursor, 1, own.owner);
            seen.push(...next.seen);
            cursor = next.cursor;
          }
        };
        for (const one of [...steps, 'cut']) {
          if (one === 'sequence') await sequence();
          else if (one === 'cut') await readNew();
          else {
            const count = one === 'send many' ? 7 : 2;
            await send(one === 'send b' ? b : a, count, own.owner);
            stored += count;
          }
        }
        expect(seen).toHaveLength(new Set(seen).size);
        for (const stream of [first, second]) {
          const seqs = seen.filter((id) => id.startsWith(stream)).map((id) => Number(id.split(':')[1]));
          expect(seqs).toEqual(seqs.map((_, at) => at + 1));
        }
      }),
      { numRuns: 6 },
    );
  });

  test('sends what was received before what was sent already, when it is stored later', async () => {
    const slow = createAuditService({ store, nowMs: () => Date.now() - 60_000 });
    const own = await createTestOrganisation(store, new Date());
    const [a, b] = [
      await openTestSession(store, own.owner, new Date()),
      await openTestSession(store, own.owner, new Date()),
    ];
    await send(a, 1, own.owner);
    await sequence();
    // Organisation, two sessions, one event.
    const { cursor } = await readOn('', 4, own.owner);
    await slow.append(own.owner, b.batch([b.write()]));
    const { seen } = await readOn(cursor, 1, own.owner);
    expect(seen).toEqual([`${b.opened.clientStreamId}:1`]);
  });

  test('takes more than a batch in pieces, each with a cursor that goes on behind it', async () => {
    const client = await openTestSession(store, org.owner, new Date());
    for (let i = 0; i < 3; i += 1) await send(client, 250);
    await sequence();
    const seen: string[] = [];
    let cursor = '';
    while (seen.length < 751) {
      const next = await readOn(cursor, 1, org.owner, client.sessionId);
      expect(next.seen.length).toBeLessThanOrEqual(500);
      seen.push(...next.seen);
      cursor = next.cursor;
    }
    expect(new Set(seen).size).toBe(751);
  });

  test('bounds a batch by bytes, too, and leaves nothing out', async () => {
    const client = await openTestSession(store, org.owner, new Date());
    const payload = JSON.stringify({ command: 'word '.repeat(12_000) });
    const events = Array.from({ length: 150 }, () => client.write({}, payload));
    await audit.append(org.owner, client.batch(events));
    const { batches, stop } = watch('', org.owner, client.sessionId);
    const sizes: number[] = [];
    const seqs: number[] = [];
    for await (const { events: batch } of batches) {
      const bytes = batch.map((event) => event.header.length + (event.payload?.length ?? 0));
      sizes.push(bytes.reduce((sum, own) => sum + own, 0));
      seqs.push(...batch.filter(({ kind }) => kind === 'tool_call.decided').map(({ seq }) => seq));
      if (seqs.length >= 150) break;
    }
    stop.abort();
    expect(seqs).toEqual(Array.from({ length: 150 }, (_, at) => at + 1));
    expect(Math.max(...sizes)).toBeLessThanOrEqual(4 * 1024 ** 2);
    expect(sizes.filter((bytes) => bytes > 3 * 1024 ** 2).length).toBeGreaterThanOrEqual(2);
  });

  test('sends an event that is larger than a batch may be by itself', async () => {
    const client = await openTestSession(store, org.owner, new Date());
    await send(client, 3);
    const options = { nowMs: Date.now, maxBytes: 1, slots: createWatchSlots() };
    const query = { sessionId: client.sessionId, sinceSeconds: 3600, untilMs: Date.now() + 60_000 };
    const stop = new AbortController();
    const counts: number[] = [];
    const batches = watchEvents(store, createAppendSignal(), org.owner, query, stop.signal, options);
    for await (const { events } of batches) {
      counts.push(events.length);
      if (counts.length === 3) break;
    }
    stop.abort();
    expect(counts).toEqual([1, 1, 1]);
  });

  test.each([
    ['one person', { perUser: 2, perOrganisation: 9, perProcess: 9 }],
    ['one organisation', { perUser: 9, perOrganisation: 2, perProcess: 9 }],
    ['all organisations', { perUser: 9, perOrganisation: 9, perProcess: 2 }],
  ])(
    'refuses more watches of %s than may be open, and takes one again when one has ended',
    async (whose, watchLimits) => {
      const limited = createAuditService({ store, watchLimits });
      const query = { sessionId: null, sinceSeconds: 3600, untilMs: Date.now() + 60_000 };
      const openOne = () => limited.watch(org.owner, query, new AbortController().signal);
      const [first, second] = [openOne(), openOne()];
      await Promise.all([first.next(), second.next()]);

      await expect(openOne().next()).rejects.toMatchObject({
        code: 'KX_WATCH_LIMIT',
        message: expect.stringContaining(`2 watches of ${whose} are open`),
        hint: expect.stringContaining('close one'),
      });
      await first.return(undefined);
      const third = openOne();
      expect((await third.next()).done).toBe(false);
      await Promise.all([second.return(undefined), third.return(undefined)]);
    },
  );

  test('gives its place back when it fails, expires or is aborted', async () => {
    const watchLimits = { perUser: 1, perOrganisation: 1, perProcess: 1 };
    const limited = createAuditService({ store, watchLimits });
    const query = { sessionId: null, sinceSeconds: 0, untilMs: Date.now() + 60_000 };
    const stop = new AbortController();
    const openOne = (change = {}) => limited.watch(org.owner, { ...query, ...change }, stop.signal);

    await expect(openOne({ cursor: 'x' }).next()).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
    expect((await openOne({ untilMs: 0 }).next()).done).toBe(true);
    const waiting = openOne().next();
    stop.abort();
    expect((await waiting).done).toBe(true);
    expect((await openOne().next()).done).toBe(true);
  });

  test('a cursor shows a member nothing but their own sessions', async () => {
    const ann = await org.addUser('member');
    const [own, foreign] = [
      await openTestSession(store, ann, new Date()),
      await openTestSession(store, org.owner, new Date()),
    ];
    await send(foreign, 1);
    const { cursor } = await readOn('', 1);
    await send(foreign, 1);
    await send(own, 1, ann);
    await sequence();
    const { seen } = await readOn(cursor, 1, ann);
    expect(
      seen.filter(
        (id) => !id.startsWith(own.opened.clientStreamId) && !id.startsWith(own.opened.serverStreamId),
      ),
    ).toEqual([]);
    expect(seen).toContain(`${own.opened.clientStreamId}:1`);
  });

  test('refuses a cursor that is not one of ours, of another watch, or beyond the log', async () => {
    const client = await openTestSession(store, org.owner, new Date());
    await send(client, 1);
    const { cursor } = await readOn('', 1, org.owner, client.sessionId);
    const fields = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    const seal = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const bent = [
      ...['x', seal(null), seal([]), 'A'.repeat(500_000)],
      ...[
        [0, 2],
        [1, -1],
        [1, 1e300],
        [3, "' OR 1=1"],
        [3, 1_000_000],
        [4, [['str_1', 1]]],
        [4, [["'; --", 1]]],
        [4, Array.from({ length: 5000 }, () => [client.opened.clientStreamId, 1])],
      ].map(([at, value]) => seal(fields.map((field: unknown, i: number) => (i === at ? value : field)))),
    ];
    for (const text of bent) {
      const asked = watch(text, org.owner, client.sessionId).batches.next();
      await expect(asked).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
    }
    await expect(watch(cursor).batches.next()).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
  });
});
