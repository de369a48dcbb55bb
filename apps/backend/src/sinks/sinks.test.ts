import { hashEvent, hashPayload, parseHeader } from '@kontext/audit';
import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTestOrganisation } from '../organisations/test-organisation.ts';
import { createSafeFetch } from '../providers/safe-fetch.ts';
import { auditSinkDeliveries, auditSinks, secrets } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import { listAdminEvents } from '../store/test-events.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import type { NewSink } from './sink-service.ts';
import { openSinkRoom, Receiver, type SinkRoom } from './test-sinks.ts';

const hourMs = 60 * 60_000;

interface Body {
  readonly type: string;
  readonly organisation: string;
  readonly firstLeaf: number;
  readonly lastLeaf: number;
  readonly events: readonly {
    readonly id: string;
    readonly stream: string;
    readonly seq: number;
    readonly leaf: number;
    readonly kind: string;
    readonly header: string;
    readonly chain: string;
    readonly payload: string | null;
    readonly salt: string | null;
  }[];
}

describe.each(testStores())('sinks on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  let room: SinkRoom;
  let receiver: Receiver;
  let url: string;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
  });
  afterAll(() => opened?.close());
  beforeEach(async () => {
    room = await openSinkRoom(store);
    receiver = new Receiver();
    url = await receiver.start();
    await room.sequence();
  });
  afterEach(async () => {
    // What is left over of one test must not be sent in the next.
    await store.transaction({ role: 'system', orgId: null }, (tx) =>
      tx.update(auditSinks).set({ state: 'paused' }),
    );
    await receiver?.stop();
  });

  const add = (change: Partial<NewSink> = {}) =>
    room.sinks.add(room.org.owner, { name: 'siem', url, kinds: [], payloads: false, since: null, ...change });
  const bodies = (): Body[] => receiver.heard.map(({ body }) => JSON.parse(body));
  const facts = () =>
    bodies().flatMap(({ events }) => events.map(({ payload }) => payload && JSON.parse(payload).fact));
  const seqs = () => bodies().flatMap(({ events }) => events.map(({ seq }) => seq));
  const list = async () => (await room.sinks.list(room.org.owner))[0];
  const deliveries = async (id: string) =>
    (await room.sinks.listDeliveries(room.org.owner, { sinkId: id, state: null, pageSize: 0, cursor: '' }))
      .deliveries;
  const adminKinds = async () =>
    (await listAdminEvents(store, room.org.orgId))
      .map(({ kind }) => kind)
      .filter((kind) => kind.startsWith('sink.'));
  const consecutive = (numbers: readonly number[]) =>
    numbers.every((n, at) => at === 0 || n === (numbers[at - 1] ?? 0) + 1);

  it('get every event of the log from where they begin, signed so that a receiver of the standard believes it', async () => {
    const { secret, sink } = await add({ payloads: true });
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    await room.append(3, 'a');
    await room.append(2, 'b');
    await room.sinks.deliver();

    const verifier = new Webhook(secret);
    for (const { body, headers } of receiver.heard) verifier.verify(body, headers as Record<string, string>);
    const [first] = bodies();
    expect(first).toMatchObject({ type: 'audit.events', organisation: room.org.orgId, sink: sink.sink.id });
    const events = bodies().flatMap((body) => body.events);
    expect(events.map(({ kind }) => kind)).toEqual(['sink.added', ...Array(5).fill('agent.changed')]);
    expect(consecutive(seqs())).toBe(true);
    expect((await list())?.lagSegments).toBe(0);
    const forged = receiver.heard[0]?.body.replace('agent.changed', 'agent.changeD') ?? '';
    expect(() => verifier.verify(forged, receiver.heard[0]?.headers as Record<string, string>)).toThrow();
  });

  it('get texts by which a receiver can check hashes itself', async () => {
    await add({ payloads: true });
    await room.append(2, 'x');
    await room.sinks.deliver();
    const events = bodies().flatMap((body) => body.events);
    for (const { header, payload, salt, id, stream, seq } of events) {
      const parsed = parseHeader(header);
      expect(parsed).toMatchObject({ id, stream, seq });
      const hash = hashPayload(Buffer.from(salt ?? '', 'hex'), payload ?? '');
      expect(Buffer.from(hash).toString('hex')).toBe(parsed.payloadHash);
      expect(hashEvent(header)).toHaveLength(32);
    }
  });

  it('get no payload unless they are to, and only kinds they want', async () => {
    await add({ kinds: ['sink.*'] });
    await room.append(3, 'secret-fact');
    const { sink } = await add({ name: 'other', kinds: ['agent.changed'] });
    await room.append(1);
    await room.sequence();
    await room.sinks.deliver();
    const kinds = bodies().flatMap((body) => body.events.map(({ kind, payload }) => [kind, payload]));
    expect(kinds.sort()).toEqual([
      ['agent.changed', null],
      ['sink.added', null],
      ['sink.added', null],
    ]);
    expect(receiver.heard.map(({ body }) => body).join()).not.toContain('secret-fact');
    expect((await room.sinks.list(room.org.owner)).map(({ lagSegments }) => lagSegments)).toEqual([0, 0]);
    expect(sink.sink.kinds).toEqual(['agent.changed']);
  });

  it('pass over what nobody wants without a message', async () => {
    await add({ kinds: ['payload.held'] });
    for (let at = 0; at < 3; at += 1) await room.append(2);
    await room.sinks.deliver();
    expect(receiver.heard).toEqual([]);
    expect((await list())?.lagSegments).toBe(0);
  });

  it('can begin with what was received since an instant', async () => {
    await room.append(1, 'old');
    room.advance(1000);
    const since = new Date(room.nowMs());
    await room.append(1, 'new');
    await add({ payloads: true, since });
    await room.sequence();
    await room.sinks.deliver();
    expect(facts()).toEqual(['new', undefined]);
  });

  it('get at most 500 events and 1 MiB in one message, also of one large segment', async () => {
    await add({ payloads: true });
    await room.append(1203);
    await room.append(80, 'y'.repeat(30_000));
    await room.sinks.deliver();
    const sizes = bodies().map(({ events }) => events.length);
    expect(Math.max(...sizes)).toBe(500);
    for (const { body } of receiver.heard) expect(Buffer.byteLength(body)).toBeLessThanOrEqual(1024 * 1024);
    expect(seqs()).toHaveLength(1 + 1203 + 80);
    expect(consecutive(seqs())).toBe(true);
    expect((await list())?.lagSegments).toBe(0);
  });

  it('are tried again with the same id and the same events, though others have come since', async () => {
    const { sink } = await add({ payloads: true });
    receiver.status = 500;
    await room.append(2, 'a');
    await room.sinks.deliver();
    await room.append(2, 'b');
    await room.sinks.deliver();
    expect(receiver.heard).toHaveLength(1);
    expect(await list()).toMatchObject({ sink: { lastError: 'it answered 500', state: 'active' } });
    expect((await list())?.lagSegments).toBeGreaterThan(1);
    receiver.status = 200;
    room.advance(500);
    await room.sinks.deliver();
    const [first, second, third] = receiver.heard;
    expect(second?.headers['webhook-id']).toBe(first?.headers['webhook-id']);
    expect(second?.body).toBe(first?.body);
    expect(third?.headers['webhook-id']).not.toBe(first?.headers['webhook-id']);
    expect(facts()).toEqual([undefined, 'a', 'a', undefined, 'a', 'a', 'b', 'b']);
    expect(await deliveries(sink.sink.id)).toMatchObject([
      { state: 'delivered', attempts: 1, status: 200, events: 2 },
      { state: 'delivered', attempts: 2, status: 200, events: 3 },
    ]);
  });

  it('wait as long as the receiver asks, and no longer', async () => {
    await add();
    Object.assign(receiver, { status: 429, headers: { 'retry-after': '120' } });
    await room.append(1);
    await room.sinks.deliver();
    room.advance(119_000);
    await room.sinks.deliver();
    expect(receiver.heard).toHaveLength(1);
    receiver.status = 200;
    room.advance(1_000);
    await room.sinks.deliver();
    expect(receiver.heard).toHaveLength(2);
    expect((await list())?.lagSegments).toBe(0);
  });

  it('give one message up after a day, go on with the next, and send it again when asked to', async () => {
    const { sink } = await add({ payloads: true });
    await room.append(1, 'poison');
    receiver.status = 400;
    for (let at = 0; at < 4; at += 1) {
      await room.sinks.deliver();
      room.advance(hourMs);
    }
    await room.append(1, 'fine');
    room.advance(24 * hourMs);
    await room.sinks.deliver();
    receiver.status = 200;
    room.advance(hourMs);
    await room.sinks.deliver();
    expect(facts().at(-1)).toBe('fine');
    expect(await list()).toMatchObject({ dead: 1, lagSegments: 0 });
    expect((await deliveries(sink.sink.id)).map(({ state }) => state)).toEqual(['delivered', 'dead']);

    expect(await room.sinks.replay(room.org.owner, sink.sink.id, { case: 'dead' })).toBe(2);
    await room.sinks.deliver();
    const ids = receiver.heard.map(({ headers }) => headers['webhook-id']);
    expect(ids.at(-1)).toBe(ids[0]);
    expect(facts()).toContain('poison');
    expect((await list())?.dead).toBe(0);
    await room.sequence();
    await room.sinks.deliver();
    expect(
      bodies()
        .at(-1)
        ?.events.map(({ kind }) => kind),
    ).toEqual(['sink.replayed']);
  });

  it('hold nothing up while what was given up fails again', async () => {
    const { sink } = await add({ payloads: true });
    await store.transaction({ role: 'app', orgId: room.org.orgId }, (tx) =>
      tx.insert(auditSinkDeliveries).values({
        ...{ id: 'skd_dead', orgId: room.org.orgId, sinkId: sink.sink.id, state: 'dead', events: 1 },
        ...{ firstLeaf: 0, lastLeaf: 0, attempts: 9, firstAt: new Date(0), at: new Date(0) },
      }),
    );
    await room.sinks.replay(room.org.owner, sink.sink.id, { case: 'dead' });
    await room.append(1, 'fine');
    const refusing = createSafeFetch({ allowLoopback: true });
    const picky = room.replica({
      fetch: async (to, request) =>
        request.headers?.['webhook-id'] === 'skd_dead'
          ? { status: 400, headers: {}, body: Buffer.alloc(0) }
          : refusing(to, request),
    });
    await picky.deliver();
    expect(facts()).toContain('fine');
    expect(await list()).toMatchObject({ dead: 1, lagSegments: 0 });
  });

  it('are disabled after three days of nothing but failures, keep their place, and go on when made active', async () => {
    const { sink } = await add({ payloads: true });
    receiver.status = 503;
    await room.append(1, 'a');
    await room.sinks.deliver();
    for (let at = 0; at < 11; at += 1) {
      room.advance(6 * hourMs);
      await room.append(1, 'b');
      await room.sinks.deliver();
    }
    expect((await list())?.sink.state).toBe('active');
    room.advance(6 * hourMs);
    await room.sinks.deliver();
    expect((await list())?.sink.state).toBe('disabled');
    const calls = receiver.heard.length;
    room.advance(hourMs);
    await room.sinks.deliver();
    expect(receiver.heard).toHaveLength(calls);

    receiver.status = 200;
    await room.sinks.setState(room.org.owner, sink.sink.id, 'active');
    await room.sequence();
    await room.sinks.deliver();
    expect(await list()).toMatchObject({ lagSegments: 0, dead: 2 });
    expect(await adminKinds()).toEqual(['sink.added', 'sink.disabled', 'sink.changed']);
  });

  it('are disabled by 410 at once', async () => {
    await add();
    receiver.status = 410;
    await room.append(1);
    await room.sinks.deliver();
    expect((await list())?.sink.state).toBe('disabled');
    expect(await adminKinds()).toEqual(['sink.added', 'sink.disabled']);
  });

  it('send nothing while they are paused, and everything after', async () => {
    const { sink } = await add({ payloads: true });
    await room.sinks.setState(room.org.owner, sink.sink.id, 'paused');
    await room.append(1, 'a');
    await room.sinks.deliver();
    expect(receiver.heard).toEqual([]);
    room.advance(5000);
    expect(Number((await list())?.oldestAt)).toBeLessThanOrEqual(room.nowMs() - 5000);
    await room.sinks.setState(room.org.owner, sink.sink.id, 'active');
    await room.sinks.setState(room.org.owner, sink.sink.id, 'active');
    await room.sinks.setState(room.org.owner, sink.sink.id, null);
    await room.sequence();
    await room.sinks.deliver();
    expect(facts()).toContain('a');
    expect(await adminKinds()).toEqual(['sink.added', 'sink.changed', 'sink.changed']);
  });

  it('send again from an instant, and never skip what is not delivered', async () => {
    const { sink } = await add({ payloads: true });
    await room.append(1, 'a');
    room.advance(1000);
    const since = new Date(room.nowMs());
    await room.append(1, 'b');
    await room.sinks.deliver();
    receiver.heard.splice(0);
    expect(await room.sinks.replay(room.org.owner, sink.sink.id, { case: 'since', since })).toBe(1);
    await room.sequence();
    await room.sinks.deliver();
    expect(facts()).toEqual(['b', undefined]);
    receiver.status = 500;
    await room.append(1, 'c');
    await room.sinks.deliver();
    const later = new Date(room.nowMs() + hourMs);
    expect(await room.sinks.replay(room.org.owner, sink.sink.id, { case: 'since', since: later })).toBe(0);
    receiver.status = 200;
    room.advance(hourMs);
    await room.sinks.deliver();
    expect(facts()).toContain('c');
    expect((await list())?.lagSegments).toBeLessThanOrEqual(2);
  });

  it('drop the message that fails when events before it are sent again', async () => {
    const { sink } = await add({ payloads: true });
    const since = new Date(room.nowMs());
    await room.append(1, 'a');
    receiver.status = 500;
    await room.sinks.deliver();
    await room.append(1, 'b');
    await room.sinks.replay(room.org.owner, sink.sink.id, { case: 'since', since });
    Object.assign(receiver, { status: 200 });
    await room.sequence();
    receiver.heard.splice(0);
    await room.sinks.deliver();
    expect(facts().filter(Boolean)).toEqual(['a', 'b']);
    expect((await deliveries(sink.sink.id)).every(({ state }) => state === 'delivered')).toBe(true);
  });

  it('are worked on by one replica at a time, and by another when that one died', async () => {
    await add({ payloads: true });
    await room.append(1, 'a');
    let asked = 0;
    const dies = room.replica({
      fetch: () => {
        asked += 1;
        return new Promise(() => undefined);
      },
    });
    await dies.start();
    await expect.poll(() => asked).toBe(1);
    await room.sinks.deliver();
    expect(receiver.heard).toEqual([]);
    room.advance(60_000);
    await Promise.all([room.sinks.deliver(), room.replica().deliver()]);
    expect(facts()).toEqual([undefined, 'a']);
  });

  it('that hang hold up no other, neither of their organisation nor of another', async () => {
    const slow = new Receiver();
    slow.hangs = true;
    const slowUrl = await slow.start();
    const other = await openSinkRoom(store);
    await add({ name: 'hangs', url: slowUrl });
    await add({ name: 'works', payloads: true });
    await other.sinks.add(other.org.owner, { name: 'x', url, kinds: [], payloads: true, since: null });
    await room.append(1, 'mine');
    await other.append(1, 'theirs');
    await room.sequence();
    room.advance(1000);
    await room.sinks.start();
    await expect.poll(facts).toEqual(expect.arrayContaining(['mine', 'theirs']));
    expect(slow.heard).toHaveLength(1);
    await slow.stop();
    await room.sinks.close();
  });

  it('of one organisation never carry what happened in another', async () => {
    const other = await openSinkRoom(store);
    await add({ payloads: true });
    await other.append(2, 'theirs');
    await room.append(1, 'mine');
    await room.sinks.deliver();
    expect(facts()).toEqual([undefined, 'mine']);
    const stranger = (await createTestOrganisation(store, new Date())).owner;
    const id = (await list())?.sink.id ?? '';
    expect(await room.sinks.list(stranger)).toEqual([]);
    for (const call of [
      () => room.sinks.remove(stranger, id),
      () => room.sinks.test(stranger, id),
      () => room.sinks.setState(stranger, id, 'paused'),
      () => room.sinks.replay(stranger, id, { case: 'dead' }),
      () => room.sinks.listDeliveries(stranger, { sinkId: id, state: null, pageSize: 0, cursor: '' }),
    ])
      await expect(call()).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
  });

  it('can be tried out, follow no redirect, and say nothing of what a receiver answered', async () => {
    const { sink, secret } = await add();
    expect(await room.sinks.test(room.org.owner, sink.sink.id)).toMatchObject({ status: 200, error: '' });
    const [{ body, headers } = { body: '', headers: {} }] = receiver.heard;
    expect(new Webhook(secret).verify(body, headers as Record<string, string>)).toMatchObject({
      type: 'ping',
    });
    Object.assign(receiver, { status: 302, headers: { location: '/elsewhere' } });
    const attempt = await room.sinks.test(room.org.owner, sink.sink.id);
    expect(attempt).toMatchObject({ status: 0, error: 'it answered with a redirect' });
    for (let i = 0; i < 18; i += 1) await room.sinks.test(room.org.owner, sink.sink.id);
    await expect(room.sinks.test(room.org.owner, sink.sink.id)).rejects.toMatchObject({
      code: 'KX_RATE_LIMITED',
    });
  });

  it('do not reach private addresses', async () => {
    const strict = room.replica({ local: false, fetch: createSafeFetch({ allowLoopback: false }) });
    const wanted = { name: 'siem', url: 'https://127.0.0.1:1/x', kinds: [], payloads: false, since: null };
    const { sink } = await strict.add(room.org.owner, wanted);
    expect(await strict.test(room.org.owner, sink.sink.id)).toMatchObject({
      ...{ status: 0, error: 'it does not have a public address' },
    });
    const plain = { ...wanted, name: 'b', url };
    await expect(strict.add(room.org.owner, plain)).rejects.toMatchObject({ code: 'KX_SINK_INVALID' });
  });

  it('keep their key sealed, and go with it', async () => {
    const { sink, secret } = await add();
    const keys = () =>
      store.transaction({ role: 'app', orgId: room.org.orgId }, async (tx) =>
        (await tx.select().from(secrets)).filter(({ purpose }) => purpose === 'sink'),
      );
    expect((await keys())[0]?.ciphertext.includes(Buffer.from(secret.slice(6)))).toBe(false);
    await room.append(1);
    await room.sinks.deliver();
    await room.sinks.remove(room.org.owner, sink.sink.id);
    expect([await keys(), await room.sinks.list(room.org.owner)]).toEqual([[], []]);
    await expect(room.sinks.remove(room.org.owner, sink.sink.id)).rejects.toMatchObject({
      code: 'KX_NOT_FOUND',
    });
    expect(await adminKinds()).toEqual(['sink.added', 'sink.removed']);
    const recorded = await listAdminEvents(store, room.org.orgId);
    expect(JSON.stringify(recorded)).not.toContain('/sink');
  });

  it.each([
    ['a name of other characters', { name: 'Big Siem' }, 'small letters'],
    ['no URL', { url: 'example' }, 'that is no URL'],
    ['http', { url: 'http://logs.example/x' }, 'not https'],
    ['a password', { url: 'https://a:b@logs.example/x' }, 'user or password'],
    ['a kind nobody knows', { kinds: ['tool_call.decidet'] }, 'no event is of the kind'],
    ['a pattern that nothing matches', { kinds: ['nothing.*'] }, 'no event is of the kind'],
    ['too many kinds', { kinds: Array(51).fill('tool_call.*') }, 'more than 50'],
  ])('are refused with %s', async (_what, change, why) => {
    await expect(add(change)).rejects.toMatchObject({
      ...{ code: 'KX_SINK_INVALID', why: expect.stringContaining(why) },
    });
  });

  it('have names of their own, and there are at most ten', async () => {
    await add();
    await expect(add()).rejects.toMatchObject({ why: 'there is one of that name already' });
    for (let i = 1; i < 10; i += 1) await add({ name: `s${i}` });
    await expect(add({ name: 's10' })).rejects.toMatchObject({ why: 'an organisation has at most 10' });
  });

  it('list what was sent in pages, and forget it after thirty days, but not what was given up', async () => {
    const { sink } = await add();
    for (let at = 0; at < 3; at += 1) {
      await room.append(1);
      await room.sinks.deliver();
      room.advance(10);
    }
    const query = { sinkId: sink.sink.id, state: null, pageSize: 2, cursor: '' };
    const first = await room.sinks.listDeliveries(room.org.owner, query);
    const rest = await room.sinks.listDeliveries(room.org.owner, { ...query, cursor: first.next ?? '' });
    expect([first.deliveries.length, rest.deliveries.length, rest.next]).toEqual([2, 1, null]);
    for (const bad of [{ pageSize: 201 }, { cursor: 'x' }])
      await expect(room.sinks.listDeliveries(room.org.owner, { ...query, ...bad })).rejects.toMatchObject({
        code: 'KX_REQUEST_INVALID',
      });
    await store.transaction({ role: 'app', orgId: room.org.orgId }, (tx) =>
      tx.insert(auditSinkDeliveries).values({
        ...{
          id: `skd_${sink.sink.id}`,
          orgId: room.org.orgId,
          sinkId: sink.sink.id,
          state: 'dead',
          events: 1,
        },
        ...{ firstLeaf: 0, lastLeaf: 0, attempts: 9, firstAt: new Date(0), at: new Date(0) },
      }),
    );
    await store.maintain(new Date(room.nowMs() + 31 * 24 * hourMs));
    expect((await deliveries(sink.sink.id)).map(({ state }) => state)).toEqual(['dead']);
  });
});
