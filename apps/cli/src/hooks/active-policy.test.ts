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
    parts: [{ kind: 'tool', name: 'Bash' }],
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
});
