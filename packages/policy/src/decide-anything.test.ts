import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { testCall } from './test-call.ts';
import { openTestEngine, testRule } from './test-rules.ts';
import type { CallPart, ToolCall } from './tool-call.ts';

const { engine, load } = await openTestEngine();

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
      testRule('opaque', 'context.opaque'),
      testRule('never', 'resource is Command && resource.line == "never"'),
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
    const loaded = load(testRule('r', 'context.opaque'));
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
