import { beforeAll, describe, expect, it } from 'vitest';
import { createPolicyEngine, type PolicyEngine, type SourceFile } from './index.ts';
import { testCall } from './test-call.ts';

let engine: PolicyEngine;
beforeAll(async () => {
  engine = await createPolicyEngine();
});

const file = (text: string, name = 'a.cedar'): SourceFile => ({ name, text });
const rule = (
  condition: string,
  { id = 'r', annotations = '', head = 'resource', action = 'action == Action::"tool_call"' } = {},
) =>
  `@id("${id}") ${annotations}\nforbid (principal, ${action}, ${head})${condition === '' ? '' : ` when { ${condition} }`};\n`;
const lint = (text: string) => engine.lint([file(text)]);

describe('parseSources', () => {
  it('splits files in order, comments, strings with signs and byte order marks among them', () => {
    const one = `\ufeff// about a; "\n${rule('context.tool == "a;\\"b;// c"', { id: 'a' })}// between\n${rule('context.cwd == "/ü" // why;\n', { id: 'b' })}`;

    const { policies, findings } = engine.parseSources([
      file(one),
      file(rule('true', { id: 'c' }), 'b.cedar'),
      file('// none'),
    ]);

    expect(findings).toEqual([]);
    expect(policies.map(({ id }) => id)).toEqual(['a', 'b', 'c']);
    expect(policies[0]?.text).toMatch(/^@id\("a"\)[\s\S]*;$/);
    expect(engine.load({ version: 1, policies }).texts.size).toBe(3);
  });

  it('says file, line and column of each mistake, and still splits the rest', () => {
    const text = `${rule('context.opaque', { id: 'a' })}  @id("ü") forbid (principal, action, resource) when { "ü" like };\n${rule('true', { id: 'b' })}`;

    const { policies, findings } = engine.parseSources([file('', 'empty.cedar'), file(text, 'x.cedar')]);

    expect(policies.map(({ id }) => id)).toEqual(['a', 'b']);
    expect(findings).toEqual([
      {
        ...{ error: true, check: 'unparsable', file: 'x.cedar', line: 3, column: 65, rule: '' },
        ...{ message: expect.stringContaining('unexpected token `}`'), hint: expect.stringMatching(/./) },
      },
    ]);
  });

  it.each([
    ['missing-id', 'forbid (principal, action, resource);'],
    ['missing-id', '@id\nforbid (principal, action, resource);'],
    ['bad-id', rule('true', { id: 'a b' })],
    ['bad-id', rule('true', { id: 'kontext.base-permit' })],
    ['duplicate-id', rule('true') + rule('false')],
    ['template', '@id("t") forbid (principal == ?principal, action, resource);'],
    ['unparsable', 'forbidden'],
    ['unparsable', '@id("a") @id("b") forbid (principal, action, resource);'],
    ['unparsable', `${rule('context.tool == "\ud800"')}`],
    ['unparsable', '@id("a") forbid (principal, action, resource) when { "never ends };'],
    ['unparsable', '\0'],
    ['unparsable', ';'],
    ['too-deep', rule(Array(500).fill('context.opaque').join(' || '))],
    ['too-deep', rule(`${'('.repeat(5000)}true${')'.repeat(5000)}`)],
    ['too-deep', rule('['.repeat(100_000))],
    ['too-deep', `@id("a") forbid (principal, action, resource)${' when { true }'.repeat(300)};`],
    ['too-large', `// ${'x'.repeat(1 << 20)}`],
  ])('finds %s', (check, text) => {
    expect(engine.parseSources([file(text)]).findings).toEqual([
      expect.objectContaining({ check, error: true }),
    ]);
    expect(lint(text).map((finding) => finding.check)).toContain(check);
  });

  it('reads no more than 2,000 rules', () => {
    const text = Array.from({ length: 2001 }, (_, i) => rule('true', { id: `r${i}` })).join('');

    const { policies, findings } = engine.parseSources([file(text)]);

    expect(policies.length).toBe(2000);
    expect(findings.map(({ check }) => check)).toEqual(['too-large']);
  });

  it('lets the engine work on after texts that would have overflown its stack', () => {
    const deepest = rule(Array(170).fill('context.tool like "*x*"').join(' || '));
    const { policies, findings } = engine.parseSources([file(deepest)]);
    const tooDeep = { id: 'deep', text: rule(`${'('.repeat(150)}true${')'.repeat(150)}`) };

    expect(findings).toEqual([]);
    expect(() => engine.load({ version: 1, policies: [tooDeep] }, { validate: false })).toThrow(/too deeply/);
    expect(engine.load({ version: 1, policies }).texts.size).toBe(1);
  });
});

