import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createCallReader } from './call-reader.ts';
import { cedarRequests } from './cedar-request.ts';
import { compileMiss } from './compile-miss.ts';
import { loadCedar } from './load-cedar.ts';
import { createPolicyEngine } from './policy-engine.ts';
import { createFactsReader } from './request-facts.ts';
import { runExamples } from './run-examples.ts';
import { starterPolicies } from './starter-policies.ts';
import { testCall, testCommand, testFile, testHost } from './test-call.ts';
import type { CallPart, Decision, ToolCall } from './tool-call.ts';

const cedar = await loadCedar();
const engine = await createPolicyEngine();

/** A rule that forbids where a condition holds. */
const ruleOf = (condition: string, head = 'resource'): string =>
  `forbid (principal, action == Action::"tool_call", ${head}) when { ${condition} };`;

const git = testCall({
  ...{ command: 'git push --force', credentials: ['github'], groups: ['payments', 'dev'] },
  parts: [testCommand('git push --force')],
});

/** Whether a rule is left out for the first part of a call. */
function isLeftOut(text: string, call: ToolCall = git): boolean {
  const answer = cedar.policyToJson(text);
  if (answer.type === 'failure') throw new Error(JSON.stringify(answer.errors));
  const [first] = cedarRequests(call, 'set');
  const facts = first === undefined ? null : createFactsReader()(first.request);
  return facts !== null && compileMiss(answer.json)(facts);
}

describe('compileMiss', () => {
  it.each([
    'resource == Command::"rm" && resource.line like "*"',
    'resource == Command :: "rm"',
    'resource == Command::"g\\u{69}f"',
    '[Command::"rm", Command::"find"].contains(resource)',
    'resource in [Command::"rm", Command::"find"]',
    'resource is File',
    'resource is Command in Command::"rm"',
    'principal in Group::"admins"',
    'resource.line like "git pull*"',
    'resource.line like "*\\*"',
    'resource.flags.containsAny(["-f", "--hard"])',
    'resource.args.containsAll(["push", "origin"])',
    'context.credentials.isEmpty()',
    'context.hour < 12 || context.weekday > 5',
    'if context.opaque then true else context.event == "PermissionRequest"',
    '!(context has tool)',
    'context has nothing',
    'context.tool == "Bash" && context.permissionMode != "default"',
    'context.tool == 5',
    // Not looked at, in Cedar as here.
    'false && context.nothing',
    'resource is File && resource.access == "write"',
  ])('leaves out %s', (condition) => {
    expect(isLeftOut(ruleOf(condition))).toBe(true);
  });

  it.each([
    'resource == Command::"git"',
    'resource == Command // a comment\n ::"git"',
    'resource == Command::"g\\u{69}t"',
    'principal in Group::"payments"',
    'principal in Role::"member"',
    'resource.line like "git*--force"',
    'resource.args.containsAll(["push"])',
    'context.tool == "Bash"',
  ])('asks where it holds: %s', (condition) => {
    expect(isLeftOut(ruleOf(condition))).toBe(false);
  });

  it.each([
    ['an attribute that is not there', 'resource.access == "write"'],
    ['a value of the wrong type', 'context.tool && false'],
    ['the wrong type on the right', '!context.opaque && context.tool'],
    ['the hierarchy of an entity that the rule names', 'Group::"a" in Group::"b"'],
    ['an instant', 'context.at < datetime("2020-01-01")'],
    ['arithmetic, which overflows', 'context.hour + 1 > 30'],
    ['a set compared as a whole', 'context.credentials == ["gitlab"]'],
    ['a set of records', '[{ a: 1 }].contains({ a: 2 })'],
    ['a group that is no entity', 'resource in ["Command"]'],
    ['text in numbers', '"a" < "b"'],
    ['what follows something unknown', 'resource.access == "write" && false'],
  ])('asks where it meets %s', (_what, condition) => {
    expect(isLeftOut(ruleOf(condition))).toBe(false);
  });

  it('looks at the head and at unless', () => {
    expect(isLeftOut(ruleOf('true', 'resource == Command::"rm"'))).toBe(true);
    expect(isLeftOut(ruleOf('true', 'resource is Command'))).toBe(false);
    expect(isLeftOut(`forbid (principal, action, resource) unless { context.tool == "Bash" };`)).toBe(true);
    expect(isLeftOut(`forbid (principal, action == Action::"session_start", resource);`)).toBe(true);
  });

  it('says nothing of a request that Cedar might refuse', () => {
    expect(isLeftOut(ruleOf('false'), { ...git, atMs: Date.UTC(12_000, 0) })).toBe(false);
  });
});

