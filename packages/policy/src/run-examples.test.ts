import { beforeAll, describe, expect, it } from 'vitest';
import {
  type CallReader,
  createCallReader,
  createPolicyEngine,
  type PolicyEngine,
  runExamples,
} from './index.ts';

let engine: PolicyEngine;
let reader: CallReader;
beforeAll(async () => {
  engine = await createPolicyEngine();
  reader = await createCallReader();
});

const policies = [
  {
    id: 'no.ls',
    text: 'forbid (principal, action == Action::"tool_call", resource) when { context.command == "ls" };',
  },
  {
    id: 'ask.night',
    text: '@effect("ask") @reason("late") forbid (principal, action == Action::"tool_call", resource) when { context.hour > 20 };',
  },
];
const run = (content: unknown, name = 'a.examples.json') =>
  runExamples(engine, engine.load({ version: 1, policies }), reader, {
    name,
    text: typeof content === 'string' ? content : JSON.stringify(content),
  });
const example = (more: object = {}, call: object = {}) => ({
  name: 'one',
  effect: 'deny',
  call: { tool: 'Bash', command: 'ls', ...call },
  ...more,
});
const file = (...examples: unknown[]) => ({ v: 1, examples });

describe('runExamples', () => {
  it('passes what is decided as expected, with or without a rule', () => {
    const results = run(
      file(
        example(),
        example({ rule: 'no.ls' }),
        example({ effect: 'allow', rule: null }, { command: 'pwd' }),
        example({ effect: 'ask', rule: 'ask.night' }, { command: 'pwd', at: '2026-01-07T22:00:00+01:00' }),
      ),
    );

    expect(results.map(({ passed }) => passed)).toEqual([true, true, true, true]);
    expect(results[0]).toMatchObject({
      file: 'a.examples.json',
      name: 'one',
      problem: '',
      decision: { rule: 'no.ls' },
    });
  });

  it.each([
    ['expected allow, got deny by no.ls', example({ effect: 'allow' })],
    ['expected deny by no.ls, got allow', example({ rule: 'no.ls' }, { command: 'pwd' })],
    ['expected deny by ask.night, got deny by no.ls', example({ rule: 'ask.night' })],
    ['expected deny by no rule, got deny by no.ls', example({ rule: null })],
  ])('fails with "%s"', (problem, one) => {
    expect(run(file(one))).toEqual([expect.objectContaining({ passed: false, problem })]);
  });

  it('fails where the policy fails', () => {
    const text = 'forbid (principal, action == Action::"tool_call", resource) when { context.nope };';
    const loaded = engine.load({ version: 1, policies: [{ id: 'broken', text }] }, { validate: false });

    const [result] = runExamples(engine, loaded, reader, {
      name: 'a',
      text: JSON.stringify(file(example())),
    });

    expect(result?.problem).toMatch(/^expected deny, got a failure: policy broken/);
  });

  it('gives a call every fact it was told, and defaults for the rest', () => {
    const facts = {
      ...{
        agent: 'codex',
        agentVersion: '1',
        event: 'PermissionRequest',
        cwd: '/home/dev/x',
        permissionMode: 'plan',
      },
      ...{ subagent: 'Explore', groups: ['a'], role: 'owner', credentials: ['stripe', 'github'] },
    };
    const [told, plain] = run(
      file(example({}, { ...facts, repository: 'r', branch: 'main', at: '2026-02-01T00:00:00Z' }), example()),
    );

    expect(told?.call).toMatchObject({
      ...{ ...facts, credentials: ['github', 'stripe'], repository: { name: 'r', branch: 'main' } },
      ...{ atMs: Date.UTC(2026, 1, 1), input: { command: 'ls' }, command: 'ls' },
    });
    expect(plain?.call).toMatchObject({
      ...{
        agent: 'claude',
        event: 'PreToolUse',
        cwd: '/home/dev/shop',
        permissionMode: 'default',
        subagent: null,
      },
      ...{ repository: null, groups: [], role: 'member', credentials: [], opaque: [] },
    });
  });

  it('knows calls of MCP tools, files and fetches', () => {
    const calls = run(
      file(
        {
          name: 'mcp',
          effect: 'allow',
          call: { mcp: { server: 'github', tool: 'create_issue', input: { title: 'x' } } },
        },
        { name: 'file', effect: 'allow', call: { tool: 'Write', file: { path: '/x', access: 'write' } } },
        { name: 'fetch', effect: 'allow', call: { tool: 'WebFetch', url: 'https://example.com/x' } },
        { name: 'bare', effect: 'allow', call: { tool: 'Task' } },
        { name: 'input', effect: 'allow', call: { tool: 'Task', input: [1] } },
      ),
    ).map(({ call }) => call);

    expect(calls[0]).toMatchObject({ tool: 'mcp__github__create_issue', input: { title: 'x' } });
    expect(calls[0]?.parts[0]).toEqual({ kind: 'mcp', server: 'github', tool: 'create_issue' });
    expect(calls.slice(1).map((call) => call?.input)).toEqual([
      { file_path: '/x' },
      { url: 'https://example.com/x' },
      {},
      [1],
    ]);
  });

  it('decides uses of credentials and starts of sessions, with defaults for what is not told', () => {
    const rules = [
      {
        id: 'no.stripe',
        text: `forbid (principal, action == Action::"credential_use", resource == Provider::"stripe")
          unless { context.agent == "claude" && context.scopes.contains("read") && context.target == "live" };`,
      },
      {
        id: 'only.day',
        text: `forbid (principal, action == Action::"session_start", resource == Agent::"claude")
          when { context.hour > 20 && context.mode == "observe" && principal in Group::"night" };`,
      },
    ];
    const use = { provider: 'stripe', scopes: ['read'], target: 'live' };
    const late = { at: '2026-01-07T22:00:00Z', groups: ['night'] };
    const asked = file(
      { name: 'told', effect: 'allow', rule: null, credential_use: use },
      { name: 'outside', effect: 'deny', rule: 'no.stripe', credential_use: { ...use, agent: '' } },
      { name: 'bare', effect: 'deny', rule: 'no.stripe', credential_use: { provider: 'stripe' } },
      { name: 'wrong', effect: 'deny', credential_use: { provider: 'github' } },
      { name: 'noon', effect: 'allow', session_start: { groups: ['night'] } },
      { name: 'late', effect: 'deny', rule: 'only.day', session_start: late },
      { name: 'enforced', effect: 'allow', session_start: { ...late, mode: 'enforce' } },
    );

    const results = runExamples(engine, engine.load({ version: 1, policies: rules }), reader, {
      name: 'a',
      text: JSON.stringify(asked),
    });

    expect(results.filter(({ passed }) => !passed).map(({ name, problem }) => [name, problem])).toEqual([
      ['wrong', 'expected deny, got allow'],
    ]);
    expect(results.map(({ call }) => call)).toEqual(Array(7).fill(null));
    expect(results[1]?.decision.part).toBe('credential stripe');
  });

  it.each<[RegExp, unknown]>([
    [/^a\.examples\.json: it is no JSON/, '{'],
    [/^a\.examples\.json: it must be an object$/, '[]'],
    [/, v: it must be 1/, { v: 2, examples: [] }],
    [/examples: it must be a list/, { v: 1, examples: {} }],
    [/more than 10000/, { v: 1, examples: Array(10_001).fill(1) }],
    [/it has "example"; known are v, examples/, { v: 1, examples: [], example: [] }],
    [/, example 1: it must be an object/, file(null)],
    [/, example 1, name: it must be a text/, file(example({ name: 1 }))],
    [
      /, example 2 \(one\), effect: it must be one of allow, deny, ask/,
      file(example(), example({ effect: 'block' })),
    ],
    [/, rule: it must be a text/, file(example({ rule: 1 }))],
    [/it has "efect"/, file(example({ efect: 'deny' }))],
    [/, call: it must be an object/, file(example({ call: 'ls' }))],
    [/call: it has "comand"/, file(example({}, { comand: 'ls' }))],
    [/call\.tool: it must be a text/, file(example({}, { tool: undefined }))],
    [/call\.command: it must be a text/, file(example({}, { command: 1 }))],
    [/call\.cwd: it must be an absolute path/, file(example({}, { cwd: 'shop' }))],
    [/call\.at: it must be an instant/, file(example({}, { at: '2026-01-07' }))],
    [/call\.at: it must be an instant/, file(example({}, { at: '2026-01-07T99:00:00Z' }))],
    [/call\.groups: it must be a list of texts/, file(example({}, { groups: 'a' }))],
    [/call\.groups: it must be a text/, file(example({}, { groups: [1] }))],
    [
      /call\.file\.access: it must be one of read, write/,
      file(example({}, { file: { path: 'x', access: 'append' } })),
    ],
    [/call\.file: it has "mode"/, file(example({}, { file: { path: 'x', access: 'read', mode: 1 } }))],
    [
      /, example 1 \(one\): it must have one of call, credential_use, session_start/,
      file({ name: 'one', effect: 'deny' }),
    ],
    [/\(one\): it must have one of call/, file(example({ session_start: {} }))],
    [
      /credential_use\.provider: it must be a text/,
      file({ name: 'one', effect: 'deny', credential_use: {} }),
    ],
    [/credential_use: it has "tool"/, file({ name: 'one', effect: 'deny', credential_use: { tool: 'x' } })],
    [
      /credential_use\.scopes: it must be a text/,
      file({ name: 'one', effect: 'deny', credential_use: { provider: 'x', scopes: [1] } }),
    ],
    [
      /session_start\.mode: it must be one of observe, enforce/,
      file({ name: 'one', effect: 'deny', session_start: { mode: 'off' } }),
    ],
    [
      /session_start\.at: it must be an instant/,
      file({ name: 'one', effect: 'deny', session_start: { at: 'noon' } }),
    ],
    [
      /session_start\.hostname: it must be a text/,
      file({ name: 'one', effect: 'deny', session_start: { hostname: 5 } }),
    ],
    [/call\.mcp\.server: it must be a text/, file(example({}, { mcp: { tool: 'x' } }))],
  ])('refuses a malformed file: %s', (message, content) => {
    expect(() => run(content)).toThrow(
      expect.objectContaining({ code: 'KX_EXAMPLES_INVALID', message: expect.stringMatching(message) }),
    );
  });
});
