import { createStreamWriter, type EventFields } from '@kontext/audit';
import type { CallPart, PolicyText, SourceFile, ToolCall } from '@kontext/policy';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAuditService } from '../audit/audit-service.ts';
import { openTestSession } from '../audit/test-client.ts';
import type { Caller } from '../caller.ts';
import { createTestOrganisation, type TestOrganisation } from '../organisations/test-organisation.ts';
import { memberships } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { createPolicyJudge, type PolicyJudge } from './judge.ts';
import { createPolicyWorkers, type PolicyWorkers } from './policy-workers.ts';
import type { ReplayDeps } from './replay.ts';
import type { ReplayReport } from './replay-report.ts';
import { buildPolicyWorker, publishForTest } from './test-policies.ts';

const forbid = (id: string, when: string, annotations = '') =>
  `@id("${id}")\n${annotations}\nforbid (principal, action == Action::"tool_call", resource) when { ${when} };`;
const file = (text: string, name = 'new.cedar'): SourceFile[] => [{ name, text }];
const policyOf = (id: string, text: string): PolicyText => ({ id, text });
const command = (program: string, subcommand = ''): CallPart => ({
  ...{ kind: 'command', program, path: program, args: subcommand === '' ? [] : [subcommand], subcommand },
  ...{ flags: [], assigns: [], via: [], pipedFrom: '', dynamic: false },
});
const call = (text: string, ...parts: CallPart[]): ToolCall => ({
  ...{ schema: 2, agent: 'claude', agentVersion: '2.0', event: 'PreToolUse', tool: 'Bash' },
  ...{ input: { command: text }, command: text, parts: [{ kind: 'tool', name: 'Bash' }, ...parts] },
  ...{ cwd: '/home/dev/shop', permissionMode: 'default', subagent: null, opaque: [], repository: null },
  ...{ credentials: [], atMs: Date.now(), user: 'usr_1', org: 'org_1', session: 'ses_1', groups: [] },
  role: 'member',
});
const push = call('git push', command('git', 'push'));
const remove = call('rm -r x', command('rm'));
const list = call('ls', command('ls'));
const recorded = (one: unknown, more: object = {}) =>
  JSON.stringify({ schema: 1, reason: 'said then', details: {}, call: one, ...more });

