import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findFreePort } from '@kontext/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSafeFetch } from '../providers/safe-fetch.ts';
import type { Store } from '../store/store.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { openSinkRoom } from './test-sinks.ts';

const root = join(import.meta.dirname, '../../../..');
const [postgres] = testStores();

/** The only example in JavaScript of docs/audit-sinks.md. */
function readExample(): string {
  const text = readFileSync(join(root, 'docs/audit-sinks.md'), 'utf8');
  const [, code = ''] = /```js\n([\s\S]*?)```/.exec(text) ?? [];
  return code;
}

// What a receiver does with a message has nothing to do with the database.
describe('the receiver of docs/audit-sinks.md', () => {
  let opened: TestStore;
  let store: Store;
  let directory: string;
  let child: ChildProcess;
  beforeAll(async () => {
    if (postgres === undefined) throw new Error('there is no store to test with');
    opened = await postgres.open();
    store = opened.store;
    directory = mkdtempSync(join(tmpdir(), 'kontext-receiver-'));
    symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'));
  });
  afterAll(async () => {
    child?.kill('SIGKILL');
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
    await opened?.close();
  });

  it('takes what a sink sends, drops repeats, and refuses what is forged', async () => {
    const room = await openSinkRoom(store);
    await room.sequence();
    const port = await findFreePort();
    const url = `http://127.0.0.1:${port}/`;
    const wanted = { name: 'siem', url, kinds: ['agent.*'], payloads: false, since: null };
    const { sink, secret } = await room.sinks.add(room.org.owner, wanted);
    const file = join(directory, 'receiver.mjs');
    writeFileSync(file, readExample());
    child = spawn(process.execPath, [file], { env: { PORT: String(port), KONTEXT_SINK_SECRET: secret } });
    let printed = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
    });
    const knock = () =>
      fetch(url, { method: 'POST', body: '{}' }).then(
        ({ status }) => status,
        () => 0,
      );
    await expect.poll(knock, { timeout: 20_000 }).toBe(401);

    await room.append(2);
    const reach = createSafeFetch({ allowLoopback: true });
    const losesAnswers = room.replica({
      fetch: async (to, request) => {
        await reach(to, request);
        throw new Error('the answer is lost');
      },
    });
    await losesAnswers.deliver();
    room.advance(1_000);
    await room.sinks.deliver();
    expect(await room.sinks.list(room.org.owner)).toMatchObject([
      { lagSegments: 0, sink: { lastError: '' } },
    ]);
    await expect.poll(() => printed.match(/agent\.changed \{"v":1/g)?.length).toBe(2);
    expect(await room.sinks.test(room.org.owner, sink.sink.id)).toMatchObject({ status: 204, error: '' });
    expect(readExample().trim().split('\n').length).toBeLessThanOrEqual(20);
  });
});
