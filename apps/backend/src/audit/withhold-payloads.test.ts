import { parseHeader } from '@kontext/audit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestOrganisation, type TestOrganisation } from '../organisations/test-organisation.ts';
import type { Store } from '../store/store.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { type AuditService, createAuditService } from './audit-service.ts';
import { openTestSession } from './test-client.ts';

const now = new Date();
/** Put together here so that no scanner takes this file for a leak. */
const token = `ghp_${'q7Xk2Lm9Rt4V'.repeat(3)}`;

describe.each(testStores())('a payload of a client on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  let audit: AuditService;
  let org: TestOrganisation;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
    audit = createAuditService({ store });
    org = await createTestOrganisation(store, now);
  });
  afterAll(() => opened?.close());

  const readAll = (streamId: string) => audit.readStream(org.owner, { streamId, fromSeq: 0, pageSize: 1000 });
  const ours = async (streamId: string) =>
    (await readAll(streamId)).events
      .map(({ header, payload }) => ({ kind: parseHeader(header).kind, facts: JSON.parse(payload ?? '{}') }))
      .filter(({ kind }) => kind === 'payload.withheld' || kind === 'tamper.fork');

  test.each([
    ['a token', `{"schema":1,"call":{"command":"echo ${token}"}}`, ['github-token']],
    ['a value under a sensitive name', '{"schema":1,"call":{"input":{"password":"hunter2"}}}', ['key']],
    ['a text that is no JSON', 'PASSWORD=hunter2', ['assignment']],
    ['a member that a second one hides', `{"a":"${token}","a":"x"}`, ['github-token']],
    ['too deep a value', `{"a":${'['.repeat(5000)}${']'.repeat(5000)}}`, ['unreadable']],
  ])(
    'with %s is dropped with its salt, whatever its header claims; the rest stays',
    async (_, payload, rules) => {
      const client = await openTestSession(store, org.owner, now);
      const events = [client.write(), client.write({ redaction: 'full-v1' }, payload), client.write()];

      expect(await audit.append(org.owner, client.batch(events))).toMatchObject({ status: 'ok', headSeq: 3 });

      const { stream, events: stored } = await readAll(client.opened.clientStreamId);
      expect(stored.map((event) => event.header)).toEqual(events.map((event) => event.header));
      expect(stored.map((event) => [event.payload === null, event.salt === null])).toEqual([
        [false, false],
        [true, true],
        [false, false],
      ]);
      expect(await ours(client.opened.serverStreamId)).toEqual([
        { kind: 'payload.withheld', facts: { stream: stream.id, seq: 2, rules } },
      ]);
    },
  );

  test('without a secret is stored byte for byte, names of providers in it', async () => {
    const client = await openTestSession(store, org.owner, now);
    const payload = '{"schema":1,"call":{"command":"git push","credentials":["github","stripe"]}}';

    await audit.append(org.owner, client.batch([client.write({}, payload)]));

    expect((await readAll(client.opened.clientStreamId)).events[0]?.payload).toBe(payload);
    expect(await ours(client.opened.serverStreamId)).toEqual([]);
  });

  test('is told of once, however often the batch comes', async () => {
    const client = await openTestSession(store, org.owner, now);
    const batch = client.batch([client.write({}, `"${token}"`)]);

    expect((await audit.append(org.owner, batch)).status).toBe('ok');
    expect((await audit.append(org.owner, batch)).status).toBe('dup');

    expect(await ours(client.opened.serverStreamId)).toHaveLength(1);
  });

  test('is not repeated in the record of a forgery', async () => {
    const client = await openTestSession(store, org.owner, now);
    const first = client.write();
    await audit.append(org.owner, client.batch([first, client.write()]));
    const forger = client.forkFrom({ seq: 1, hash: first.chain });

    await audit.append(org.owner, client.batch([forger.write({ tool: token })]));

    const [fork] = await ours(client.opened.serverStreamId);
    expect(fork?.facts.offeredHeader).toContain('"tool":"[redacted]"');
  });
});
