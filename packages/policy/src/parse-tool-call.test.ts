import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseToolCall } from './index.ts';
import { testCall, testCommand, testFile, testHost } from './test-call.ts';
import type { ToolCall } from './tool-call.ts';

const whole = testCall({
  parts: [
    { kind: 'tool', name: 'Bash' },
    { kind: 'mcp', server: 'github', tool: 'create_issue' },
    testCommand('git push --force', { assigns: ['A'], via: ['sudo'] }),
    testFile('/etc/passwd'),
    testHost('example.com'),
  ],
  opaque: ['dynamic', 'clipped'],
  repository: { name: 'github.com/acme/shop', branch: '' },
  credentials: ['github'],
  subagent: 'Explore',
});
const recorded = (more: Record<string, unknown> = {}) => ({ ...JSON.parse(JSON.stringify(whole)), ...more });

describe('parseToolCall', () => {
  it('reads what was recorded as it was', () => {
    expect(parseToolCall(recorded())).toEqual({ call: whole });
    const nothing = {
      command: null,
      cwd: null,
      permissionMode: null,
      subagent: null,
      repository: null,
      input: null,
    };
    expect(parseToolCall(recorded(nothing))).toEqual({ call: { ...whole, ...nothing } });
  });

  it('takes over nothing that it does not know', () => {
    expect(parseToolCall(recorded({ more: 1, repository: { name: 'a', branch: 'b', more: 1 } }))).toEqual({
      call: { ...whole, repository: { name: 'a', branch: 'b' } },
    });
  });

  it.each([
    ['the call was not recorded', undefined],
    ['the call was not recorded', null],
    ['the call was too long to be recorded whole', { clipped: '{"schema":2', bytes: 99_000 }],
    ['recorded before calls had parts', { schema: 1, tool: 'Bash' }],
    ['recorded by a newer version', recorded({ schema: 3 })],
    ['the record is malformed', 'text'],
    ['the record is malformed', []],
    ['the record is malformed', {}],
    ['the record is malformed', recorded({ schema: '2' })],
  ])('says "%s"', (notReproducible, value) => {
    expect(parseToolCall(value)).toEqual({ notReproducible });
  });

  it('refuses a record of which any member is missing or of another type', () => {
    for (const name of Object.keys(whole)) {
      const { [name as keyof ToolCall]: _, ...rest } = recorded() as ToolCall;
      expect(parseToolCall(rest), name).toHaveProperty('notReproducible');
      for (const odd of [true, { a: 1 }, [1], 1.5])
        if (name !== 'input')
          expect(parseToolCall(recorded({ [name]: odd })), name).toHaveProperty('notReproducible');
    }
  });

  it('refuses parts of which any member is missing or of another type', () => {
    for (const part of whole.parts) {
      for (const name of Object.keys(part)) {
        const { [name as keyof typeof part]: _, ...rest } = part;
        for (const broken of [rest, { ...part, [name]: 1 }, { ...part, [name]: null }])
          expect(parseToolCall(recorded({ parts: [broken] })), name).toHaveProperty('notReproducible');
      }
    }
    for (const parts of [[], [null], [[]], Array(65).fill(whole.parts[0]), { length: 1, 0: whole.parts[0] }])
      expect(parseToolCall(recorded({ parts }))).toHaveProperty('notReproducible');
  });

  it.each([-1, 253_402_300_800_000, 0.5, '0'])('refuses the instant %s', (atMs) => {
    expect(parseToolCall(recorded({ atMs }))).toHaveProperty('notReproducible');
  });

  it('is total', () => {
    const value = fc.oneof(
      fc.anything({ withNullPrototype: true, withBigInt: true, withSparseArray: true }),
      fc.anything().map((odd) => recorded({ parts: odd })),
      fc
        .tuple(fc.constantFrom(...Object.keys(whole)), fc.anything())
        .map(([name, odd]) => recorded({ [name]: odd })),
    );
    fc.assert(
      fc.property(value, (odd) => {
        const parsed = parseToolCall(odd);
        expect('call' in parsed || parsed.notReproducible.length > 0).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});
