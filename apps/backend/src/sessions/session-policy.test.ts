import { parseHeader } from '@kontext/audit';
import type { PolicyText } from '@kontext/policy';
import { desc, eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAppendSignal } from '../audit/append-signal.ts';
import {
  createTestOrganisation,
  type TestOrganisation,
  testKms,
} from '../organisations/test-organisation.ts';
import { createPolicyService } from '../policies/policy-service.ts';
import { publishForTest } from '../policies/test-policies.ts';
import { auditEvents, memberships, sessions as sessionTable } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { createSessionService, type SessionService } from './session-service.ts';

const input = {
  ...{ agent: 'claude', agentVersion: '1.0.9', hostname: 'laptop', cliVersion: '0.1.0' },
  ...{ mode: null, hookConfigHash: '' },
} as const;
const rule = (condition: string, annotations = ''): PolicyText => ({
  id: 'start.old',
  text: `@id("start.old")\n@reason("update the agent first")\n${annotations}\nforbid (principal, action == Action::"session_start", resource == Agent::"claude")\nwhen { ${condition} };`,
});
const old = rule('context.agentVersion like "1.*" && context.hostname == "laptop"');

describe.each(testStores())('policy about sessions on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  let sessions: SessionService;
  let org: TestOrganisation;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
    const policies = createPolicyService({ store, kms: testKms });
    sessions = createSessionService({ store, policies, appended: createAppendSignal() });
    org = await createTestOrganisation(store, new Date());
  });
  afterAll(() => opened?.close());

  const newest = async (kind: string) => {
    const rows = await store.transaction({ role: 'read', orgId: org.orgId }, (tx) =>
      tx.select().from(auditEvents).where(eq(auditEvents.kind, kind)).orderBy(desc(auditEvents.eventId)),
    );
    return parseHeader(rows[0]?.header ?? '');
  };
  const count = () => store.transaction({ role: 'read', orgId: org.orgId }, (tx) => tx.$count(sessionTable));

  test('enforced, a forbidden session is refused with the reason of the rule, and recorded', async () => {
    const version = await publishForTest(store, org.orgId, { policies: [old], mode: 'enforce' });
    const before = await count();
    await expect(sessions.open(org.owner, input)).rejects.toMatchObject({
      ...{ code: 'KX_SESSION_DENIED', message: 'policy forbids the session: update the agent first' },
      ...{ why: 'rule start.old denies it', details: { policy_id: 'start.old' } },
    });
    expect(await count()).toBe(before);
    expect(await newest('session.refused')).toMatchObject({
      ...{ session: null, user: org.owner.userId, agent: 'claude', decision: 'deny', rule: 'start.old' },
      ...{ policyVersion: version, mode: 'enforce' },
    });
    expect((await sessions.open(org.owner, { ...input, agentVersion: '2.1' })).session.mode).toBe('enforce');
  });

  test('in observe it is opened, and its first event says what would have been', async () => {
    await publishForTest(store, org.orgId, { policies: [old] });
    const { session } = await sessions.open(org.owner, { ...input, interactive: true });
    expect(session).toMatchObject({ state: 'live', mode: 'observe', interactive: true });
    expect(await newest('session.opened')).toMatchObject({
      ...{ session: session.id, decision: 'deny', rule: 'start.old', mode: 'observe' },
    });
  });

  test('a session that asks for enforce itself is held to it', async () => {
    await publishForTest(store, org.orgId, { policies: [rule('context.mode == "enforce"')] });
    await expect(sessions.open(org.owner, { ...input, mode: 'enforce' })).rejects.toMatchObject({
      code: 'KX_SESSION_DENIED',
    });
  });

  test('nobody can be asked about a session: an ask refuses', async () => {
    await publishForTest(store, org.orgId, { policies: [rule('true', '@effect("ask")')], mode: 'enforce' });
    await expect(sessions.open(org.owner, input)).rejects.toMatchObject({ code: 'KX_SESSION_DENIED' });
  });

  test('a policy that fails refuses in enforce, and is recorded in observe', async () => {
    const broken = rule('context.nothing == "x"');
    await publishForTest(store, org.orgId, { policies: [broken], mode: 'enforce' });
    await expect(sessions.open(org.owner, input)).rejects.toMatchObject({
      ...{ code: 'KX_SESSION_DENIED', why: 'the policy could not be evaluated, and it is enforced' },
    });
    await publishForTest(store, org.orgId, { policies: [broken] });
    await sessions.open(org.owner, input);
    expect(await newest('session.opened')).toMatchObject({ decision: 'deny', rule: null });
  });

  test('the mode is that of what holds for the user: of their group, else of everybody', async () => {
    const member = await org.addUser('member');
    await publishForTest(store, org.orgId, { policies: [] });
    await publishForTest(store, org.orgId, { groupName: 'web', mode: 'enforce' });
    expect((await sessions.open(member, input)).session.mode).toBe('observe');
    await store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
      tx
        .update(memberships)
        .set({ groups: ['web'] })
        .where(eq(memberships.userId, member.userId)),
    );
    const { session, snapshot } = await sessions.open(member, input);
    expect(session.mode).toBe('enforce');
    expect(snapshot.holding).toMatchObject({ group: 'web', mode: 'enforce' });
  });
});
