import { createId } from '@kontext/audit';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestOrganisation, testKms } from '../organisations/test-organisation.ts';
import { activateKek, listKeks } from '../store/queries/keks.ts';
import { insertSecret, type SecretRow } from '../store/queries/secrets.ts';
import { secrets } from '../store/schema.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { openRow, sealAsRow } from './sealed-secrets.ts';

const system = { role: 'system', orgId: null } as const;

describe.each(testStores())('secrets of two organisations on $kind', ({ open }) => {
  let opened: TestStore;
  let orgs: { orgId: string; subjectId: string; row: SecretRow }[];
  beforeAll(async () => {
    opened = await open();
    const { store } = opened;
    orgs = [];
    for (const _ of [1, 2]) {
      const { orgId } = await createTestOrganisation(store, new Date());
      const subjectId = createId('con');
      const context = { purpose: 'connection', orgId, subjectId, version: 1 };
      const row = await sealAsRow(testKms, context, Buffer.from(`secret of ${orgId}`), new Date());
      await store.transaction({ role: 'app', orgId }, (tx) => insertSecret(tx, row));
      orgs.push({ orgId, subjectId, row });
    }
  });
  afterAll(() => opened.close());

  const contextOf = ({ orgId, subjectId }: { orgId: string; subjectId: string }) => ({
    ...{ purpose: 'connection', orgId, subjectId, version: 1 },
  });

  it('are seen, changed and written by their own organisation alone', async () => {
    const [mine, other] = orgs;
    const as = { role: 'app', orgId: mine!.orgId } as const;
    const seen = await opened.store.transaction(as, (tx) => tx.select().from(secrets));
    expect(new Set(seen.map(({ orgId }) => orgId))).toEqual(new Set([mine!.orgId]));
    const changed = await opened.store.transaction(as, (tx) =>
      tx.update(secrets).set({ kekId: 'x' }).where(eq(secrets.id, other!.row.id)).returning(),
    );
    expect(changed).toEqual([]);
    const foreign = { ...other!.row, id: createId('key'), subjectId: createId('con') };
    await expect(opened.store.transaction(as, (tx) => insertSecret(tx, foreign))).rejects.toThrow();
  });

  it('do not open for the other one, even when somebody moves the row in the database', async () => {
    const [mine, other] = orgs;
    const { kekId, wrappedDek, iv, ciphertext } = other!.row;
    await opened.store.transaction(system, (tx) =>
      tx.update(secrets).set({ kekId, wrappedDek, iv, ciphertext }).where(eq(secrets.id, mine!.row.id)),
    );
    const [moved] = await opened.store.transaction(system, (tx) =>
      tx.select().from(secrets).where(eq(secrets.id, mine!.row.id)),
    );

    await expect(openRow(testKms, contextOf(mine!), moved!)).rejects.toMatchObject({ code: 'KX_VAULT_OPEN' });
    expect((await openRow(testKms, contextOf(other!), other!.row)).toString()).toBe(
      `secret of ${other!.orgId}`,
    );
  });

  it('do not let an organisation see or choose keys', async () => {
    const as = { role: 'app', orgId: orgs[0]!.orgId } as const;
    await expect(opened.store.transaction(as, listKeks)).rejects.toThrow();
    const kek = { id: 'kek-x', provider: 'local' } as const;
    await expect(
      opened.store.transaction(as, (tx) => activateKek(tx, kek, new Date(), false)),
    ).rejects.toThrow();
  });
});
