import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTestRoom, type TestRoom } from '../connections/test-room.ts';
import { countSecretsByKek } from '../store/queries/keks.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { addKey, readKeyFile } from './key-file.ts';
import { createKeyTask } from './key-task.ts';
import { openKeyring } from './open-keyring.ts';
import { createTestKeyFile, createTestLog, type TestKeyFile } from './test-keys.ts';

const scope = { role: 'system', orgId: null } as const;
const names = ['a', 'b', 'c', 'd', 'e', 'f'];

describe.each(testStores())('resolving on $kind', ({ open }) => {
  let opened: TestStore;
  let room: TestRoom;
  let file: TestKeyFile;
  beforeAll(async () => {
    opened = await open();
    room = await openTestRoom(opened);
    file = createTestKeyFile();
  });
  afterAll(async () => {
    await room.close();
    await opened.close();
    file.remove();
  });

  it('fails not once while keys rotate three times, on two replicas', { timeout: 180_000 }, async () => {
    const { owner } = await room.organisation();
    const sessionId = await room.openSession(owner);
    const replicas = await Promise.all(
      [5, 150].map(async (everyMs) => {
        const keyring = await openKeyring(file.config);
        const { logger } = createTestLog();
        const task = createKeyTask({ store: opened.store, keyring, logger, nowMs: room.nowMs });
        return { ...room.replica({ kms: keyring }), task, everyMs };
      }),
    );
    const put = (replica: (typeof replicas)[number], name: string, value: string) =>
      replica.connections.putSecret(owner, { provider: 'stripe', name, shared: false, value });
    for (const name of names) await put(replicas[0]!, name, `sk_${name}_0`);
    let rotating = true;
    let resolved = 0;
    const failures: unknown[] = [];
    const wanted = names.map((resource) => ({
      ...{ provider: 'stripe', resource, scopes: [], delivery: 'inject' as const },
    }));
    const load = replicas.map(async (replica, i) => {
      for (let n = 1; rotating && failures.length === 0; n += 1) {
        try {
          const { outcomes } = await replica.credentials.resolve(owner, { sessionId, wanted, dryRun: false });
          for (const [at, outcome] of outcomes.entries()) {
            if (!outcome.ok) failures.push(outcome.refusal.code);
            else if (!outcome.value.reveal().startsWith(`sk_${names[at]}_`)) failures.push('another secret');
            else resolved += 1;
          }
          // Each replica replaces a secret of its own: new versions are sealed meanwhile.
          await put(replica, names[i]!, `sk_${names[i]}_${n}`);
        } catch (error) {
          failures.push(error);
        }
        await delay(1);
      }
    });
    const tasks = replicas.map(async ({ task, everyMs }) => {
      while (rotating) {
        await task.run().catch((error: unknown) => failures.push(error));
        await delay(everyMs);
      }
    });

    for (let round = 0; round < 3; round += 1) {
      const before = resolved;
      const fresh = addKey(file.path, 'active');
      const known = Object.keys(readKeyFile(file.path).keks).filter((id) => id !== fresh);
      for (let left = true; failures.length === 0 && (left || resolved < before + 24); ) {
        await delay(20);
        const counts = await opened.store.transaction(scope, countSecretsByKek);
        left = known.some((id) => counts.has(id));
      }
    }
    rotating = false;
    await Promise.all([...load, ...tasks]);

    expect(failures).toEqual([]);
    expect(resolved).toBeGreaterThanOrEqual(72);
  });
});
