import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Caller } from '../../caller.ts';
import {
  createTestOrganisation,
  type TestOrganisation,
  testKms,
} from '../../organisations/test-organisation.ts';
import type { Store } from '../../store/store.ts';
import { type TestStore, testStores } from '../../store/test-stores.ts';
import { type AuditService, createAuditService } from '../audit-service.ts';
import { createLogKeys } from '../log/log-key.ts';
import { sequenceLogs } from '../log/sequence-log.ts';
import { openTestSession, type TestClient } from '../test-client.ts';
import { rollUpLogs } from './roll-up.ts';

const hourMs = 3_600_000;

describe.each(testStores())('roll-ups on $kind', ({ open }) => {
  // In the middle of an hour, so that a test of a few minutes does not cross its end.
  let nowMs = Math.floor(Date.now() / hourMs) * hourMs + hourMs / 2;
  let opened: TestStore;
  let store: Store;
  let audit: AuditService;
  const clock = () => nowMs;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
    audit = createAuditService({ store, nowMs: clock });
  });
  afterAll(() => opened?.close());

  const sequence = () =>
    sequenceLogs({
      store,
      keys: createLogKeys({ store, kms: testKms, host: 'kontext.test', nowMs: clock }),
      nowMs: clock,
    });
  const rollUp = (through = store) => rollUpLogs({ store: through, nowMs: clock });
  const write = (client: TestClient, caller: Caller, count: number) =>
    audit.append(caller, client.batch(Array.from({ length: count }, () => client.write())));
  const countOf = async (org: TestOrganisation, query = '') => {
    const { counts } = await audit.histogram(org.owner, { query, bucketSeconds: 0 });
    return counts.reduce((sum, { count }) => sum + count, 0);
  };
  const storedOf = async ({ orgId }: TestOrganisation) => {
    const { rows } = await store.transaction({ role: 'read', orgId }, (tx) =>
      tx.execute<{ n: string }>(sql`SELECT count(*)::text AS n FROM audit_events`),
    );
    return Number(rows[0]?.n);
  };
  /** A store whose transactions fail after their work and before their commit, until so many did. */
  const failing = (times: number): Store => {
    let left = times;
    return {
      ...store,
      transaction: (scope, work) =>
        store.transaction(scope, async (tx) => {
          const result = await work(tx);
          // The list of organisations is no number; what was counted is.
          if (typeof result === 'number' && left > 0) {
            left -= 1;
            throw new Error('crashed before the commit');
          }
          return result;
        }),
    };
  };

  test('every event is counted once, by runners that race and runners that crash', async () => {
    const org = await createTestOrganisation(store, new Date(nowMs));
    const clients = await Promise.all(
      [1, 2, 3].map(() => openTestSession(store, org.owner, new Date(nowMs))),
    );
    for (let round = 0; round < 5; round += 1) {
      await Promise.all(clients.map((client, at) => write(client, org.owner, 1 + ((round + at) % 4))));
      await sequence();
      await expect(rollUp(failing(1))).rejects.toThrow('crashed');
      await Promise.all([rollUp(), rollUp(), rollUp()]);
      expect(await countOf(org)).toBe(await storedOf(org));
      nowMs += 20 * 60_000;
    }
    await Promise.all([rollUp(), rollUp()]);
    expect(await countOf(org)).toBe(await storedOf(org));
  });

  test('what is not in the log yet is not counted, and the answer says so', async () => {
    const org = await createTestOrganisation(store, new Date(nowMs));
    await sequence();
    await rollUp();
    const counted = await countOf(org);
    nowMs += 1000;
    const client = await openTestSession(store, org.owner, new Date(nowMs));
    const waitingSince = nowMs;
    nowMs += 1000;
    await write(client, org.owner, 3);
    const { countedUntil } = await audit.histogram(org.owner, { query: '', bucketSeconds: 0 });
    expect(await countOf(org)).toBe(counted);
    expect(countedUntil.getTime()).toBe(waitingSince);
    await sequence();
    await rollUp();
    expect((await audit.histogram(org.owner, { query: '', bucketSeconds: 0 })).countedUntil.getTime()).toBe(
      nowMs,
    );
    expect(await countOf(org)).toBe(await storedOf(org));
  });

  test('facets and histogram count what a query says', async () => {
    nowMs = Math.ceil(nowMs / hourMs) * hourMs;
    const org = await createTestOrganisation(store, new Date(nowMs));
    const ann = await org.addUser('member');
    const [first, second] = [
      await openTestSession(store, org.owner, new Date(nowMs)),
      await openTestSession(store, ann, new Date(nowMs)),
    ];
    await audit.append(
      org.owner,
      first.batch([first.write({ decision: 'deny', mode: 'enforce' }), first.write()]),
    );
    nowMs += 2 * hourMs;
    const said = { tool: 'mcp__x', decision: 'ask', agent: 'codex' } as const;
    await audit.append(ann, second.batch([second.write(said), second.write({ tool: null, decision: null })]));
    await sequence();
    await rollUp();

    const facets = async (query: string, fields: string[] = [], limit = 0) => {
      const { counts } = await audit.facets(org.owner, { query, fields, limit });
      return Object.fromEntries(
        counts.map(({ field, values, clipped }) => [
          field,
          [
            ...values.map(({ value, label, count }) => `${label || value} ${count}`),
            ...(clipped ? ['…'] : []),
          ],
        ]),
      );
    };
    expect(await facets('kind:tool_call.*')).toEqual({
      kind: ['tool_call.decided 4'],
      tool: ['Bash 2', 'mcp__x 1'],
      decision: ['allow 1', 'ask 1', 'deny 1'],
      mode: ['observe 3', 'enforce 1'],
      user: expect.arrayContaining(['owner 2', 'member 2']),
      agent: ['claude 3', 'codex 1'],
    });
    expect(await facets('kind:tool_call.* tool:*', ['tool'], 1)).toEqual({ tool: ['Bash 2', '…'] });
    expect(await facets('kind:tool_call.* -tool:Bash', ['decision'])).toEqual({ decision: ['ask 1'] });
    expect(await facets('actor:member kind:tool_call.*', ['agent'])).toMatchObject({
      agent: ['claude 1', 'codex 1'],
    });
    expect(await facets('tool:Bash tool:mcp* mode:observe', ['tool'])).toEqual({
      tool: ['Bash 1', 'mcp__x 1'],
    });

    const buckets = async (query: string, bucketSeconds = 0) => {
      const { counts } = await audit.histogram(org.owner, { query, bucketSeconds });
      return counts.map(({ start, ...counts }) => [
        new Date(nowMs).getTime() - start.getTime(),
        ...Object.values(counts),
      ]);
    };
    const calls = 'kind:tool_call.*';
    expect(await buckets(calls)).toEqual([
      [2 * hourMs, 2, 1, 0],
      [0, 2, 0, 1],
    ]);
    expect(await buckets(`${calls} since:30m`)).toEqual([[0, 2, 0, 1]]);
    expect(await buckets(`${calls} until:1h`)).toEqual([[2 * hourMs, 2, 1, 0]]);
    const whole = await buckets(calls, 365 * 24 * 3600);
    expect(whole.reduce((sum, [, count]) => sum + (count ?? 0), 0)).toBe(4);
  });

  test('nothing of another organisation is counted', async () => {
    const [org, other] = [
      await createTestOrganisation(store, new Date(nowMs)),
      await createTestOrganisation(store, new Date(nowMs)),
    ];
    const client = await openTestSession(store, other.owner, new Date(nowMs));
    await write(client, other.owner, 5);
    await sequence();
    await rollUp();
    expect(await countOf(org)).toBe(await storedOf(org));
    expect(await countOf(org, 'tool:Bash')).toBe(0);
    expect(await countOf(other, 'tool:Bash')).toBe(5);
  });

  test.each(['git', 'repo:acme/shop', 'kind:tool_call.* provider:github', 'rule:x', '-"git"'])(
    'refuses to count by what is not rolled up: %s',
    async (query) => {
      const org = await createTestOrganisation(store, new Date(nowMs));
      const refusal = { code: 'KX_QUERY_INVALID', hint: expect.stringContaining('search') };
      await expect(audit.facets(org.owner, { query, fields: [], limit: 0 })).rejects.toMatchObject(refusal);
      await expect(audit.histogram(org.owner, { query, bucketSeconds: 0 })).rejects.toMatchObject(refusal);
    },
  );

  test('refuses fields, limits and spans that there are not', async () => {
    const org = await createTestOrganisation(store, new Date(nowMs));
    const refusal = { code: 'KX_REQUEST_INVALID' };
    for (const request of [
      { fields: ['repo'], limit: 0 },
      { fields: [], limit: 101 },
      { fields: [], limit: -1 },
    ]) {
      await expect(audit.facets(org.owner, { query: '', ...request })).rejects.toMatchObject(refusal);
    }
    for (const bucketSeconds of [60, 3601, -3600]) {
      await expect(audit.histogram(org.owner, { query: '', bucketSeconds })).rejects.toMatchObject(refusal);
    }
  });
});
