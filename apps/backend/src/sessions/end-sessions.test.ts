import { createId, parseHeader } from '@kontext/audit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAppendSignal } from '../audit/append-signal.ts';
import { createAuditService } from '../audit/audit-service.ts';
import type { Caller } from '../caller.ts';
import { hashOidcId } from '../login/oidc-adapter.ts';
import {
  createTestOrganisation,
  type TestOrganisation,
  testKms,
} from '../organisations/test-organisation.ts';
import { createPolicyService } from '../policies/policy-service.ts';
import { insertLeases } from '../store/queries/issued-leases.ts';
import {
  endLeases,
  endLeasesOf,
  endRenewedLeases,
  endUnissuedLeases,
  type LeaseRow,
} from '../store/queries/leases.ts';
import { findAgent } from '../store/queries/members.ts';
import { leases as leaseTable } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import { makeTestLease } from '../store/test-lease.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import type { Tx } from '../store/tx.ts';
import { endSessions, type SessionFilter } from './end-sessions.ts';
import { createSessionService, type SessionService } from './session-service.ts';

const now = new Date();
const later = new Date(now.getTime() + 3_600_000);
const input = {
  ...{ agent: 'claude', agentVersion: '2.0', hostname: 'laptop', cliVersion: '0.1.0' },
  ...{ mode: null, hookConfigHash: '' },
} as const;

