/** AppendEvents given what no good client sends, over real HTTP: the right answer, the same bytes back, never a crash. */
import { fromBinary } from '@bufbuild/protobuf';
import {
  type ChainedEvent,
  chainLink,
  createStreamWriter,
  type EventFields,
  encodeHeader,
  hashEvent,
  parseHeader,
  type StreamWriter,
} from '@kontext/audit';
import { createDpopProof } from '@kontext/oauth';
import { ErrorDetailSchema } from '@kontext/protocol';
import { createLocalKms } from '@kontext/vault';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addMember, createOrg, type NewLocalAccount } from '../login/local-accounts.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';
import { logIn } from '../test-login.ts';
import { wire } from '../wiring.ts';

interface Answer {
  readonly http: number;
  /** Of a batch that was judged. */
  readonly status: string | null;
  /** Of one that was refused: our code, or Connect's where the message could not even be read. */
  readonly error: string | null;
  readonly body: Record<string, unknown>;
}

type Call = (rpc: string, message: object | string | Uint8Array, type?: string) => Promise<Answer>;

/** An own session and what writes its client stream. */
interface Session {
  readonly streamId: string;
  readonly sessionId: string;
  readonly userId: string;
  readonly orgId: string;
  readonly writer: StreamWriter;
  write(payload?: string | null, fields?: Partial<EventFields>): ChainedEvent;
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
const onWire = ({ seq, header, payload, salt, chain }: ChainedEvent) => ({
  ...{ seq: String(seq), header, chain: base64(chain) },
  ...(payload === null ? {} : { payload, salt: base64(salt ?? Buffer.alloc(0)) }),
});
const batchOf = (streamId: string, events: readonly ChainedEvent[]) => ({
  ...{ streamId, prev: base64(events[0]?.prev ?? Buffer.alloc(32)) },
  events: events.map(onWire),
});

/** Another tool in a header, with the chain value that follows from it. */
const renamed = (event: ChainedEvent, tool: string): ChainedEvent => {
  const header = encodeHeader({ ...parseHeader(event.header), tool });
  return { ...event, header, chain: chainLink(event.prev, hashEvent(header)) };
};

describe.each(testStores())('bad batches on $kind', ({ open }) => {
  const kms = createLocalKms(new Map([['test', Buffer.alloc(32, 7)]]), 'test');
  let opened: TestStore;
  let app: TestApp;
  let owner: Call;
  let colleague: Call;
  let stranger: Call;

  beforeAll(async () => {
    opened = await open();
    app = await startTestApp(opened.store, { wire, kms });
    owner = await callsOf(app.owner);
    const bob = { orgSlug: 'default', name: 'bob', role: 'member', groups: [], withPasscode: true };
    colleague = await callsOf(await addMember(opened.store, bob, Date.now()));
    const elsewhere = { slug: 'elsewhere', owner: 'mallory', withPasscode: true };
    stranger = await callsOf(await createOrg(opened.store, kms, elsewhere, Date.now()));
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });

  async function callsOf(account: NewLocalAccount): Promise<Call> {
    const { accessToken, jwk: key } = await logIn({ ...app, owner: account });
    return async (rpc, message, type = 'application/json') => {
      const url = `${app.apiUrl}/kontext.v1.${rpc}`;
      const dpop = await createDpopProof({ key, htm: 'POST', htu: url, accessToken, nowMs: Date.now() });
      const isRaw = typeof message === 'string' || message instanceof Uint8Array;
      const answer = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': type, authorization: `DPoP ${accessToken}`, dpop },
        body: isRaw ? (message as string) : JSON.stringify(message),
      });
      const text = await answer.text();
      const body = (text.startsWith('{') ? JSON.parse(text) : {}) as Record<string, unknown>;
      const status = (body.status as string | undefined)?.replace('APPEND_STATUS_', '').toLowerCase() ?? null;
      return { http: answer.status, status, error: answer.ok ? null : codeOf(body), body };
    };
  }

  const append = (by: Call, batch: object | string) => by('AuditService/AppendEvents', batch);

  async function openSession(by: Call = owner): Promise<Session> {
    const { body } = await by('SessionService/OpenSession', { agent: 'claude', hostname: 'laptop' });
    const opening = body as Record<string, string> & { session: Record<string, string> };
    const caller = (await by('OrganisationService/GetCaller', {})).body as Record<string, string>;
    const [streamId, sessionId] = [opening.clientStreamId ?? '', opening.session.id ?? ''];
    const [orgId, userId] = [caller.orgId ?? '', caller.userId ?? ''];
    const from = { nonce: Buffer.from(opening.clientStreamNonce ?? '', 'base64') };
    const writer = createStreamWriter({ orgId, streamId, from });
    const common = { kind: 'tool_call.decided', session: sessionId, user: userId, tool: 'Bash' } as const;
    return {
      ...{ streamId, sessionId, userId, orgId, writer },
      write: (payload = '{}', fields = {}) => writer.append({ ...common, ...fields }, payload),
    };
  }