describe('lint', () => {
  it('has nothing to say about a rule that is well made', () => {
    const asks = '@effect("ask") @reason("pushes to main") @approver("security") @four_eyes("yes")';
    const hours =
      'context.hour + 1 > 3 && context.at.durationSince(datetime("2026-01-01")) > duration("1d") && -context.weekday < 0 && context.at.offset(duration("-1d2h")).toTime() > duration("8h")';

    expect(lint(rule(hours, { annotations: asks }))).toEqual([]);
    expect(
      lint(
        rule('resource.flags.contains("--force") && context.programs.containsAny(["git", "hg"])', {
          head: 'resource is Command',
        }),
      ),
    ).toEqual([]);
  });

  it.each([
    ['invalid', rule('context.nope == "x"')],
    ['invalid', rule('resource.path == "/x"')],
    ['invalid', rule('datetime(context.agent) > context.at')],
    ['invalid', rule('context.opaque', { action: 'action' })],
    ['unknown-effect', rule('context.opaque', { annotations: '@effect("warn")' })],
    ['empty-approver', rule('context.opaque', { annotations: '@effect("ask") @reason("x") @approver("")' })],
    [
      'bad-four-eyes',
      rule('context.opaque', {
        annotations: '@effect("ask") @reason("x") @approver("a") @four_eyes("true")',
      }),
    ],
    [
      'four-eyes-without-approver',
      rule('context.opaque', { annotations: '@effect("ask") @reason("x") @four_eyes("yes")' }),
    ],
    ['may-fail', rule('User::"usr_2".role == "owner"')],
    ['may-fail', rule('(if context.opaque then principal else User::"usr_2").role == "owner"')],
    ['may-fail', rule('context.weekday + 9223372036854775807 > 3')],
  ])('finds %s, which may not be published', (check, text) => {
    expect(lint(text)).toEqual([expect.objectContaining({ check, error: true, rule: 'r', file: 'a.cedar' })]);
  });

  it.each([
    ['may-fail', rule('context.hour * 9223372036854775807 > 3')],
    ['may-fail', rule('context.at.offset(duration("106751991167d")) > context.at')],
    [
      'no-effect',
      '@id("r") permit (principal, action == Action::"tool_call", resource) when { context.hour > 3 };',
    ],
    ['unknown-annotation', rule('context.opaque', { annotations: '@aprover("security")' })],
    ['ask-without-reason', rule('context.opaque', { annotations: '@effect("ask")' })],
    ['useless-approver', rule('context.opaque', { annotations: '@approver("security")' })],
    [
      'nobody-to-ask',
      rule('context.opaque', {
        action: 'action in [Action::"tool_call", Action::"session_start"]',
        annotations: '@effect("ask") @reason("x")',
      }).replace('context.opaque', 'context.hour > 3'),
    ],
    ['never-applies', rule('resource is Command && resource is File')],
    ['never-applies', rule('context.opaque && false')],
    [
      'never-applies',
      rule('', { action: 'action == Action::"credential_use"', head: 'resource is Command' }),
    ],
    ['never-applies', rule('context.opaque', { head: 'resource in Group::"x"' })],
    ['denies-everything', rule('')],
    ['denies-everything', rule('true', { action: 'action' })],
    ['odd-text', rule('context.tool == "Bаsh"')],
    ['odd-text', rule('context.tool == "a\u202eb"')],
    ['never-matches', rule('context.event == "PreTool"')],
    ['never-matches', rule('["pretooluse"].contains(context.event)')],
    ['never-matches', rule('context.opaqueCauses.contains("dynamik")')],
    ['never-matches', rule('resource.access == "delete"', { head: 'resource is File' })],
    ['never-matches', rule('resource.flags.contains("--force=yes")', { head: 'resource is Command' })],
    ['never-matches', rule('resource.flags.containsAny(["force"])', { head: 'resource is Command' })],
    ['never-matches', rule('resource.via.contains("/usr/bin/sudo")', { head: 'resource is Command' })],
    ['never-matches', rule('context.hour == 24')],
    ['never-matches', rule('[0, 7].contains(context.weekday)')],
    ['never-matches', rule('context.cwd == "~/shop"')],
    ['never-matches', rule('context.opaque', { head: 'resource == Command::"/usr/bin/git"' })],
    ['never-matches', rule('context.opaque', { head: 'resource == Host::"API.example.com"' })],
    ['never-matches', rule('context.opaque', { head: 'resource == Host::"https://example.com"' })],
    ['never-matches', rule('context.opaque', { head: 'resource == Tool::"mcp__github__create_issue"' })],
    ['never-matches', rule('context.opaque', { head: 'resource == McpTool::"create_issue"' })],
    ['never-matches', rule('context.opaque', { head: 'resource in File::"/etc"' })],
    ['never-matches', rule('resource.name == "etc/passwd"', { head: 'resource is File' })],
    ['never-matches', rule('context.command like "rm -rf"')],
  ])('warns of %s: %s', (check, text) => {
    expect(lint(text)).toEqual([
      expect.objectContaining({ check, error: false, rule: 'r', line: 1, column: 1 }),
    ]);
    expect(engine.load({ version: 1, policies: engine.parse(text) }).texts.size).toBe(1);
  });

  it('says what is wrong where it stands, with what to do', () => {
    expect(lint(`\n\n${rule('context.nope == "x"')}`)).toEqual([
      {
        ...{ error: true, check: 'invalid', file: 'a.cedar', line: 4, column: expect.any(Number), rule: 'r' },
        ...{ message: expect.stringContaining('attribute `nope`'), hint: expect.stringMatching(/./) },
      },
    ]);
  });

  it('proves that what it calls failing fails', () => {
    for (const condition of ['User::"usr_2".role == "owner"', 'context.weekday + 9223372036854775807 > 3']) {
      const loaded = engine.load({ version: 1, policies: engine.parse(rule(condition)) });
      expect(engine.decide(loaded, testCall(), 'observe').failure).toMatch(/^policy r: /);
    }
  });

  describe('shadowed', () => {
    const deny = (id: string, condition: string, head?: string) =>
      rule(condition, { id, ...(head ? { head } : {}) });
    const ask = (id: string, condition: string) =>
      rule(condition, { id, annotations: '@effect("ask") @reason("x")' });
    const shadowed = (text: string) =>
      lint(text)
        .filter(({ check }) => check === 'shadowed')
        .map(({ rule: id, message }) => `${id}: ${message}`);

    it.each([
      ['the same condition again', deny('a', 'context.opaque') + deny('b', 'context.opaque'), 'b'],
      [
        'a narrower one later',
        deny('a', 'context.opaque') + deny('b', 'context.hour > 3 && context.opaque'),
        'b',
      ],
      [
        'a test moved into the head',
        deny('a', 'resource is Command && context.opaque') +
          deny('b', 'context.opaque', 'resource is Command'),
        'b',
      ],
      [
        'one of several alternatives',
        deny('a', 'context.opaque || context.hour > 3') + deny('b', 'context.hour > 3'),
        'b',
      ],
      ['an ask where a later rule denies', ask('a', 'context.opaque') + deny('b', 'context.opaque'), 'a'],
      [
        'an ask where somebody else is asked',
        ask('a', 'context.opaque') +
          rule('context.opaque', {
            id: 'b',
            annotations: '@effect("ask") @reason("x") @approver("security")',
          }),
        'a',
      ],
      ['anything beside a rule for everything', deny('a', 'context.opaque') + deny('z', ''), ''],
      ['anything after a rule for everything', deny('z', '') + deny('b', 'context.opaque'), 'b'],
    ])('is %s', (_what, text, id) => {
      expect(
        shadowed(text)
          .map((said) => said.split(':')[0] ?? '')
          .join(),
      ).toBe(id);
    });

    it.each([
      ['an ask before it', ask('a', 'context.opaque') + deny('b', 'context.opaque && context.hour > 3')],
      [
        'a wider rule after it',
        deny('a', 'context.opaque && context.hour > 3') + deny('b', 'context.opaque'),
      ],
      ['another value', deny('a', 'context.hour > 3') + deny('b', 'context.hour > 4')],
      [
        'another resource',
        deny('a', 'context.opaque', 'resource is File') + deny('b', 'context.opaque', 'resource is Command'),
      ],
      ['the opposite', deny('a', 'context.opaque') + deny('b', '!context.opaque')],
    ])('is not a rule with %s', (_what, text) => {
      expect(shadowed(text)).toEqual([]);
    });
  });

  it('reads a thousand rules', () => {
    const text = Array.from({ length: 1000 }, (_, i) =>
      rule(`context.command == "x${i}"`, { id: `r${i}` }),
    ).join('');

    expect(lint(text)).toEqual([]);
  });
});
