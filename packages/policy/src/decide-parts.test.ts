import { describe, expect, it } from 'vitest';
import { testCall, testCommand, testFile, testHost } from './test-call.ts';
import { openTestEngine, testRule } from './test-rules.ts';
import type { CallPart } from './tool-call.ts';

const { engine, load } = await openTestEngine();
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

    expect(engine.decide(load(testRule('r', condition)), call, 'enforce').rule).toBe('r');
    expect(engine.decide(load(testRule('r', `!(${condition})`)), call, 'enforce').rule).toBeNull();
  });

  it('counts Sunday as the seventh day', () => {
    const sunday = testCall({ atMs: Date.UTC(2026, 0, 11) });

    expect(
      engine.decide(load(testRule('r', 'context.weekday == 7 && context.hour == 0')), sunday, 'enforce').rule,
    ).toBe('r');
  });

  it('finds the one bad part among many and says which it was', () => {
    const parts = [
      tool,
      ...Array.from({ length: 30 }, (_, i) => testCommand(`echo ${i}`)),
      testCommand('rm -rf /'),
    ];

    const decision = engine.decide(
      load(testRule('r', 'resource == Command::"rm"')),
      testCall({ parts }),
      'enforce',
    );

    expect(decision).toMatchObject({ effect: 'deny', rule: 'r', part: 'command rm -rf /' });
  });

  it('is found whether or not it is about parts, in one set', () => {
    const loaded = load(
      testRule('whole', 'context.command like "*secret*"'),
      testRule('part', 'resource == Command::"rm"'),
    );
    const parts = [tool, testCommand('ls'), testCommand('rm x')];

    expect(engine.decide(loaded, testCall({ parts, command: 'cat secret' }), 'enforce').rule).toBe('whole');
    expect(engine.decide(loaded, testCall({ parts }), 'enforce').rule).toBe('part');
    expect(engine.decide(loaded, testCall({ parts: parts.slice(0, 2) }), 'enforce').rule).toBeNull();
  });

  it('names the first part that is denied', () => {
    const parts = [tool, testCommand('b'), testCommand('a'), testCommand('c')];
    const loaded = load(testRule('c', 'resource == Command::"c"'), testRule('a', 'resource == Command::"a"'));

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

    const { part } = engine.decide(load(testRule('r', 'true')), testCall({ parts }), 'enforce');

    expect(part).toMatch(/^command rm a b \[2J gnp\.exe \ufffd( x)+ …$/);
    expect(part?.length).toBeLessThanOrEqual(300);
    expect(part?.length).toBeGreaterThan(290);
  });

  it('cuts no word of a part in two, so that what is left of a secret is not shown as something else', () => {
    const word = (length: number) =>
      engine.decide(
        load(testRule('r', 'true')),
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

describe('large sets', () => {
  it('of two thousand rules find the last one, for a part and for a whole call', () => {
    const policies = Array.from({ length: 2000 }, (_, i) =>
      testRule(`r.${i}`, i % 2 === 0 ? `resource == Command::"bad${i}"` : `context.command == "bad${i}"`),
    );
    const loaded = engine.load({ version: 1, policies }, { validate: false });
    const parts = [tool, testCommand('ls'), testCommand('bad1998')];

    expect(engine.decide(loaded, testCall({ parts }), 'enforce').rule).toBe('r.1998');
    expect(engine.decide(loaded, testCall({ parts, command: 'bad1999' }), 'enforce').rule).toBe('r.1999');
  });
});
