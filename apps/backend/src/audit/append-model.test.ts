import type { ChainedEvent } from '@kontext/audit';
import { eq } from 'drizzle-orm';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestOrganisation, type TestOrganisation } from '../organisations/test-organisation.ts';
import { sessions } from '../store/schema.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { createAuditService } from './audit-service.ts';
import { openTestSession, type TestClient } from './test-client.ts';

/** What a stream must do, in few lines: `true` events are the honest ones, a forged batch begins with other bytes. */
class Model {
  head = 0;
  expect(from: number, to: number, forged: boolean): string {
    if (from > this.head + 1) return 'gap';
    // A forger continues an honest prefix with an event of its own: the same place, other bytes.
    if (forged && from <= this.head) return 'fork';
    if (forged) return 'not sent';
    if (to <= this.head) return 'dup';
    this.head = to;
    return 'ok';
  }
}

const total = 12;
const sends = fc.array(
  fc.record({
    from: fc.integer({ min: 1, max: total }),
    length: fc.integer({ min: 1, max: 5 }),
    forged: fc.boolean(),
    replica: fc.integer({ min: 0, max: 1 }),
  }),
  { minLength: 1, maxLength: 12 },
);

describe.each(testStores())('batches in any order on $kind', ({ open }) => {
  let opened: TestStore;
  let org: TestOrganisation;
  beforeAll(async () => {
    opened = await open();
    org = await createTestOrganisation(opened.store, new Date());
  });
  afterAll(() => opened?.close());

  const forge = (client: TestClient, honest: readonly ChainedEvent[], from: number): ChainedEvent[] => {
    const before = honest[from - 1];
    return before ? [client.forkFrom({ seq: from - 1, hash: before.prev }).write({ tool: 'Forged' })] : [];
  };

  test('repeated, reordered, overlapping and forged batches do what the model does', async () => {
    // Each remembers heads of its own; what one stored is behind the other's back.
    const replicas = [0, 1].map(() => createAuditService({ store: opened.store }));
    await fc.assert(
      fc.asyncProperty(sends, async (steps) => {
        const client = await openTestSession(opened.store, org.owner, new Date());
        const honest = Array.from({ length: total }, () => client.write());
        const model = new Model();
        for (const { from, length, forged, replica } of steps) {
          const to = Math.min(total, from + length - 1);
          const wanted = model.expect(from, to, forged);
          if (wanted === 'not sent') continue;
          const events = forged ? forge(client, honest, from) : honest.slice(from - 1, to);
          const answer = await replicas[replica]?.append(org.owner, client.batch(events));
          expect(answer?.status).toBe(wanted);
        }
        const query = { streamId: client.opened.clientStreamId, fromSeq: 0, pageSize: 0 };
        const { events } = await createAuditService({ store: opened.store }).readStream(org.owner, query);
        expect(events.map((event) => event.header)).toEqual(
          honest.slice(0, model.head).map((event) => event.header),
        );
      }),
      { numRuns: 15 },
    );
  });

  test('a session that another replica ended writes late, and 7 days on not at all', async () => {
    let nowMs = Date.now();
    const audit = createAuditService({ store: opened.store, nowMs: () => nowMs });
    const client = await openTestSession(opened.store, org.owner, new Date(nowMs));
    const append = (events: readonly ChainedEvent[]) => audit.append(org.owner, client.batch(events));
    for (let n = 0; n < 3; n += 1) await append([client.write()]);
    await opened.store.transaction({ role: 'system', orgId: null }, (tx) =>
      tx
        .update(sessions)
        .set({ state: 'ended', endedAt: new Date(nowMs) })
        .where(eq(sessions.id, client.sessionId)),
    );
    await append([client.write()]);
    const query = { streamId: client.opened.clientStreamId, fromSeq: 0, pageSize: 0 };
    const { events } = await audit.readStream(org.owner, query);
    expect(events.map(({ late }) => late)).toEqual([false, false, false, true]);
    nowMs += 8 * 86_400_000;
    await expect(append([client.write()])).rejects.toMatchObject({ code: 'KX_SESSION_ENDED' });
  });

  test('somebody else is refused at a head that is remembered', async () => {
    const audit = createAuditService({ store: opened.store });
    const client = await openTestSession(opened.store, org.owner, new Date());
    for (let n = 0; n < 2; n += 1) await audit.append(org.owner, client.batch([client.write()]));
    const stranger = await org.addUser('member');
    await expect(audit.append(stranger, client.batch([client.write()]))).rejects.toMatchObject({
      code: 'KX_NOT_FOUND',
    });
  });
});
