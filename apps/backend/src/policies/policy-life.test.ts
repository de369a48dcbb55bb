import { parseHeader } from '@kontext/audit';
import { verifySnapshot } from '@kontext/oauth';
import { hashPolicies } from '@kontext/policy';
import { and, eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAppendSignal } from '../audit/append-signal.ts';
import type { Caller } from '../caller.ts';
import {
  createTestOrganisation,
  type TestOrganisation,
  testKms,
} from '../organisations/test-organisation.ts';
import { auditEvents, memberships } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { createPolicyLife, type NewPublication, type PolicyLife } from './policy-life.ts';
import { createPolicyService, type PolicyService } from './policy-service.ts';
import { createPolicyWorkers, type PolicyWorkers } from './policy-workers.ts';
import { buildPolicyWorker, publishForTest } from './test-policies.ts';

const rule = (id: string, tool = 'Bash') =>
  `@id("${id}")\n@reason("no ${tool}")\nforbid (principal, action == Action::"tool_call", resource == Tool::"${tool}");`;
const file = (text: string, name = 'team.cedar') => [{ name, text }];

describe.each(testStores())('the life of a policy on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  let workers: PolicyWorkers;
  let life: PolicyLife;
  let policies: PolicyService;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
    workers = createPolicyWorkers({ file: await buildPolicyWorker(), deadlineMs: 60_000 });
    const appended = createAppendSignal();
    life = createPolicyLife({ store, appended, workers, nowMs: Date.now });
    policies = createPolicyService({ store, kms: testKms });
  });
  afterAll(async () => {
    await workers?.close();
    await opened?.close();
  });

  const organisation = () => createTestOrganisation(store, new Date());
  const setGroups = (caller: Caller, groups: string[]) =>
    store.transaction({ role: 'app', orgId: caller.orgId }, (tx) =>
      tx
        .update(memberships)
        .set({ groups })
        .where(and(eq(memberships.orgId, caller.orgId), eq(memberships.userId, caller.userId))),
    );
  const memberOf = async (org: TestOrganisation, ...groups: string[]) => {
    const member = await org.addUser('member');
    await setGroups(member, groups);
    return member;
  };
  const draft = async (org: TestOrganisation, ...ids: string[]) => {
    const text = ids.map((id) => rule(id)).join('\n');
    return (await life.draft(org.owner, file(text), `rules ${ids.join()}`)).version.version;
  };
  const publish = (org: TestOrganisation, version: number, more: Partial<NewPublication> = {}) =>
    life.publish(org.owner, {
      ...{ version, group: '', mode: 'observe', staleRule: 'deny_sensitive', reason: 'because' },
      ...more,
    });
  const held = async (caller: Caller) => {
    const { jws, policies: texts } = await policies.snapshot(caller);
    const pinnedThumbprint = await policies.keyThumbprint(caller.orgId);
    const policiesHash = hashPolicies(texts);
    const request = { jws, policiesHash, pinnedThumbprint, orgId: caller.orgId, minSeq: 0 };
    const { seq, version, mode, team, stale } = await verifySnapshot({ ...request, nowMs: Date.now() });
    return { seq, version, mode, team, stale };
  };
  const adminEvents = async (org: TestOrganisation) => {
    const rows = await store.transaction({ role: 'read', orgId: org.orgId }, (tx) =>
      tx.select().from(auditEvents).where(eq(auditEvents.orgId, org.orgId)).orderBy(auditEvents.seq),
    );
    return rows.filter(({ kind }) => kind.startsWith('policy.')).map(({ header }) => parseHeader(header));
  };

  test('a draft is stored with its sources, recorded, and holds for nobody', async () => {
    const org = await organisation();
    const sources = [...file(rule('a.one')), ...file(`// two\n${rule('a.two', 'Read')}`, 'other.cedar')];
    const { version, findings } = await life.draft(org.owner, sources, 'two rules');
    expect(version).toMatchObject({ version: 2, rules: 2, reason: 'two rules', author: 'owner', holds: [] });
    expect(findings.filter(({ error }) => error)).toEqual([]);
    expect(await life.get(org.owner, 2)).toMatchObject({ version: { version: 2, rules: 2 }, sources });
    expect(await held(org.owner)).toMatchObject({ version: 1, seq: 1 });
    expect(await adminEvents(org)).toEqual([
      expect.objectContaining({ policyVersion: 1 }),
      expect.objectContaining({ kind: 'policy.drafted', policyVersion: 2, user: org.owner.userId }),
    ]);
  });

  test('a draft with an error is refused with file, line and rule, and nothing is stored', async () => {
    const org = await organisation();
    const wrong = `${rule('a.one')}\n\n@id("a.two")\nforbid (principal, action, resource) when { context.nonsense };`;
    const drafting = life.draft(org.owner, file(wrong), 'oops');
    await expect(drafting).rejects.toMatchObject({
      code: 'KX_POLICY_INVALID',
      message: expect.stringMatching(/^team\.cedar, line \d+, rule a\.two: /),
      details: expect.objectContaining({ file: 'team.cedar', rule: 'a.two' }),
    });
    expect((await life.list(org.owner, { pageSize: 0, pageToken: '' })).versions).toHaveLength(1);
  });

  test.each([
    ['text that is no policy', file('forbid ('), 'KX_POLICY_INVALID'],
    ['a rule without id', file('forbid (principal, action, resource);'), 'KX_POLICY_INVALID'],
    ['no rule at all', file('// nothing yet'), 'KX_POLICY_INVALID'],
    ['no file', [], 'KX_REQUEST_INVALID'],
    ['a name that leaves the directory', file(rule('a'), '../x.cedar'), 'KX_REQUEST_INVALID'],
    ['a name of over 100 characters', file(rule('a'), `${'x'.repeat(100)}.cedar`), 'KX_REQUEST_INVALID'],
    ['another kind of file', file(rule('a'), 'x.json'), 'KX_REQUEST_INVALID'],
    ['two files of one name', [...file(rule('a')), ...file(rule('b'))], 'KX_REQUEST_INVALID'],
    ['NUL', file(`${rule('a')}\0`), 'KX_REQUEST_INVALID'],
    ['over 1 MiB', file(`${rule('a')}${' '.repeat(1 << 20)}`), 'KX_REQUEST_INVALID'],
    [
      'over 100 files',
      Array.from({ length: 101 }, (_, i) => file(rule(`a.${i}`), `f${i}.cedar`)).flat(),
      'KX_REQUEST_INVALID',
    ],
    [
      'over 2,000 rules',
      file(Array.from({ length: 2001 }, (_, i) => rule(`a.${i}`)).join('\n')),
      'KX_POLICY_INVALID',
    ],
  ])('refuses a draft of %s', async (_what, sources, code) => {
    const org = await organisation();
    await expect(life.draft(org.owner, sources, 'why')).rejects.toMatchObject({ code });
  });

  test.each(['', '  ', 'x'.repeat(501), 'a\u001b[2J', 'a\u202eb'])(
    'refuses the reason %j',
    async (reason) => {
      const org = await organisation();
      const refused = expect.objectContaining({ code: 'KX_REQUEST_INVALID' });
      await expect(life.draft(org.owner, file(rule('a')), reason)).rejects.toEqual(refused);
      await expect(publish(org, 1, { reason })).rejects.toEqual(refused);
      await expect(life.withdraw(org.owner, 'team', reason)).rejects.toEqual(refused);
    },
  );

  test('what is published for everybody holds for everybody, as it was published, and is recorded', async () => {
    const org = await organisation();
    const member = await memberOf(org, 'anything');
    const version = await draft(org, 'a.one');
    const made = await publish(org, version, { mode: 'enforce', staleRule: 'deny_all' });
    expect(made).toMatchObject({ seq: 2, version: 2, groupName: '', authorName: 'owner', withdrawn: false });
    for (const caller of [org.owner, member]) {
      const all = { seq: 2, version: 2, mode: 'enforce', team: '', stale: 'deny_all' };
      expect(await held(caller)).toEqual(all);
    }
    expect((await adminEvents(org)).at(-1)).toMatchObject({
      ...{ kind: 'policy.published', policyVersion: 2, mode: 'enforce', user: org.owner.userId },
    });
  });

  test('an old version is restored by publishing it again; the seq goes on', async () => {
    const org = await organisation();
    await publish(org, await draft(org, 'a.one'), { mode: 'enforce' });
    await publish(org, 1);
    expect(await held(org.owner)).toMatchObject({ seq: 3, version: 1, mode: 'observe' });
  });

  test('a version there is none of is not published, nor one that no longer fits the schema', async () => {
    const org = await organisation();
    for (const version of [2, 99, Number.MAX_SAFE_INTEGER])
      await expect(publish(org, version)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    const stale = {
      id: 'old.rule',
      text: '@id("old.rule")\nforbid (principal, action, resource in Gone::"x");',
    };
    const version = await publishForTest(store, org.orgId, { policies: [stale] });
    await expect(publish(org, version)).rejects.toMatchObject({ code: 'KX_POLICY_INVALID' });
  });

  test('a group follows its own publication until it is withdrawn; of two groups the newest holds, strictly', async () => {
    const org = await organisation();
    const [web, both, nobody] = [
      await memberOf(org, 'web'),
      await memberOf(org, 'data', 'web', 'unknown'),
      await memberOf(org),
    ];
    const [first, second] = [await draft(org, 'a.one'), await draft(org, 'a.two')];
    await publish(org, first, { group: 'web', mode: 'enforce' });
    await publish(org, second, { group: 'data' });
    // Everybody's comes later, and is still not what the groups follow.
    await publish(org, 1);
    expect(await held(web)).toMatchObject({ seq: 4, version: first, mode: 'enforce', team: 'web' });
    expect(await held(both)).toMatchObject({ seq: 4, version: second, mode: 'enforce', team: 'data' });
    expect(await held(nobody)).toMatchObject({ seq: 4, version: 1, mode: 'observe', team: '' });

    const ended = await life.withdraw(org.owner, 'data', 'over');
    expect(ended).toMatchObject({ seq: 5, withdrawn: true, version: second, groupName: 'data' });
    expect(await held(both)).toMatchObject({ seq: 5, version: first, team: 'web' });
    await life.withdraw(org.owner, 'web', 'over');
    // The publication that holds again is older than what was seen: the seq is not.
    expect(await held(web)).toMatchObject({ seq: 6, version: 1, mode: 'observe', team: '' });
    expect((await adminEvents(org)).at(-1)).toMatchObject({ kind: 'policy.published', mode: 'enforce' });
  });

  test('only what holds for a group by itself can be withdrawn, and never what holds for everybody', async () => {
    const org = await organisation();
    await expect(life.withdraw(org.owner, 'web', 'x')).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    await expect(life.withdraw(org.owner, '', 'x')).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
    await publish(org, 1, { group: 'web' });
    await life.withdraw(org.owner, 'web', 'x');
    await expect(life.withdraw(org.owner, 'web', 'x')).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    await expect(publish(org, 1, { group: 'a\nb' })).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
  });

  test('who changes groups has the other policy in the next snapshot, without any publication', async () => {
    const org = await organisation();
    const member = await memberOf(org);
    await publish(org, await draft(org, 'a.one'), { group: 'web', mode: 'enforce' });
    const before = await held(member);
    await setGroups(member, ['web']);
    expect(before).toMatchObject({ team: '', mode: 'observe', seq: 2 });
    expect(await held(member)).toMatchObject({ team: 'web', mode: 'enforce', seq: 2 });
  });

  test('many who draft and publish at once get versions and publications without gaps', async () => {
    const org = await organisation();
    const versions = await Promise.all([1, 2, 3, 4, 5].map((n) => draft(org, `a.${n}`)));
    expect(versions.toSorted()).toEqual([2, 3, 4, 5, 6]);
    const made = await Promise.all(
      versions.map((version, i) => publish(org, version, { group: i % 2 === 0 ? '' : 'web' })),
    );
    expect(made.map(({ seq }) => seq).toSorted((a, b) => a - b)).toEqual([2, 3, 4, 5, 6]);
    const newest = made.filter(({ groupName }) => groupName === '').toSorted((a, b) => b.seq - a.seq)[0];
    expect(await held(org.owner)).toMatchObject({ seq: 6, version: newest?.version });
  });

  test('versions are listed newest first, in pages that join up, with where they hold', async () => {
    const org = await organisation();
    for (const id of ['a', 'b', 'c']) await draft(org, id);
    await publish(org, 3, { mode: 'enforce' });
    await publish(org, 2, { group: 'web' });
    const first = await life.list(org.owner, { pageSize: 2, pageToken: '' });
    const second = await life.list(org.owner, { pageSize: 2, pageToken: first.next });
    expect([...first.versions, ...second.versions].map(({ version }) => version)).toEqual([4, 3, 2, 1]);
    expect(first.versions[1]?.holds).toMatchObject([{ groupName: '', mode: 'enforce', seq: 2 }]);
    expect(first.publications.map(({ groupName, version }) => [groupName, version])).toEqual([
      ['', 3],
      ['web', 2],
    ]);
    expect(await life.get(org.owner, 0)).toMatchObject({ version: { version: 3 } });
    const bad = [
      { pageSize: 201, pageToken: '' },
      { pageSize: -1, pageToken: '' },
      { pageSize: 0, pageToken: 'x' },
    ];
    for (const page of bad)
      await expect(life.list(org.owner, page)).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
  });

  test('a version from before sources were kept shows its rules as one file', async () => {
    const org = await organisation();
    const text = rule('a.old');
    const version = await publishForTest(store, org.orgId, { policies: [{ id: 'a.old', text }] });
    expect((await life.get(org.owner, version)).sources).toEqual([
      { name: 'policy.cedar', text: `${text}\n` },
    ]);
  });

  test('nothing of another organisation is seen or published', async () => {
    const [org, other] = [await organisation(), await organisation()];
    const version = await draft(org, 'a.one');
    await expect(life.get(other.owner, version)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    await expect(publish(other, version)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    expect((await life.list(other.owner, { pageSize: 0, pageToken: '' })).versions).toHaveLength(1);
  });

  test('watchers hear of a publication at once and of the next, together with one look', async () => {
    const org = await organisation();
    const stop = new AbortController();
    const watches = [1, 2, 3].map(() => policies.watch(org.orgId, stop.signal, { pollMs: 50 }));
    const next = async () => (await Promise.all(watches.map((one) => one.next()))).map(({ value }) => value);
    expect(await next()).toEqual([1, 1, 1]);
    const waiting = next();
    await publish(org, 1, { group: 'anybody' });
    expect(await waiting).toEqual([2, 2, 2]);
    stop.abort();
    expect((await Promise.all(watches.map((one) => one.next()))).every(({ done }) => done)).toBe(true);
  });

  test('a watch repeats itself as a keep-alive', async () => {
    const org = await organisation();
    const stop = new AbortController();
    const watch = policies.watch(org.orgId, stop.signal, { pollMs: 10, keepAliveMs: 50 });
    for (let round = 0; round < 3; round += 1) expect((await watch.next()).value).toBe(1);
    stop.abort();
  });
});
