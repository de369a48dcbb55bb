import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestOrganisation } from '../organisations/test-organisation.ts';
import { orgs, users } from './schema.ts';
import { type TestStore, testStores } from './test-stores.ts';

const instant = new Date('2026-01-02T03:04:05.678Z');

describe.each(testStores())('the store on $kind', ({ open }) => {
  let opened: TestStore;
  let offsetMs = 0;
  beforeAll(async () => {
    opened = await open(() => Date.now() + offsetMs);
    await opened.store.transaction({ role: 'system', orgId: null }, async (tx) => {
      for (const id of ['org_a', 'org_b']) {
        await tx.insert(orgs).values({ id, slug: id, name: id, createdAt: instant });
        await tx.insert(users).values({ id: `usr_of_${id}`, orgId: id, name: 'dev', createdAt: instant });
      }
    });
  });
  afterAll(() => opened?.close());

  test('reads back what was written, instants to the millisecond', async () => {
    const rows = await opened.store.transaction({ role: 'app', orgId: 'org_a' }, (tx) =>
      tx.select().from(orgs),
    );
    expect(rows).toEqual([{ id: 'org_a', slug: 'org_a', name: 'org_a', createdAt: instant }]);
  });

  test.each(['app', 'ingest', 'read'] as const)(
    'a query of role %s without a filter sees its own organisation alone',
    async (role) => {
      const rows = await opened.store.transaction({ role, orgId: 'org_b' }, (tx) => tx.select().from(users));
      expect(rows.map((row) => row.id)).toEqual(['usr_of_org_b']);
    },
  );

  test('a row cannot be written into another organisation', async () => {
    const write = opened.store.transaction({ role: 'app', orgId: 'org_a' }, (tx) =>
      tx.insert(users).values({ id: 'usr_x', orgId: 'org_b', name: 'x', createdAt: instant }),
    );
    await expect(write).rejects.toThrow(/row-level security/);
  });

  test('a single statement has the role and the organisation of its transaction, and is committed', async () => {
    const scope = { role: 'app', orgId: 'org_b' } as const;
    const insert = opened.store.single(scope, (tx) =>
      tx.insert(users).values({ id: 'usr_single', orgId: 'org_b', name: 'one', createdAt: instant }),
    );
    await insert;
    const seen = await opened.store.single({ role: 'read', orgId: 'org_b' }, (tx) => tx.select().from(users));
    expect(seen.map(({ id }) => id).toSorted()).toEqual(['usr_of_org_b', 'usr_single']);
    await opened.store.transaction({ role: 'system', orgId: null }, (tx) =>
      tx.delete(users).where(eq(users.id, 'usr_single')),
    );
  });

  test('a single statement that fails says why, and what comes next on its connection is well', async () => {
    const scope = { role: 'app', orgId: 'org_a' } as const;
    const foreign = { id: 'usr_x', orgId: 'org_b', name: 'x', createdAt: instant };
    for (let n = 0; n < 12; n += 1) {
      const write = opened.store.single(scope, (tx) => tx.insert(users).values(foreign));
      await expect(write).rejects.toThrow(/row-level security/);
    }
    expect(await opened.store.single(scope, (tx) => tx.select().from(users))).toHaveLength(1);
  });

  test('a second statement in a single one is refused', async () => {
    const two = opened.store.single({ role: 'read', orgId: 'org_a' }, async (tx) => {
      await tx.select().from(users);
      return tx.select().from(users);
    });
    await expect(two).rejects.toThrow(/a second statement/);
  });

  test('an organisation id that could end the statement is refused', async () => {
    const inject = opened.store.transaction({ role: 'app', orgId: `a'; RESET ROLE; --` }, async () => 'ran');
    await expect(inject).rejects.toMatchObject({ code: 'KX_INTERNAL' });
  });

  test('nobody may change or delete audit events, payloads and published policies', async () => {
    for (const role of ['app', 'ingest', 'read', 'retention', 'system'] as const) {
      for (const table of ['audit_events', 'audit_payloads', 'policy_versions']) {
        const change = (text: string) =>
          opened.store.transaction({ role, orgId: 'org_a' }, (tx) => tx.execute(sql.raw(text)));
        await expect(change(`DELETE FROM ${table}`)).rejects.toThrow(/permission denied/);
        await expect(change(`UPDATE ${table} SET org_id = org_id`)).rejects.toThrow(/permission denied/);
      }
    }
  });

  test('the reading role cannot see sealed secrets', async () => {
    const read = opened.store.transaction({ role: 'read', orgId: 'org_a' }, (tx) =>
      tx.execute(sql`SELECT ciphertext FROM secrets`),
    );
    await expect(read).rejects.toThrow(/permission denied/);
  });

  test('every table that belongs to an organisation has row-level security, also for its owner', async () => {
    const { rows } = await opened.store.transaction({ role: 'system', orgId: null }, (tx) =>
      tx.execute(sql`SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'org_id'
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND NOT (c.relrowsecurity AND c.relforcerowsecurity)`),
    );
    expect(rows).toEqual([]);
  });

  test('a transaction inside a transaction is refused, one after it is not', async () => {
    const scope = { role: 'app', orgId: 'org_a' } as const;
    const nested = opened.store.transaction(scope, () => opened.store.transaction(scope, async () => 1));
    await expect(nested).rejects.toMatchObject({ code: 'KX_INTERNAL' });
    expect(await opened.store.transaction(scope, async () => 2)).toBe(2);
  });

  test('a thrown error rolls back', async () => {
    const failing = opened.store.transaction({ role: 'app', orgId: 'org_a' }, async (tx) => {
      await tx.insert(users).values({ id: 'usr_rolled', orgId: 'org_a', name: 'x', createdAt: instant });
      throw new Error('on purpose');
    });
    await expect(failing).rejects.toThrow('on purpose');
    const rows = await opened.store.transaction({ role: 'app', orgId: 'org_a' }, (tx) =>
      tx.select().from(users),
    );
    expect(rows.map((row) => row.id)).toEqual(['usr_of_org_a']);
  });

  test('the role and the organisation end with the transaction', async () => {
    await opened.store.transaction({ role: 'app', orgId: 'org_a' }, async () => undefined);
    const { rows } = await opened.store.transaction({ role: 'system', orgId: null }, (tx) =>
      tx.execute(sql`SELECT current_user::text AS role, kontext_org() AS org`),
    );
    expect(rows).toEqual([{ role: 'kontext_system', org: null }]);
  });

  test('the error of a failed statement names neither the statement nor its parameters', async () => {
    const failing = opened.store.transaction({ role: 'app', orgId: 'org_a' }, (tx) =>
      tx.execute(sql`SELECT ${'a-secret-parameter'}::text FROM no_such_table`),
    );
    await expect(failing).rejects.toSatisfy((error) => !String(error).includes('a-secret-parameter'));
  });

  test('migrations are applied once, also when several processes start at the same time', async () => {
    expect(await Promise.all([opened.store.migrate(), opened.store.migrate()])).toEqual([0, 0]);
    expect(await opened.store.schemaState()).toMatchObject({ state: 'current', missing: [] });
  });

  test('partitions are made ahead, and making them again does nothing', async () => {
    await Promise.all([opened.store.maintain(new Date()), opened.store.maintain(new Date())]);
    const { rows } = await opened.store.transaction({ role: 'system', orgId: null }, (tx) =>
      tx.execute(sql`SELECT count(*)::int AS n FROM pg_inherits WHERE inhparent = 'audit_events'::regclass`),
    );
    expect(rows).toEqual([{ n: 10 }]);
  });

  test('a statement whose error was passed over does not end in a commit that never happened', async () => {
    const careless = opened.store.transaction({ role: 'app', orgId: 'org_a' }, async (tx) => {
      await tx.execute(sql`SELECT 1/0`).catch(() => undefined);
      return 'acknowledged';
    });
    await expect(careless).rejects.toMatchObject({ code: 'KX_INTERNAL' });
  });

  test('a text with NUL is a bad request, not a fault', async () => {
    const write = opened.store.transaction({ role: 'app', orgId: 'org_a' }, (tx) =>
      tx.select().from(users).where(eq(users.id, 'a\0b')),
    );
    await expect(write).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
  });

  // A laptop that sleeps stops the timers: the hourly call comes up to an hour after its owner.
  test.each([9, -5])('events are stored %i days from the last maintenance', async (days) => {
    await opened.store.maintain(new Date(Date.now() + offsetMs));
    offsetMs += days * 86_400_000;
    const org = await createTestOrganisation(opened.store, new Date(Date.now() + offsetMs));
    expect(org.orgId).toMatch(/^org_/);
  });
});