describe.each(testStores())('judging policies and calls on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  let workers: PolicyWorkers;
  let judge: PolicyJudge;
  const deps = (more: Partial<ReplayDeps> = {}): ReplayDeps => ({ store, workers, nowMs: Date.now, ...more });
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
    workers = createPolicyWorkers({ file: await buildPolicyWorker(), deadlineMs: 60_000 });
    judge = createPolicyJudge(deps());
  });
  afterAll(async () => {
    await workers?.close();
    await opened?.close();
  });

  const organisation = () => createTestOrganisation(store, new Date());
  /** Stores decided calls of a member in one session, and gives the ids of their events. */
  const record = async (
    caller: Caller,
    events: readonly (readonly [string | null, Partial<EventFields>])[],
  ) => {
    const client = await openTestSession(store, caller, new Date());
    const written = events.map(([payload, fields]) => client.write(fields, payload));
    await createAuditService({ store }).append(caller, client.batch(written));
    return { sessionId: client.sessionId, ids: written.map(({ id }) => id) };
  };
  const replayed = async (
    org: TestOrganisation,
    text: string,
    query: { sinceSeconds?: number; group?: string } = {},
    by = judge,
  ): Promise<{ report: ReplayReport; steps: number[] }> => {
    const choice = { files: file(text), version: 0 };
    const asked = { sinceSeconds: 3600, group: '', ...query };
    const steps: number[] = [];
    for await (const step of by.replay(org.owner, choice, asked, new AbortController().signal)) {
      if (step.report !== null) return { report: step.report, steps };
      steps.push(step.calls);
    }
    throw new Error('no report');
  };
  const allow = { decision: 'allow' } as const;

  test('a replay says what would be decided otherwise, for whom, and what cannot be said', async () => {
    const org = await organisation();
    const dev = await org.addUser('member');
    const first = await record(org.owner, [
      [recorded(push), allow],
      [recorded(push), allow],
      [recorded(remove), { decision: 'deny', rule: 'old.rm' }],
      [recorded(list), allow],
      [null, allow],
      [recorded({ ...push, schema: 1 }), allow],
      [recorded({ clipped: '{"schema":2', bytes: 70_000 }), allow],
      [recorded(push, { policyStale: true }), { decision: 'deny' }],
      [recorded(push, { failure: 'engine' }), { decision: 'deny' }],
      [recorded(push, { callRedacted: true }), allow],
      ['not json', allow],
      // No decided call: not looked at.
      [recorded(push), { kind: 'tool_call.completed', decision: null }],
    ]);
    await record(dev, [
      [recorded(push), { decision: 'ask', rule: 'old.push' }],
      [recorded(remove), allow],
    ]);
    const { report } = await replayed(
      org,
      [
        forbid('new.push', 'resource is Command && resource.subcommand == "push"'),
        forbid('new.rm', 'resource == Command::"rm"', '@effect("ask")'),
      ].join('\n'),
    );
    expect(report).toMatchObject({
      ...{ calls: 13, same: 1, newlyDenied: 3, newlyAsked: 2, newlyAllowed: 0 },
      ...{ people: 2, sessions: 2, truncated: false },
    });
    const { notReproducible: not } = report;
    expect(not.reduce((sum, { calls }) => sum + calls, 0)).toBe(7);
    expect(Object.fromEntries(not.map(({ cause, calls }) => [cause, calls]))).toMatchObject({
      'the call was not recorded': 2,
      'recorded before calls had parts': 1,
      'the call was too long to be recorded whole': 1,
      'the policy was stale when it was decided': 1,
      'a secret was taken out of the call before it was recorded': 1,
      'the policy could not be evaluated when it was decided': 1,
    });
    const groups = report.groups.map(({ shape, before, after, rule, calls, people }) => ({
      ...{ shape, before, after, rule, calls, people },
    }));
    expect(groups[0]).toEqual({
      ...{ shape: 'Bash: git push', before: 'allow', after: 'deny', rule: 'new.push', calls: 2 },
      people: ['owner'],
    });
    expect(groups.slice(1)).toEqual(
      expect.arrayContaining([
        {
          shape: 'Bash: git push',
          before: 'ask',
          after: 'deny',
          rule: 'new.push',
          calls: 1,
          people: ['member'],
        },
        { shape: 'Bash: rm', before: 'deny', after: 'ask', rule: 'new.rm', calls: 1, people: ['owner'] },
        { shape: 'Bash: rm', before: 'allow', after: 'ask', rule: 'new.rm', calls: 1, people: ['member'] },
      ]),
    );
    expect(report.groups[0]).toMatchObject({
      ...{ exampleEventId: first.ids[1], exampleSessionId: first.sessionId },
    });
  });

  test('a policy without rules would have allowed what was denied', async () => {
    const org = await organisation();
    await record(org.owner, [[recorded(push), { decision: 'deny' }]]);
    const { report } = await replayed(org, '// nothing is forbidden');
    expect(report).toMatchObject({ calls: 1, newlyAllowed: 1, groups: [{ after: 'allow', rule: '' }] });
  });

  test('pages join up: each call is counted once, and progress is told', async () => {
    const org = await organisation();
    await record(
      org.owner,
      Array.from({ length: 117 }, () => [recorded(push), allow] as const),
    );
    await record(
      org.owner,
      Array.from({ length: 6 }, () => [recorded(list), allow] as const),
    );
    const paged = createPolicyJudge(deps({ pageSize: 60 }));
    const text = forbid('new.push', 'resource is Command && resource.subcommand == "push"');
    const { report, steps } = await replayed(org, text, {}, paged);
    expect(report).toMatchObject({ calls: 123, same: 6, newlyDenied: 117, truncated: false });
    expect(steps).toEqual([60, 120, 123]);
    const short = createPolicyJudge(deps({ pageSize: 4, maxCalls: 8 }));
    expect((await replayed(org, text, {}, short)).report).toMatchObject({ calls: 8, truncated: true });
  });

  test('only calls of the group, of the time, and of the organisation are looked at', async () => {
    const [org, other] = [await organisation(), await organisation()];
    const dev = await org.addUser('member');
    await store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
      tx
        .update(memberships)
        .set({ groups: ['web'] })
        .where(eq(memberships.userId, dev.userId)),
    );
    await record(dev, [[recorded(push), allow]]);
    await record(org.owner, [[recorded(push), allow]]);
    await record(other.owner, [[recorded(push), allow]]);
    expect((await replayed(org, '//', { group: 'web' })).report).toMatchObject({ calls: 1, people: 1 });
    expect((await replayed(org, '//', { group: 'nobody' })).report.calls).toBe(0);
    expect((await replayed(org, '//')).report.calls).toBe(2);
    const later = createPolicyJudge(deps({ nowMs: () => Date.now() + 7200_000 }));
    expect((await replayed(org, '//', { sinceSeconds: 3600 }, later)).report.calls).toBe(0);
    for (const sinceSeconds of [0, -1, 90 * 86_400 + 1])
      await expect(replayed(org, '//', { sinceSeconds })).rejects.toMatchObject({
        code: 'KX_REQUEST_INVALID',
      });
  });

  test('a replay needs one policy, and one that can be loaded', async () => {
    const org = await organisation();
    const run = async (choice: { files: SourceFile[] | null; version: number }) => {
      const { signal } = new AbortController();
      const steps = judge.replay(org.owner, choice, { sinceSeconds: 60, group: '' }, signal);
      const first = await steps.next();
      await steps.return(undefined);
      return first;
    };
    const refused = (code: string) => expect.objectContaining({ code });
    await expect(run({ files: null, version: 0 })).rejects.toEqual(refused('KX_REQUEST_INVALID'));
    await expect(run({ files: file('//'), version: 1 })).rejects.toEqual(refused('KX_REQUEST_INVALID'));
    await expect(run({ files: file('forbid'), version: 0 })).rejects.toEqual(refused('KX_POLICY_INVALID'));
    await expect(run({ files: null, version: 9 })).rejects.toEqual(refused('KX_NOT_FOUND'));
    expect((await run({ files: null, version: 1 })).done).toBe(false);
  });

  test('a replay whose client went away ends, and gives its thread back', async () => {
    const org = await organisation();
    await record(
      org.owner,
      Array.from({ length: 9 }, () => [recorded(push), allow] as const),
    );
    const paged = createPolicyJudge(deps({ pageSize: 2 }));
    for (let round = 0; round < 3; round += 1) {
      const stop = new AbortController();
      const query = { sinceSeconds: 3600, group: '' };
      const steps = paged.replay(org.owner, { files: file('//'), version: 0 }, query, stop.signal);
      expect((await steps.next()).value).toEqual({ calls: 2, report: null });
      stop.abort();
      expect((await steps.next()).done).toBe(true);
    }
    expect((await replayed(org, '//')).report.calls).toBe(9);
  });

  test('an organisation has one replay at a time; the next is told to wait', async () => {
    const [org, other] = [await organisation(), await organisation()];
    await record(org.owner, [[recorded(push), allow]]);
    const query = { sinceSeconds: 3600, group: '' };
    const choice = { files: file('//'), version: 0 };
    const { signal } = new AbortController();
    const running = judge.replay(org.owner, choice, query, signal);
    await running.next();
    await expect(replayed(org, '//')).rejects.toMatchObject({ code: 'KX_POLICY_BUSY' });
    expect((await replayed(other, '//')).report.calls).toBe(0);
    await running.return(undefined);
    expect((await replayed(org, '//')).report.calls).toBe(1);
  });

  test('a call is decided with sources, with a version, or with what holds for the caller', async () => {
    const org = await organisation();
    const text = forbid('new.push', 'resource is Command && resource.subcommand == "push"', '@reason("no")');
    const version = await publishForTest(store, org.orgId, {
      policies: [policyOf('new.push', text)],
      mode: 'enforce',
    });
    const evaluate = (choice: { files: SourceFile[] | null; version: number }, one: ToolCall) =>
      judge.evaluate(org.owner, choice, JSON.stringify(one));
    const none = { files: null, version: 0 };
    expect(await evaluate(none, push)).toMatchObject({
      ...{ effect: 'deny', rule: 'new.push', reason: 'no', policyVersion: version, mode: 'enforce' },
      part: expect.stringContaining('git push'),
    });
    expect(await evaluate(none, list)).toMatchObject({ effect: 'allow', rule: null });
    expect(await evaluate({ files: file('// nothing'), version: 0 }, push)).toMatchObject({
      ...{ effect: 'allow', policyVersion: 0 },
    });
    await expect(evaluate({ files: null, version: 99 }, push)).rejects.toMatchObject({
      code: 'KX_NOT_FOUND',
    });
  });

  test.each([
    ['no JSON', 'nonsense'],
    ['null', 'null'],
    ['an older schema', JSON.stringify({ ...list, schema: 1 })],
    ['a member of another type', JSON.stringify({ ...list, groups: 'all' })],
    ['over 256 KiB', JSON.stringify({ ...list, input: 'x'.repeat(256 * 1024) })],
  ])('refuses to decide a call that is %s', async (_what, text) => {
    const org = await organisation();
    const evaluating = judge.evaluate(org.owner, { files: null, version: 0 }, text);
    await expect(evaluating).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
  });

  test('validation says what is wrong and what would surprise, and stores nothing', async () => {
    const org = await organisation();
    const text = `${forbid('a.one', 'resource == Tool::"x"')}\n${forbid('a.one', 'true')}`;
    const { findings, policies } = await judge.validate(org.owner, file(text));
    expect(findings.find(({ error }) => error)).toMatchObject({ check: 'duplicate-id', file: 'new.cedar' });
    expect(policies.map(({ id }) => id)).toEqual(['a.one']);
    await expect(judge.validate(org.owner, [])).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
  });

  test('a decision is explained: as recorded, decided again, the rule, and the parts', async () => {
    const org = await organisation();
    const dev = await org.addUser('member');
    const text = forbid('new.push', 'resource is Command && resource.subcommand == "push"', '@reason("no")');
    const version = await publishForTest(store, org.orgId, { policies: [policyOf('new.push', text)] });
    const fields = { decision: 'deny', rule: 'new.push', policyVersion: version, mode: 'observe' } as const;
    const { ids, sessionId } = await record(dev, [[recorded(push), fields]]);
    for (const asker of [dev, org.owner]) {
      expect(await judge.explain(asker, ids[0] ?? '')).toMatchObject({
        call: { sessionId, userName: 'member', tool: 'Bash' },
        recorded: {
          effect: 'deny',
          rule: 'new.push',
          reason: 'said then',
          mode: 'observe',
          policyVersion: version,
        },
        again: { effect: 'deny', rule: 'new.push', reason: 'no' },
        ...{ notReproducible: null, ruleText: text },
        parts: [expect.stringContaining('Bash'), expect.stringContaining('git push')],
      });
    }
  });

  test('what cannot be decided again is explained as recorded, with the cause', async () => {
    const org = await organisation();
    const { ids } = await record(org.owner, [
      [null, { decision: 'deny', rule: 'starter.x' }],
      [recorded(push), { ...allow, policyVersion: 42 }],
    ]);
    expect(await judge.explain(org.owner, ids[0] ?? '')).toMatchObject({
      ...{ again: null, notReproducible: 'the call was not recorded', parts: [], ruleText: '' },
      recorded: { effect: 'deny', rule: 'starter.x', reason: '' },
    });
    expect(await judge.explain(org.owner, ids[1] ?? '')).toMatchObject({
      ...{ again: null, notReproducible: 'version 42 of the policy is not known here' },
    });
  });

  test('an event from a machine whose clock is a week off is found, one of another year is not looked for', async () => {
    const org = await organisation();
    const client = await openTestSession(store, org.owner, new Date());
    const { clientStreamId: streamId, clientStreamNonce: nonce } = client.opened;
    const nowMs = () => Date.now() - 7 * 86_400_000;
    const writer = createStreamWriter({ orgId: org.orgId, streamId, from: { nonce }, nowMs });
    const fields = { kind: 'tool_call.decided', session: client.sessionId, user: org.owner.userId } as const;
    const event = writer.append({ ...fields, ...allow, agent: 'claude', tool: 'Bash' }, recorded(push));
    await createAuditService({ store }).append(org.owner, client.batch([event]));
    expect((await judge.explain(org.owner, event.id)).call.eventId).toBe(event.id);
    const longAgo = 'evt_01792500-0000-7000-8000-000000000000';
    await expect(judge.explain(org.owner, longAgo)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
  });

  test('nobody is told of a decision that is not theirs to see', async () => {
    const [org, other] = [await organisation(), await organisation()];
    const { ids } = await record(org.owner, [[recorded(push), allow]]);
    const strangers = [await org.addUser('member'), await org.addUser('approver'), other.owner];
    for (const stranger of strangers)
      await expect(judge.explain(stranger, ids[0] ?? '')).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    for (const id of ['', 'evt_x', 'evt_01900000-0000-7000-8000-000000000000'])
      await expect(judge.explain(org.owner, id)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
  });
});