  async function stored({ streamId }: Session): Promise<{ header: string; payload?: string; seq: string }[]> {
    const { body } = await owner('AuditService/ReadStream', { streamId });
    return ((body.events ?? []) as { event: { header: string; payload?: string; seq: string } }[]).map(
      ({ event }) => event,
    );
  }

  test.each<[string, (session: Session) => object | Promise<object>]>([
    [
      'a wrong chain value',
      (session) => {
        const event = session.write();
        return batchOf(session.streamId, [{ ...event, chain: Buffer.alloc(32, 1) }]);
      },
    ],
    [
      'a chain that breaks in the middle',
      (session) =>
        batchOf(session.streamId, [session.write(), session.write(), session.write()].toSpliced(1, 1)),
    ],
    [
      'events of another session of its own',
      async (session) => batchOf(session.streamId, [(await openSession()).write()]),
    ],
    [
      'a header that names another organisation',
      (session) => {
        const event = session.write();
        const header = event.header.replace(session.orgId, 'org_01900000-0000-7000-8000-000000000000');
        return batchOf(session.streamId, [{ ...event, header }]);
      },
    ],
    [
      'a header with a duplicate key',
      (session) => {
        const event = session.write();
        return batchOf(session.streamId, [{ ...event, header: event.header.replace('{', '{"v":1,') }]);
      },
    ],
    [
      'a header that turns a line around',
      (session) => batchOf(session.streamId, [renamed(session.write(), 'a\u202eb')]),
    ],
    [
      'a header with a secret',
      (session) => batchOf(session.streamId, [renamed(session.write(), `ghp_${'q7Xk2Lm9Rt4V'.repeat(3)}`)]),
    ],
    [
      'a kind that only the backend writes',
      (session) => batchOf(session.streamId, [session.write('{}', { kind: 'credential.resolved' })]),
    ],
    ['an empty batch', (session) => batchOf(session.streamId, [])],
    [
      '501 events',
      (session) =>
        batchOf(
          session.streamId,
          Array.from({ length: 501 }, () => session.write(null)),
        ),
    ],
    [
      'a payload with NUL',
      (session) => {
        const [event] = batchOf(session.streamId, [session.write('{}')]).events;
        return { ...batchOf(session.streamId, []), events: [{ ...event, payload: 'a\0b' }] };
      },
    ],
    [
      'other bytes than the hash is of',
      (session) => {
        const [event] = batchOf(session.streamId, [session.write('{}')]).events;
        return { ...batchOf(session.streamId, []), events: [{ ...event, payload: '{} ' }] };
      },
    ],
  ])('%s is refused, and nothing is stored', async (_name, make) => {
    const session = await openSession();
    const answer = await append(owner, await make(session));
    expect(answer).toMatchObject({ http: 400, error: 'KX_EVENT_INVALID' });
    expect(await stored(session)).toEqual([]);
  });

  test('a gap, an overlap, a repetition and a fork get their answers', async () => {
    const session = await openSession();
    const events = Array.from({ length: 6 }, () => session.write());
    const send = async (from: number, to: number) =>
      (await append(owner, batchOf(session.streamId, events.slice(from - 1, to)))).status;
    const answers = [
      await send(3, 4),
      await send(1, 3),
      await send(2, 5),
      await send(1, 5),
      await send(6, 6),
    ];
    const first = events[0] as ChainedEvent;
    const { orgId, streamId } = session;
    const other = createStreamWriter({ orgId, streamId, from: { head: { seq: 0, hash: first.prev } } });
    const { sessionId, userId } = session;
    const forged = other.append({ kind: 'agent.event', session: sessionId, user: userId }, '{}');
    const fork = await append(owner, batchOf(streamId, [forged]));
    expect(answers).toEqual(['gap', 'ok', 'ok', 'dup', 'ok']);
    expect(fork.status).toBe('fork');
    expect((await stored(session)).map(({ header }) => header)).toEqual(events.map(({ header }) => header));
  });

  test('neither a colleague nor another organisation can write to a stream', async () => {
    const session = await openSession();
    const batch = batchOf(session.streamId, [session.write()]);
    for (const other of [colleague, stranger]) {
      expect(await append(other, batch)).toMatchObject({ http: 404, error: 'KX_NOT_FOUND' });
    }
    expect(await stored(session)).toEqual([]);
  });

