import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  createPolicyEngine,
  type Decision,
  type LoadedPolicy,
  type PolicyEngine,
  type PolicyText,
} from './index.ts';
import { testCall, testCommand, testFile, testHost } from './test-call.ts';
import type { CallPart, ToolCall } from './tool-call.ts';

let engine: PolicyEngine;
beforeAll(async () => {
  engine = await createPolicyEngine();
});

const load = (...policies: PolicyText[]) => engine.load({ version: 3, policies });
/** Validating takes the most of loading. */
const unchecked = (...policies: PolicyText[]) => engine.load({ version: 3, policies }, { validate: false });
const rule = (id: string, condition: string, annotations = '', resource = 'resource'): PolicyText => ({
  id,
  text: `${annotations}forbid (principal, action == Action::"tool_call", ${resource}) when { ${condition} };`,
});
/** The condition that says what a head says. */
const looksAt = (text: string): string => {
  const head = /\((.*?)\) when/.exec(text)?.[1]?.split(', ')[2] ?? 'resource';
  return head === 'resource' ? 'resource == resource' : head;
};
const tool: CallPart = { kind: 'tool', name: 'Bash' };
const mcp: CallPart = { kind: 'mcp', server: 'github', tool: 'create_issue' };

describe('a rule about parts', () => {
  it.each<[string, CallPart, string]>([
    [
      'tool',
      tool,
      'resource is Tool && resource == Tool::"Bash" && resource.input == "{\\"command\\":\\"ls\\"}"',
    ],
    ['MCP tool', mcp, 'resource == McpTool::"github/create_issue"'],
    ['MCP server', mcp, 'resource in McpServer::"github"'],
    [
      'arguments of an MCP tool',
      mcp,
      'resource is McpTool && resource.server == "github" && resource.tool == "create_issue" && resource.input like "*ls*"',
    ],
    ['program', testCommand('git push --force'), 'resource == Command::"git"'],
    ['line', testCommand('git push --force'), 'resource is Command && resource.line == "git push --force"'],
    [
      'subcommand and flags',
      testCommand('git push --force'),
      'resource is Command && resource.subcommand == "push" && resource.flags.contains("--force") && resource.args.contains("push")',
    ],
    [
      'wrapper, pipe and assignment',
      testCommand('sh', { via: ['sudo'], pipedFrom: 'curl', assigns: ['PATH'], dynamic: true }),
      'resource is Command && resource.via.contains("sudo") && resource.pipedFrom == "curl" && resource.assigns.contains("PATH") && resource.dynamic',
    ],
    [
      'path as written',
      testCommand('x', { path: '/usr/bin/x' }),
      'resource is Command && resource.path == "/usr/bin/x" && resource == Command::"x"',
    ],
    [
      'file',
      testFile('/home/dev/.ssh/id_ed25519'),
      'resource is File && resource.path like "*/.ssh/*" && resource.name == "id_ed25519" && resource.access == "argument" && !resource.inProject && resource.program == "cat"',
    ],
    [
      'host',
      testHost('api.example.com'),
      'resource == Host::"api.example.com" && resource is Host && resource.scheme == "https" && resource.program == "curl"',
    ],
    ['all programs of the call', testCommand('git push'), 'context.programs.contains("git")'],
    ['repository', tool, 'context.repository == "github.com/acme/shop" && context.branch == "main"'],
    ['credentials', tool, 'context.credentials.contains("github")'],
    ['time', tool, 'context.hour == 12 && context.weekday == 3 && context.at > datetime("2026-01-07")'],
    ['sub-agent and version', tool, 'context.subagent == "Explore" && context.agentVersion == "2.1.0"'],
  ])('can speak about the %s', (_what, part, condition) => {
    const facts = {
      repository: { name: 'github.com/acme/shop', branch: 'main' },
      credentials: ['github'],
      subagent: 'Explore',
    };
    const call = testCall({ ...facts, parts: [part] });

    expect(engine.decide(load(rule('r', condition)), call, 'enforce').rule).toBe('r');
    expect(engine.decide(load(rule('r', `!(${condition})`)), call, 'enforce').rule).toBeNull();
  });

  it('counts Sunday as the seventh day', () => {
    const sunday = testCall({ atMs: Date.UTC(2026, 0, 11) });

    expect(
      engine.decide(load(rule('r', 'context.weekday == 7 && context.hour == 0')), sunday, 'enforce').rule,
    ).toBe('r');
  });

  it('finds the one bad part among many and says which it was', () => {
    const parts = [
      tool,
      ...Array.from({ length: 30 }, (_, i) => testCommand(`echo ${i}`)),
      testCommand('rm -rf /'),
    ];

    const decision = engine.decide(
      load(rule('r', 'resource == Command::"rm"')),
      testCall({ parts }),
      'enforce',
    );

    expect(decision).toMatchObject({ effect: 'deny', rule: 'r', part: 'command rm -rf /' });
  });

  it('is found whether or not it is about parts, in one set', () => {
    const loaded = load(
      rule('whole', 'context.command like "*secret*"'),
      rule('part', 'resource == Command::"rm"'),
    );
    const parts = [tool, testCommand('ls'), testCommand('rm x')];

    expect(engine.decide(loaded, testCall({ parts, command: 'cat secret' }), 'enforce').rule).toBe('whole');
    expect(engine.decide(loaded, testCall({ parts }), 'enforce').rule).toBe('part');
    expect(engine.decide(loaded, testCall({ parts: parts.slice(0, 2) }), 'enforce').rule).toBeNull();
  });

  it('names the first part that is denied', () => {
    const parts = [tool, testCommand('b'), testCommand('a'), testCommand('c')];
    const loaded = load(rule('c', 'resource == Command::"c"'), rule('a', 'resource == Command::"a"'));

    expect(engine.decide(loaded, testCall({ parts }), 'enforce')).toMatchObject({
      rule: 'a',
      part: 'command a',
    });
  });

  it('shows a part as one line without what cannot be seen', () => {
    const parts = [
      testCommand('rm', {
        path: 'rm',
        args: ['a\nb\u001b[2J', '\u202egnp.exe\u200b', '\ud800', ...'x'.repeat(500)],
      }),
    ];

    const { part } = engine.decide(load(rule('r', 'true')), testCall({ parts }), 'enforce');

    expect(part).toMatch(/^command rm a b \[2J gnp\.exe \ufffd( x)+ …$/);
    expect(part?.length).toBeLessThanOrEqual(300);
    expect(part?.length).toBeGreaterThan(290);
  });

  it('cuts no word of a part in two, so that what is left of a secret is not shown as something else', () => {
    const word = (length: number) =>
      engine.decide(
        load(rule('r', 'true')),
        testCall({ parts: [testCommand('run', { path: 'run', args: ['y', 'x'.repeat(length)] })] }),
        'enforce',
      ).part;

    expect(word(286)).toBe(`command run y ${'x'.repeat(286)}`);
    for (const length of [287, 300, 560, 5000]) expect(word(length)).toBe('command run y …');
  });

  it.each([
    ['no parts', []],
    ['more parts than are ever read', Array(65).fill({ kind: 'tool', name: 'x' })],
    ['a part of a kind nobody knows', [{ kind: 'socket' }]],
    ['a part that is null', [null]],
    ['a part without arguments', [{ kind: 'command', program: 'x' }]],
  ])('denies a call with %s', (_what, parts) => {
    const decision = engine.decide(load(), testCall({ parts: parts as unknown as CallPart[] }), 'enforce');

    expect(decision).toMatchObject({ effect: 'deny', rule: null, failure: expect.stringMatching(/./) });
  });
});

describe('annotations', () => {
  const ask = '@effect("ask") @reason("look at it") @approver("security") @four_eyes("yes")\n';

  it('make a rule ask, and say whom', () => {
    expect(engine.decide(load(rule('r', 'true', ask)), testCall(), 'observe')).toEqual({
      ...{
        effect: 'ask',
        rule: 'r',
        reason: 'look at it',
        part: 'tool Bash',
        approver: 'security',
        fourEyes: true,
      },
      ...{ sensitive: false, policyVersion: 3, mode: 'observe', failure: null },
    });
  });

  it('make a rule only mark a call as sensitive', () => {
    const decision = engine.decide(load(rule('r', 'true', '@effect("sensitive")\n')), testCall(), 'enforce');

    expect(decision).toMatchObject({
      effect: 'allow',
      rule: 'r',
      sensitive: true,
      reason: 'rule r wants it looked at',
    });
  });

  it('ask the user where no approver is named', () => {
    const decision = engine.decide(load(rule('r', 'true', '@effect("ask")\n')), testCall(), 'enforce');

    expect(decision).toMatchObject({ effect: 'ask', approver: null, fourEyes: false });
  });

  it.each([
    ['@effect("warn")', /@effect\("warn"\)/],
    ['@effect', /@effect\(""\)/],
    ['@effect("ask") @approver(" ")', /names nobody/],
    ['@effect("ask") @approver("a") @four_eyes("true")', /neither/],
    ['@effect("ask") @four_eyes("yes")', /nobody could approve/],
  ])('that cannot be obeyed keep a set from being loaded: %s', (annotations, message) => {
    expect(() => load(rule('r', 'true', `${annotations}\n`))).toThrow(
      expect.objectContaining({ code: 'KX_POLICY_INVALID', message: expect.stringMatching(message) }),
    );
  });

  it('that cannot be obeyed deny where a set was loaded without checking', () => {
    const policies = [rule('r', 'true', '@effect("warn")\n')];

    const decision = engine.decide(
      engine.load({ version: 1, policies }, { validate: false }),
      testCall(),
      'enforce',
    );

    expect(decision).toMatchObject({
      effect: 'deny',
      failure: expect.stringMatching(/known are deny, ask, sensitive/),
    });
  });
});

describe('several rules that ask', () => {
  const plain = '@effect("ask") @reason("p")\n';
  const approved = '@effect("ask") @reason("a") @approver("security")\n';
  const fourEyes = '@effect("ask") @reason("f") @approver("security") @four_eyes("yes")\n';
  const other = '@effect("ask") @reason("o") @approver("payments")\n';
  const sensitive = '@effect("sensitive")\n';
  const on = (program: string, annotations: string) =>
    rule(program, `resource == Command::"${program}"`, annotations);
  const decide = (loaded: LoadedPolicy, ...programs: string[]) =>
    engine.decide(loaded, testCall({ parts: programs.map((program) => testCommand(program)) }), 'enforce');

  it('ask the one that is hardest to get past, in whatever order rules and parts come', () => {
    for (const order of [
      [0, 1, 2],
      [2, 1, 0],
      [1, 2, 0],
    ]) {
      const rules = [on('p', plain), on('a', approved), on('f', fourEyes)];
      const loaded = load(...order.flatMap((index) => rules[index] ?? []));
      const all = ['p', 'a', 'f'];
      const programs = order.flatMap((index) => all[index] ?? []);

      expect(decide(loaded, ...programs)).toMatchObject({ rule: 'f', approver: 'security', fourEyes: true });
      expect(decide(loaded, ...programs.filter((program) => program !== 'f'))).toMatchObject({
        rule: 'a',
        approver: 'security',
      });
    }
  });

  it('ask the hardest also where all look at the same part', () => {
    const loaded = load(rule('p', 'true', plain), rule('f', 'true', fourEyes), rule('a', 'true', approved));

    expect(decide(loaded, 'x')).toMatchObject({ rule: 'f', fourEyes: true });
  });

  it('deny where two parts need different approvers', () => {
    const loaded = load(on('a', approved), on('o', other));

    expect(decide(loaded, 'a', 'o')).toMatchObject({
      ...{ effect: 'deny', rule: 'o', approver: null, failure: null },
      reason: 'its parts need different approvers (security, payments); make each a call of its own',
    });
    expect(decide(loaded, 'a', 'a')).toMatchObject({ effect: 'ask', approver: 'security' });
  });

  it('deny where two rules about one part need different approvers, and not where another one denies', () => {
    const both = [rule('a', 'true', approved), rule('o', 'true', other)];

    expect(decide(load(...both), 'x')).toMatchObject({
      ...{ effect: 'deny', rule: 'a', approver: null, fourEyes: false, failure: null },
      reason: 'rules a and o need different approvers (security, payments); no one of them can approve it',
    });
    expect(decide(load(rule('f', 'true', fourEyes), rule('o', 'true', other)), 'x').effect).toBe('deny');
    expect(decide(load(...both, rule('d', 'true')), 'x')).toMatchObject({ effect: 'deny', rule: 'd' });
    expect(decide(load(...both, rule('p', 'true', plain)), 'x').effect).toBe('deny');
  });

  it('leave a call sensitive that is sensitive too', () => {
    const loaded = load(on('p', plain), on('s', sensitive));

    expect(decide(loaded, 'p', 's')).toMatchObject({ effect: 'ask', rule: 'p', sensitive: true });
    expect(decide(loaded, 's', 'p')).toMatchObject({ effect: 'ask', rule: 'p', sensitive: true });
    expect(decide(load(rule('p', 'true', plain), rule('s', 'true', sensitive)), 'x')).toMatchObject({
      rule: 'p',
      sensitive: true,
    });
  });
});

describe('precedence', () => {
  const effects = ['deny', 'ask', 'sensitive'] as const;
  const expected = (present: readonly string[]): Partial<Decision> =>
    present.includes('deny')
      ? { effect: 'deny', rule: 'deny' }
      : present.includes('ask')
        ? { effect: 'ask', rule: 'ask' }
        : present.includes('sensitive')
          ? { effect: 'allow', rule: 'sensitive', sensitive: true }
          : { effect: 'allow', rule: null, sensitive: false };

  it('is deny, ask, sensitive, allow, whatever the order of rules and parts', () => {
    const shuffled = fc.shuffledSubarray([...effects], { minLength: 0 });
    fc.assert(
      fc.property(
        shuffled,
        fc.shuffledSubarray([...effects, 'other'], { minLength: 1 }),
        fc.boolean(),
        (ids, programs, free) => {
          // Rules that look at the part and rules that look at the whole call.
          const loaded = unchecked(
            ...ids.map((id) =>
              rule(
                id,
                free ? `context.programs.contains("${id}")` : `resource == Command::"${id}"`,
                `@effect("${id}")\n`,
              ),
            ),
          );
          const call = testCall({ parts: programs.map((program) => testCommand(program)) });

          const decision = engine.decide(loaded, call, 'enforce');

          expect(decision).toMatchObject(expected(ids.filter((id) => programs.includes(id))));
        },
      ),
      { numRuns: 60 },
    );
  });

  it('is what asking every rule about every part would give', () => {
    const heads = [
      'resource',
      'resource is Command',
      'resource == Command::"a"',
      'resource is File',
      'resource is Tool',
      'resource is Host',
    ];
    const conditions = ['true', 'context.programs.contains("b")', 'context.tool == "Bash"', 'context.opaque'];
    const kinds: readonly CallPart[] = [
      ...[tool, testCommand('a'), testCommand('b')],
      ...[testFile('/etc/passwd'), testHost('example.com')],
    ];
    const anyRule = fc.tuple(fc.constantFrom(...heads), fc.constantFrom(...conditions));
    fc.assert(
      fc.property(
        fc.array(anyRule, { maxLength: 5 }),
        fc.array(fc.constantFrom(...kinds), { minLength: 1, maxLength: 5 }),
        (rules, parts) => {
          const policies = rules.map(([head, condition], index) => rule(`r${index}`, condition, '', head));
          // A rule that names the resource once more cannot be told apart by its head.
          const blurred = policies.map(({ id, text }) => ({
            id,
            text: text.replace(/resource[^)]*\)/, 'resource)').replace('{ ', `{ ${looksAt(text)} && `),
          }));

          const [fast, plain] = [policies, blurred].map((set) =>
            engine.decide(unchecked(...set), testCall({ parts }), 'enforce'),
          );

          expect(fast?.failure).toBeNull();
          expect(fast?.effect).toBe(plain?.effect);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('puts a failure before an ask of another part', () => {
    const policies = [
      rule('ask', 'resource == Command::"a"', '@effect("ask")\n'),
      rule('broken', 'resource == Command::"b" && context.nope'),
    ];
    const loaded = engine.load({ version: 1, policies }, { validate: false });
    const parts = [testCommand('a'), testCommand('b')];

    expect(engine.decide(loaded, testCall({ parts }), 'enforce').failure).toMatch(/^policy broken/);
  });
});

describe('decide on whatever a call may hold', () => {
  const hostile = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc.constantFrom(
      '',
      '\0',
      '\ud800',
      '\u202e',
      'раураl',
      '../..\0/x',
      'a\nb',
      '__proto__',
      '*',
      '"};',
      '\ufeff',
    ),
    fc
      .string({ unit: 'binary', minLength: 1, maxLength: 4 })
      .map((text) => text.repeat(65_536 / text.length)),
  );
  const texts = fc.array(hostile, { maxLength: 5 });
  const part: fc.Arbitrary<CallPart> = fc.oneof(
    fc.record({ kind: fc.constant('tool' as const), name: hostile }),
    fc.record({ kind: fc.constant('mcp' as const), server: hostile, tool: hostile }),
    fc.record({
      ...{
        kind: fc.constant('command' as const),
        program: hostile,
        path: hostile,
        args: texts,
        subcommand: hostile,
      },
      ...{ flags: texts, assigns: texts, via: texts, pipedFrom: hostile, dynamic: fc.boolean() },
    }),
    fc.record({
      ...{
        kind: fc.constant('file' as const),
        path: hostile,
        access: fc.constantFrom('read', 'write', 'argument'),
      },
      ...{ inProject: fc.boolean(), program: hostile },
    }),
    fc.record({ kind: fc.constant('host' as const), name: hostile, scheme: hostile, program: hostile }),
  );
  const call: fc.Arbitrary<ToolCall> = fc.record({
    ...{
      schema: fc.constant(2 as const),
      agent: hostile,
      agentVersion: hostile,
      event: hostile,
      tool: hostile,
    },
    ...{
      input: fc.anything(),
      command: fc.option(hostile),
      parts: fc.array(part, { minLength: 1, maxLength: 4 }),
    },
    ...{ cwd: fc.option(hostile), permissionMode: fc.option(hostile), subagent: fc.option(hostile) },
    opaque: fc.subarray(['unreadable', 'malformed', 'unparsed', 'dynamic', 'clipped'] as const),
    repository: fc.option(fc.record({ name: hostile, branch: hostile })),
    ...{
      credentials: texts,
      atMs: fc.integer({ min: 0, max: 4e12 }),
      user: hostile,
      org: hostile,
      session: hostile,
    },
    ...{ groups: texts, role: hostile },
  });

  it('is total and says the same each time; only rules and opaqueness count', () => {
    const loaded = load(
      rule('opaque', 'context.opaque'),
      rule('never', 'resource is Command && resource.line == "never"'),
    );
    fc.assert(
      fc.property(call, (one) => {
        const decision = engine.decide(loaded, one, 'enforce');
        expect(decision.failure).toBeNull();
        expect(['opaque', null]).toContain(decision.rule);
        expect(engine.decide(loaded, one, 'enforce')).toEqual(decision);
        expect(JSON.stringify(decision).length).toBeLessThan(2000);
      }),
      { numRuns: 60 },
    );
  });

  it('is total for any value at all in place of a call', () => {
    const loaded = load(rule('r', 'context.opaque'));
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: true, withBigInt: true }), (value) => {
        const { effect, failure } = engine.decide(loaded, value as ToolCall, 'enforce');
        expect(effect).toBe('deny');
        expect(failure).not.toBeNull();
      }),
    );
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, 8.65e15, -1e17])(
    'denies a call of the instant %s',
    (atMs) => {
      expect(engine.decide(load(), testCall({ atMs }), 'enforce')).toMatchObject({
        effect: 'deny',
        rule: null,
      });
    },
  );
});

