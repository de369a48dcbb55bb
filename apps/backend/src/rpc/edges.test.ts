import {
  Code,
  ConnectError,
  createClient,
  createRouterTransport,
  type Interceptor,
} from '@connectrpc/connect';
import { createStreamWriter } from '@kontext/audit';
import {
  AppendStatus,
  AuditService,
  ErrorDetailSchema,
  Mode,
  OrganisationService,
  PolicyService,
  SessionService,
  SessionState,
  StreamKind,
} from '@kontext/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAppendSignal } from '../audit/append-signal.ts';
import { createAuditService } from '../audit/audit-service.ts';
import { createAuditLog } from '../audit/log/audit-log.ts';
import { createLogKeys } from '../audit/log/log-key.ts';
import type { Caller } from '../caller.ts';
import { createManagedLogins } from '../login/manage-logins.ts';
import { createMembers } from '../organisations/members.ts';
import {
  createTestOrganisation,
  type TestOrganisation,
  testKms,
} from '../organisations/test-organisation.ts';
import { createPolicyJudge } from '../policies/judge.ts';
import { createPolicyLife } from '../policies/policy-life.ts';
import { createPolicyService } from '../policies/policy-service.ts';
import { createPolicyWorkers } from '../policies/policy-workers.ts';
import { createSessionService } from '../sessions/session-service.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { auditRoutes } from './audit.ts';
import { callerKey } from './authenticate.ts';
import { toConnectError } from './connect-error.ts';
import { organisationRoutes } from './organisation.ts';
import { policyRoutes } from './policies.ts';
import { sessionRoutes } from './sessions.ts';

