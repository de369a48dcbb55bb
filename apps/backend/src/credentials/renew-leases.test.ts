import { createId, parseHeader } from '@kontext/audit';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createAuditService } from '../audit/audit-service.ts';
import { openTestSession } from '../audit/test-client.ts';
import type { Caller } from '../caller.ts';
import { openTestRoom, type TestRoom } from '../connections/test-room.ts';
import type { TestOrganisation } from '../organisations/test-organisation.ts';
import { insertLeases } from '../store/queries/issued-leases.ts';
import type { LeaseRow } from '../store/queries/leases.ts';
import { markTampered } from '../store/queries/sessions.ts';
import { leases, sessions } from '../store/schema.ts';
import { makeTestLease } from '../store/test-lease.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import type { Tx } from '../store/tx.ts';
import type { IssuedCredential, Outcome } from './outcome.ts';
import type { RevokeFilter } from './revoke-leases.ts';

const issued = (outcome: Outcome | undefined): IssuedCredential => {
  if (!outcome?.ok) throw new Error(`refused: ${outcome?.refusal.code} ${outcome?.refusal.message}`);
  return outcome;
};
const codeOf = (outcome: Outcome | undefined) =>
  outcome?.ok === false ? outcome.refusal.code : 'handed out';

describe.each(testStores())('renewing and revoking leases on $kind', ({ open }) => {
  let opened: TestStore;
  let room: TestRoom;
  let org: TestOrganisation;
  let owner: Caller;
  let sessionId: string;
  beforeAll(async () => {
    opened = await open();
    room = await openTestRoom(opened);
  });
  beforeEach(async () => {
    org = await room.organisation();
    owner = org.owner;
    sessionId = await room.openSession(owner);
  });
  afterAll(async () => {
    await room?.close();
    await opened?.close();
  });

  const inOrg = <T>(work: (tx: Tx) => Promise<T>): Promise<T> =>
    room.store.transaction({ role: 'app', orgId: org.orgId }, work);
  const resolve = async (
    provider: string,
    caller = owner,
    session = sessionId,
  ): Promise<IssuedCredential> => {
    const wanted = [{ provider, resource: '', scopes: [], delivery: 'inject' as const }];
    const { outcomes } = await room.credentials.resolve(caller, {
      sessionId: session,
      wanted,
      dryRun: false,
    });
    return issued(outcomes[0]);
  };
  const connectAcme = async (): Promise<IssuedCredential> => {
    await room.addUpstream(owner);
    await room.connect(owner);
    return resolve('acme');
  };
  const putKey = (caller = owner, shared = false) =>
    room.connections.putSecret(caller, { provider: 'stripe', name: '', shared, value: 'sk' });
  const renew = (...ids: string[]) =>
    room.credentials.renew(owner, {
      ...{ sessionId, items: ids.map((leaseId) => ({ leaseId, wanted: null })) },
    });
  const renewOne = async (id: string) => (await renew(id)).outcomes[0];
  const revoke = (filter: RevokeFilter, caller = owner, dryRun = false) =>
    room.credentials.revokeLeases(caller, filter, dryRun);
  const read = async (id: string): Promise<LeaseRow | undefined> =>
    (await inOrg((tx) => tx.select().from(leases).where(eq(leases.id, id))))[0];
  const changeSession = (change: Partial<typeof sessions.$inferInsert>) =>
    inOrg((tx) => tx.update(sessions).set(change).where(eq(sessions.id, sessionId)));
  const events = async (kind: 'server' | 'admin') => {
    const audit = createAuditService({ store: room.store });
    const { streams } = await audit.listStreams(owner, { sessionId: null, pageSize: 50, cursor: '' });
    const stream = streams.find(
      (one) => one.kind === kind && (kind === 'admin' || one.sessionId === sessionId),
    );
    return (await audit.readStream(owner, { streamId: stream?.id ?? '', fromSeq: 0, pageSize: 0 })).events;
  };

  test('a renewal is a lease of its own; the old one ends with it, and the log ties them together', async () => {
    const old = await connectAcme();
    room.advance(480_000);

    const { outcomes, serverEventHash } = await renew(old.leaseId);

    const renewed = issued(outcomes[0]);
    expect(renewed.expiresInSeconds).toBeGreaterThan(0);
    expect(await read(renewed.leaseId)).toMatchObject({ state: 'active', renewsLeaseId: old.leaseId });
    expect(await read(old.leaseId)).toMatchObject({ state: 'ended', endReason: 'renewed' });
    const event = (await events('server')).at(-1);
    expect(event?.kind).toBe('credential.renewed');
    expect(parseHeader(event?.header ?? '').lineage.leases).toEqual([renewed.leaseId, old.leaseId]);
    expect(serverEventHash).toHaveLength(32);
  });

  test('whoever missed the answer asks again with the lease it knows', async () => {
    const old = await connectAcme();
    const missed = issued(await renewOne(old.leaseId));
    const again = issued(await renewOne(old.leaseId));
    expect(await read(again.leaseId)).toMatchObject({ renewsLeaseId: missed.leaseId });
    expect(await read(missed.leaseId)).toMatchObject({ endReason: 'renewed' });
  });

  test('a lease whose time went by while the command was away is renewed; a revoked one is not', async () => {
    const [expired, revoked] = [await connectAcme(), await resolve('acme')];
    await revoke({ leaseId: revoked.leaseId });
    room.advance(3_600_000);
    await room.credentials.sweep();
    expect(await read(expired.leaseId)).toMatchObject({ endReason: 'expired' });
    const { outcomes } = await renew(expired.leaseId, revoked.leaseId);
    expect(outcomes.map(codeOf)).toEqual(['handed out', 'KX_LEASE_ENDED']);
  });

  test('each lease gets its own answer: a static key has nothing to renew, a foreign one is unknown', async () => {
    const acme = await connectAcme();
    await putKey();
    const key = await resolve('stripe');
    const elsewhere = await resolve('acme', owner, await room.openSession(owner));
    const { outcomes } = await renew(
      key.leaseId,
      elsewhere.leaseId,
      createId('lea'),
      'nonsense',
      acme.leaseId,
    );
    expect(outcomes.map(codeOf)).toEqual([
      ...['KX_NOTHING_TO_RENEW', 'KX_NOT_FOUND', 'KX_NOT_FOUND', 'KX_NOT_FOUND', 'handed out'],
    ]);
  });

  test('a provider that fails leaves the old lease as it was', async () => {
    const old = await connectAcme();
    room.advance(590_000);
    await room.fault('500');
    expect(codeOf(await renewOne(old.leaseId))).toBe('KX_PROVIDER_UNREACHABLE');
    await room.fault('none');
    room.advance(60_000);
    expect(codeOf(await renewOne(old.leaseId))).toBe('handed out');
  });

  test('a placeholder of another provider does not fit a lease', async () => {
    const { leaseId } = await connectAcme();
    const wanted = { provider: 'stripe', resource: '', scopes: [], delivery: 'inject' as const };
    const { outcomes } = await room.credentials.renew(owner, { sessionId, items: [{ leaseId, wanted }] });
    expect(codeOf(outcomes[0])).toBe('KX_REQUEST_INVALID');
  });

  test('what hangs on another lease is narrowed anew, not renewed', async () => {
    const id = createId('lea');
    const lease = makeTestLease({
      ...{ id, orgId: org.orgId, userId: owner.userId, createdAt: new Date(), sessionId },
      parentLeaseId: createId('lea'),
    });
    await inOrg((tx) => insertLeases(tx, [lease]));
    expect(codeOf(await renewOne(id))).toBe('KX_NOTHING_TO_RENEW');
  });

  test('in enforce a tampered session gets no renewal, which is recorded; in observe it does', async () => {
    const { leaseId } = await connectAcme();
    await inOrg((tx) => markTampered(tx, sessionId, new Date()));
    expect(codeOf(await renewOne(leaseId))).toBe('handed out');
    await changeSession({ mode: 'enforce', hooksSeenAt: new Date() });
    await expect(renew(leaseId)).rejects.toMatchObject({
      ...{ code: 'KX_RENEWAL_WITHHELD', details: { failure_reason: 'tampered' } },
    });
    const event = (await events('server')).at(-1);
    expect(event?.kind).toBe('credential.refused');
    expect(await read(leaseId)).toMatchObject({ endReason: 'renewed' });
  });

  test('tampering that a client reports itself withholds renewals in enforce', async () => {
    const client = await openTestSession(room.store, owner, new Date());
    await connectAcme();
    const { leaseId } = await resolve('acme', owner, client.sessionId);
    const found = client.batch([client.write({ kind: 'tamper.unproposed_result', decision: null })]);
    await createAuditService({ store: room.store }).append(owner, found);
    const items = [{ leaseId, wanted: null }];
    const renewed = () => room.credentials.renew(owner, { sessionId: client.sessionId, items });
    expect(codeOf((await renewed()).outcomes[0])).toBe('handed out');

    const enforced = { mode: 'enforce', hooksSeenAt: new Date() } as const;
    await inOrg((tx) => tx.update(sessions).set(enforced).where(eq(sessions.id, client.sessionId)));
    await expect(renewed()).rejects.toMatchObject({
      ...{ code: 'KX_RENEWAL_WITHHELD', details: { failure_reason: 'tampered' } },
    });
  });

  test('what a tampered session in enforce is not renewed, it cannot resolve anew', async () => {
    await connectAcme();
    await inOrg((tx) => markTampered(tx, sessionId, new Date()));
    const wanted = { provider: 'acme', resource: '', scopes: [], delivery: 'inject' as const };
    const resolve = () => room.credentials.resolve(owner, { sessionId, wanted: [wanted], dryRun: false });
    expect(codeOf((await resolve()).outcomes[0])).toBe('handed out');
    await changeSession({ mode: 'enforce', hooksSeenAt: new Date() });
    await expect(resolve()).rejects.toMatchObject({
      ...{ code: 'KX_RENEWAL_WITHHELD', details: { failure_reason: 'tampered' } },
    });
  });

  test('in enforce renewals wait until the agent was seen', async () => {
    const { leaseId } = await connectAcme();
    await changeSession({ mode: 'enforce' });
    await expect(renew(leaseId)).rejects.toMatchObject({
      ...{ code: 'KX_RENEWAL_WITHHELD', details: { failure_reason: 'agent_unseen' } },
    });
    await room.sessions.heartbeat(owner, sessionId, { hookConfigHash: '', hooksSeen: true });
    expect(codeOf(await renewOne(leaseId))).toBe('handed out');
  });

  test('no renewal for an ended or lost session, for another user, or for a delegated agent', async () => {
    const { leaseId } = await connectAcme();
    const items = [{ leaseId, wanted: null }];
    const member = await org.addUser('member');
    const asked = (caller: Caller) => room.credentials.renew(caller, { sessionId, items });
    await expect(asked(member)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    const delegation = { leaseId, sessionId, scopes: [], act: { sub: 'agent' }, txn: '', expiresAtMs: 0 };
    await expect(asked({ ...owner, delegation })).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    await changeSession({ state: 'lost' });
    await expect(asked(owner)).rejects.toMatchObject({ code: 'KX_SESSION_ENDED' });
    await room.sessions.end(owner, sessionId, { exitCode: 0, reason: '' });
    await expect(asked(owner)).rejects.toMatchObject({ code: 'KX_SESSION_ENDED' });
    await expect(room.credentials.renew(owner, { sessionId: 'ses_x', items })).rejects.toMatchObject({
      code: 'KX_NOT_FOUND',
    });
  });

  test('a renewal that loses against a revocation hands nothing out', async () => {
    const { leaseId } = await connectAcme();
    const renewing = renew(leaseId);
    await revoke({ leaseId });
    const { outcomes } = await renewing;
    const rows = await inOrg((tx) => tx.select().from(leases));
    // Whichever came first: what was handed out before the revocation has ended with it.
    expect(rows.map(({ state }) => state).filter((state) => state !== 'ended')).toEqual([]);
    expect(['handed out', 'KX_LEASE_ENDED']).toContain(codeOf(outcomes[0]));
  });

  test('refuses more than a thousand leases at once', async () => {
    await expect(renew(...Array.from({ length: 1001 }, () => 'x'))).rejects.toMatchObject({
      code: 'KX_REQUEST_INVALID',
    });
  });

  test('a dry run says what would end, and ends nothing', async () => {
    const { leaseId } = await connectAcme();
    const would = await revoke({ sessionId }, owner, true);
    expect(would).toMatchObject({ count: 1, leases: [{ lease: { id: leaseId }, agent: 'claude' }] });
    expect(await read(leaseId)).toMatchObject({ state: 'active' });
    expect(await revoke({ sessionId })).toMatchObject({ count: 1 });
    expect(await revoke({ sessionId })).toMatchObject({ count: 0 });
  });

  test('own leases end without a role, recorded on the session, and not on the organisation', async () => {
    await putKey(owner, true);
    const member = await org.addUser('member');
    const own = await room.openSession(member);
    const before = (await events('admin')).length;
    for (const pick of [
      (lease: LeaseRow): RevokeFilter => ({ leaseId: lease.id }),
      (): RevokeFilter => ({ sessionId: own }),
      (): RevokeFilter => ({ userId: member.userId }),
    ]) {
      const { leaseId } = await resolve('stripe', member, own);
      const lease = await read(leaseId);
      if (lease === undefined) throw new Error('no lease');
      expect(await revoke(pick(lease), member)).toMatchObject({ count: 1 });
      expect(await read(leaseId)).toMatchObject({ state: 'ended', endReason: 'revoked' });
    }
    expect((await events('admin')).length).toBe(before);
  });

  test('leases of others are ended by owner, admin and security alone', async () => {
    await putKey(owner, true);
    const { leaseId, connectionId } = await resolve('stripe');
    const filters: RevokeFilter[] = [
      ...[{ leaseId }, { sessionId }, { connectionId }],
      ...[
        { userId: owner.userId },
        { agent: 'claude' },
        { provider: 'stripe' },
        { everything: true } as const,
      ],
    ];
    for (const role of ['member', 'auditor', 'approver'] as const) {
      const caller = await org.addUser(role);
      for (const filter of filters) {
        const refused = expect(revoke(filter, caller)).rejects;
        await refused.toMatchObject({ code: expect.stringMatching(/^KX_(NOT_FOUND|FORBIDDEN)$/) });
      }
    }
    const security = await org.addUser('security');
    for (const filter of filters) {
      const one = await resolve('stripe');
      expect((await revoke(filter, security)).count).toBeGreaterThan(0);
      if (!('leaseId' in filter)) expect(await read(one.leaseId)).toMatchObject({ state: 'ended' });
    }
    expect((await events('admin')).at(-1)?.kind).toBe('credential.revoked');
  });

  test('a connection of one person is theirs to cut', async () => {
    await putKey(owner, true);
    const member = await org.addUser('member');
    const { connection } = await putKey(member);
    await resolve('stripe', member, await room.openSession(member));
    expect(await revoke({ connectionId: connection.id }, member)).toMatchObject({ count: 1 });
  });

  test.each([
    [{ leaseId: 'x' }, 'KX_REQUEST_INVALID'],
    [{ sessionId: 'x' }, 'KX_REQUEST_INVALID'],
    [{ leaseId: createId('lea') }, 'KX_NOT_FOUND'],
    [{ sessionId: createId('ses') }, 'KX_NOT_FOUND'],
    [{ connectionId: createId('con') }, 'KX_NOT_FOUND'],
    [{ agent: 'nobody' }, 'KX_AGENT_UNKNOWN'],
  ] as const)('refuses to revoke %o', async (filter, code) => {
    await expect(revoke(filter)).rejects.toMatchObject({ code });
  });

  test('nothing of another organisation ends', async () => {
    const { leaseId } = await connectAcme();
    const stranger = (await room.organisation()).owner;
    await expect(revoke({ leaseId }, stranger)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    expect(await revoke({ everything: true }, stranger)).toMatchObject({ count: 0 });
    expect(await read(leaseId)).toMatchObject({ state: 'active' });
  });

  test('a list shows whose, through whom, since when, and what can be done about it', async () => {
    const acme = await connectAcme();
    await putKey();
    const key = await resolve('stripe');
    const query = { sessionId: '', pageSize: 0, cursor: '', everybody: false, live: true, provider: '' };
    const { leases: all } = await room.credentials.listLeases(owner, query);
    expect(all.map(({ lease, userName, agent }) => [lease.id, userName, agent])).toEqual([
      [key.leaseId, 'owner', 'claude'],
      [acme.leaseId, 'owner', 'claude'],
    ]);
    const ofAcme = await room.credentials.listLeases(owner, { ...query, provider: 'acme' });
    expect(ofAcme.leases.map(({ lease }) => lease.id)).toEqual([acme.leaseId]);
    const auditor = await org.addUser('auditor');
    expect((await room.credentials.listLeases(auditor, query)).leases).toEqual([]);
    const everybodys = await room.credentials.listLeases(auditor, { ...query, everybody: true });
    expect(everybodys.leases).toHaveLength(2);
    const member = await org.addUser('member');
    await expect(room.credentials.listLeases(member, { ...query, everybody: true })).rejects.toMatchObject({
      code: 'KX_FORBIDDEN',
    });
    await revoke({ leaseId: key.leaseId });
    expect((await room.credentials.listLeases(owner, query)).leases).toHaveLength(1);
  });
});