describe('a set that was studied', () => {
  const text = fc.constantFrom(
    '',
    'git',
    'push',
    '--force',
    'main',
    '*',
    'Bash',
    '/etc/passwd',
    'ü😀',
    'a*b',
    '"',
  );
  const textList = fc.array(text, { maxLength: 3 });
  const part: fc.Arbitrary<CallPart> = fc.oneof(
    text.map((name): CallPart => ({ kind: 'tool', name })),
    fc.record({ server: text, tool: text }).map((names): CallPart => ({ kind: 'mcp', ...names })),
    fc
      .record({ program: text, args: textList, flags: textList, via: textList, dynamic: fc.boolean() })
      .map(({ program, ...more }) => testCommand(program, { program, ...more })),
    fc.record({ path: text, inProject: fc.boolean() }).map(({ path, ...more }) => testFile(path, more)),
    text.map((name) => testHost(name)),
  );
  const call = fc
    .record({
      ...{ tool: text, command: text, cwd: text, groups: textList, role: text, credentials: textList },
      parts: fc.array(part, { minLength: 1, maxLength: 4 }),
      opaque: fc.constantFrom([], ['dynamic'] as const),
      atMs: fc.integer({ min: 0, max: 3e12 }),
    })
    .map((facts) => testCall(facts));

  const quoted = (value: string): string => `"${value.replaceAll('"', '\\"')}"`;
  const literal = text.map(quoted);
  const pattern = text.map((value) => quoted(value).replaceAll('a*b', 'a\\*b'));
  const entity = fc
    .tuple(fc.constantFrom('Command', 'File', 'Tool', 'Group', 'McpServer', 'Role'), literal)
    .map((names) => names.join('::'));
  const list = (of: fc.Arbitrary<string>) =>
    fc.array(of, { maxLength: 3 }).map((all) => `[${all.join(', ')}]`);
  const texts = fc.constantFrom(
    ...['context.command', 'context.tool', 'context.cwd', 'resource.line', 'resource.path', 'resource.name'],
    ...['resource.server', 'principal.role', 'context.nothing', 'resource.subcommand'],
  );
  const sets = fc.constantFrom('resource.args', 'resource.flags', 'context.credentials', 'context.programs');
  const subject = fc.constantFrom('resource', 'principal');
  const atom = fc.oneof(
    fc
      .tuple(texts, fc.constantFrom('==', '!='), fc.oneof(literal, texts, entity))
      .map((all) => all.join(' ')),
    fc.tuple(texts, pattern).map(([left, right]) => `${left} like ${right}`),
    fc.tuple(sets, literal).map(([set, member]) => `${set}.contains(${member})`),
    fc
      .tuple(sets, fc.constantFrom('containsAny', 'containsAll'), fc.oneof(sets, list(literal)))
      .map(([set, method, other]) => `${set}.${method}(${other})`),
    fc
      .tuple(list(fc.oneof(literal, entity)), fc.oneof(texts, subject))
      .map(([set, it]) => `${set}.contains(${it})`),
    sets.map((set) => `${set}.isEmpty()`),
    fc.tuple(subject, fc.oneof(entity, list(entity), list(literal))).map((sides) => sides.join(' in ')),
    fc.tuple(subject, entity).map((sides) => sides.join(' == ')),
    fc.constantFrom('resource is Command', 'resource is McpTool in McpServer::"git"', 'resource is File'),
    fc.constantFrom('context has tool', 'resource has path', 'resource has args && resource.args.isEmpty()'),
    fc.constantFrom(
      'context.hour < 12',
      'context.weekday >= 6',
      '5 <= context.hour',
      'context.hour + 1 == 3',
    ),
    fc.constantFrom(
      'resource.dynamic',
      'resource.inProject',
      'context.opaque',
      'true',
      'false',
      'context.tool',
    ),
    fc.constant('context.at < datetime("2020-01-01")'),
  );
  const { condition } = fc.letrec<{ condition: string }>((tie) => ({
    condition: fc.oneof(
      { maxDepth: 4 },
      { arbitrary: atom, weight: 3 },
      {
        arbitrary: fc
          .tuple(tie('condition'), fc.constantFrom('&&', '||'), tie('condition'))
          .map(([left, operator, right]) => `(${left}) ${operator} (${right})`),
        weight: 3,
      },
      { arbitrary: tie('condition').map((it) => `!(${it})`), weight: 1 },
      {
        arbitrary: fc
          .tuple(tie('condition'), tie('condition'), tie('condition'))
          .map(([when, then, otherwise]) => `if ${when} then ${then} else ${otherwise}`),
        weight: 1,
      },
    ),
  }));
  const head = fc.oneof(
    fc.constantFrom('resource', 'resource', 'resource is Command', 'resource is File', 'resource is Tool'),
    entity.map((it) => `resource == ${it}`),
  );
  const clause = fc
    .tuple(fc.constantFrom('when', 'unless'), condition)
    .map(([word, it]) => `${word} { ${it} }`);
  const rule = fc
    .record({
      head,
      clauses: fc.array(clause, { maxLength: 2 }),
      effect: fc.constantFrom('deny', 'ask', 'sensitive'),
    })
    .map(({ head: of, clauses, effect }) => {
      const effects = effect === 'deny' ? '' : `@effect("${effect}") `;
      return `${effects}forbid (principal, action == Action::"tool_call", ${of}) ${clauses.join(' ')};`;
    });

  const sayFailure = ({ failure, ...rest }: Decision) => ({ ...rest, failed: failure !== null });

  it('decides every call as one that was not', () => {
    let leftOut = 0;
    fc.assert(
      fc.property(
        fc.array(rule, { minLength: 1, maxLength: 5 }),
        fc.array(call, { minLength: 1, maxLength: 5 }),
        (rules, calls) => {
          const policies = rules.map((it, index) => ({ id: `r.${index}`, text: `@id("r.${index}") ${it}` }));
          const asked = engine.load({ version: 1, policies }, { validate: false });
          const studied = engine.load({ version: 1, policies }, { validate: false });
          while (engine.study(studied));
          for (const it of calls) {
            const decision = engine.decide(studied, it, 'enforce');
            const expected = engine.decide(asked, it, 'enforce');
            // Of several failures Cedar names any.
            expect(sayFailure(decision)).toEqual(sayFailure(expected));
            leftOut += decision.rule === null && decision.failure === null ? 1 : 0;
          }
        },
      ),
      { numRuns: 150 },
    );
    expect(leftOut).toBeGreaterThan(0);
  });

  it('decides every example of the starter packs as one that was not', async () => {
    const policies = starterPolicies;
    const [asked, studied] = [1, 2].map((version) => engine.load({ version, policies }, { validate: false }));
    if (asked === undefined || studied === undefined) throw new Error('not loaded');
    while (engine.study(studied));
    const reader = await createCallReader();
    const folder = new URL('../policies/', import.meta.url);
    for (const name of readdirSync(folder).filter((file) => file.endsWith('.examples.json'))) {
      const file = { name, text: readFileSync(new URL(name, folder), 'utf8') };
      for (const { call: it, decision } of runExamples(engine, studied, reader, file)) {
        const { policyVersion, ...expected } = engine.decide(asked, it!, 'enforce');
        expect(decision).toEqual({ ...expected, policyVersion: policyVersion + 1 });
      }
    }
  });

  it('goes on where it would need more sets than Cedar is given', () => {
    const programs = Array.from({ length: 120 }, (_, index) => `program-${index}`);
    const policies = programs.map((it) => ({ id: it, text: ruleOf(`resource == Command::"${it}"`) }));
    const studied = engine.load({ version: 1, policies });
    while (engine.study(studied));

    const rules = programs.map((it) => {
      const one = testCall({ parts: [testCommand(it)] });
      return engine.decide(studied, one, 'enforce').rule;
    });

    expect(rules).toEqual(programs);
  });
});
