import { parseHeader } from '@kontext/audit';
import type { PolicyText } from '@kontext/policy';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Caller } from '../caller.ts';
import { openTestRoom, type TestRoom } from '../connections/test-room.ts';
import type { TestOrganisation } from '../organisations/test-organisation.ts';
import { publishForTest, type TestPublication } from '../policies/test-policies.ts';
import { auditEvents, confirmations, memberships, sessions } from '../store/schema.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';

const rule = (id: string, condition: string, annotations = ''): PolicyText => ({
  id,
  text: `@id("${id}")\n@reason("acme is closed")\n${annotations}\nforbid (principal, action == Action::"credential_use", resource == Provider::"acme")\nwhen { ${condition} };`,
});
const wanted = { provider: 'acme', resource: '', scopes: [], delivery: 'inject' as const };

describe.each(testStores())('policy about credentials on $kind', ({ open }) => {
  let opened: TestStore;
  let room: TestRoom;
  let org: TestOrganisation;
  let owner: Caller;
  beforeAll(async () => {
    opened = await open();
    room = await openTestRoom(opened);
    org = await room.organisation();
    owner = org.owner;
    await room.addUpstream(owner);
    await room.connect(owner);
  });
  afterAll(async () => {
    await room?.close();
    await opened?.close();
  });

  const publish = (policies: readonly PolicyText[], more: TestPublication = {}) =>
    publishForTest(room.store, org.orgId, { policies, ...more });
  const resolve = async (caller: Caller, sessionId = '', more: Partial<typeof wanted> = {}) => {
    const { outcomes } = await room.credentials.resolve(caller, {
      ...{ sessionId, wanted: [{ ...wanted, ...more }], dryRun: false },
    });
    const [outcome] = outcomes;
    if (outcome === undefined) throw new Error('no outcome');
    return outcome;
  };
  const refusalOf = async (...args: Parameters<typeof resolve>) => {
    const outcome = await resolve(...args);
    return outcome.ok ? null : outcome.refusal;
  };
  const lastEvent = async (kind: string) => {
    const rows = await room.store.transaction({ role: 'read', orgId: org.orgId }, (tx) =>
      tx.select().from(auditEvents).where(eq(auditEvents.kind, kind)).orderBy(auditEvents.eventId),
    );
    return parseHeader(rows.at(-1)?.header ?? '');
  };

  test('a rule that is enforced refuses with its reason, by the error table, and is recorded', async () => {
    const version = await publish([rule('acme.closed', 'true')], { mode: 'enforce' });
    expect(await refusalOf(owner, await room.openSession(owner))).toMatchObject({
      ...{ code: 'KX_POLICY_DENIED', oauthError: 'invalid_target', failureReason: 'policy_denied' },
      ...{ members: { policy_id: 'acme.closed' }, message: 'policy forbids acme: acme is closed' },
    });
    expect(await lastEvent('credential.refused')).toMatchObject({
      ...{ rule: 'acme.closed', decision: 'deny', policyVersion: version, mode: 'enforce' },
    });
  });

  test('outside of any session and when it is asked for dry, it holds as well', async () => {
    await publish([rule('acme.closed', 'context.session == ""')], { mode: 'enforce' });
    expect(await refusalOf(owner)).toMatchObject({ code: 'KX_POLICY_DENIED' });
    const { outcomes } = await room.credentials.resolve(owner, {
      sessionId: '',
      wanted: [wanted],
      dryRun: true,
    });
    expect(outcomes[0]).toMatchObject({ ok: false, refusal: { code: 'KX_POLICY_DENIED' } });
    expect(await refusalOf(owner, await room.openSession(owner))).toBeNull();
  });

  test('in observe the credential leaves, and the record says what would have been', async () => {
    const version = await publish([rule('acme.closed', 'true')]);
    expect((await resolve(owner, await room.openSession(owner))).ok).toBe(true);
    expect(await lastEvent('credential.resolved')).toMatchObject({
      ...{ rule: 'acme.closed', decision: 'deny', policyVersion: version, mode: 'observe' },
    });
  });

  test('a credential no rule objects to is recorded with the policy that was asked', async () => {
    const version = await publish([rule('acme.closed', 'context.agent == "codex"')], { mode: 'enforce' });
    expect((await resolve(owner, await room.openSession(owner))).ok).toBe(true);
    expect(await lastEvent('credential.resolved')).toMatchObject({
      ...{ rule: null, decision: null, policyVersion: version, mode: 'enforce' },
    });
  });

  test('a session opened in enforce keeps to it', async () => {
    await publish([rule('acme.closed', 'true')]);
    const sessionId = await room.openSession(owner);
    await room.store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
      tx.update(sessions).set({ mode: 'enforce' }).where(eq(sessions.id, sessionId)),
    );
    expect(await refusalOf(owner, sessionId)).toMatchObject({ code: 'KX_POLICY_DENIED' });
  });

  test('a renewal and a narrowed credential are asked about like the first', async () => {
    await publish([]);
    const sessionId = await room.openSession(owner);
    const first = await resolve(owner, sessionId);
    if (!first.ok) throw new Error('refused');
    await publish([rule('acme.closed', 'true')], { mode: 'enforce' });
    await room.store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
      tx.update(sessions).set({ hooksSeenAt: new Date() }).where(eq(sessions.id, sessionId)),
    );
    const renewed = await room.credentials.renew(owner, {
      ...{ sessionId, items: [{ leaseId: first.leaseId, wanted: null }] },
    });
    expect(renewed.outcomes[0]).toMatchObject({ ok: false, refusal: { code: 'KX_POLICY_DENIED' } });
    const narrowed = await room.credentials.attenuate(
      { ...owner, clientId: 'kontext-cli', jkt: 'x' },
      { sessionId, leaseId: first.leaseId, scopes: [], ttlSeconds: 0 },
    );
    expect(narrowed.outcome).toMatchObject({ ok: false, refusal: { code: 'KX_POLICY_DENIED' } });
  });

  test('a rule sees what the credential can do, also when nobody asked for it', async () => {
    await publish([rule('acme.no-write', 'context.scopes.contains("write")')], { mode: 'enforce' });
    const sessionId = await room.openSession(owner);
    for (const scopes of [[], ['read'], ['write']]) {
      const refusal = await refusalOf(owner, sessionId, { scopes } as never);
      expect(refusal).toMatchObject({ code: 'KX_POLICY_DENIED' });
    }
  });

  test('a rule sees scopes, target, kind, agent, role and groups', async () => {
    const facts =
      'context.scopes.contains("read") && context.target == "default" && resource.kind == "oauth" && context.agent == "claude" && principal.role == "owner" && principal in Group::"payments"';
    await publish([rule('acme.facts', facts)], { mode: 'enforce' });
    const asked = { scopes: ['read'], resource: 'default' } as never;
    const sessionId = await room.openSession(owner);
    expect((await refusalOf(owner, sessionId, asked))?.code).not.toBe('KX_POLICY_DENIED');
    const setGroups = (groups: string[]) =>
      room.store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
        tx.update(memberships).set({ groups }).where(eq(memberships.userId, owner.userId)),
      );
    await setGroups(['payments']);
    expect(await refusalOf(owner, sessionId, asked)).toMatchObject({ code: 'KX_POLICY_DENIED' });
    await setGroups([]);
  });

  test('a group has its own answer', async () => {
    await publish([], { mode: 'enforce' });
    await publish([rule('acme.closed', 'true')], { mode: 'enforce', groupName: 'interns' });
    expect(await refusalOf(owner)).toBeNull();
    await room.store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
      tx
        .update(memberships)
        .set({ groups: ['interns'] })
        .where(eq(memberships.userId, owner.userId)),
    );
    expect(await refusalOf(owner)).toMatchObject({ code: 'KX_POLICY_DENIED' });
    await room.store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
      tx.update(memberships).set({ groups: [] }).where(eq(memberships.userId, owner.userId)),
    );
  });

  test('where a rule asks, a person has to approve once per session; in observe nobody is asked', async () => {
    await publish([rule('acme.ask', 'true', '@effect("ask")')], { mode: 'enforce' });
    const sessionId = await room.openSession(owner);
    const pending = await refusalOf(owner, sessionId);
    expect(pending).toMatchObject({ code: 'KX_APPROVAL_PENDING', oauthError: 'authorization_pending' });
    const id = String(pending?.members.auth_req_id);
    expect((await refusalOf(owner, sessionId))?.members.auth_req_id).toBe(id);
    expect(await lastEvent('credential.refused')).toMatchObject({ rule: 'acme.ask', decision: 'ask' });
    await room.store.transaction({ role: 'system', orgId: null }, (tx) =>
      tx.update(confirmations).set({ state: 'confirmed' }).where(eq(confirmations.id, id)),
    );
    expect((await resolve(owner, sessionId)).ok).toBe(true);
    expect(await refusalOf(owner, await room.openSession(owner))).toMatchObject({
      code: 'KX_APPROVAL_PENDING',
    });
    await publish([rule('acme.ask', 'true', '@effect("ask")')]);
    expect((await resolve(owner, await room.openSession(owner))).ok).toBe(true);
  });

  test('where a rule wants somebody else to approve, nobody can be asked, and it is refused', async () => {
    await publish([rule('acme.ask', 'true', '@effect("ask")\n@approver("security")')], { mode: 'enforce' });
    expect(await refusalOf(owner)).toMatchObject({
      ...{ code: 'KX_POLICY_DENIED', message: expect.stringContaining('somebody else has to approve') },
    });
  });

  test.each([
    ['cannot be loaded', { id: 'broken', text: 'forbid (' }],
    [
      'fails while it is evaluated',
      {
        id: 'broken',
        text: '@id("broken")\nforbid (principal, action, resource) when { context.nothing == "x" };',
      },
    ],
  ])('a policy that %s refuses in enforce, and is recorded in observe', async (_what, broken) => {
    await publish([broken], { mode: 'enforce' });
    expect(await refusalOf(owner)).toMatchObject({ code: 'KX_POLICY_DENIED', members: {} });
    await publish([broken]);
    expect((await resolve(owner)).ok).toBe(true);
    expect(await lastEvent('credential.resolved')).toMatchObject({
      rule: null,
      decision: 'deny',
      mode: 'observe',
    });
  });

  test('rules about tool calls alone are not asked, however they are written; others are', async () => {
    const calls = (head: string) => ({ id: `x${Math.random()}`.replace('0.', ''), text: head });
    const tail = 'when { context.nothing == "x" };';
    // Each of these fails when it is evaluated: only those that may be about credentials are.
    const about = (text: string) => calls(`@id("x")\n${text} ${tail}`);
    const harmless = [
      about('forbid (principal, action == Action::"tool_call", resource)'),
      about(
        '// forbid (x);\n@reason("a \\"b\\" (c)")\nforbid(principal in Group::"g",action==Action::"tool_call",resource)',
      ),
    ];
    await publish(harmless, { mode: 'enforce' });
    expect(await refusalOf(owner)).toBeNull();
    const others = [
      about('forbid (principal, action, resource)'),
      about('forbid (principal, action in [Action::"tool_call", Action::"credential_use"], resource)'),
      about('forbid (principal // , action == Action::"tool_call",\n, action, resource)'),
      about(
        '@reason("forbid (principal, action == Action::\\"tool_call\\", resource)") forbid (principal, action, resource)',
      ),
      about('forbid (principal == User::"a, action == Action::\\"tool_call\\",", action, resource)'),
    ];
    for (const [index, policy] of others.slice(0, 4).entries()) {
      await publish([policy], { mode: 'enforce' });
      expect(await refusalOf(owner), `number ${index}`).toMatchObject({ code: 'KX_POLICY_DENIED' });
    }
    // It is for another user: asked, and without objection.
    await publish(others.slice(4), { mode: 'enforce' });
    expect(await refusalOf(owner)).toBeNull();
  });

  test('a hostile head takes no longer than its length', async () => {
    const heads = [
      '@a '.repeat(20_000),
      `forbid (principal${' '.repeat(60_000)}`,
      '@a("\\'.repeat(20_000),
      ' '.repeat(60_000),
    ];
    await publish(
      heads.map((text, i) => ({ id: `x${i}`, text })),
      { mode: 'enforce' },
    );
    expect(await refusalOf(owner)).toMatchObject({ code: 'KX_POLICY_DENIED' });
  });
});
