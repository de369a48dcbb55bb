import { createHash } from 'node:crypto';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { createPolicyEngine, type PolicyEngine, type PolicyText, type ToolCall } from './index.ts';
import { renderInput } from './render-input.ts';

const nodejs = dirname(createRequire(import.meta.url).resolve('@cedar-policy/cedar-wasm/nodejs'));
const wasm = join(nodejs, 'cedar_wasm_bg.wasm');

let engine: PolicyEngine;
beforeAll(async () => {
  engine = await createPolicyEngine();
});

const call = (more: Partial<ToolCall> = {}): ToolCall => ({
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
  input: { command: 'ls' },
  command: 'ls',
  cwd: '/home/dev',
  permissionMode: 'default',
  opaque: [],
  user: 'usr_1',
  org: 'org_1',
  session: 'ses_1',
  groups: ['payments'],
  role: 'member',
  ...more,
});

const forbid = (condition: string, head = '') =>
  `${head}forbid (principal, action == Action::"tool_call", resource) when { ${condition} };`;
const load = (...policies: PolicyText[]) => engine.load({ version: 7, policies });
/** What one rule says about one call. */
const judge = (condition: string, more: Partial<ToolCall> = {}) =>
  engine.decide(load({ id: 'rule', text: forbid(condition) }), call(more), 'enforce').effect;

describe('decide', () => {
  it('allows what no rule forbids and names the version and mode', () => {
    expect(engine.decide(load(), call(), 'observe')).toEqual({
      effect: 'allow',
      rule: null,
      reason: 'no rule forbids it',
      part: null,
      approver: null,
      fourEyes: false,
      sensitive: false,
      policyVersion: 7,
      mode: 'observe',
      failure: null,
    });
  });

  it('denies with the id and the reason of the rule', () => {
    const loaded = load({
      id: 'no.ls',
      text: forbid('context.command == "ls"', '@reason("no\\nlisting")\n'),
    });

    expect(engine.decide(loaded, call(), 'enforce')).toEqual({
      effect: 'deny',
      rule: 'no.ls',
      reason: 'no listing',
      part: 'tool Bash',
      approver: null,
      fourEyes: false,
      sensitive: false,
      policyVersion: 7,
      mode: 'enforce',
      failure: null,
    });
  });

  it('says the same in observe as in enforce', () => {
    const loaded = load({ id: 'rule', text: forbid('true') });

    const observed = engine.decide(loaded, call(), 'observe');

    expect(observed).toEqual({ ...engine.decide(loaded, call(), 'enforce'), mode: 'observe' });
    expect(observed).toMatchObject({ effect: 'deny', reason: 'rule rule forbids it' });
  });

  it('names the first rule of the set when several forbid', () => {
    const policies = ['z', 'a', 'm', 'b'].map((id) => ({ id, text: forbid('true') }));

    expect(engine.decide(load(...policies), call(), 'enforce').rule).toBe('z');
  });

  it('lets a permit of the organisation never outvote a forbid', () => {
    const loaded = load(
      { id: 'all', text: 'permit (principal, action == Action::"tool_call", resource);' },
      { id: 'rule', text: forbid('true') },
    );

    expect(engine.decide(loaded, call(), 'enforce').rule).toBe('rule');
  });

  it('keeps two loaded sets apart', () => {
    const strict = load({ id: 'rule', text: forbid('true') });
    const lenient = load();

    expect(engine.decide(strict, call(), 'enforce').effect).toBe('deny');
    expect(engine.decide(lenient, call(), 'enforce').effect).toBe('allow');
  });

  it.each([
    ['principal', 'principal == User::"usr_1"'],
    ['role', 'principal.role == "member"'],
    ['group', 'principal in Group::"payments"'],
    ['tool', 'resource == Tool::"Bash"'],
    ['agent', 'context.agent == "claude"'],
    ['event', 'context.event == "PreToolUse"'],
    ['command', 'context.command == "ls"'],
    ['working directory', 'context.cwd == "/home/dev"'],
    ['permission mode', 'context.permissionMode == "default"'],
    ['input', 'resource has input && resource.input == "{\\"command\\":\\"ls\\"}"'],
    ['opaqueness', '!context.opaque && context.opaqueCauses.isEmpty()'],
  ])('lets a rule speak about the %s', (_what, condition) => {
    expect(judge(condition)).toBe('deny');
    expect(judge(`!(${condition})`)).toBe('allow');
  });

  it('gives a call without command, directory and mode empty texts', () => {
    const none = { command: null, cwd: null, permissionMode: null };

    expect(judge('context.command == "" && context.cwd == "" && context.permissionMode == ""', none)).toBe(
      'deny',
    );
  });
});