  test.each([
    ['a clock of the year 9999', '{}', '9999-12-31T23:59:59.999Z'],
    ['a clock of the year 1', '{}', '0001-01-01T00:00:00.000Z'],
    ['NUL and a lone surrogate as escapes', String.raw`{"a":"\u0000","b":"\ud800"}`, undefined],
    ['duplicate keys', '{"a":1,"a":2}', undefined],
    ['numbers beyond 2^53', '{"n":9007199254740993,"m":1e400}', undefined],
    ['no JSON at all', 'not { json', undefined],
    ['right-to-left marks and colours', '{"a":"\u202e\u001b[31m\u{1f600}"}', undefined],
  ])('a payload or header with %s comes back byte for byte', async (_name, payload, occurredAt) => {
    const session = await openSession();
    const event = session.write(payload, occurredAt === undefined ? {} : { occurredAt });
    const after = session.write();
    const answer = await append(owner, batchOf(session.streamId, [event, after]));
    const [first, second] = await stored(session);
    expect(answer.status).toBe('ok');
    expect([first?.header, first?.payload, second?.header]).toEqual([event.header, payload, after.header]);
  });

  test('a payload 25,000 levels deep, in which nobody can look for secrets, is withheld and its header kept', async () => {
    const session = await openSession();
    const event = session.write('['.repeat(25_000) + ']'.repeat(25_000));
    expect((await append(owner, batchOf(session.streamId, [event]))).status).toBe('ok');
    const [first] = await stored(session);
    expect([first?.header, first?.payload]).toEqual([event.header, undefined]);
  });

  test('a payload 100,000 levels deep is too long or taken, and the backend lives', async () => {
    const session = await openSession();
    const event = session.write(null);
    const deep = {
      ...onWire(event),
      payload: '['.repeat(100_000) + ']'.repeat(100_000),
      salt: base64(Buffer.alloc(16)),
    };
    const batch = { ...batchOf(session.streamId, [event]), events: [deep] };
    expect(await append(owner, batch)).toMatchObject({ http: 400, error: 'KX_EVENT_INVALID' });
    expect((await append(owner, batchOf(session.streamId, [event]))).status).toBe('ok');
  });

  test.each<[string, (session: Session) => string | Uint8Array, string?]>([
    ['nested 100,000 levels', () => `{"events":${'['.repeat(100_000)}${']'.repeat(100_000)}}`],
    [
      'of bytes that are no UTF-8',
      () => Buffer.concat([Buffer.from('{"streamId":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')]),
    ],
    [
      'whose header is no UTF-8, in binary',
      () => Buffer.from([0x1a, 4, 0x12, 2, 0xff, 0xfe]),
      'application/proto',
    ],
    [
      'with a lone surrogate',
      ({ streamId }) => `{"streamId":"${streamId}","events":[{"seq":"1","header":"\\ud800"}]}`,
    ],
    [
      'with a seq beyond 2^53',
      ({ streamId }) => `{"streamId":"${streamId}","events":[{"seq":"9007199254740993"}]}`,
    ],
    [
      'with a seq beyond 64 bits',
      ({ streamId }) => `{"streamId":"${streamId}","events":[{"seq":"99999999999999999999"}]}`,
    ],
    [
      'with a number no double holds',
      ({ streamId }) => `{"streamId":"${streamId}","events":[{"seq":1e400}]}`,
    ],
    ['that ends early', ({ streamId }) => `{"streamId":"${streamId}","events":[{`],
    [
      'of 10,000 events',
      ({ streamId }) =>
        JSON.stringify({
          streamId,
          events: Array.from({ length: 10_000 }, (_, n) => ({ seq: `${n + 1}`, header: '{}' })),
        }),
    ],
    [
      'of 10 MB',
      ({ streamId }) => JSON.stringify({ streamId, events: [{ seq: '1', header: 'x'.repeat(10_000_000) }] }),
    ],
  ])('a message %s is refused with an error of the protocol', async (_name, make, type) => {
    const session = await openSession();
    const answer = await owner('AuditService/AppendEvents', make(session), type);
    expect(answer.error).toMatch(
      /^(KX_EVENT_INVALID|KX_REQUEST_INVALID|KX_NOT_FOUND|invalid_argument|resource_exhausted|internal)$/,
    );
    expect(answer.http).toBeGreaterThanOrEqual(400);
    // What is no UTF-8 in binary form Connect itself calls internal; nothing of ours has seen it then.
    expect(answer.error === 'internal').toBe(type === 'application/proto');
    expect(await stored(session)).toEqual([]);
    expect((await append(owner, batchOf(session.streamId, [session.write()]))).status).toBe('ok');
  });

  test('a message in which a key stands twice is refused', async () => {
    const session = await openSession();
    const message = JSON.stringify(batchOf(session.streamId, [session.write()]));
    const answer = await append(owner, message.replace('{', '{"streamId":"str_x",'));
    expect(answer).toMatchObject({ http: 400, error: 'invalid_argument' });
    expect(await stored(session)).toEqual([]);
  });
});

function codeOf(body: Record<string, unknown>): string {
  const [detail] = (body.details ?? []) as { type: string; value: string }[];
  if (!detail?.type.endsWith('ErrorDetail')) return String(body.code);
  return fromBinary(ErrorDetailSchema, Buffer.from(detail.value, 'base64')).code;
}
