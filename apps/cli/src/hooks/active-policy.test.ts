import { createPolicyEngine, type PolicyEngine, starterPolicies, type ToolCall } from '@kontext/policy';
import { beforeAll, describe, expect, it } from 'vitest';
import { createActivePolicy, raiseMode } from './active-policy.ts';

let engine: PolicyEngine;
beforeAll(async () => {
  engine = await createPolicyEngine();
});

const call: ToolCall = {
  ...{
    schema: 2,
    agentVersion: '',
    parts: [
      { kind: 'tool', name: 'Bash' },
      { kind: 'file', path: '/x', access: 'argument', inProject: false, program: 'rm' },
    ],
    subagent: null,
    repository: null,
    credentials: [],
    atMs: 0,
    agent: 'claude',
    event: 'PreToolUse',
    tool: 'Bash',
    input: { command: 'rm -rf x' },
  },
  ...{ command: 'rm -rf x', cwd: '/', permissionMode: null, opaque: [] },
  ...{ user: 'u', org: 'o', session: 's', groups: [], role: '' },
};

describe('active policy', () => {
  it('loads nothing before it is needed, and the engine once', async () => {
    let made = 0;
    const policy = createActivePolicy(
      { version: 1, mode: 'observe', policies: starterPolicies },
      null,
      async () => {
        made += 1;
        return engine;
      },
    );
    expect([made, policy.mode, policy.version]).toEqual([0, 'observe', 1]);
    await policy.warmUp();
    expect(await policy.decide(call)).toMatchObject({ effect: 'deny', policyVersion: 1, mode: 'observe' });
    policy.replace({ version: 2, mode: 'enforce', policies: [] });
    expect(await policy.decide(call)).toMatchObject({ effect: 'allow', policyVersion: 2, mode: 'enforce' });
    expect(made).toBe(1);
  });

  it('loads nothing more once it is over, and still decides when asked', async () => {
    const engine = await createPolicyEngine();
    let loads = 0;
    const counted: typeof engine = {
      ...engine,
      load: (set, options) => {
        loads += 1;
        return engine.load(set, options);
      },
    };
    const first = { version: 1, mode: 'observe', policies: starterPolicies } as const;
    const policy = createActivePolicy(first, null, async () => counted);
    await policy.warmUp(() => true);
    expect(loads).toBe(0);
    expect(await policy.decide(call)).toMatchObject({ effect: 'deny' });
  });

  it('does not fail to warm up when it cannot decide', async () => {
    const policy = createActivePolicy({ version: 1, mode: 'observe', policies: [] }, null, async () => {
      throw new Error('no wasm');
    });
    await policy.warmUp();
    await expect(policy.decide(call)).rejects.toThrow('no wasm');
  });

  it('may be raised on this machine and never lowered', () => {
    expect([
      raiseMode('observe', null),
      raiseMode('observe', 'enforce'),
      raiseMode('enforce', 'observe'),
    ]).toEqual(['observe', 'enforce', 'enforce']);
  });

  describe('whose snapshot was not refreshed', () => {
    const sensitive = `@id("s") @effect("sensitive") @reason("it pays")
forbid (principal, action == Action::"tool_call", resource) when { context.tool == "Pay" };`;
    const asks = `@id("a") @effect("ask") @reason("it asks")
forbid (principal, action == Action::"tool_call", resource) when { context.tool == "Ask" };`;
    const issuedAtMs = 1_000_000;
    let nowMs = issuedAtMs;
    const snapshot = (mode: 'observe' | 'enforce', staleRule: 'deny_sensitive' | 'deny_all', seq = 1) => ({
      ...{ version: 1, mode },
      policies: [
        { id: 's', text: sensitive },
        { id: 'a', text: asks },
      ],
      publication: { seq, staleRule, issuedAtMs, expiresAtMs: issuedAtMs + 900_000 },
    });
    const make = (...of: Parameters<typeof snapshot>) =>
      createActivePolicy(snapshot(...of), null, async () => engine, { nowMs: () => nowMs });
    const use = (tool: string): ToolCall => ({ ...call, tool, parts: [{ kind: 'tool', name: tool }] });
    const effects = async (policy: ReturnType<typeof make>) => [
      policy.stale,
      (await policy.decide(use('Pay'))).effect,
      (await policy.decide(use('Ask'))).effect,
      (await policy.decide(use('Read'))).effect,
    ];

    it('decides as ever while it is fresh, and in observe also later', async () => {
      nowMs = issuedAtMs + 899_999;
      expect(await effects(make('enforce', 'deny_all'))).toEqual([false, 'allow', 'ask', 'allow']);
      nowMs = issuedAtMs + 900_000;
      expect(await effects(make('observe', 'deny_all'))).toEqual([true, 'allow', 'ask', 'allow']);
    });

    it('denies in enforce what a rule marks sensitive, naming the rule and for how long', async () => {
      nowMs = issuedAtMs + 20 * 60_000;
      const policy = make('enforce', 'deny_sensitive');
      expect(await effects(policy)).toEqual([true, 'deny', 'ask', 'allow']);
      expect(await policy.decide(use('Pay'))).toMatchObject({
        rule: 's',
        reason: 'the policy could not be refreshed for 20 minutes',
      });
    });

    it('denies every call in enforce where the organisation says so', async () => {
      nowMs = issuedAtMs + 900_000;
      expect(await effects(make('enforce', 'deny_all'))).toEqual([true, 'deny', 'deny', 'deny']);
    });

    it('is fresh again with the next snapshot, and says whether anything but its age is new', async () => {
      nowMs = issuedAtMs + 900_000;
      const policy = make('enforce', 'deny_all');
      const next = snapshot('enforce', 'deny_all');
      const refreshed = { ...next, publication: { ...next.publication, expiresAtMs: nowMs + 900_000 } };
      expect(policy.replace(refreshed)).toBe(false);
      expect(await effects(policy)).toEqual([false, 'allow', 'ask', 'allow']);
      expect(policy.replace({ ...refreshed, mode: 'observe' })).toBe(true);
      expect([policy.seq, policy.mode]).toEqual([1, 'observe']);
    });
  });

  it('adds rules of this machine to every version, under names the organisation did not take', async () => {
    const forbid = (id: string, tool: string) => ({
      id,
      text: `@id("${id}") forbid (principal, action == Action::"tool_call", resource) when { context.tool == "${tool}" };`,
    });
    const first = { version: 1, mode: 'enforce', policies: [forbid('local.x', 'Read')] } as const;
    const local = [forbid('local.x', 'Bash')];
    const policy = createActivePolicy(first, null, async () => engine, { local });
    expect(await policy.decide(call)).toMatchObject({ effect: 'deny', rule: 'local.local.x' });
    policy.replace({ version: 2, mode: 'enforce', policies: [] });
    expect(await policy.decide(call)).toMatchObject({ effect: 'deny', rule: 'local.x', policyVersion: 2 });
  });
});
