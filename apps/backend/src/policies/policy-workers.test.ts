import type { PolicyText } from '@kontext/policy';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createPolicyWorkers, type PolicyWorkerOptions, type PolicyWorkers } from './policy-workers.ts';
import { buildPolicyWorker } from './test-policies.ts';

const rules = (count: number, condition: (i: number) => string): PolicyText[] =>
  Array.from({ length: count }, (_, i) => ({
    id: `r.${i}`,
    text: `@id("r.${i}")\nforbid (principal, action == Action::"tool_call", resource) when { ${condition(i)} };`,
  }));
const callOf = (command: string) =>
  JSON.stringify({
    ...{
      schema: 2,
      agent: 'claude',
      agentVersion: '',
      event: 'PreToolUse',
      tool: 'Bash',
      input: { command },
    },
    ...{ command, parts: [{ kind: 'tool', name: 'Bash' }], cwd: null, permissionMode: null, subagent: null },
    ...{ opaque: [], repository: null, credentials: [], atMs: 0, user: 'u', org: 'o', session: 's' },
    ...{ groups: [], role: 'member' },
  });
/** Never ends on a machine of any speed: how long a real policy takes depends on the machine. */
const endless = callOf('without end');
const prelude = `
import { parentPort as port } from 'node:worker_threads';
port.on('message', ({ input }) => {
  if (input.call === ${JSON.stringify(endless)}) for (;;);
});
`;
/** Makes a matcher that tries every place of a text again and again. */
const hostile = (i: number) => `context.command like "${'*a'.repeat(40)}*${i}b"`;
const harmless = { version: 1, policies: rules(1, () => 'context.command == "no"') };

describe('threads that evaluate policies', () => {
  let file: string;
  let workers: PolicyWorkers | undefined;
  beforeAll(async () => {
    file = await buildPolicyWorker(prelude);
  });
  afterEach(() => workers?.close());
  const open = (options: PolicyWorkerOptions = {}) => {
    workers = createPolicyWorkers({ file, deadlineMs: 60_000, ...options });
    return workers;
  };

  test('a replay whose thread cannot be started leaves room for the next one', async () => {
    const pool = createPolicyWorkers();
    for (let n = 0; n < 2; n += 1) {
      await expect(pool.openReplay('org_a', harmless)).rejects.toMatchObject({ code: 'KX_INTERNAL' });
    }
  });

  test('a policy that takes too long is ended with its thread, and the next one is decided', async () => {
    const pool = open({ deadlineMs: 10_000 });
    await expect(pool.decide('o', harmless, endless, 'enforce')).rejects.toMatchObject({
      code: 'KX_POLICY_SLOW',
    });
    expect(pool.threads()).toBe(0);
    expect(await pool.decide('o', harmless, callOf('no'), 'enforce')).toMatchObject({
      decision: { effect: 'deny', rule: 'r.0' },
    });
  });

  test('others are served while a policy that never ends is evaluated', async () => {
    const pool = open();
    let over = false;
    const ended = pool.decide('o', harmless, endless, 'enforce').finally(() => {
      over = true;
    });
    const settled = Promise.allSettled([ended]);
    expect(await pool.decide('other', harmless, callOf('no'), 'enforce')).toMatchObject({
      decision: { effect: 'deny' },
    });
    // In the backend's own thread nothing would have been answered before.
    expect(over).toBe(false);
    await pool.close();
    expect(await settled).toMatchObject([{ reason: { code: 'KX_POLICY_SLOW' } }]);
  });

  test('two thousand hostile matchers are decided or ended, and the pool goes on', async () => {
    const pool = open({ deadlineMs: 10_000 });
    const slow = { version: 1, policies: rules(2000, hostile) };
    const found = await pool.decide('o', slow, callOf('a'.repeat(16_000)), 'enforce').then(
      (answer) => ('decision' in answer ? answer.decision.effect : answer),
      ({ code }) => code,
    );
    expect(['allow', 'KX_POLICY_SLOW']).toContain(found);
    expect(await pool.decide('o', harmless, callOf('no'), 'enforce')).toMatchObject({
      decision: { effect: 'deny' },
    });
  });

  test.each([
    ['nested too deeply', ['wrong', 'KX_POLICY_SLOW'], `${'('.repeat(50_000)}true${')'.repeat(50_000)}`],
    [
      'one long chain',
      ['right', 'wrong', 'KX_POLICY_SLOW'],
      Array.from({ length: 20_000 }, () => 'context.opaque').join(' && '),
    ],
    ['a lone surrogate', ['wrong'], 'context.command == "\ud800"'],
  ])(
    'a policy that is %s gets its answer or ends its thread, and the pool goes on',
    async (_what, allowed, condition) => {
      const pool = open();
      const text = `@id("x")\nforbid (principal, action == Action::"tool_call", resource) when { ${condition} };`;
      const found = await pool.check('o', [{ name: 'x.cedar', text }]).then(
        ({ findings }) => (findings.some(({ error }) => error) ? 'wrong' : 'right'),
        ({ code }) => code,
      );
      expect(allowed).toContain(found);
      expect(await pool.decide('o', harmless, callOf('yes'), 'enforce')).toMatchObject({
        decision: { effect: 'allow' },
      });
    },
  );

  test('jobs of one organisation wait for each other, up to a number', async () => {
    const pool = open();
    const many = Array.from({ length: 20 }, () => pool.decide('o', harmless, callOf('no'), 'enforce'));
    const settled = await Promise.allSettled(many);
    const refused = settled.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
    expect(settled.length - refused.length).toBe(9);
    for (const reason of refused) expect(reason).toMatchObject({ code: 'KX_POLICY_BUSY' });
    expect(await pool.decide('o', harmless, callOf('no'), 'enforce')).toMatchObject({ decision: {} });
  });

  test('a set that cannot be loaded is refused, and leaves the thread free', async () => {
    const pool = open({ threads: 1 });
    const broken = { version: 1, policies: [{ id: 'x', text: 'forbid (' }] };
    for (let round = 0; round < 2; round += 1) {
      await expect(pool.load('o', broken)).rejects.toMatchObject({ code: 'KX_POLICY_INVALID' });
      await expect(pool.openReplay('o', broken)).rejects.toMatchObject({ code: 'KX_POLICY_INVALID' });
    }
    const replay = await pool.openReplay('o', harmless);
    expect(await replay.decide([null])).toEqual([{ notReproducible: 'the call was not recorded' }]);
    replay.close();
  });

  test('memory stays bounded over many drafts: threads are replaced', async () => {
    const pool = open({ threads: 1 });
    for (let round = 0; round < 60; round += 1) {
      const set = { version: round, policies: rules(20, (i) => `context.command == "${round} ${i}"`) };
      expect(await pool.decide('o', set, callOf(`${round} 3`), 'enforce')).toMatchObject({
        decision: { rule: 'r.3', policyVersion: round },
      });
    }
  });

  test('without the worker beside the backend nothing is evaluated', async () => {
    const pool = createPolicyWorkers();
    await expect(pool.load('o', harmless)).rejects.toMatchObject({ code: 'KX_INTERNAL' });
    await expect(pool.load('o', harmless)).rejects.toMatchObject({ code: 'KX_INTERNAL' });
  });
});
