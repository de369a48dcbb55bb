import { parseHeader } from '@kontext/audit';
import { eq } from 'drizzle-orm';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createAuditService } from '../audit/audit-service.ts';
import { createTestOrganisation } from '../organisations/test-organisation.ts';
import { endSession } from '../sessions/end-session.ts';
import { approvals as approvalTable, auditStreams, users } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import type { Verdict } from './approval-service.ts';
import { mayDecide } from './may-decide.ts';
import {
  type ApprovalRoom,
  atBrowser,
  openApprovalRoom,
  type Person,
  testRules,
  testVersion,
} from './test-approvals.ts';

const minuteMs = 60_000;
const signal = new AbortController().signal;
/** The rule that asks the user themselves, as a later version has it. */
const strictSelf = {
  id: 'acme.self',
  text: '@id("acme.self")\n@effect("ask")\n@approver("payments")\n@four_eyes("yes")\nforbid (principal, action, resource);',
};

describe.each(testStores())('approvals on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  let room: ApprovalRoom;
  let ann: Person;
  let session: string;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
  });
  afterAll(() => opened?.close());
  beforeEach(async () => {
    room = await openApprovalRoom(store);
    ann = await room.add('member');
    session = await room.openSession(ann);
  });

  const ask = (change: Parameters<ApprovalRoom['wanted']>[1] = {}, caller = ann, sessionId = session) =>
    room.approvals.request(caller, room.wanted(sessionId, change));
  const decide = (person: Person, id: string, verdict: Verdict, reason = '') =>
    room.approvals.decide(atBrowser(person, room.nowMs()), id, verdict, reason);
  const use = (id: string, caller = ann, approvals = room.approvals) =>
    approvals.wait(caller, id, { waitMs: 0, use: true, signal });
  const approved = async (verdict: Verdict, change: Parameters<ApprovalRoom['wanted']>[1] = {}) => {
    const { approval } = await ask(change);
    await decide(ann, approval.id, verdict);
    return approval.id;
  };
  const events = async (sessionId = session) => {
    const [stream] = await store.transaction({ role: 'read', orgId: room.org.orgId }, (tx) =>
      tx
        .select()
        .from(auditStreams)
        .where(eq(auditStreams.sessionId, sessionId))
        .then((rows) => rows.filter(({ kind }) => kind === 'server')),
    );
    const audit = createAuditService({ store });
    const query = { streamId: stream?.id ?? '', fromSeq: 0, pageSize: 0 };
    return (await audit.readStream(room.org.owner, query)).events
      .filter(({ kind }) => kind.startsWith('approval.'))
      .map(({ kind, header, payload }) => ({
        ...{ kind, header: parseHeader(header), facts: JSON.parse(payload ?? '{}') },
      }));
  };

  describe('asking', () => {
    it('makes a question with what the rule in the store says, and records it', async () => {
      const { approval, userName, usable } = await ask();
      expect(usable).toBe(false);
      expect(userName).toBe('member');
      expect(approval).toMatchObject({
        ...{ state: 'pending', sessionId: session, userId: ann.userId, agent: 'claude', tool: 'Bash' },
        ...{ reason: 'publishing cannot be taken back', approver: null, fourEyes: false },
      });
      const [event] = await events();
      expect(event?.kind).toBe('approval.requested');
      expect(event?.header).toMatchObject({
        ...{ user: ann.userId, tool: 'Bash', toolUse: 'toolu_1', rule: 'acme.self', decision: 'ask' },
        lineage: { approval: approval.id },
      });
      expect(event?.facts).toMatchObject({ part: 'command npm publish' });
      expect(JSON.stringify(event?.facts)).not.toContain('/home/dev/shop');
      // Whoever knew the hashes could have a harmless text approved for another call.
      const { callHash, shapeHash } = approval;
      for (const hash of [callHash, shapeHash]) expect(JSON.stringify(event?.facts)).not.toContain(hash);
    });

    it('finds the open question of the same call, also when many ask at once', async () => {
      const answers = await Promise.all(Array.from({ length: 8 }, () => ask()));
      expect(new Set(answers.map(({ approval }) => approval.id)).size).toBe(1);
      expect((await ask({ command: 'npm publish --tag x' })).approval.id).not.toBe(answers[0]?.approval.id);
      expect(await events()).toHaveLength(2);
    });

    it.each([
      ['a rule nobody has', { rule: 'acme.none' }, 'KX_APPROVAL_RULE'],
      ['a rule that does not ask', { rule: 'acme.deny' }, 'KX_APPROVAL_RULE'],
      ['a version that does not exist', { policyVersion: 99 }, 'KX_APPROVAL_RULE'],
      [
        'a local rule of a version that does not exist',
        { rule: 'local.x', policyVersion: 99 },
        'KX_APPROVAL_RULE',
      ],
      ['a hash of the wrong length', { callHash: Buffer.alloc(31) }, 'KX_REQUEST_INVALID'],
      ['a shape of the wrong length', { shapeHash: Buffer.alloc(0) }, 'KX_REQUEST_INVALID'],
      [
        'a call that is too large',
        { call: JSON.stringify({ schema: 2, x: 'x'.repeat(70_000) }) },
        'KX_REQUEST_INVALID',
      ],
      ['a call that is no JSON', { call: '{' }, 'KX_REQUEST_INVALID'],
      ['a call of another schema', { call: '{"schema":1}' }, 'KX_REQUEST_INVALID'],
      ['text that cannot be stored', { part: 'a\0b' }, 'KX_REQUEST_INVALID'],
      ['a part that is too long', { part: 'x'.repeat(4097) }, 'KX_REQUEST_INVALID'],
      ['no rule', { rule: '' }, 'KX_REQUEST_INVALID'],
      ['a tool use id that is too long', { toolUseId: 'x'.repeat(257) }, 'KX_REQUEST_INVALID'],
      ['a version that is none', { policyVersion: -1 }, 'KX_REQUEST_INVALID'],
    ])('refuses %s', async (_what, change, code) => {
      await expect(ask(change)).rejects.toMatchObject({ code });
      expect(await events()).toEqual([]);
    });

    it('lets a local rule ask its own user only', async () => {
      const { approval } = await ask({ rule: 'local.mine' });
      expect(approval).toMatchObject({ approver: null, fourEyes: false });
    });

    it('takes no draft, no version of another group, and none that was replaced before the session', async () => {
      await room.publish(3, testRules, null);
      await room.publish(4, testRules, 'platform');
      await expect(ask({ policyVersion: 3 })).rejects.toMatchObject({ code: 'KX_APPROVAL_RULE' });
      await expect(ask({ policyVersion: 4 })).rejects.toMatchObject({ code: 'KX_APPROVAL_RULE' });
      await room.regroup(ann, ['platform']);
      expect((await ask({ policyVersion: 4 })).approval.policyVersion).toBe(4);
      await room.publish(5, testRules);
      // What held when the session began is still what its snapshot may say.
      expect((await ask({ command: 'b', policyVersion: testVersion })).approval.state).toBe('pending');
      room.advance(16 * minuteMs);
      const later = await room.openSession(ann);
      const stale = ask({ policyVersion: testVersion }, ann, later);
      await expect(stale).rejects.toMatchObject({ code: 'KX_APPROVAL_RULE' });
    });

    it('takes no version that was replaced long ago, also in a session that is older', async () => {
      await room.publish(3, testRules);
      room.advance(14 * minuteMs);
      expect((await ask({ policyVersion: testVersion })).approval.policyVersion).toBe(testVersion);
      room.advance(2 * minuteMs);
      const lax = ask({ policyVersion: testVersion });
      await expect(lax).rejects.toMatchObject({ code: 'KX_APPROVAL_RULE' });
    });

    it('takes of a member of a group only what held for the group', async () => {
      await room.publish(3, testRules, 'platform');
      await room.regroup(ann, ['platform']);
      room.advance(16 * minuteMs);
      const lax = ask({ policyVersion: testVersion });
      await expect(lax).rejects.toMatchObject({ code: 'KX_APPROVAL_RULE' });
      expect((await ask({ policyVersion: 3 })).approval.policyVersion).toBe(3);
    });

    it('asks for no session but a live one of the caller', async () => {
      const bob = await room.add('owner');
      await expect(ask({}, bob)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
      const stranger = await createTestOrganisation(store, new Date());
      await expect(ask({}, { ...stranger.owner, groups: [] })).rejects.toMatchObject({
        code: 'KX_NOT_FOUND',
      });
      await endSession(store, ann, session, { exitCode: 0, reason: '' }, new Date(room.nowMs()));
      await expect(ask()).rejects.toMatchObject({ code: 'KX_SESSION_ENDED' });
    });

    it('asks thirty times in ten minutes and session, then says so; what is known is answered all the same', async () => {
      const first = await ask({ command: 'c0' });
      for (let i = 1; i < 30; i += 1) await ask({ command: `c${i}` });
      await expect(ask({ command: 'one more' })).rejects.toMatchObject({ code: 'KX_RATE_LIMITED' });
      expect((await ask({ command: 'c0' })).approval.id).toBe(first.approval.id);
      room.advance(10 * minuteMs);
      expect((await ask({ command: 'one more' })).approval.state).toBe('pending');
    });

    it('asks sixty times for one person, over all their sessions', async () => {
      for (const sessionId of [session, await room.openSession(ann)]) {
        for (let i = 0; i < 30; i += 1) await ask({ command: `c${i}` }, ann, sessionId);
      }
      const third = await room.openSession(ann);
      await expect(ask({}, ann, third)).rejects.toMatchObject({ code: 'KX_RATE_LIMITED' });
    });
  });

  describe('deciding', () => {
    it('once lets one call through, and twenty that come at once are one and nineteen', async () => {
      const id = await approved('once');
      const tries = await Promise.all(
        Array.from({ length: 20 }, (_, i) => use(id, ann, i % 2 ? room.approvals : room.replica)),
      );
      expect(tries.filter(({ usable }) => usable)).toHaveLength(1);
      expect(new Set(tries.filter(({ usable }) => !usable).map(({ approval }) => approval.state))).toEqual(
        new Set(['used']),
      );
      const kinds = (await events()).map(({ kind }) => kind);
      expect(kinds).toEqual(['approval.requested', 'approval.decided', 'approval.used']);
    });

    it('once is also used by asking again, by one of many, and the others become one new question', async () => {
      const id = await approved('once');
      const tries = await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          (i % 2 ? room.approvals : room.replica).request(ann, room.wanted(session)),
        ),
      );
      const passed = tries.filter(({ usable }) => usable);
      expect(passed.map(({ approval }) => approval.id)).toEqual([id]);
      const others = new Set(tries.filter(({ usable }) => !usable).map(({ approval }) => approval.id));
      expect(others.size).toBe(1);
      expect(others.has(id)).toBe(false);
    });

    it('once covers this very call, of this session and rule, for fifteen minutes', async () => {
      const id = await approved('once');
      expect((await ask({ command: 'npm publish --tag next' })).usable).toBe(false);
      expect((await ask({ rule: 'acme.payments' })).usable).toBe(false);
      expect((await ask({}, ann, await room.openSession(ann))).usable).toBe(false);
      room.advance(15 * minuteMs);
      expect((await use(id)).usable).toBe(false);
      expect(await ask()).toMatchObject({ usable: false, approval: { state: 'pending' } });
    });

    it('an hour covers this very call again and again, and no other', async () => {
      await approved('hour');
      for (let i = 0; i < 3; i += 1) expect((await ask()).usable).toBe(true);
      expect((await ask({ command: 'other' })).usable).toBe(false);
      room.advance(59 * minuteMs);
      expect((await ask()).usable).toBe(true);
      room.advance(minuteMs);
      expect((await ask()).usable).toBe(false);
    });

    it('a session covers calls of the same shape and rule, also questions that wait already', async () => {
      const waiting = await ask({ command: 'npm publish --tag beta' });
      const otherShape = await ask({ command: 'rm', shapeHash: Buffer.alloc(32, 9) });
      await approved('session');
      expect((await ask({ command: 'npm publish --tag next' })).usable).toBe(true);
      expect(await use(waiting.approval.id)).toMatchObject({ usable: true, approval: { state: 'used' } });
      expect((await use(otherShape.approval.id)).approval.state).toBe('pending');
      expect((await ask({ command: 'npm publish', rule: 'acme.payments' })).usable).toBe(false);
      room.advance(3 * 60 * minuteMs);
      expect((await ask({ command: 'npm publish -n' })).usable).toBe(true);
      await endSession(store, ann, session, { exitCode: 0, reason: '' }, new Date(room.nowMs()));
      const again = await room.openSession(ann);
      expect((await ask({}, ann, again)).usable).toBe(false);
    });

    it('covers nothing any more when the rule wants somebody else by now', async () => {
      await approved('hour');
      await approved('session', { command: 'b' });
      await room.publish(3, [strictSelf]);
      expect((await ask({ policyVersion: 3 })).approval).toMatchObject({
        ...{ state: 'pending', approver: 'payments', fourEyes: true },
      });
      expect((await ask({ policyVersion: 3, command: 'c' })).usable).toBe(false);
    });

    it('for a session settles no question that somebody else has to decide', async () => {
      const lax = await ask({ command: 'b' });
      await room.publish(3, [strictSelf]);
      const strict = await ask({ policyVersion: 3 });
      await decide(ann, lax.approval.id, 'session');
      expect(await use(strict.approval.id)).toMatchObject({ usable: false, approval: { state: 'pending' } });
    });

    it('a denial stands for fifteen minutes without asking anew, with its reason', async () => {
      const { approval } = await ask();
      await decide(ann, approval.id, 'deny', 'not\u202e on\na Friday ');
      expect(await ask()).toMatchObject({
        usable: false,
        approval: { id: approval.id, state: 'denied', decisionReason: 'not on a Friday' },
      });
      expect((await events()).map(({ kind }) => kind)).toEqual(['approval.requested', 'approval.decided']);
      room.advance(15 * minuteMs);
      expect((await ask()).approval).toMatchObject({ state: 'pending' });
    });

    it('is done once: of many who decide at the same moment one does', async () => {
      const bosses = await Promise.all(['a', 'b', 'c', 'd'].map(() => room.add('member', ['payments'])));
      const { approval } = await ask({ rule: 'acme.payments' });
      const tries = await Promise.allSettled(
        bosses.map((boss, i) => decide(boss, approval.id, i % 2 ? 'deny' : 'once')),
      );
      expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const one of tries) {
        if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'KX_APPROVAL_OVER' });
      }
      expect((await events()).filter(({ kind }) => kind === 'approval.decided')).toHaveLength(1);
    });

    it('is recorded with who, how they were logged in, why and for how long', async () => {
      const boss = await room.add('member', ['payments']);
      const { approval } = await ask({ rule: 'acme.payments' });
      await decide(boss, approval.id, 'hour', 'agreed with finance');
      await ask({ rule: 'acme.payments' });
      const [, decided, used] = await events();
      expect(decided?.header).toMatchObject({
        ...{ user: boss.userId, decision: 'allow', lineage: { approval: approval.id } },
      });
      expect(decided?.facts).toMatchObject({
        ...{ decidedBy: boss.userId, lifetime: 'hour', reason: 'agreed with finance', owner: ann.userId },
        acr: atBrowser(boss, 0).acr,
      });
      expect(used?.header).toMatchObject({ kind: 'approval.used', user: ann.userId, decision: 'allow' });
    });

    it('wants a login of five minutes at most, made by a person', async () => {
      const { approval } = await ask();
      const old = atBrowser(ann, room.nowMs() - 5 * minuteMs - 1);
      const late = room.approvals.decide(old, approval.id, 'once', '');
      await expect(late).rejects.toMatchObject({ code: 'KX_FORBIDDEN' });
      const device = atBrowser(ann, room.nowMs(), 'urn:kontext:acr:device');
      await expect(room.approvals.decide(device, approval.id, 'once', '')).rejects.toMatchObject({
        code: 'KX_FORBIDDEN',
      });
      expect((await use(approval.id)).approval.state).toBe('pending');
    });

    it('takes no endless reason', async () => {
      const { approval } = await ask();
      await expect(decide(ann, approval.id, 'deny', 'x'.repeat(501))).rejects.toMatchObject({
        code: 'KX_REQUEST_INVALID',
      });
    });

    it('comes too late for a question that expired, and for a session that ended', async () => {
      const first = await ask();
      const second = await ask({ command: 'b' });
      await endSession(store, ann, session, { exitCode: 0, reason: '' }, new Date(room.nowMs()));
      await expect(decide(ann, second.approval.id, 'once')).rejects.toMatchObject({
        code: 'KX_APPROVAL_OVER',
      });
      room.advance(15 * minuteMs);
      await expect(decide(ann, first.approval.id, 'once')).rejects.toMatchObject({
        code: 'KX_APPROVAL_OVER',
      });
    });
  });

  describe('who decides', () => {
    it.each([
      ['acme.self', 'the user themselves', 'ann', true],
      ['acme.self', 'an owner', 'owner', false],
      ['acme.payments', 'a member of the group', 'payments', true],
      ['acme.payments', 'the user themselves, outside of the group', 'ann', false],
      ['acme.payments', 'an owner outside of the group', 'owner', false],
      ['acme.security', 'somebody with the role', 'security', true],
      ['acme.security', 'an admin', 'admin', false],
    ])('for %s: %s', async (rule, _who, name, may) => {
      const { approval } = await ask({ rule });
      const person =
        name === 'ann'
          ? ann
          : name === 'payments'
            ? await room.add('member', ['payments'])
            : await room.add(name as 'owner');
      const decided = decide(person, approval.id, 'once');
      if (may) expect((await decided).state).toBe('approved');
      else await expect(decided).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
      const shown = room.approvals.show(atBrowser(person, room.nowMs()), approval.id);
      if (may) expect((await shown).state).toBe('approved');
      else await expect(shown).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    });

    it('with four eyes never the user, whatever role and group they have', async () => {
      const chief = await room.add('security', ['security', 'payments']);
      const theirs = await room.openSession(chief);
      const { approval } = await ask({ rule: 'acme.security' }, chief, theirs);
      await expect(decide(chief, approval.id, 'once')).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
      expect((await decide(await room.add('security'), approval.id, 'once')).state).toBe('approved');
    });

    it('is what groups and roles are when it is decided, not when it was asked', async () => {
      const bob = await room.add('member', ['payments']);
      const { approval } = await ask({ rule: 'acme.payments' });
      await room.regroup(bob, []);
      await expect(decide(bob, approval.id, 'once')).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
      await room.regroup(bob, ['payments']);
      expect((await decide(bob, approval.id, 'once')).state).toBe('approved');
    });

    it('is nobody who was suspended, and nobody of another organisation', async () => {
      const bob = await room.add('member', ['payments']);
      const { approval } = await ask({ rule: 'acme.payments' });
      const other = await openApprovalRoom(store);
      const stranger = await other.add('owner', ['payments']);
      await expect(decide(stranger, approval.id, 'once')).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
      await store.transaction({ role: 'app', orgId: room.org.orgId }, (tx) =>
        tx.update(users).set({ disabledAt: new Date() }).where(eq(users.id, bob.userId)),
      );
      await expect(decide(bob, approval.id, 'once')).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    });
  });

  describe('looking', () => {
    it('shows one to its user, to who may decide and to overseers, and to nobody else', async () => {
      const { approval } = await ask({ rule: 'acme.payments' });
      const seers = [ann, await room.add('member', ['payments']), await room.add('auditor')];
      for (const person of seers) {
        expect((await room.approvals.get(person, approval.id)).approval.id).toBe(approval.id);
      }
      const other = await openApprovalRoom(store);
      for (const person of [await room.add('member', ['sales']), await other.add('owner', ['payments'])]) {
        await expect(room.approvals.get(person, approval.id)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
        await expect(use(approval.id, person)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
      }
      // Looking is not using: whoever decides cannot use up what they allowed.
      await expect(use(approval.id, seers[1])).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    });

    it('lists what is mine and what I may decide, newest first, page by page', async () => {
      const bob = await room.add('member', ['payments']);
      const bobs = await room.openSession(bob);
      const mine = (await ask({ rule: 'acme.self' }, bob, bobs)).approval.id;
      await ask({ rule: 'acme.self' });
      const forBob = (await ask({ rule: 'acme.payments' })).approval.id;
      const list = (
        filter: { pending?: boolean; mineToDecide?: boolean },
        limit = 50,
        before: string | null = null,
      ) => room.approvals.list(bob, { pending: false, mineToDecide: false, ...filter }, { before, limit });
      const ids = async (page: ReturnType<typeof list>) =>
        (await page).approvals.map(({ approval }) => approval.id);
      expect(await ids(list({}))).toEqual([forBob, mine]);
      expect(await ids(list({}, 1))).toEqual([forBob]);
      expect(await ids(list({}, 1, (await list({}, 1)).next))).toEqual([mine]);
      await decide(bob, mine, 'deny');
      expect(await ids(list({ pending: true }))).toEqual([forBob]);
      room.advance(15 * minuteMs);
      expect(await ids(list({ pending: true, mineToDecide: true }))).toEqual([]);
      expect((await list({ mineToDecide: true })).approvals[0]?.approval.state).toBe('expired');
    });

    it('lists exactly what may be decided, whoever looks', async () => {
      const roles = ['owner', 'admin', 'security', 'approver', 'auditor', 'member'] as const;
      const people = await Promise.all(
        roles.flatMap((role) => [room.add(role), room.add(role, ['payments', 'security'])]),
      );
      for (const person of people.slice(0, 4)) {
        const sessionId = await room.openSession(person);
        for (const rule of ['acme.self', 'acme.payments', 'acme.security']) {
          await ask({ rule }, person, sessionId);
        }
      }
      const all = await store.transaction({ role: 'read', orgId: room.org.orgId }, (tx) =>
        tx.select().from(approvalTable),
      );
      for (const person of people) {
        const filter = { pending: true, mineToDecide: true };
        const listed = await room.approvals.list(person, filter, { before: null, limit: 200 });
        const expected = all.filter((row) => room.approvals.mayDecide(person, row)).map(({ id }) => id);
        expect(listed.approvals.map(({ approval }) => approval.id).sort()).toEqual(expected.sort());
      }
    });

    it('waits until somebody decides, here or at another replica', async () => {
      for (const decider of [room.approvals, room.replica]) {
        const { approval } = await ask({ command: decider === room.replica ? 'a' : 'b' });
        const waiting = room.approvals.wait(ann, approval.id, { waitMs: 25_000, use: true, signal });
        await decider.decide(atBrowser(ann, room.nowMs()), approval.id, 'once', '');
        expect(await waiting).toMatchObject({ usable: true, approval: { state: 'used' } });
      }
    });

    it('waits no longer than it was told to, and not for whoever has gone', async () => {
      const { approval } = await ask();
      expect(
        (await room.approvals.wait(ann, approval.id, { waitMs: 10, use: true, signal })).approval.state,
      ).toBe('pending');
      const gone = AbortSignal.abort();
      const answer = await room.approvals.wait(ann, approval.id, { waitMs: 25_000, use: true, signal: gone });
      expect(answer.usable).toBe(false);
    });

    it('shows what was decided before about calls of the same kind in this session', async () => {
      await approved('once');
      await ask();
      const { approval } = await ask({ command: 'npm publish --tag x' });
      await ask({ command: 'other', shapeHash: Buffer.alloc(32, 9) });
      const shown = await room.approvals.show(atBrowser(ann, room.nowMs()), approval.id);
      expect(shown.before.map((one) => [one.approval.state, one.approval.lifetime, one.deciderName])).toEqual(
        [['used', 'once', 'member']],
      );
    });
  });

  describe('what is over', () => {
    it('expires: a question nobody decided, an approval nobody used; each is recorded', async () => {
      const unused = await approved('once');
      const open = (await ask({ command: 'b' })).approval.id;
      await approved('hour', { command: 'c' });
      await room.approvals.sweep();
      expect((await events()).filter(({ kind }) => kind === 'approval.expired')).toEqual([]);
      room.advance(15 * minuteMs);
      await Promise.all([room.approvals.sweep(), room.replica.sweep()]);
      const expired = (await events()).filter(({ kind }) => kind === 'approval.expired');
      expect(expired.map(({ facts }) => [facts.approval, facts.was]).sort()).toEqual(
        [
          [unused, 'approved'],
          [open, 'pending'],
        ].sort(),
      );
      expect((await ask({ command: 'c' })).usable).toBe(true);
    });

    it('expires with its session, whoever waits is told', async () => {
      const { approval } = await ask();
      const waiting = room.approvals.wait(ann, approval.id, { waitMs: 25_000, use: true, signal });
      await approved('session', { command: 'b', shapeHash: Buffer.alloc(32, 9) });
      await endSession(store, ann, session, { exitCode: 0, reason: '' }, new Date(room.nowMs()));
      await room.approvals.sweep();
      expect(await waiting).toMatchObject({ usable: false, approval: { state: 'expired' } });
      const expired = (await events()).filter(({ kind }) => kind === 'approval.expired');
      expect(expired.map(({ facts }) => facts.why)).toEqual(['the session ended', 'the session ended']);
    });

    it('is no approval any more when its session ended before anybody swept', async () => {
      const id = await approved('session');
      await endSession(store, ann, session, { exitCode: 0, reason: '' }, new Date(room.nowMs()));
      expect(await use(id)).toMatchObject({ usable: false, approval: { state: 'expired' } });
    });
  });
});

describe('who may decide', () => {
  const person = fc.record({
    userId: fc.constantFrom('usr_a', 'usr_b'),
    role: fc.constantFrom('owner', 'admin', 'security', 'approver', 'auditor', 'member', 'unknown'),
    groups: fc.subarray(['payments', 'security', 'owner']),
  });
  const asked = fc.record({
    userId: fc.constant('usr_a'),
    approver: fc.constantFrom(null, 'payments', 'security', 'nobody'),
    fourEyes: fc.boolean(),
  });
  it('is never the user where four eyes are wanted, and never somebody who is neither named nor the user', () => {
    fc.assert(
      fc.property(asked, person, (question, viewer) => {
        const may = mayDecide(question, viewer);
        if (question.fourEyes && viewer.userId === question.userId) expect(may).toBe(false);
        if (question.approver !== null) {
          const isNamed = [viewer.role, ...viewer.groups].includes(question.approver);
          if (!isNamed) expect(may).toBe(false);
        }
      }),
    );
  });
});