describe('large sets', () => {
  it('of two thousand rules find the last one, for a part and for a whole call', () => {
    const policies = Array.from({ length: 2000 }, (_, i) =>
      rule(`r.${i}`, i % 2 === 0 ? `resource == Command::"bad${i}"` : `context.command == "bad${i}"`),
    );
    const loaded = engine.load({ version: 1, policies }, { validate: false });
    const parts = [tool, testCommand('ls'), testCommand('bad1998')];

    expect(engine.decide(loaded, testCall({ parts }), 'enforce').rule).toBe('r.1998');
    expect(engine.decide(loaded, testCall({ parts, command: 'bad1999' }), 'enforce').rule).toBe('r.1999');
  });
});

describe('decideCredential and decideSessionStart', () => {
  const who = { user: 'usr_1', groups: ['payments'], role: 'member', atMs: Date.UTC(2026, 0, 7, 23) };
  const use = {
    ...who,
    provider: 'github',
    providerKind: 'oauth',
    agent: 'claude',
    session: 'ses_1',
    target: 'acme',
    scopes: ['repo'],
  };
  const start = {
    ...who,
    agent: 'claude',
    agentVersion: '2.1.0',
    hostname: 'laptop',
    mode: 'observe' as const,
  };
  const about = (action: string, condition: string, annotations = ''): PolicyText => ({
    id: 'r',
    text: `${annotations}forbid (principal, action == Action::"${action}", resource) when { ${condition} };`,
  });

  it.each([
    'resource == Provider::"github" && resource.kind == "oauth"',
    'context.target == "acme" && context.scopes.contains("repo") && context.agent == "claude" && context.session == "ses_1"',
    'context.hour == 23 && context.weekday == 3 && context.at < datetime("2026-01-08")',
    'principal in Group::"payments" && principal in Role::"member" && principal.role == "member"',
  ])('let a rule speak about the use of a credential: %s', (condition) => {
    const loaded = load(about('credential_use', condition));

    expect(engine.decideCredential(loaded, use, 'enforce')).toMatchObject({
      effect: 'deny',
      rule: 'r',
      part: 'credential github',
    });
    expect(engine.decideSessionStart(loaded, start, 'enforce').effect).toBe('allow');
    expect(engine.decide(loaded, testCall(), 'enforce').effect).toBe('allow');
  });

  it.each([
    'resource == Agent::"claude"',
    'context.agentVersion == "2.1.0" && context.hostname == "laptop" && context.mode == "observe"',
    'context.hour == 23 && principal == User::"usr_1"',
  ])('let a rule speak about the start of a session: %s', (condition) => {
    const loaded = load(about('session_start', condition));

    expect(engine.decideSessionStart(loaded, start, 'observe')).toMatchObject({
      effect: 'deny',
      part: 'session of claude',
      mode: 'observe',
    });
    expect(engine.decideCredential(loaded, use, 'enforce').effect).toBe('allow');
  });

  const asking = '@effect("ask") @reason("ask first") @approver("security")\n';

  it('ask about a credential', () => {
    const decision = engine.decideCredential(load(about('credential_use', 'true', asking)), use, 'enforce');

    expect(decision).toMatchObject({ effect: 'ask', rule: 'r', reason: 'ask first', approver: 'security' });
  });

  it('deny a session where a rule would ask, for nobody can be asked', () => {
    const decision = engine.decideSessionStart(
      load(about('session_start', 'true', asking)),
      start,
      'enforce',
    );

    expect(decision).toMatchObject({
      effect: 'deny',
      rule: 'r',
      reason: 'ask first',
      approver: null,
      fourEyes: false,
    });
  });

  it('are total: whatever goes wrong denies', () => {
    const loaded = load(about('credential_use', 'context.target == "x"'));
    const odd = { ...use, provider: '\ud800', target: '\0', scopes: ['\udfff'], groups: ['\ud800'] };

    expect(engine.decideCredential(loaded, odd, 'enforce')).toMatchObject({ effect: 'allow', failure: null });
    for (const broken of [null, {}, { ...use, atMs: Number.NaN }, { ...use, scopes: null }]) {
      expect(engine.decideCredential(loaded, broken as unknown as typeof use, 'enforce')).toMatchObject({
        effect: 'deny',
        rule: null,
      });
      expect(
        engine.decideSessionStart(loaded, { ...start, ...broken, atMs: Number.NaN }, 'enforce').effect,
      ).toBe('deny');
    }
  });
});