describe('decide on hostile calls', () => {
  const opaque = (cause: string) => `context.opaque && context.opaqueCauses == ["${cause}"]`;

  it('passes on that the hook server could not read the call', () => {
    expect(judge(opaque('unreadable'), { opaque: ['unreadable'] })).toBe('deny');
  });

  it.each(['command', 'cwd', 'permissionMode', 'tool', 'user', 'role', 'agent'] as const)(
    'replaces a lone surrogate in %s and says so',
    (field) => {
      expect(judge(opaque('malformed'), { [field]: 'a\ud800b' })).toBe('deny');
    },
  );

  it('replaces a lone surrogate in a group, a member name and a value of the input', () => {
    for (const more of [{ groups: ['\udc00'] }, { input: { '\ud800': 1 } }, { input: ['\ud800'] }])
      expect(judge(opaque('malformed'), more)).toBe('deny');
  });

  it('keeps paired surrogates', () => {
    expect(judge('context.command == "😀" && !context.opaque', { command: '😀' })).toBe('deny');
  });

  it('clips a text at 16 Ki code units and says so', () => {
    expect(judge('context.opaque', { command: 'x'.repeat(16_384), input: null })).toBe('allow');
    expect(judge(opaque('clipped'), { command: 'x'.repeat(16_385), input: null })).toBe('deny');
  });

  it('does not call a text malformed because the clip fell inside a pair', () => {
    expect(judge(opaque('clipped'), { command: `${'x'.repeat(16_383)}😀`, input: null })).toBe('deny');
  });

  it('clips groups and lists at 100 and says so', () => {
    const many = Array.from({ length: 101 }, (_, i) => `g${i}`);

    expect(judge('context.opaque', { groups: many.slice(1), input: many.slice(1) })).toBe('allow');
    for (const more of [
      { groups: many },
      { input: many },
      { input: Object.fromEntries(many.map((g) => [g, 1])) },
    ])
      expect(judge(opaque('clipped'), more)).toBe('deny');
  });

  it('stops at ten thousand values', () => {
    const wide = Array.from({ length: 100 }, () => Array.from({ length: 100 }, () => [0]));

    expect(judge(opaque('clipped'), { input: wide })).toBe('deny');
  });

  it('calls an input deeper than 64 malformed', () => {
    let deep: unknown = 1;
    for (let level = 0; level < 65; level += 1) deep = [deep];

    expect(judge(opaque('malformed'), { input: deep })).toBe('deny');
    expect(judge('context.opaque', { input: (deep as unknown[])[0] })).toBe('allow');
  });

  it('keeps a short member visible beside a long one', () => {
    const input = { aaa_content: 'x'.repeat(50_000), path: '/etc/passwd' };

    expect(
      judge('resource has input && resource.input like "{\\"path\\":\\"/etc/passwd\\",*"', { input }),
    ).toBe('deny');
  });

  it.each([
    ['undefined', undefined],
    ['a function', () => 1],
    ['a bigint', 1n],
    ['not a number', Number.NaN],
  ])('calls %s in the input malformed', (_what, value) => {
    expect(judge(opaque('malformed'), { input: { value } })).toBe('deny');
  });

  it('never calls toJSON of the input', () => {
    const input = { toJSON: () => 'hidden', path: 'seen' };

    expect(judge('resource has input && resource.input like "*seen*"', { input })).toBe('deny');
  });

  it('decides any input the same each time, and never throws', () => {
    const loaded = load({ id: 'rule', text: forbid('resource has input && resource.input like "*a*"') });
    fc.assert(
      fc.property(fc.anything(), fc.string({ unit: 'binary' }), (input, text) => {
        const hostile = call({ input, command: text, tool: text, user: text, groups: [text] });
        const decision = engine.decide(loaded, hostile, 'enforce');
        expect(['allow', 'deny']).toContain(decision.effect);
        expect(engine.decide(loaded, hostile, 'enforce')).toEqual(decision);
      }),
      { numRuns: 300 },
    );
  });

  it('sees the same whatever order the members of the input come in', () => {
    const json = fc.dictionary(fc.string({ maxLength: 5 }), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 8 });
    fc.assert(
      fc.property(json, (input) => {
        const turned = Object.fromEntries(Object.entries(input).reverse());
        expect(renderInput(turned)).toEqual(renderInput(input));
      }),
    );
  });
});

