import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { eq } from 'drizzle-orm';
import fc from 'fast-check';
import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ApprovalRoom, atBrowser, openApprovalRoom, type Person } from '../approvals/test-approvals.ts';
import { createAppendSignal } from '../audit/append-signal.ts';
import { createAuditService } from '../audit/audit-service.ts';
import { createRateLimiter } from '../login/rate-limiter.ts';
import { createTestOrganisation, testKms } from '../organisations/test-organisation.ts';
import { createSafeFetch, type SafeFetch } from '../providers/safe-fetch.ts';
import { auditStreams, secrets, webhookDeliveries } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { pauseMs } from './deliver-messages.ts';
import { createWebhookService, type WebhookService } from './webhook-service.ts';

const hourMs = 60 * 60_000;

/** A receiver on loopback that keeps what it hears. */
class Receiver {
  readonly heard: { readonly headers: IncomingHttpHeaders; readonly body: string; readonly path: string }[] =
    [];
  status = 200;
  server: Server | null = null;

  async start(): Promise<string> {
    const server = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      request.on('end', () => {
        this.heard.push({ headers: request.headers, body, path: request.url ?? '' });
        response
          .writeHead(this.status, this.status === 302 ? { location: '/elsewhere' } : {})
          .end('secret answer');
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.server = server;
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
  }

  async stop(): Promise<void> {
    this.server?.closeAllConnections();
    await new Promise((resolve) => this.server?.close(resolve));
  }
}

describe.each(testStores())('webhooks on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  let room: ApprovalRoom;
  let ann: Person;
  let session: string;
  let receiver: Receiver;
  let url: string;
  let webhooks: WebhookService;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
  });
  afterAll(() => opened?.close());
  beforeEach(async () => {
    room = await openApprovalRoom(store);
    ann = await room.add('member');
    session = await room.openSession(ann);
    receiver = new Receiver();
    url = await receiver.start();
    webhooks = service();
  });
  afterEach(async () => {
    // What is left over of one test must not be sent in the next.
    await store.transaction({ role: 'system', orgId: null }, (tx) =>
      tx.update(webhookDeliveries).set({ state: 'dead' }).where(eq(webhookDeliveries.state, 'waiting')),
    );
    await receiver.stop();
  });

  const service = (change: { readonly local?: boolean; readonly fetch?: SafeFetch } = {}) =>
    createWebhookService({
      ...{ store, kms: testKms, nowMs: room.nowMs, local: true, appended: createAppendSignal() },
      ...{ limiter: createRateLimiter(store, room.nowMs), fetch: createSafeFetch({ allowLoopback: true }) },
      random: () => 0.5,
      ...change,
    });
  const ask = (command = 'npm publish', part = `command ${command}`) =>
    room.approvals.request(ann, room.wanted(session, { command, part }));
  const rows = () =>
    store.transaction({ role: 'read', orgId: room.org.orgId }, (tx) =>
      tx.select().from(webhookDeliveries).where(eq(webhookDeliveries.orgId, room.org.orgId)),
    );
  const adminEvents = async () => {
    const streams = await store.transaction({ role: 'read', orgId: room.org.orgId }, (tx) =>
      tx.select().from(auditStreams).where(eq(auditStreams.orgId, room.org.orgId)),
    );
    const stream = streams.find(({ sessionId }) => sessionId === null);
    const query = { streamId: stream?.id ?? '', fromSeq: 0, pageSize: 0 };
    const { events } = await createAuditService({ store }).readStream(room.org.owner, query);
    return events.filter(({ kind }) => kind.startsWith('webhook.'));
  };

  it('tells of a question and of its decision, signed so that a receiver of the standard believes it', async () => {
    const { secret } = await webhooks.add(room.org.owner, url, []);
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    const { approval } = await ask();
    await webhooks.deliver();
    await room.approvals.decide(atBrowser(ann, room.nowMs()), approval.id, 'deny', 'no');
    await webhooks.deliver();

    const verifier = new Webhook(secret);
    const bodies = receiver.heard.map(({ body, headers }) =>
      verifier.verify(body, headers as Record<string, string>),
    );
    expect(bodies).toMatchObject([
      {
        type: 'approval.requested',
        text: `claude of member asks: command npm publish (publishing cannot be taken back) https://kontext.example/approvals/${approval.id}`,
        data: { approval: approval.id, state: 'pending', user: 'member', rule: 'acme.self' },
      },
      { type: 'approval.decided', data: { state: 'denied', decidedBy: 'member', decisionReason: 'no' } },
    ]);
    expect(new Set(receiver.heard.map(({ headers }) => headers['webhook-id'])).size).toBe(2);
    const [first] = receiver.heard;
    const forged = first?.body.replace('pending', 'approved') ?? '';
    expect(() => verifier.verify(forged, first?.headers as Record<string, string>)).toThrow();
    expect((await rows()).map(({ state }) => state)).toEqual(['delivered', 'delivered']);
  });

