import { copyFileSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { createId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openPostgresStore } from '../store/postgres-store.ts';
import { addKekUses, countSecretsByKek, listKeks } from '../store/queries/keks.ts';
import { insertSecret, type SecretRow } from '../store/queries/secrets.ts';
import { keks, secrets } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { addKey, readKeyFile, selectKey } from './key-file.ts';
import { createKeyTask } from './key-task.ts';
import { createKeyring, type Keyring } from './keyring.ts';
import { createFileKeyService } from './local-kms.ts';
import { openKeyring } from './open-keyring.ts';
import { rewrapSecrets } from './rewrap-secrets.ts';
import { activateKey } from './rotate-keys.ts';
import { openRow, sealAsRow } from './sealed-secrets.ts';
import { syncKeys } from './sync-keys.ts';
import { clearKeys, createTestKeyFile, createTestLog, type TestKeyFile } from './test-keys.ts';

const scope = { role: 'system', orgId: null } as const;
const minuteMs = 60_000;
const contextOf = (subjectId: string) => ({ purpose: 'rotation', orgId: null, subjectId, version: 1 });

describe.each(testStores())('key rotation on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  /** On Postgres a replica has connections of its own; the embedded database belongs to one process. */
  let otherStore: Store;
  let file: TestKeyFile;
  let nowMs: number;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
    otherStore = opened.url === null ? store : await openPostgresStore(opened.url, 4);
  });
  afterAll(async () => {
    if (otherStore !== store) await otherStore.close();
    await opened.close();
  });
  beforeEach(async () => {
    await clearKeys(store);
    file = createTestKeyFile();
    nowMs = Date.now();
  });
  afterEach(() => file.remove());

  const replica = async (of: Store = store, config = file.config) => {
    const keyring = await openKeyring(config);
    const log = createTestLog();
    const task = createKeyTask({ store: of, keyring, logger: log.logger, nowMs: () => nowMs });
    return { store: of, keyring, run: task.run, messages: log.messages };
  };
  const put = async (keyring: Keyring, n: number): Promise<SecretRow[]> => {
    const rows = await Promise.all(
      Array.from({ length: n }, () => {
        const subjectId = createId('con');
        return sealAsRow(keyring, contextOf(subjectId), Buffer.from(`secret of ${subjectId}`), new Date());
      }),
    );
    await store.transaction(scope, async (tx) => {
      for (const row of rows) await insertSecret(tx, row);
    });
    return rows;
  };
  const stored = (of: Store = store) => of.transaction(scope, (tx) => tx.select().from(secrets));
  const rowsOfKeks = () => store.transaction(scope, listKeks);
  const counts = () => store.transaction(scope, countSecretsByKek);
  const openAll = async (keyring: Keyring): Promise<void> => {
    for (const row of await stored()) {
      const opened = await openRow(keyring, contextOf(row.subjectId), row);
      expect(opened.toString()).toBe(`secret of ${row.subjectId}`);
    }
  };

  it('takes no first key of a key service that does not bind what is sealed to its context', async () => {
    const careless = {
      provider: 'vault' as const,
      wrap: async (_kekId: string, dek: Buffer) => Buffer.from(dek),
      unwrap: async (_kekId: string, wrapped: Buffer) => Buffer.from(wrapped),
    };
    const keyring = createKeyring({ remote: new Map([['vault:transit/old', careless]]) });
    await expect(syncKeys(store, keyring, new Date(nowMs))).rejects.toMatchObject({
      code: 'KX_CONFIG_INVALID',
    });
    expect(await rowsOfKeks()).toEqual([]);
  });

  it('fails no opening and no sealing while keys rotate three times under load, on two replicas', async () => {
    const [one, two] = [await replica(), await replica(otherStore)];
    await one.run();
    await put(one.keyring, 120);
    let rotating = true;
    const tally = { opened: 0, sealed: 0 };
    const errors: unknown[] = [];
    const use = async (each: typeof one): Promise<void> => {
      while (rotating) {
        try {
          const rows = await stored(each.store);
          for (const row of rows.slice(0, 40)) {
            (await openRow(each.keyring, contextOf(row.subjectId), row)).fill(0);
            tally.opened += 1;
          }
          await put(each.keyring, 1);
          tally.sealed += 1;
        } catch (error) {
          errors.push(error);
        }
        await delay(1);
      }
    };
    const poll = async (each: typeof one, everyMs: number): Promise<void> => {
      while (rotating) {
        await each.run().catch((error: unknown) => errors.push(error));
        await delay(everyMs);
      }
    };

    // One replica notices late: it meets secrets under a key that it has not heard of.
    const work = [use(one), use(two), poll(one, 5), poll(two, 120)];
    for (let i = 0; i < 3; i += 1) {
      addKey(file.path, 'active');
      const active = readKeyFile(file.path).active;
      while ((await counts()).size > 1 || !(await counts()).has(active)) await delay(20);
    }
    rotating = false;
    await Promise.all(work);

    expect(errors).toEqual([]);
    expect(tally.opened).toBeGreaterThan(100);
    expect(tally.sealed).toBeGreaterThan(3);
    nowMs += 2 * minuteMs;
    await one.run();
    await two.run();
    const { active } = readKeyFile(file.path);
    expect([...(await counts()).keys()]).toEqual([active]);
    expect((await rowsOfKeks()).map(({ state }) => state)).toEqual([
      'active',
      'retired',
      'retired',
      'retired',
    ]);
    const { v, keks: all } = readKeyFile(file.path);
    const alone = { v, active, keks: { [active]: all[active]! } };
    const service = createFileKeyService(alone);
    await openAll(createKeyring({ readFile: () => ({ active, keyIds: [active], service }) }));
  });

  it('opens what another replica sealed under a key that came into the file a moment ago', async () => {
    const [one, two] = [await replica(), await replica()];
    await one.run();
    await two.run();
    addKey(file.path, 'active');
    await one.run();
    const [row] = await put(one.keyring, 1);

    expect(two.keyring.activeKekId).not.toBe(row!.kekId);
    await openAll(two.keyring);
  });

  it('seals under a prepared key only after it was made active', async () => {
    const one = await replica();
    await one.run();
    const before = one.keyring.activeKekId;
    const prepared = addKey(file.path, 'next');

    await one.run();
    expect(one.keyring.activeKekId).toBe(before);
    expect(one.keyring.keyIds).toContain(prepared);

    expect(addKey(file.path, 'active')).toBe(prepared);
    await one.run();
    expect(one.keyring.activeKekId).toBe(prepared);
  });

  it('re-wraps every secret once when two replicas do it at the same time', async () => {
    const [one, two] = [await replica(), await replica(otherStore)];
    await one.run();
    const old = one.keyring.activeKekId;
    await put(one.keyring, 230);
    addKey(file.path, 'active');
    await syncKeys(store, one.keyring, new Date(nowMs));
    await syncKeys(store, two.keyring, new Date(nowMs));

    const reports = await Promise.all(
      [one, two].map((each) => rewrapSecrets(each.store, each.keyring, old, () => true)),
    );

    expect(reports.reduce((sum, { rewrapped }) => sum + rewrapped, 0)).toBe(230);
    expect(reports.flatMap(({ damaged }) => damaged)).toEqual([]);
    await openAll(one.keyring);
  });

  it('leaves a secret alone that was deleted while its data key was being re-wrapped', async () => {
    const one = await replica();
    await one.run();
    const old = one.keyring.activeKekId;
    await put(one.keyring, 3);
    addKey(file.path, 'active');
    await syncKeys(store, one.keyring, new Date(nowMs));
    const deleting: Keyring = Object.create(one.keyring, {
      wrap: {
        value: async (dek: Buffer, aad: Buffer) => {
          await store.transaction(scope, (tx) => tx.delete(secrets));
          return one.keyring.wrap(dek, aad);
        },
      },
    });

    expect(await rewrapSecrets(store, deleting, old, () => true)).toEqual({ rewrapped: 0, damaged: [] });
    expect(await stored()).toEqual([]);
  });

  it('leaves a damaged secret as it is, re-wraps the others and says so once', async () => {
    const one = await replica();
    await one.run();
    const rows = await put(one.keyring, 5);
    await store.transaction(scope, (tx) =>
      tx.update(secrets).set({ version: 2 }).where(eq(secrets.id, rows[2]!.id)),
    );
    addKey(file.path, 'active');
    await one.run();
    nowMs += 2 * minuteMs;
    await one.run();

    const damaged = (await stored()).filter(({ kekId }) => kekId !== one.keyring.activeKekId);
    expect(damaged.map(({ id }) => id)).toEqual([rows[2]!.id]);
    expect(damaged[0]!.wrappedDek).toEqual(rows[2]!.wrappedDek);
    expect(one.messages().filter((msg) => msg === 'secrets cannot be re-wrapped')).toHaveLength(1);
    expect((await rowsOfKeks()).map(({ state }) => state)).toEqual(['active', 'retiring']);
  });

  it('stops re-wrapping when the key service is down, keeps what is done and goes on later', async () => {
    const one = await replica();
    await one.run();
    const old = one.keyring.activeKekId;
    await put(one.keyring, 150);
    addKey(file.path, 'active');
    await syncKeys(store, one.keyring, new Date(nowMs));
    let left = 120;
    const failing: Keyring = Object.create(one.keyring, {
      wrap: {
        value: async (dek: Buffer, aad: Buffer) => {
          left -= 1;
          if (left < 0) throw new KontextError('KX_KMS_UNAVAILABLE', 'the key service does not answer');
          return one.keyring.wrap(dek, aad);
        },
      },
    });

    await expect(rewrapSecrets(store, failing, old, () => true)).rejects.toMatchObject({
      code: 'KX_KMS_UNAVAILABLE',
    });
    expect((await counts()).get(old)).toBe(50);
    await openAll(one.keyring);
    await one.run();
    expect((await counts()).get(old)).toBeUndefined();
  });

  it('keeps the old key retiring until every replica had time to notice, and takes a retirement back', async () => {
    const [one, slow] = [await replica(), await replica()];
    await one.run();
    const old = one.keyring.activeKekId;
    await put(one.keyring, 2);
    addKey(file.path, 'active');
    await one.run();
    await one.run();
    const stateOfOld = async () => (await rowsOfKeks()).find(({ id }) => id === old)?.state;
    expect(await stateOfOld()).toBe('retiring');

    nowMs += 2 * minuteMs;
    await one.run();
    expect(await stateOfOld()).toBe('retired');
    slow.keyring.activate(old);
    await put(slow.keyring, 1);
    await one.run();
    expect(await stateOfOld()).toBe('retiring');
    await one.run();
    expect(await stateOfOld()).toBe('retired');
    await openAll(one.keyring);
  });

  it('lets no replica with an old key file bring the old key back', async () => {
    const behind = createTestKeyFile();
    copyFileSync(file.path, behind.path);
    const [one, two] = [await replica(), await replica(store, behind.config)];
    await one.run();
    await put(one.keyring, 2);
    addKey(file.path, 'active');
    await one.run();

    await two.run();
    await two.run();
    behind.remove();

    expect([...(await counts()).keys()]).toEqual([one.keyring.activeKekId]);
    expect((await rowsOfKeks())[0]?.id).toBe(one.keyring.activeKekId);
    expect(
      two.messages().filter((msg) => msg === 'the active key is not available here: copy the key file'),
    ).toHaveLength(1);
    const [row] = await stored();
    await expect(openRow(two.keyring, contextOf(row!.subjectId), row!)).rejects.toMatchObject({
      code: 'KX_KEK_MISSING',
    });
  });

  it('seals nothing under a key that only the database names', async () => {
    const one = await replica();
    await one.run();
    const mine = one.keyring.activeKekId;
    const foreign = 'aws:arn:aws:kms:eu-west-1:666666666666:key/00000000-0000-0000-0000-000000000000';
    const later = new Date(nowMs + 1_000);
    await store.transaction(scope, (tx) =>
      tx
        .insert(keks)
        .values({ id: foreign, provider: 'aws', state: 'active', createdAt: later, activatedAt: later }),
    );
    await put(one.keyring, 1);

    await one.run();

    expect(one.keyring.activeKekId).toBe(mine);
    expect([...(await counts()).keys()]).toEqual([mine]);
  });

  it('says once that secrets lie under a key that is gone, and leaves them', async () => {
    const [one, other] = [await replica(), createTestKeyFile()];
    await one.run();
    await put(await openKeyring(other.config), 1);
    const { active: gone } = readKeyFile(other.path);
    other.remove();

    await one.run();
    await one.run();

    expect(
      one.messages().filter((msg) => msg === 'secrets are wrapped under a key that is gone'),
    ).toHaveLength(1);
    expect((await rowsOfKeks()).find(({ id }) => id === gone)?.state).toBe('retiring');
  });

  it('counts every wrap under its key, also when a count could not be stored at once', async () => {
    const one = await replica();
    await put(one.keyring, 7);
    const closed = { ...store, transaction: () => Promise.reject(new Error('down')) } as Store;
    await expect(syncKeys(closed, one.keyring, new Date(nowMs))).rejects.toThrow('down');

    await one.run();
    await put(one.keyring, 2);
    await one.run();

    expect((await rowsOfKeks())[0]?.uses).toBe(9);
  });

  it.each([
    ['2^31 uses', 2 ** 31, 0],
    ['a year', 0, 365 * 86_400_000],
  ])('says once that a key is due after %s', async (_what, uses, ageMs) => {
    const one = await replica();
    await one.run();
    const id = one.keyring.activeKekId;
    const due = () => one.messages().filter((msg) => msg === 'the active key is due: run keys rotate');
    await store.transaction(scope, (tx) => addKekUses(tx, new Map([[id, Math.max(0, uses - 1)]])));
    nowMs += Math.max(0, ageMs - 1_000);
    await one.run();
    expect(due()).toHaveLength(0);

    await store.transaction(scope, (tx) => addKekUses(tx, new Map([[id, 1]])));
    nowMs += 1_000;
    await one.run();
    await one.run();

    expect(due()).toHaveLength(1);
  });

  it('ends with one active key when two rotations happen at once', async () => {
    const [one, two] = [await replica(), await replica(otherStore)];
    await one.run();
    await two.run();
    const first = addKey(file.path, 'active');
    one.keyring.reload();
    const second = addKey(file.path, 'active');

    await Promise.all([one.run(), two.run()]);
    await Promise.all([one.run(), two.run()]);

    const active = (await rowsOfKeks()).filter(({ state }) => state === 'active').map(({ id }) => id);
    expect(active).toHaveLength(1);
    expect([first, second]).toContain(active[0]);
    expect([one.keyring.activeKekId, two.keyring.activeKekId]).toEqual([active[0], active[0]]);
  });

  it('goes on with the keys it has while the key file cannot be read, and says why', async () => {
    const one = await replica();
    await one.run();
    const [row] = await put(one.keyring, 1);
    writeFileSync(file.path, 'torn');

    await openAll(one.keyring);
    expect(
      await one.run().then(
        () => 'ran',
        (error: { code: string }) => error.code,
      ),
    ).toBe('KX_KEK_MISSING');
    expect(one.keyring.activeKekId).toBe(row!.kekId);
  });

  it('follows the operator back to an older key', async () => {
    const one = await replica();
    await one.run();
    const old = one.keyring.activeKekId;
    addKey(file.path, 'active');
    await one.run();
    await put(one.keyring, 1);
    selectKey(file.path, old);
    await activateKey(
      { store, keyring: await openKeyring(file.config), config: file.config },
      old,
      new Date(nowMs),
    );

    await one.run();

    expect([...(await counts()).keys()]).toEqual([old]);
  });
});