describe.each(testStores())('ending sessions and leases on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  let sessions: SessionService;
  let org: TestOrganisation;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
    const policies = createPolicyService({ store, kms: testKms, nowMs: Date.now });
    sessions = createSessionService({ store, policies, appended: createAppendSignal() });
    org = await createTestOrganisation(store, now);
  });
  afterAll(() => opened?.close());

  const inOrg = <T>(work: (tx: Tx) => Promise<T>): Promise<T> =>
    store.transaction({ role: 'app', orgId: org.orgId }, work);
  const add = async (change: Partial<LeaseRow> = {}): Promise<string> => {
    const lease = makeTestLease({ orgId: org.orgId, userId: org.owner.userId, createdAt: now, ...change });
    await inOrg((tx) => insertLeases(tx, [lease]));
    return lease.id;
  };
  const read = async (id: string) => {
    const rows = await inOrg((tx) => tx.select().from(leaseTable));
    return rows.find((row) => row.id === id);
  };
  const end = (filter: SessionFilter, reason = 'test') =>
    inOrg((tx) => endSessions(tx, org.orgId, filter, reason, now));
  const openFor = (caller: Caller) => sessions.open(caller, input);
  const stateOf = async (caller: Caller, id: string) => (await sessions.get(caller, id)).session.state;

  test('ends one session with its leases and says why on its stream', async () => {
    const made = await openFor(org.owner);
    const other = await openFor(org.owner);
    const lease = await add({ sessionId: made.session.id });
    const kept = await add({ sessionId: other.session.id });

    expect(await end({ sessionId: made.session.id }, 'revoked')).toEqual({ sessions: 1, leases: 1 });

    expect((await sessions.get(org.owner, made.session.id)).session).toMatchObject({
      ...{ state: 'ended', endReason: 'revoked', exitCode: null },
    });
    expect(await read(lease)).toMatchObject({ state: 'ended', endReason: 'revoked' });
    expect(await read(kept)).toMatchObject({ state: 'active' });
    const audit = createAuditService({ store });
    const { events } = await audit.readStream(org.owner, {
      ...{ streamId: made.serverStreamId, fromSeq: 0, pageSize: 0 },
    });
    expect(events.map(({ kind }) => kind)).toEqual(['session.opened', 'session.ended']);
    expect(parseHeader(events[1]?.header ?? '').lineage.leases).toEqual([lease]);
    expect(await end({ sessionId: made.session.id })).toEqual({ sessions: 0, leases: 0 });
  });

  test('ends all sessions of a user, lost ones too, and their leases outside of any session', async () => {
    const member = await org.addUser('member');
    const live = await openFor(member);
    const others = await openFor(org.owner);
    const outside = await add({ userId: member.userId, sessionId: null });

    expect(await end({ userId: member.userId }, 'suspended')).toEqual({ sessions: 1, leases: 1 });

    expect(await stateOf(member, live.session.id)).toBe('ended');
    expect(await stateOf(org.owner, others.session.id)).toBe('live');
    expect(await read(outside)).toMatchObject({ state: 'ended', endReason: 'suspended' });
  });

  test('ends the sessions a login opened, found by the hash of its grant', async () => {
    const member = { ...(await org.addUser('member')), grantId: 'grant +/ü 1' };
    const first = await openFor(member);
    const second = await openFor({ ...member, grantId: 'grant 2' });

    const ended = await end({ grantIdHash: hashOidcId('Grant', member.grantId) });

    expect(ended.sessions).toBe(1);
    expect(await stateOf(member, first.session.id)).toBe('ended');
    expect(await stateOf(member, second.session.id)).toBe('live');
  });

  test('ends the sessions of an agent', async () => {
    const made = await openFor(org.owner);
    const run = await sessions.open(org.owner, { ...input, agent: 'run' });
    const agent = await inOrg((tx) => findAgent(tx, org.orgId, 'claude'));
    await end({ agentId: agent?.id ?? '' });
    expect(await stateOf(org.owner, made.session.id)).toBe('ended');
    expect(await stateOf(org.owner, run.session.id)).toBe('live');
  });

  test('ends nothing of another organisation, also where the role sees all of them', async () => {
    const made = await openFor(org.owner);
    const stranger = await createTestOrganisation(store, now);
    const ended = await store.transaction({ role: 'system', orgId: null }, (tx) =>
      endSessions(tx, stranger.orgId, { sessionId: made.session.id }, 'test', now),
    );
    expect(ended).toEqual({ sessions: 0, leases: 0 });
    expect(await stateOf(org.owner, made.session.id)).toBe('live');
  });

  test('a lease ends with everything exchanged from it, to any depth, and with what renewed it', async () => {
    const root = await add();
    const child = await add({ parentLeaseId: root, kind: 'token' });
    const grandchild = await add({ parentLeaseId: child, kind: 'token' });
    await inOrg((tx) => endRenewedLeases(tx, [root], now));
    const renewed = await add({ renewsLeaseId: root });
    const stranger = await add();
    expect(await read(child)).toMatchObject({ state: 'active' });

    const ended = await inOrg((tx) => endLeasesOf(tx, { leaseId: root }, 'revoked', now));

    expect(ended.map(({ id }) => id).sort()).toEqual([child, grandchild, renewed].sort());
    expect(await read(root)).toMatchObject({ state: 'ended', endReason: 'renewed' });
    expect(await read(stranger)).toMatchObject({ state: 'active' });
  });

  test('what was exchanged from a lease ends with the one that renewed it', async () => {
    const root = await add();
    const child = await add({ parentLeaseId: root, kind: 'token' });
    await inOrg((tx) => endRenewedLeases(tx, [root], now));
    const renewed = await add({ renewsLeaseId: root });
    const ended = await inOrg((tx) => endLeases(tx, [renewed], 'revoked', now));
    expect(ended.map(({ id }) => id).sort()).toEqual([child, renewed].sort());
  });

  test('what was made for a lease alone is to be taken back; a shared token and a static key are not', async () => {
    const minted = await add({ kind: 'minted', plannedName: 'kx_1' });
    const shared = await add({ kind: 'oauth' });
    const key = await add({ kind: 'static' });
    await inOrg((tx) => endLeases(tx, [minted, shared, key], 'revoked', now));
    expect(await read(minted)).toMatchObject({ revocation: 'pending', revocationDueAt: now });
    for (const id of [shared, key]) {
      expect(await read(id)).toMatchObject({ revocation: 'none', revocationDueAt: null });
    }
  });

  test('a renewed mint is taken back when it expires, and at once when the session ends', async () => {
    const { session } = await openFor(org.owner);
    const old = await add({ kind: 'minted', sessionId: session.id, expiresAt: later });
    await inOrg((tx) => endRenewedLeases(tx, [old], now));
    expect(await read(old)).toMatchObject({ revocation: 'pending', revocationDueAt: later });
    await end({ sessionId: session.id });
    expect(await read(old)).toMatchObject({
      revocation: 'pending',
      revocationDueAt: now,
      endReason: 'renewed',
    });
  });

  test('a lease that was never handed out ends alone, and its mint is taken back once more', async () => {
    const root = await add({ kind: 'minted' });
    const next = await add({ kind: 'minted', renewsLeaseId: root, state: 'pending' });
    const over = await add({
      kind: 'minted',
      state: 'ended',
      revocation: 'done',
      endReason: 'session.ended',
    });
    await inOrg((tx) => endUnissuedLeases(tx, [next, over, root], 'not_issued', now));
    expect(await read(root)).toMatchObject({ state: 'active', revocation: 'none' });
    expect(await read(next)).toMatchObject({
      state: 'ended',
      endReason: 'not_issued',
      revocation: 'pending',
    });
    expect(await read(over)).toMatchObject({ endReason: 'session.ended', revocation: 'pending' });
  });

  test('two who end the same tree at the same time both succeed, and each lease ends once', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, () => add()));
    const [one, two] = await Promise.all([
      inOrg((tx) => endLeases(tx, ids, 'one', now)),
      inOrg((tx) => endLeases(tx, ids.toReversed(), 'two', now)),
    ]);
    expect(one.length + two.length).toBe(ids.length);
  });

  test('ids that do not exist end nothing', async () => {
    expect(await inOrg((tx) => endLeases(tx, [createId('lea')], 'x', now))).toEqual([]);
    expect(await inOrg((tx) => endLeases(tx, [], 'x', now))).toEqual([]);
  });
});