describe.each(testStores())('the edges over Connect on $kind', ({ open }) => {
  let opened: TestStore;
  let org: TestOrganisation;
  beforeAll(async () => {
    opened = await open();
    org = await createTestOrganisation(opened.store, new Date());
  });
  afterAll(() => opened?.close());

  /** Client and service wired together in memory; what authentication does is done by hand. */
  const clientsOf = (caller: Caller) => {
    const { store } = opened;
    const appended = createAppendSignal();
    const policies = createPolicyService({ store, kms: testKms });
    const keys = createLogKeys({ store, kms: testKms, host: 'kontext.test', nowMs: Date.now });
    const log = createAuditLog({ store, keys });
    const workers = createPolicyWorkers();
    const life = createPolicyLife({ store, appended, workers, nowMs: Date.now });
    const judge = createPolicyJudge({ store, workers, nowMs: Date.now });
    const sessions = createSessionService({ store, policies, appended });
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
    const transport = createRouterTransport(
      (router) => {
        sessionRoutes(sessions)(router);
        policyRoutes({ policies, life, judge })(router);
        organisationRoutes({
          policies,
          log,
          members: createMembers({ store, appended, nowMs: Date.now }),
          invitations: { store, appended, apiUrl: 'http://127.0.0.1:4180', nowMs: Date.now },
          logins: createManagedLogins({ store, appended, nowMs: Date.now }),
          nowMs: Date.now,
        })(router);
        auditRoutes(createAuditService({ store, appended }), log)(router);
      },
      { router: { interceptors: [authenticated] } },
    );
    return {
      audit: createClient(AuditService, transport),
      sessions: createClient(SessionService, transport),
      policies: createClient(PolicyService, transport),
      organisation: createClient(OrganisationService, transport),
    };
  };
  const request = { agent: 'claude', agentVersion: '2', hostname: 'laptop', cliVersion: '0.1.0' };

  test('a session is opened, listed, kept and ended', async () => {
    const { sessions } = clientsOf(org.owner);
    const started = await sessions.openSession({ ...request, mode: Mode.OBSERVE });
    expect(started.session).toMatchObject({
      agent: 'claude',
      state: SessionState.LIVE,
      mode: Mode.OBSERVE,
      userName: 'owner',
    });
    expect(started).toMatchObject({ heartbeatSeconds: 20 });
    expect(started.clientStreamNonce).toHaveLength(32);
    expect(started.snapshot?.policies.length).toBeGreaterThan(0);
    const sessionId = started.session?.id ?? '';
    expect(await sessions.heartbeatSession({ sessionId })).toMatchObject({
      state: SessionState.LIVE,
      policyVersion: 1n,
    });
    expect((await sessions.listSessions({ mine: true })).sessions.map((session) => session.id)).toContain(
      sessionId,
    );
    expect(await sessions.endSession({ sessionId, exitCode: 3 })).toMatchObject({ leasesEnded: 0 });
    expect((await sessions.getSession({ sessionId })).session).toMatchObject({ state: SessionState.ENDED });
  });

  test('a mode this build does not know means enforce', async () => {
    const { sessions } = clientsOf(org.owner);
    const started = await sessions.openSession({ ...request, mode: 99 as Mode });
    expect(started.session?.mode).toBe(Mode.ENFORCE);
  });

  test('events are appended, listed, read and watched', async () => {
    const { sessions, audit } = clientsOf(org.owner);
    const started = await sessions.openSession(request);
    const [session, streamId] = [started.session?.id ?? '', started.clientStreamId];
    const from = { nonce: started.clientStreamNonce };
    const writer = createStreamWriter({ orgId: org.orgId, streamId, from });
    const event = writer.append({ kind: 'agent.event', session, user: org.owner.userId }, '{"a":1}');
    const { prev, header, chain } = event;
    const events = [
      { seq: BigInt(event.seq), header, chain, payload: '{"a":1}', salt: event.salt ?? Buffer.alloc(0) },
    ];
    const answer = await audit.appendEvents({ streamId, prev, events });
    expect(answer).toMatchObject({ status: AppendStatus.OK, headSeq: 1n });
    expect(Buffer.from(answer.headHash)).toEqual(chain);
    const { streams } = await audit.listStreams({ sessionId: session });
    expect(streams.map((stream) => stream.kind).sort()).toEqual([StreamKind.CLIENT, StreamKind.SERVER]);
    const read = await audit.readStream({ streamId });
    expect(read.events[0]).toMatchObject({
      event: { seq: 1n, header, payload: '{"a":1}' },
      kind: 'agent.event',
      userName: 'owner',
    });
    const aborter = new AbortController();
    const seen: bigint[] = [];
    const watch = audit.watchEvents({ sessionId: session, sinceSeconds: 60 }, { signal: aborter.signal });
    for await (const { events: batch } of watch) {
      seen.push(...batch.filter((row) => row.streamId === streamId).map((row) => row.event?.seq ?? 0n));
      if (seen.length > 0) break;
    }
    aborter.abort();
    expect(seen).toEqual([1n]);
  });

  test('a caller learns who they are and which key to pin', async () => {
    const { organisation } = clientsOf(org.owner);
    const answer = await organisation.getCaller({});
    expect(answer).toMatchObject({
      userId: org.owner.userId,
      orgId: org.orgId,
      role: 'owner',
      userName: 'owner',
    });
    expect(answer.policyKeyThumbprint).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(Math.abs(Number(answer.now?.seconds ?? 0n) - Date.now() / 1000)).toBeLessThan(60);
  });

  test('the snapshot can be fetched again', async () => {
    const { policies } = clientsOf(org.owner);
    expect((await policies.getPolicySnapshot({})).snapshot?.jws.split('.')).toHaveLength(3);
  });

  test('an error carries its code and hint as a typed detail', async () => {
    const { sessions } = clientsOf(org.owner);
    const error = ConnectError.from(
      await sessions.getSession({ sessionId: 'ses_x' }).catch((caught: unknown) => caught),
    );
    expect(error.code).toBe(Code.NotFound);
    expect(error.findDetails(ErrorDetailSchema)).toMatchObject([{ code: 'KX_NOT_FOUND' }]);
  });

  test('a seq beyond what a number holds exactly is refused', async () => {
    const { audit } = clientsOf(org.owner);
    const read = audit.readStream({ streamId: 'str_x', fromSeq: 2n ** 53n });
    await expect(read).rejects.toMatchObject({ code: Code.InvalidArgument });
  });
});
