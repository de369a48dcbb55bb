import type { ChainedEvent } from '@kontext/audit';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestOrganisation, type TestOrganisation } from '../organisations/test-organisation.ts';
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
    const audit = createAuditService({ store: opened.store });
    await fc.assert(
      fc.asyncProperty(sends, async (steps) => {
        const client = await openTestSession(opened.store, org.owner, new Date());
        const honest = Array.from({ length: total }, () => client.write());
        const model = new Model();
        for (const { from, length, forged } of steps) {
          const to = Math.min(total, from + length - 1);
          const wanted = model.expect(from, to, forged);
          if (wanted === 'not sent') continue;
          const events = forged ? forge(client, honest, from) : honest.slice(from - 1, to);
          expect((await audit.append(org.owner, client.batch(events))).status).toBe(wanted);
        }
        const query = { streamId: client.opened.clientStreamId, fromSeq: 0, pageSize: 0 };
        const { events } = await audit.readStream(org.owner, query);
        expect(events.map((event) => event.header)).toEqual(
          honest.slice(0, model.head).map((event) => event.header),
        );
      }),
      { numRuns: 15 },
    );
  });
});
