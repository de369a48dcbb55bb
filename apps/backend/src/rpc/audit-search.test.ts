import { ConnectError, createClient, createRouterTransport, type Interceptor } from '@connectrpc/connect';
import { AuditService, ErrorDetailSchema } from '@kontext/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAuditService } from '../audit/audit-service.ts';
import { createAuditLog } from '../audit/log/audit-log.ts';
import { createLogKeys } from '../audit/log/log-key.ts';
import { sequenceLogs } from '../audit/log/sequence-log.ts';
import { rollUpLogs } from '../audit/rollups/roll-up.ts';
import { openTestSession } from '../audit/test-client.ts';
import type { Caller } from '../caller.ts';
import {
  createTestOrganisation,
  type TestOrganisation,
  testKms,
} from '../organisations/test-organisation.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { auditRoutes } from './audit.ts';
import { callerKey } from './authenticate.ts';
import { toConnectError } from './connect-error.ts';

describe.each(testStores())('searches over Connect on $kind', ({ open }) => {
  let opened: TestStore;
  let org: TestOrganisation;
  let other: TestOrganisation;
  let ann: Caller;
  beforeAll(async () => {
    opened = await open();
    const { store } = opened;
    [org, other] = [
      await createTestOrganisation(store, new Date()),
      await createTestOrganisation(store, new Date()),
    ];
    ann = await org.addUser('member');
    const audit = createAuditService({ store });
    for (const caller of [org.owner, ann, other.owner]) {
      const client = await openTestSession(store, caller, new Date());
      const events = [
        client.write({ decision: 'deny' }),
        client.write({ tool: 'Read' }, '{"path":"100% \\"x\\""}'),
      ];
      await audit.append(caller, client.batch(events));
    }
    const nowMs = Date.now;
    await sequenceLogs({
      store,
      keys: createLogKeys({ store, kms: testKms, host: 'kontext.test', nowMs }),
      nowMs,
    });
    await rollUpLogs({ store, nowMs });
  });
  afterAll(() => opened?.close());

  /** Client and service wired together in memory; what authentication does is done by hand. */
  const clientOf = (caller: Caller) => {
    const { store } = opened;
    const keys = createLogKeys({ store, kms: testKms, host: 'kontext.test', nowMs: Date.now });
    const authenticated: Interceptor = (next) => async (request) => {
      request.contextValues.set(callerKey, {
        ...caller,
        ...{ orgName: 'Org', groups: [], clientId: 'kontext-cli', jkt: 'jkt', scope: 'kontext' },
        ...{ tokenExpiresAtMs: Date.now() + 60_000, acr: null, authAt: null, delegation: null },
        token: { userId: caller.userId, grantId: caller.grantId, jti: 'jti', delegated: false },
      });
      return next(request).catch((error: unknown) => {
        throw toConnectError(error);
      });
    };
    const routes = auditRoutes(createAuditService({ store }), createAuditLog({ store, keys }));
    return createClient(
      AuditService,
      createRouterTransport((router) => routes(router), { router: { interceptors: [authenticated] } }),
    );
  };
  const usersOf = async (caller: Caller, query: string) => {
    const { events } = await clientOf(caller).searchEvents({ query, pageSize: 200 });
    return new Set(events.map(({ userId }) => userId));
  };

  test('an overseer finds what everybody did, a member what they did, nobody what another organisation did', async () => {
    expect(await usersOf(org.owner, 'kind:tool_call.*')).toEqual(new Set([org.owner.userId, ann.userId]));
    expect(await usersOf(ann, 'kind:tool_call.*')).toEqual(new Set([ann.userId]));
    expect(await usersOf(ann, `actor:${org.owner.userId}`)).toEqual(new Set());
    expect(await usersOf(org.owner, `actor:${other.owner.userId}`)).toEqual(new Set());
    expect(await usersOf(other.owner, '"100%"')).toEqual(new Set([other.owner.userId]));
  });

  test('pages join up, and payloads come when they are asked for', async () => {
    const client = clientOf(org.owner);
    const query = 'kind:tool_call.* "say"';
    expect((await client.searchEvents({ query })).events).toEqual([]);
    const first = await client.searchEvents({ query: 'tool:Read', pageSize: 1, payloads: true });
    expect(first.events[0]).toMatchObject({ tool: 'Read', event: { payload: '{"path":"100% \\"x\\""}' } });
    const second = await client.searchEvents({
      query: 'tool:Read',
      pageSize: 1,
      pageToken: first.nextPageToken,
    });
    expect(second.events[0]?.event?.payload).toBeUndefined();
    expect(second.events[0]?.eventId).not.toBe(first.events[0]?.eventId);
    expect(second.nextPageToken).toBe('');
  });

  test.each([
    ['a OR b', '3'],
    ['tool:Bash (decision:deny)', '11'],
    ["'; DROP TABLE audit_events; -- \0", '32'],
    [`"${'x'.repeat(10_240)}"`, '2001'],
    ['"unclosed', '1'],
  ])('answers the query %j with a typed error that says where', async (query, position) => {
    const ask = clientOf(org.owner).searchEvents({ query });
    const error = await ask.then(
      () => null,
      (thrown: unknown) => ConnectError.from(thrown),
    );
    const [detail] = error?.findDetails(ErrorDetailSchema) ?? [];
    expect(detail).toMatchObject({ code: 'KX_QUERY_INVALID' });
    expect(error?.message).toContain(`character ${position}`);
  });

  test.each(["' OR 1=1 --", '"%"; SELECT', '$1', "\\'; DELETE FROM users", '%', "a' UNION SELECT"])(
    'takes %j for text, and finds none of it',
    async (text) => {
      const { events } = await clientOf(org.owner).searchEvents({
        query: `-tool:Read "${text.replace(/["\\]/g, '\\$&')}"`,
      });
      expect(events).toEqual([]);
    },
  );

  test('facets and histogram say up to when they count', async () => {
    const client = clientOf(org.owner);
    const facets = await client.getEventFacets({ query: 'kind:tool_call.*', fields: ['tool', 'user'] });
    expect(
      facets.facets.map(({ field, values }) => [field, values.map(({ count }) => Number(count))]),
    ).toEqual([
      ['tool', [2, 2]],
      ['user', [2, 2]],
    ]);
    const { buckets, countedUntil } = await client.getEventHistogram({
      query: 'kind:tool_call.*',
      bucketSeconds: 86_400 * 365,
    });
    const sums = buckets.map(({ count, denied }) => [Number(count), Number(denied)]);
    expect(sums).toEqual([[4, 2]]);
    expect(countedUntil).toBeDefined();
  });

  test('a watch tells where it can go on', async () => {
    const stop = new AbortController();
    const cursors: string[] = [];
    for await (const { cursor } of clientOf(org.owner).watchEvents(
      { sinceSeconds: 3600 },
      { signal: stop.signal },
    )) {
      cursors.push(cursor);
      break;
    }
    stop.abort();
    expect(cursors[0]).toMatch(/^[\w-]+$/);
  });
});