describe('decide when the engine fails', () => {
  const failure = (decision: unknown) =>
    expect(decision).toMatchObject({
      effect: 'deny',
      rule: null,
      reason: 'the policy could not be evaluated',
      failure: expect.stringMatching(/./),
    });

  it('denies when a forbid cannot be evaluated, which Cedar would skip', () => {
    const set = { version: 1, policies: [{ id: 'broken', text: forbid('context.nope == "x"') }] };
    const loaded = engine.load(set, { validate: false });

    const decision = engine.decide(loaded, call(), 'observe');

    failure(decision);
    expect(decision.failure).toMatch(/^policy broken: .*nope/);
  });

  it('denies when another rule decided but one could not be evaluated', () => {
    const policies = [
      { id: 'broken', text: forbid('context.nope == "x"') },
      { id: 'rule', text: forbid('true') },
    ];

    failure(engine.decide(engine.load({ version: 1, policies }, { validate: false }), call(), 'enforce'));
  });

  it('denies when the policies are not known to Cedar', () => {
    failure(engine.decide({ version: 1, hash: 'unknown', texts: new Map() }, call(), 'enforce'));
  });

  it('denies when Cedar denies without a rule of the set', () => {
    const loaded = load({ id: 'rule', text: forbid('true') });

    failure(engine.decide({ ...loaded, texts: new Map() }, call(), 'enforce'));
  });

  it.each([
    ['null', null],
    ['a call without groups', {}],
    [
      'a call whose input throws',
      {
        ...call(),
        get input(): unknown {
          throw new Error('trap');
        },
      },
    ],
  ])('denies %s', (_what, broken) => {
    failure(engine.decide(load(), broken as unknown as ToolCall, 'enforce'));
  });

  it('denies an input with a cycle', () => {
    const cycle: { self?: unknown } = {};
    cycle.self = cycle;

    expect(judge('context.opaque', { input: cycle })).toBe('deny');
  });
});

describe('load', () => {
  const refusal = (...policies: PolicyText[]) => {
    try {
      load(...policies);
    } catch (error) {
      return error;
    }
    throw new Error('the set was accepted');
  };
  const invalid = (message: RegExp, details: object = {}) =>
    expect.objectContaining({
      code: 'KX_POLICY_INVALID',
      message: expect.stringMatching(message),
      details: expect.objectContaining(details),
    });

  it('names policy, line and column of a syntax error', () => {
    const text = 'forbid (principal, action, resource)\nwhen { "ü" like };';

    expect(refusal({ id: 'bad', text })).toEqual(
      invalid(/^the policy bad, line 2 column 17: /, { line: 2, column: 17 }),
    );
  });

  it('names policy and place of an attribute the schema does not have', () => {
    expect(refusal({ id: 'bad', text: forbid('context.nope') })).toEqual(
      invalid(/^the policy bad, line 1 column \d+: .*nope/),
    );
  });

  it.each([
    ['an empty id', [{ id: '', text: forbid('true') }], /malformed/],
    ['a long id', [{ id: 'x'.repeat(129), text: forbid('true') }], /malformed/],
    ['an id with spaces', [{ id: 'a b', text: forbid('true') }], /malformed/],
    ['an inherited name as id', [{ id: '__proto__', text: forbid('true') }], /malformed/],
    ['an id used twice', [0, 1].map(() => ({ id: 'a', text: forbid('true') })), /used twice/],
    ['the id of the base permit', [{ id: 'kontext.base-permit', text: forbid('true') }], /used twice/],
    ['two policies in one text', [{ id: 'a', text: `${forbid('true')}${forbid('true')}` }], /policy a/],
    ['an empty text', [{ id: 'a', text: '' }], /policy a/],
    ['a template', [{ id: 'a', text: 'forbid (principal == ?principal, action, resource);' }], /policy a/],
    ['a lone surrogate', [{ id: 'a', text: forbid('context.command == "\ud800"') }], /not valid Unicode/],
    [
      'a rule for every action',
      [{ id: 'a', text: 'forbid (principal, action, resource) when { context.opaque };' }],
      /policy a/,
    ],
    [
      'more than 2,000 rules',
      Array.from({ length: 2001 }, (_, i) => ({ id: `r${i}`, text: '' })),
      /2000 rules/,
    ],
    ['more than 1 MiB', [{ id: 'a', text: 'x'.repeat((1 << 20) + 1) }], /1 MiB/],
  ])('refuses %s', (_what, policies, message) => {
    expect(refusal(...policies)).toEqual(invalid(message));
  });

  it('refuses a syntax error also when it does not validate', () => {
    const set = { version: 1, policies: [{ id: 'bad', text: 'forbid' }] };

    expect(() => engine.load(set, { validate: false })).toThrow(
      expect.objectContaining({ code: 'KX_POLICY_INVALID' }),
    );
  });

  it('loads a thousand rules and still decides', () => {
    const policies = Array.from({ length: 1000 }, (_, i) => ({
      id: `rule.${i}`,
      text: forbid(`context.command == "danger ${i}"`),
    }));
    const loaded = load(...policies);

    engine.warmUp(loaded);

    expect(engine.decide(loaded, call({ command: 'danger 999' }), 'enforce').rule).toBe('rule.999');
    expect(engine.decide(loaded, call(), 'enforce').effect).toBe('allow');
  });
});

