import { randomBytes } from 'node:crypto';
import { createLocalKms } from '@kontext/vault';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { loadServerKeys } from './server-keys.ts';

const kmsOf = (key: Buffer) => createLocalKms(new Map([['kek-test', Buffer.from(key)]]), 'kek-test');

describe.each(testStores())('server keys on $kind', ({ open }) => {
  const kek = randomBytes(32);
  let opened: TestStore;
  beforeAll(async () => {
    opened = await open();
  });
  afterAll(() => opened?.close());

  it('are one set of two, also for replicas that start together', async () => {
    const load = () => loadServerKeys(opened.store, kmsOf(kek), Date.now());
    const [first, second, third] = [...(await Promise.all([load(), load()])), await load()];
    expect(first?.signing).toHaveLength(2);
    for (const other of [second, third]) {
      expect(other?.signing).toEqual(first?.signing);
      expect(other?.derive('x')).toEqual(first?.derive('x'));
    }
    expect(first?.derive('x')[0]).not.toEqual(first?.derive('y')[0]);
    expect(first?.derive('x')[0]).not.toEqual(first?.derive('x')[1]);
  });

  it('show their public halves alone to resource servers', async () => {
    const { publicJwks, signing } = await loadServerKeys(opened.store, kmsOf(kek), Date.now());
    expect(publicJwks.keys.map((key) => key.kid)).toEqual(signing.map((key) => key.kid));
    expect(JSON.stringify(publicJwks)).not.toContain('"d"');
  });

  it('stand in the database sealed', async () => {
    const { signing } = await loadServerKeys(opened.store, kmsOf(kek), Date.now());
    const { rows } = await opened.store.transaction({ role: 'system', orgId: null }, (tx) =>
      tx.execute(
        sql`SELECT to_jsonb(s)::text AS a, to_jsonb(k)::text AS b FROM secrets s JOIN signing_keys k ON k.secret_id = s.id`,
      ),
    );
    expect(rows).toHaveLength(4);
    for (const { d } of signing) expect(JSON.stringify(rows)).not.toContain(d);
  });

  it('do not open under another key-encryption key', async () => {
    const other = loadServerKeys(opened.store, kmsOf(randomBytes(32)), Date.now());
    await expect(other).rejects.toMatchObject({ code: 'KX_VAULT_OPEN' });
  });
});