  it('never carries the call, and nothing that changes what a chat shows', async () => {
    await webhooks.add(room.org.owner, url, []);
    await ask(`curl -H 'x: sk_live_1'`, `command <!channel> \u202e\n<http://evil|x> ${'y'.repeat(1000)}`);
    await webhooks.deliver();
    const { body = '' } = receiver.heard[0] ?? {};
    expect(body).not.toContain('sk_live_1');
    expect(body).not.toContain('\u202e');
    const { text, data } = JSON.parse(body);
    expect(text).toContain('&lt;!channel&gt; &lt;http://evil|x&gt;');
    expect(data.part.length).toBeLessThan(400);
  });

  it('tells only of what was asked for, and nobody of another organisation', async () => {
    await webhooks.add(room.org.owner, url, ['approval.decided']);
    const other = await createTestOrganisation(store, new Date());
    await webhooks.add(other.owner, `${url}/other`, []);
    await ask();
    expect(await rows()).toEqual([]);
  });

  it('writes nothing when what it would tell of did not happen', async () => {
    await webhooks.add(room.org.owner, url, []);
    await expect(
      room.approvals.request(ann, room.wanted(session, { rule: 'acme.none' })),
    ).rejects.toMatchObject({ code: 'KX_APPROVAL_RULE' });
    expect(await rows()).toEqual([]);
  });

  it('sends each message once, however many replicas send', async () => {
    await webhooks.add(room.org.owner, url, []);
    for (let i = 0; i < 25; i += 1) await ask(`c${i}`);
    await Promise.all(Array.from({ length: 5 }, () => service().deliver()));
    expect(receiver.heard).toHaveLength(25);
    expect(new Set(receiver.heard.map(({ headers }) => headers['webhook-id'])).size).toBe(25);
  });

