import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Decision, LoadedPolicy } from './index.ts';
import { testCall, testCommand, testFile, testHost } from './test-call.ts';
import { openTestEngine, testRule } from './test-rules.ts';
import type { CallPart } from './tool-call.ts';

const { engine, load, unchecked } = await openTestEngine();
/** The condition that says what a head says. */
const looksAt = (text: string): string => {
  const head = /\((.*?)\) when/.exec(text)?.[1]?.split(', ')[2] ?? 'resource';
  return head === 'resource' ? 'resource == resource' : head;
};
const tool: CallPart = { kind: 'tool', name: 'Bash' };

describe('annotations', () => {
  const ask = '@effect("ask") @reason("look at it") @approver("security") @four_eyes("yes")\n';

  it('make a rule ask, and say whom', () => {
    expect(engine.decide(load(testRule('r', 'true', ask)), testCall(), 'observe')).toEqual({
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
    const decision = engine.decide(
      load(testRule('r', 'true', '@effect("sensitive")\n')),
      testCall(),
      'enforce',
    );

    expect(decision).toMatchObject({
      effect: 'allow',
      rule: 'r',
      sensitive: true,
      reason: 'rule r wants it looked at',
    });
  });

  it('ask the user where no approver is named', () => {
    const decision = engine.decide(load(testRule('r', 'true', '@effect("ask")\n')), testCall(), 'enforce');

    expect(decision).toMatchObject({ effect: 'ask', approver: null, fourEyes: false });
  });

  it.each([
    ['@effect("warn")', /@effect\("warn"\)/],
    ['@effect', /@effect\(""\)/],
    ['@effect("ask") @approver(" ")', /names nobody/],
    ['@effect("ask") @approver("a") @four_eyes("true")', /neither/],
    ['@effect("ask") @four_eyes("yes")', /nobody could approve/],
  ])('that cannot be obeyed keep a set from being loaded: %s', (annotations, message) => {
    expect(() => load(testRule('r', 'true', `${annotations}\n`))).toThrow(
      expect.objectContaining({ code: 'KX_POLICY_INVALID', message: expect.stringMatching(message) }),
    );
  });

  it('that cannot be obeyed deny where a set was loaded without checking', () => {
    const policies = [testRule('r', 'true', '@effect("warn")\n')];

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
    testRule(program, `resource == Command::"${program}"`, annotations);
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
    const loaded = load(
      testRule('p', 'true', plain),
      testRule('f', 'true', fourEyes),
      testRule('a', 'true', approved),
    );

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
    const both = [testRule('a', 'true', approved), testRule('o', 'true', other)];

    expect(decide(load(...both), 'x')).toMatchObject({
      ...{ effect: 'deny', rule: 'a', approver: null, fourEyes: false, failure: null },
      reason: 'rules a and o need different approvers (security, payments); no one of them can approve it',
    });
    expect(decide(load(testRule('f', 'true', fourEyes), testRule('o', 'true', other)), 'x').effect).toBe(
      'deny',
    );
    expect(decide(load(...both, testRule('d', 'true')), 'x')).toMatchObject({ effect: 'deny', rule: 'd' });
    expect(decide(load(...both, testRule('p', 'true', plain)), 'x').effect).toBe('deny');
  });

  it('leave a call sensitive that is sensitive too', () => {
    const loaded = load(on('p', plain), on('s', sensitive));

    expect(decide(loaded, 'p', 's')).toMatchObject({ effect: 'ask', rule: 'p', sensitive: true });
    expect(decide(loaded, 's', 'p')).toMatchObject({ effect: 'ask', rule: 'p', sensitive: true });
    expect(decide(load(testRule('p', 'true', plain), testRule('s', 'true', sensitive)), 'x')).toMatchObject({
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
              testRule(
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
          const policies = rules.map(([head, condition], index) =>
            testRule(`r${index}`, condition, '', head),
          );
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
      testRule('ask', 'resource == Command::"a"', '@effect("ask")\n'),
      testRule('broken', 'resource == Command::"b" && context.nope'),
    ];
    const loaded = engine.load({ version: 1, policies }, { validate: false });
    const parts = [testCommand('a'), testCommand('b')];

    expect(engine.decide(loaded, testCall({ parts }), 'enforce').failure).toMatch(/^policy broken/);
  });
});