describe('parse', () => {
  it('keeps the order of the file beyond ten policies', () => {
    const ids = Array.from({ length: 12 }, (_, i) => `rule.${i}`);
    const file = ids
      .map((id) => `// about ${id}\n@id("${id}")\n${forbid(`context.cwd == "${id}"`)}\n`)
      .join('\n');

    expect(engine.parse(file).map(({ id }) => id)).toEqual(ids);
  });

  it.each([
    ['a policy without id', forbid('true'), /no @id/],
    ['a template', '@id("a")\nforbid (principal == ?principal, action, resource);', /template/],
    ['text that is no policy', '@id("a")\nforbidden', /line 2 column/],
  ])('refuses %s', (_what, text, message) => {
    expect(() => engine.parse(text)).toThrow(
      expect.objectContaining({ code: 'KX_POLICY_INVALID', message: expect.stringMatching(message) }),
    );
  });
});

describe('createPolicyEngine', () => {
  it('relies on the web and the nodejs build having the same wasm', async () => {
    const web = join(nodejs, '..', 'web', 'cedar_wasm_bg.wasm');

    expect(
      createHash('sha256')
        .update(await readFile(web))
        .digest('hex'),
    ).toBe(
      createHash('sha256')
        .update(await readFile(wasm))
        .digest('hex'),
    );
  });

  it('takes the wasm from where it is told', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'kontext-policy-'));
    try {
      await copyFile(wasm, join(dir, 'moved.wasm'));
      const moved = await createPolicyEngine({ wasmPath: join(dir, 'moved.wasm') });
      expect(moved.decide(moved.load({ version: 1, policies: [] }), call(), 'enforce').effect).toBe('allow');
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  it('says what to do when the wasm is missing', async () => {
    await expect(createPolicyEngine({ wasmPath: '/nonexistent/cedar.wasm' })).rejects.toMatchObject({
      code: 'KX_INTERNAL',
      message: 'the policy engine cannot be loaded',
      hint: 'install kontext again',
    });
  });

  it('works in a bundle whose chunk lies one folder below the wasm', async () => {
    const { build } = await import('esbuild');
    const dir = await mkdtemp(join(tmpdir(), 'kontext-policy-'));
    try {
      await build({
        entryPoints: [new URL('./index.ts', import.meta.url).pathname],
        bundle: true,
        platform: 'node',
        format: 'esm',
        outfile: join(dir, 'chunks', 'policy.mjs'),
        logLevel: 'silent',
      });
      await copyFile(wasm, join(dir, 'cedar_wasm_bg.wasm'));
      const main = `import { createPolicyEngine } from './chunks/policy.mjs';
        const engine = await createPolicyEngine();
        const loaded = engine.load({ version: 1, policies: ${JSON.stringify([{ id: 'no.rm', text: forbid('context.command like "rm *"') }])} });
        const call = ${JSON.stringify(call({ command: 'rm -rf x' }))};
        process.stdout.write(engine.decide(loaded, call, 'enforce').rule);`;
      await writeFile(join(dir, 'main.mjs'), main);
      const { execFile } = await import('node:child_process');
      const stdout = await new Promise<string>((resolve, reject) =>
        execFile(process.execPath, [join(dir, 'main.mjs')], (error, out) =>
          error ? reject(error) : resolve(out),
        ),
      );
      expect(stdout).toBe('no.rm');
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});