  it('tries again with the same id, later and later, and gives up after a day', async () => {
    await webhooks.add(room.org.owner, url, []);
    receiver.status = 500;
    await ask();
    await webhooks.deliver();
    await webhooks.deliver();
    expect(receiver.heard).toHaveLength(1);
    room.advance(2_500);
    await webhooks.deliver();
    expect(receiver.heard).toHaveLength(2);
    expect(new Set(receiver.heard.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    expect((await rows())[0]).toMatchObject({ state: 'waiting', attempts: 2, status: 500 });
    const [listed] = await webhooks.list(room.org.owner);
    expect(listed).toMatchObject({ waiting: 1, webhook: { lastError: 'it answered 500', disabledAt: null } });
    room.advance(24 * hourMs);
    await webhooks.deliver();
    expect((await rows())[0]?.state).toBe('dead');
    receiver.status = 200;
    room.advance(24 * hourMs);
    await webhooks.deliver();
    expect(receiver.heard).toHaveLength(3);
  });

  it('is sent by another replica when the one that claimed it died', async () => {
    await webhooks.add(room.org.owner, url, []);
    await ask();
    const dies = service({ fetch: () => new Promise(() => undefined) });
    void dies.deliver();
    await expect.poll(async () => (await rows())[0]?.attempts).toBe(1);
    await webhooks.deliver();
    expect(receiver.heard).toEqual([]);
    room.advance(60_000);
    await webhooks.deliver();
    expect(receiver.heard).toHaveLength(1);
  });

  it('is disabled by 410 at once, with whatever waited for it', async () => {
    await webhooks.add(room.org.owner, url, []);
    receiver.status = 410;
    await ask('a');
    await webhooks.deliver();
    expect((await webhooks.list(room.org.owner))[0]?.webhook.disabledAt).not.toBeNull();
    await ask('b');
    expect((await rows()).map(({ state }) => state)).toEqual(['dead']);
    const events = await adminEvents();
    expect(events.map(({ kind }) => kind)).toEqual(['webhook.added', 'webhook.disabled']);
    expect(events.map(({ payload }) => payload).join()).not.toContain('/hook');
  });

  it('is disabled when nothing was delivered for three days, and not before', async () => {
    await webhooks.add(room.org.owner, url, []);
    receiver.status = 503;
    await ask('a');
    room.advance(25 * hourMs);
    await webhooks.deliver();
    expect((await webhooks.list(room.org.owner))[0]?.webhook.disabledAt).toBeNull();
    session = await room.openSession(ann);
    await ask('b');
    await ask('c');
    room.advance(72 * hourMs);
    await webhooks.deliver();
    expect((await webhooks.list(room.org.owner))[0]?.webhook.disabledAt).not.toBeNull();
    expect((await adminEvents()).filter(({ kind }) => kind === 'webhook.disabled')).toHaveLength(1);
  });

  it('follows no redirect, and says nothing of what a receiver answered', async () => {
    const { webhook } = await webhooks.add(room.org.owner, url, []);
    receiver.status = 302;
    await ask();
    await webhooks.deliver();
    expect(receiver.heard.map(({ path }) => path)).toEqual(['/hook']);
    const attempt = await webhooks.test(room.org.owner, webhook.id);
    expect(attempt.status).toBe(0);
    expect(JSON.stringify([attempt, await rows()])).not.toContain('secret answer');
  });

  it('does not reach private addresses', async () => {
    const strict = service({ local: false, fetch: createSafeFetch({ allowLoopback: false }) });
    const { webhook } = await strict.add(room.org.owner, 'https://127.0.0.1:1/x', []);
    expect(await strict.test(room.org.owner, webhook.id)).toMatchObject({
      ...{ status: 0, error: 'it does not have a public address' },
    });
  });

  it('can be tried out', async () => {
    const { webhook, secret } = await webhooks.add(room.org.owner, url, []);
    expect(await webhooks.test(room.org.owner, webhook.id)).toMatchObject({ status: 200, error: '' });
    const [{ body, headers } = { body: '', headers: {} }] = receiver.heard;
    expect(new Webhook(secret).verify(body, headers as Record<string, string>)).toMatchObject({
      type: 'ping',
    });
    await expect(webhooks.test(room.org.owner, 'whk_none')).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    for (let i = 0; i < 18; i += 1) await webhooks.test(room.org.owner, webhook.id);
    await expect(webhooks.test(room.org.owner, webhook.id)).rejects.toMatchObject({
      code: 'KX_RATE_LIMITED',
    });
  });

  it('keeps its key sealed, and goes with it', async () => {
    const { webhook, secret } = await webhooks.add(room.org.owner, url, []);
    const keys = () =>
      store.transaction({ role: 'app', orgId: room.org.orgId }, (tx) =>
        tx.select().from(secrets).where(eq(secrets.purpose, 'webhook')),
      );
    const stored = await keys();
    expect(stored).toHaveLength(1);
    expect(stored[0]?.ciphertext.includes(Buffer.from(secret.slice(6)))).toBe(false);
    await ask();
    const stranger = await createTestOrganisation(store, new Date());
    await expect(webhooks.remove(stranger.owner, webhook.id)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    expect(await webhooks.list(stranger.owner)).toEqual([]);
    await webhooks.remove(room.org.owner, webhook.id);
    expect(await webhooks.list(room.org.owner)).toEqual([]);
    expect([await keys(), await rows()]).toEqual([[], []]);
    expect((await adminEvents()).map(({ kind }) => kind)).toEqual(['webhook.added', 'webhook.removed']);
    await expect(webhooks.remove(room.org.owner, webhook.id)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
  });

  it.each([
    ['no URL', 'example', [], 'that is no URL'],
    ['http', 'http://hooks.example/x', [], 'not https'],
    ['a password', 'https://a:b@hooks.example/x', [], 'user or password'],
    ['a fragment', 'https://hooks.example/x#y', [], 'fragment'],
    ['an endless URL', `https://hooks.example/${'x'.repeat(2000)}`, [], 'too long'],
    ['an event nobody knows', 'https://hooks.example/x', ['approval.*'], 'known are'],
  ])('refuses %s', async (_what, wanted, events, why) => {
    await expect(webhooks.add(room.org.owner, wanted, events)).rejects.toMatchObject({
      code: 'KX_WEBHOOK_INVALID',
      why: expect.stringContaining(why),
    });
  });

  it('refuses plain http to loopback outside of local mode, a second one of the same URL, and the twenty-first', async () => {
    const hosted = service({ local: false });
    await expect(hosted.add(room.org.owner, url, [])).rejects.toMatchObject({ code: 'KX_WEBHOOK_INVALID' });
    await webhooks.add(room.org.owner, url, []);
    await expect(webhooks.add(room.org.owner, url, [])).rejects.toMatchObject({
      why: 'there is one for that URL already',
    });
    for (let i = 1; i < 20; i += 1) await webhooks.add(room.org.owner, `${url}/${i}`, []);
    await expect(webhooks.add(room.org.owner, `${url}/20`, [])).rejects.toMatchObject({
      why: 'an organisation has at most 20',
    });
  });

  it('forgets what was delivered long ago', async () => {
    await webhooks.add(room.org.owner, url, []);
    await ask();
    await webhooks.deliver();
    await store.maintain(new Date(room.nowMs() + 29 * 24 * hourMs));
    expect(await rows()).toHaveLength(1);
    await store.maintain(new Date(room.nowMs() + 31 * 24 * hourMs));
    expect(await rows()).toEqual([]);
  });
});

describe('the pause between attempts', () => {
  it('lies anywhere between nothing and twice as much each time, and never beyond an hour', () => {
    const inside = fc.property(
      fc.integer({ min: 1, max: 10_000 }),
      fc.double({ min: 0, max: 0.999999, noNaN: true }),
      (n, r) => {
        const pause = pauseMs(n, 5_000, () => r);
        expect(pause).toBeGreaterThanOrEqual(0);
        expect(pause).toBeLessThan(Math.min(hourMs, 5_000 * 2 ** Math.min(30, n - 1)));
      },
    );
    fc.assert(inside);
    expect([1, 2, 3, 30].map((n) => pauseMs(n, 5_000, () => 0.999_999))).toEqual([
      4_999, 9_999, 19_999, 3_599_996,
    ]);
  });
});
