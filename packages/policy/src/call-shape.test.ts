import { describe, expect, it } from 'vitest';
import { callShape } from './index.ts';
import { testCall, testCommand, testFile, testHost } from './test-call.ts';
import type { CallPart } from './tool-call.ts';

const tool: CallPart = { kind: 'tool', name: 'Bash' };
const shape = (...parts: CallPart[]) => callShape(testCall({ parts: [tool, ...parts] }));

describe('callShape', () => {
  it('names programs and hosts, each once, sorted, without what is special about a call', () => {
    const parts = [
      testCommand('rm -rf build'),
      testCommand('git push origin'),
      testCommand('git push fork'),
      testFile('/x'),
    ];

    expect(shape(...parts)).toBe('Bash: git push + rm');
    expect(shape(...parts.reverse())).toBe('Bash: git push + rm');
    expect(shape(testCommand('curl x'), testHost('api.example.com'))).toBe('Bash: api.example.com + curl');
  });

  it('names an MCP tool, or the tool alone', () => {
    expect(
      callShape(
        testCall({
          tool: 'mcp__github__create_issue',
          parts: [{ kind: 'mcp', server: 'github', tool: 'create_issue' }],
        }),
      ),
    ).toBe('mcp github/create_issue');
    expect(callShape(testCall({ tool: 'Write' }))).toBe('Write');
    expect(callShape(testCall({ tool: '' }))).toBe('(no tool)');
  });

  it('tells what cannot be read from what can', () => {
    expect(shape(testCommand('', { dynamic: true }))).toBe('Bash: (dynamic)');
    expect(callShape(testCall({ opaque: ['dynamic'] }))).toBe('Bash (opaque)');
  });

  it('does not let one oddly named program stand for several', () => {
    expect(shape(testCommand('a', { program: 'git push + rm' }))).toBe('Bash: "git push + rm"');
    expect(shape(testCommand('git x', { subcommand: 'push + rm' }))).toBe('Bash: git "push + rm"');
  });

  it('is one line of at most 200, and still another for another call', () => {
    const long = (last: string) =>
      shape(...Array.from({ length: 64 }, (_, i) => testCommand(`program-${i}`)), testCommand(last));

    expect(long('z1').length).toBeLessThanOrEqual(200);
    expect(long('z1')).not.toBe(long('z2'));
    expect(shape(testCommand('x', { program: 'a\u202eb' }))).not.toMatch(/[\p{Cc}\p{Cf}\n]/u);
    expect(shape(testCommand('x', { program: '\ud800' }))).not.toBe(
      shape(testCommand('x', { program: '\ud801' })),
    );
  });
});
