import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAuditService } from '../audit/audit-service.ts';
import { createLogKeys } from '../audit/log/log-key.ts';
import { sequenceLogs } from '../audit/log/sequence-log.ts';
import { dropDuePayloads } from '../audit/payloads/drop-due-payloads.ts';
import { rollUpLogs } from '../audit/rollups/roll-up.ts';
import { openTestSession } from '../audit/test-client.ts';
import {
  createTestOrganisation,
  type TestOrganisation,
  testKms,
} from '../organisations/test-organisation.ts';
import { readFigures } from '../store/queries/metrics.ts';
import { makePartitions } from '../store/queries/partitions.ts';
import type { Store } from '../store/store.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';

const daySeconds = 86_400;

describe.each(testStores())('figures of what is stored on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  let org: TestOrganisation;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
    org = await createTestOrganisation(store, new Date());
  });
  afterAll(() => opened?.close());

  const keysOf = () => createLogKeys({ store, kms: testKms, host: 'kontext.test', nowMs: Date.now });
  /** A minute from now, unless told otherwise. */
  const read = (most?: number, afterSeconds = 60) => {
    const now = new Date(Date.now() + afterSeconds * 1000);
    return store.transaction({ role: 'system', orgId: null }, (tx) => readFigures(tx, now, most));
  };

  test('tell how far log and hourly counts are behind the newest events', async () => {
    const audit = createAuditService({ store });
    const client = await openTestSession(store, org.owner, new Date());
    await audit.append(org.owner, client.batch([client.write()]));
    const stored = await read();
    await sequenceLogs({ store, keys: keysOf(), nowMs: Date.now });
    const sequenced = await read();
    await rollUpLogs({ store, nowMs: Date.now });
    const counted = await read();

    expect(stored.unsequencedSegments).toBeGreaterThan(0);
    expect(stored.unsequencedSeconds).toBeGreaterThanOrEqual(59);
    expect(stored.rollupLagSeconds).toBeGreaterThanOrEqual(59);
    expect([sequenced.unsequencedSegments, sequenced.unsequencedSeconds]).toEqual([0, 0]);
    expect(sequenced.rollupLagSegments).toBeGreaterThan(0);
    expect(sequenced.rollupLagSeconds).toBeGreaterThanOrEqual(59);
    expect(sequenced.checkpointAgeSeconds).toBeGreaterThanOrEqual(59);
    expect([counted.rollupLagSegments, counted.rollupLagSeconds]).toEqual([0, 0]);
  });

  test('tell the age of the newest checkpoint that is signed, past those that are not', async () => {
    const [{ size = 0 } = {}] = await store.transaction({ role: 'system', orgId: null }, async (tx) => {
      const { rows } = await tx.execute<{ size: number }>(sql`
        INSERT INTO audit_checkpoints (org_id, size, root, created_at)
        SELECT org_id, max(size) + 1, '\\x00', now() + interval '50 s' FROM audit_checkpoints GROUP BY 1 RETURNING size`);
      return rows;
    });

    const { checkpointAgeSeconds } = await read();

    expect(Number(size)).toBeGreaterThan(0);
    expect(checkpointAgeSeconds).toBeGreaterThanOrEqual(59);
  });

  test('tell for how long payloads should have been erased, until they are', async () => {
    const before = await read();
    const old = new Date(Date.now() - 40 * daySeconds * 1000).toISOString().slice(0, 10);
    await store.transaction({ role: 'retention', orgId: null }, (tx) => makePartitions(tx, old, 1));
    const overdue = await read(undefined, 0);
    await dropDuePayloads({ store, nowMs: Date.now, logger: { info: () => undefined } });
    const after = await read();

    // 30 days, and the two that a partition takes events for.
    const daysOver = overdue.retentionLagSeconds / daySeconds;
    expect([before.retentionLagSeconds, after.retentionLagSeconds]).toEqual([0, 0]);
    expect(Math.floor(daysOver)).toBe(8);
    expect(overdue.payloadPartitions).toEqual(
      Object.fromEntries(Object.entries(before.payloadPartitions).map(([name, count]) => [name, count + 1])),
    );
    expect(Object.keys(before.payloadPartitions).sort()).toEqual([
      ...['days-30', 'days-365', 'days-90', 'hold', 'standard'],
    ]);
    expect(after.payloadPartitions['days-30']).toBe(before.payloadPartitions['days-30']);
  });

  test('end counting where they are told to', async () => {
    for (let at = 0; at < 3; at += 1) await openTestSession(store, org.owner, new Date());

    const [all, some] = [await read(), await read(2)];

    expect(all.sessionsLive).toBeGreaterThan(3);
    expect(all.unsequencedSegments).toBeGreaterThan(2);
    expect([some.sessionsLive, some.unsequencedSegments]).toEqual([2, 2]);
  });
});
