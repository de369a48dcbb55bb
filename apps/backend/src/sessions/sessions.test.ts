import { createId, hashEvent, parseHeader } from '@kontext/audit';
import { verifySnapshot } from '@kontext/oauth';
import { hashPolicies, starterPolicies } from '@kontext/policy';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAppendSignal } from '../audit/append-signal.ts';
import { createAuditService } from '../audit/audit-service.ts';
import type { Caller } from '../caller.ts';
import {
  createTestOrganisation,
  type TestOrganisation,
  testKms,
} from '../organisations/test-organisation.ts';
import { createPolicyService, type PolicyService } from '../policies/policy-service.ts';
import { publishForTest } from '../policies/test-policies.ts';
import { leases, sessions as sessionTable } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { lostAfterMs } from './end-session.ts';
import { createSessionService, type SessionService } from './session-service.ts';

let nowMs = Date.now();
const input = {
  ...{ agent: 'claude', agentVersion: '2.0', hostname: 'laptop', cliVersion: '0.1.0' },
  ...{ mode: null, hookConfigHash: 'a'.repeat(64) },
} as const;

describe.each(testStores())('sessions on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  let policies: PolicyService;
  let sessions: SessionService;
  let org: TestOrganisation;
  let told = 0;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
    const clock = () => nowMs;
    policies = createPolicyService({ store, kms: testKms, nowMs: clock });
    const onLeasesEnded = () => {
      told += 1;
    };
    sessions = createSessionService({
      store,
      policies,
      appended: createAppendSignal(),
      nowMs: clock,
      onLeasesEnded,
    });
    org = await createTestOrganisation(store, new Date(nowMs));
  });
  afterAll(() => opened?.close());

  const serverEvents = async (streamId: string) => {
    const audit = createAuditService({ store });
    return (await audit.readStream(org.owner, { streamId, fromSeq: 0, pageSize: 0 })).events;
  };
  const addLease = async (sessionId: string, state: 'pending' | 'active') => {
    const id = createId('lea', nowMs);
    await store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
      tx.insert(leases).values({
        ...{
          id,
          orgId: org.orgId,
          state,
          kind: 'oauth',
          provider: 'github',
          audience: 'github',
          delivery: 'inject',
        },
        ...{ sessionId, userId: org.owner.userId, subject: org.owner.userId, createdAt: new Date(nowMs) },
      }),
    );
    return id;
  };
  const beat = (caller: Caller, sessionId: string, hookConfigHash: string, hooksSeen = false) =>
    sessions.heartbeat(caller, sessionId, { hookConfigHash, hooksSeen });
  const leaseState = async (id: string) => {
    const rows = await store.transaction({ role: 'read', orgId: org.orgId }, (tx) =>
      tx.select().from(leases),
    );
    return rows.find((row) => row.id === id)?.state;
  };
  const setMode = (mode: 'observe' | 'enforce') => publishForTest(store, org.orgId, { mode });

  test('opening a session records it on its server stream and gives what the client needs', async () => {
    const made = await sessions.open(org.owner, input);
    const [event] = await serverEvents(made.serverStreamId);
    expect(event).toMatchObject({ kind: 'session.opened', sessionId: made.session.id, seq: 1 });
    expect(hashEvent(event?.header ?? '')).toEqual(made.serverEventHash);
    expect(parseHeader(event?.header ?? '')).toMatchObject({
      agent: 'claude',
      mode: 'observe',
      policyVersion: 1,
    });
    expect(made.clientStreamNonce).toHaveLength(32);
    expect(await sessions.get(org.owner, made.session.id)).toMatchObject({
      userName: 'owner',
      session: {
        state: 'live',
        mode: 'observe',
        policyVersion: 1,
        hostname: 'laptop',
        loginGrantId: org.owner.grantId,
      },
    });
  });

  test('a session says which repository it runs in, and its opening records it', async () => {
    const repository = 'github.com/acme/shop';
    const made = await sessions.open(org.owner, { ...input, repository });
    const [event] = await serverEvents(made.serverStreamId);
    expect(JSON.parse(event?.payload ?? '')).toMatchObject({ repository });
    expect(event).toMatchObject({ repository });
    expect((await sessions.get(org.owner, made.session.id)).session).toMatchObject({ repository });
  });

  test.each(['a'.repeat(256), 'a\0b', 'a\u001b[31m', '\ud800'])(
    'refuses %j as a repository',
    async (repository) => {
      const opening = sessions.open(org.owner, { ...input, repository });
      await expect(opening).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
    },
  );

  test('the snapshot verifies with the pinned key, names the organisation and hashes its policies', async () => {
    const { snapshot } = await sessions.open(org.owner, input);
    const pinnedThumbprint = await policies.keyThumbprint(org.orgId);
    const policiesHash = hashPolicies(snapshot.policies);
    const claims = await verifySnapshot({
      ...{ jws: snapshot.jws, policiesHash, pinnedThumbprint, minSeq: 1, orgId: org.orgId, nowMs },
    });
    expect(claims).toMatchObject({ org: org.orgId, team: '', mode: 'observe', version: 1, seq: 1 });
    expect(snapshot.policies).toEqual(starterPolicies);
  });

  test('the snapshot of another organisation is signed by another key', async () => {
    const other = await createTestOrganisation(store, new Date(nowMs));
    const { jws, policies: texts } = await policies.snapshot(other.owner);
    const policiesHash = hashPolicies(texts);
    const pinnedThumbprint = await policies.keyThumbprint(org.orgId);
    const request = { jws, policiesHash, pinnedThumbprint, minSeq: 1, orgId: other.orgId, nowMs };
    await expect(verifySnapshot(request)).rejects.toMatchObject({ code: 'KX_SNAPSHOT_INVALID' });
  });

  test('a client may raise the mode, never lower it', async () => {
    expect((await sessions.open(org.owner, { ...input, mode: 'enforce' })).session.mode).toBe('enforce');
    await setMode('enforce');
    expect((await sessions.open(org.owner, { ...input, mode: 'observe' })).session.mode).toBe('enforce');
    await setMode('observe');
  });

  test.each([
    [{ agent: 'nobody' }, 'KX_AGENT_UNKNOWN'],
    [{ agent: 'Claude' }, 'KX_REQUEST_INVALID'],
    [{ hostname: 'h'.repeat(256) }, 'KX_REQUEST_INVALID'],
    [{ hostname: 'a\0b' }, 'KX_REQUEST_INVALID'],
    [{ agentVersion: 'v'.repeat(65) }, 'KX_REQUEST_INVALID'],
    [{ hookConfigHash: 'xyz' }, 'KX_REQUEST_INVALID'],
  ])('refuses to open a session with %o', async (change, code) => {
    await expect(sessions.open(org.owner, { ...input, ...change })).rejects.toMatchObject({ code });
  });

  test('a heartbeat keeps the session live and tells which publication is the newest', async () => {
    const { session } = await sessions.open(org.owner, input);
    expect(await beat(org.owner, session.id, input.hookConfigHash)).toEqual({
      state: 'live',
      ...{ policyVersion: 1, policySeq: 3 },
      tamperedAt: null,
      payloads: 'summary',
    });
  });

  test('a heartbeat says that the agent was seen; the first time counts', async () => {
    const { session } = await sessions.open(org.owner, input);
    await beat(org.owner, session.id, '');
    expect((await sessions.get(org.owner, session.id)).session.hooksSeenAt).toBeNull();
    const seenAt = new Date(nowMs);
    await beat(org.owner, session.id, '', true);
    nowMs += 5_000;
    await beat(org.owner, session.id, '', true);
    expect((await sessions.get(org.owner, session.id)).session.hooksSeenAt).toEqual(seenAt);
  });

  test('another hook configuration is recorded once as tampering', async () => {
    const made = await sessions.open(org.owner, input);
    const changed = 'b'.repeat(64);
    await beat(org.owner, made.session.id, changed);
    await beat(org.owner, made.session.id, changed);
    const events = await serverEvents(made.serverStreamId);
    expect(events.map((event) => event.kind)).toEqual(['session.opened', 'tamper.settings_changed']);
    expect((await sessions.get(org.owner, made.session.id)).session.tamperedAt).not.toBeNull();
  });

  test('ending a session ends its leases, is recorded, and may be repeated', async () => {
    const made = await sessions.open(org.owner, input);
    const wanted = [
      await addLease(made.session.id, 'pending'),
      await addLease(made.session.id, 'active'),
    ].sort();
    const { leases: first } = await sessions.end(org.owner, made.session.id, { exitCode: 137, reason: '' });
    expect(first.map(({ lease }) => lease.id).sort()).toEqual(wanted);
    expect(told).toBeGreaterThan(0);
    expect((await sessions.end(org.owner, made.session.id, { exitCode: 0, reason: '' })).leases).toEqual([]);
    const events = await serverEvents(made.serverStreamId);
    expect(events.map((event) => event.kind)).toEqual(['session.opened', 'session.ended']);
    expect(parseHeader(events[1]?.header ?? '').lineage.leases.toSorted()).toEqual(wanted);
    expect((await sessions.get(org.owner, made.session.id)).session).toMatchObject({
      state: 'ended',
      exitCode: 137,
    });
    expect((await beat(org.owner, made.session.id, '')).state).toBe('ended');
  });

  test.each(['owner', 'admin', 'security'] as const)(
    'role %s ends sessions of others with a reason, which both streams record',
    async (role) => {
      const member = await org.addUser('member');
      const guardian = await org.addUser(role);
      const made = await sessions.open(member, input);
      await addLease(made.session.id, 'active');
      const end = { exitCode: 0, reason: 'laptop stolen' };
      expect((await sessions.end(guardian, made.session.id, end)).leases).toHaveLength(1);
      expect((await sessions.get(member, made.session.id)).session).toMatchObject({
        ...{ state: 'ended', endReason: 'laptop stolen', exitCode: null },
      });
      expect((await serverEvents(made.serverStreamId)).at(-1)?.kind).toBe('session.ended');
    },
  );

  test.each(['auditor', 'approver', 'member'] as const)(
    'role %s ends no session of others, with or without a reason',
    async (role) => {
      const caller = await org.addUser(role);
      const { session } = await sessions.open(org.owner, input);
      for (const reason of ['', 'why not']) {
        const ending = sessions.end(caller, session.id, { exitCode: 0, reason });
        await expect(ending).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
      }
    },
  );

  test.each(['x'.repeat(201), 'a\u001b[2J'])('refuses the reason %j', async (reason) => {
    const { session } = await sessions.open(org.owner, input);
    const ending = sessions.end(org.owner, session.id, { exitCode: 0, reason });
    await expect(ending).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
  });

  test('lists how many leases live, and leaves out ended sessions on request', async () => {
    const member = await org.addUser('member');
    const [first, second] = [await sessions.open(member, input), await sessions.open(member, input)];
    await addLease(first.session.id, 'active');
    await addLease(first.session.id, 'pending');
    await sessions.end(member, second.session.id, { exitCode: 0, reason: '' });
    const list = async (live: boolean) => {
      const page = await sessions.list(member, { mine: true, live, pageSize: 0, cursor: '' });
      return page.sessions.map(({ session, liveLeases }) => [session.id, liveLeases]);
    };
    expect(await list(true)).toEqual([[first.session.id, 1]]);
    expect((await list(false)).toSorted()).toEqual(
      [
        [first.session.id, 1],
        [second.session.id, 0],
      ].toSorted(),
    );
  });

  test.each([-1, 256, 1.5])('refuses the exit code %s', async (exitCode) => {
    const { session } = await sessions.open(org.owner, input);
    await expect(
      sessions.end(org.owner, session.id, { exitCode: exitCode, reason: '' }),
    ).rejects.toMatchObject({
      code: 'KX_REQUEST_INVALID',
    });
  });

  test('a silent session is lost with its leases, once, and lives again with its next heartbeat', async () => {
    const made = await sessions.open(org.owner, input);
    const lease = await addLease(made.session.id, 'active');
    const before = told;
    nowMs += lostAfterMs + 1000;
    await Promise.all([sessions.sweep(), sessions.sweep()]);
    expect((await sessions.get(org.owner, made.session.id)).session.state).toBe('lost');
    expect(told).toBeGreaterThan(before);
    expect(await leaseState(lease)).toBe('ended');
    expect((await beat(org.owner, made.session.id, '')).state).toBe('live');
    const events = await serverEvents(made.serverStreamId);
    expect(events.map((event) => event.kind)).toEqual(['session.opened', 'session.lost', 'session.opened']);
  });

  test('a session with a heartbeat is not lost', async () => {
    const { session } = await sessions.open(org.owner, input);
    nowMs += lostAfterMs - 1000;
    await beat(org.owner, session.id, '');
    nowMs += 2000;
    await sessions.sweep();
    expect((await sessions.get(org.owner, session.id)).session.state).toBe('live');
  });

  test('only their own user may keep or end a session, whatever the role of others', async () => {
    const member = await org.addUser('member');
    const { session } = await sessions.open(member, input);
    await expect(beat(org.owner, session.id, '')).rejects.toMatchObject({
      code: 'KX_NOT_FOUND',
    });
    await expect(sessions.end(org.owner, session.id, { exitCode: 0, reason: '' })).rejects.toMatchObject({
      code: 'KX_NOT_FOUND',
    });
    expect((await sessions.end(member, session.id, { exitCode: 0, reason: '' })).leases).toEqual([]);
  });

  test.each([
    ['owner', true],
    ['admin', true],
    ['security', true],
    ['auditor', true],
    ['member', false],
  ] as const)('role %s sees sessions of others: %s', async (role, sees) => {
    const caller = await org.addUser(role);
    const { session } = await sessions.open(org.owner, input);
    const own = (await sessions.open(caller, input)).session;
    const list = async (mine: boolean) => {
      const { sessions: found } = await sessions.list(caller, {
        mine,
        live: false,
        pageSize: 200,
        cursor: '',
      });
      return found.map((row) => row.session.id);
    };
    expect(await list(true)).toEqual([own.id]);
    expect((await list(false)).includes(session.id)).toBe(sees);
    const get = sessions.get(caller, session.id);
    if (sees) expect((await get).session.id).toBe(session.id);
    else await expect(get).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
  });

  test('nothing of another organisation can be seen, kept or ended', async () => {
    const stranger = (await createTestOrganisation(store, new Date(nowMs))).owner;
    const { session } = await sessions.open(org.owner, input);
    await expect(sessions.get(stranger, session.id)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    await expect(beat(stranger, session.id, '')).rejects.toMatchObject({
      code: 'KX_NOT_FOUND',
    });
    await expect(sessions.end(stranger, session.id, { exitCode: 0, reason: '' })).rejects.toMatchObject({
      code: 'KX_NOT_FOUND',
    });
    expect(
      (await sessions.list(stranger, { mine: false, live: false, pageSize: 0, cursor: '' })).sessions,
    ).toEqual([]);
  });

  test('pages of sessions join up, newest first', async () => {
    const { sessions: all } = await sessions.list(org.owner, {
      mine: false,
      live: false,
      pageSize: 200,
      cursor: '',
    });
    const paged: string[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const page: Awaited<ReturnType<SessionService['list']>> = await sessions.list(org.owner, {
        mine: false,
        live: false,
        pageSize: 3,
        cursor,
      });
      paged.push(...page.sessions.map((row) => row.session.id));
      cursor = page.next;
    }
    expect(paged).toEqual(all.map((row) => row.session.id));
    expect(paged).toEqual(paged.toSorted().reverse());
  });

  test.each([[{ pageSize: 201, cursor: '' }], [{ pageSize: 0, cursor: 'x' }]])(
    'refuses the page %o',
    async (page) => {
      await expect(sessions.list(org.owner, { mine: false, live: false, ...page })).rejects.toMatchObject({
        code: 'KX_REQUEST_INVALID',
      });
    },
  );

  test('an organisation that was never made has no snapshot', async () => {
    const missing = policies.snapshot({ ...org.owner, orgId: 'org_01900000-0000-7000-8000-000000000000' });
    await expect(missing).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
  });

  test('the private half of the policy key lies in the database sealed only', async () => {
    const { rows } = await store.transaction({ role: 'system', orgId: null }, (tx) =>
      tx.execute(
        `SELECT encode(ciphertext, 'escape') AS text, octet_length(ciphertext) AS n FROM secrets LIMIT 1`,
      ),
    );
    expect(rows[0]?.n).toBe(43 + 16);
    expect(
      await store.transaction({ role: 'read', orgId: org.orgId }, (tx) => tx.$count(sessionTable)),
    ).toBeGreaterThan(0);
  });
});
