import { KontextError } from '@kontext/errors';
import { describe, expect, it } from 'vitest';
import type { HookWiring } from './agent.ts';
import { claude } from './claude.ts';

const wiring: HookWiring = {
  nodePath: '/usr/bin/node',
  client: { kind: 'twin', path: '/opt/kontext/hook.cjs' },
  socketPath: '/run/user/1000/kontext/h1/s',
  serverPid: 42,
  maxWaitMs: 10_000,
  mode: 'enforce',
  environment: {},
};
const noFile = (): string => {
  throw new Error('no file is read');
};
const settingsFor = (
  args: readonly string[],
  readFile = noFile as (path: string) => string,
  mode = wiring.mode,
) => JSON.parse(claude.encodeSettings(claude.planLaunch(args, readFile), { ...wiring, mode }));

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return error instanceof KontextError ? error.code : String(error);
  }
  return 'none';
}

describe('claude command line', () => {
  it.each([
    [['--bare']],
    [['--bare=true']],
    [['-p', 'hi', '--safe-mode']],
    [['--safe-mode=1']],
    [['--model', '--', '--bare']],
    [['--', '--safe-mode']],
    [['--managed-settings', '{"disableAllHooks":true}']],
    [['--managed-settings={"allowManagedHooksOnly":true}']],
  ])('refuses to run with hooks switched off: %j', (args) => {
    expect(codeOf(() => claude.planLaunch(args, noFile))).toBe('KX_AGENT_FLAG_REFUSED');
  });

  it.each([
    [['--bg', 'go']],
    [['go', '--background']],
    [['--cloud=fix it']],
    [['--environment', 'ccpool_1']],
    [['-c', '--desktop']],
  ])('refuses to send the agent out of the session: %j', (args) => {
    expect(codeOf(() => claude.planLaunch(args, noFile))).toBe('KX_AGENT_FLAG_REFUSED');
  });

  it('passes everything else on, in order, with one --settings before it', () => {
    const args = ['-p', 'say hi', '--dangerously-skip-permissions', '--', '--settingsx'];
    const plan = claude.planLaunch(args, noFile);
    expect(claude.launchArgs(plan, '/s.json')).toEqual(['--settings', '/s.json', ...args]);
  });

  it('takes the user’s own settings out, however they are spelled', () => {
    const files: Record<string, string> = { 'a.json': '{"model":"x","env":{"A":"1"}}' };
    const args = [
      '--settings',
      'a.json',
      '-p',
      '--settings={"env":{"B":"2"}}',
      'hi',
      '--settings',
      '{"model":"y"}',
    ];
    const plan = claude.planLaunch(args, (path) => files[path] ?? noFile());
    expect(plan).toEqual({ args: ['-p', 'hi'], userSettings: { model: 'y', env: { A: '1', B: '2' } } });
  });

  it.each([
    ['nothing after it', ['--settings']],
    ['an empty value', ['--settings=']],
    ['broken JSON', ['--settings', '{"a":']],
    ['a file that is not there', ['--settings', 'missing.json']],
    ['an inline array in an object', ['--settings', '{"hooks":[]}']],
    ['hooks that are no lists', ['--settings', '{"hooks":{"Stop":{}}}']],
    ['an env that is no object', ['--settings', '{"env":"x"}']],
  ])('refuses settings with %s', (_name, args) => {
    expect(codeOf(() => claude.planLaunch(args, noFile))).toBe('KX_AGENT_SETTINGS_INVALID');
  });

  it('refuses a settings file that holds no object', () => {
    expect(codeOf(() => claude.planLaunch(['--settings', 'a'], () => '[1]'))).toBe(
      'KX_AGENT_SETTINGS_INVALID',
    );
  });
});

describe('claude settings', () => {
  it('hook every event in exec form, with the client’s arguments', () => {
    const { hooks } = settingsFor([]);
    expect(Object.keys(hooks).sort()).toEqual([
      'ConfigChange',
      'Elicitation',
      'PermissionRequest',
      'PostToolUse',
      'PostToolUseFailure',
      'PreToolUse',
      'SessionEnd',
      'SessionStart',
      'Stop',
      'SubagentStart',
      'SubagentStop',
      'UserPromptSubmit',
    ]);
    expect(hooks.PreToolUse).toEqual([
      {
        hooks: [
          {
            type: 'command',
            command: '/usr/bin/env',
            args: [
              '-u',
              'NODE_OPTIONS',
              '-u',
              'NODE_EXTRA_CA_CERTS',
              ...['-u', 'NODE_COMPILE_CACHE', '-u', 'NODE_V8_COVERAGE'],
              ...['-u', 'OPENSSL_CONF', '-u', 'OPENSSL_ENGINES', '-u', 'OPENSSL_MODULES'],
              '/usr/bin/node',
              '/opt/kontext/hook.cjs',
              'claude',
              'PreToolUse',
              '/run/user/1000/kontext/h1/s',
              '2',
              '42',
              '10000',
            ],
            timeout: 20,
            onFailure: 'block',
          },
        ],
      },
    ]);
  });

  it('keep the user’s own values of the variables by which programs load, whatever a project sets', () => {
    const environment = { LD_LIBRARY_PATH: '/opt/lib', HOME: '/h' };
    const { env } = JSON.parse(
      claude.encodeSettings(claude.planLaunch([], noFile), { ...wiring, environment }),
    );
    expect(env).toMatchObject({ LD_PRELOAD: '', LD_AUDIT: '', LD_LIBRARY_PATH: '/opt/lib' });
    expect(env).not.toHaveProperty('HOME');
  });

  it('in enforce keep skills from running shell commands that no hook sees', () => {
    const theirs = ['--settings', '{"disableSkillShellExecution":false}'];
    expect(settingsFor(theirs).disableSkillShellExecution).toBe(true);
    expect(settingsFor([], noFile, 'observe').disableSkillShellExecution).toBeUndefined();
  });

  it('fail closed in enforce only where a call can be blocked', () => {
    const { hooks } = settingsFor([]);
    const closed = Object.keys(hooks).filter((event) => hooks[event][0].hooks[0].onFailure === 'block');
    const exits = Object.keys(hooks).filter((event) => hooks[event][0].hooks[0].args.includes('2'));
    expect(closed.sort()).toEqual(['PermissionRequest', 'PreToolUse']);
    expect(exits.sort()).toEqual(['PermissionRequest', 'PreToolUse']);
  });

  it('fail open in observe, everywhere', () => {
    const text = JSON.stringify(settingsFor([], noFile, 'observe').hooks);
    expect(text).not.toContain('block');
    expect(text).not.toContain('"2"');
  });

  it('time out above the longest wait', () => {
    const text = claude.encodeSettings(claude.planLaunch([], noFile), { ...wiring, maxWaitMs: 600_500 });
    expect(JSON.parse(text).hooks.PreToolUse[0].hooks[0].timeout).toBe(611);
  });

  it('stand above the user’s: hooks stay on and the variables that switch them off are set', () => {
    const user = {
      disableAllHooks: true,
      model: 'x',
      permissions: { allow: ['Read'] },
      env: {
        CLAUDE_CODE_SIMPLE: '1',
        CLAUDE_CODE_SAFE_MODE: '1',
        CLAUDE_CODE_SHELL_PREFIX: 'evil',
        MINE: 'kept',
      },
      hooks: { PreToolUse: [{ matcher: 'Bash', hooks: [{ type: 'command', command: 'theirs' }] }], Mine: [] },
    };
    const merged = settingsFor(['--settings', JSON.stringify(user)]);
    expect(merged).toMatchObject({ disableAllHooks: false, model: 'x', permissions: { allow: ['Read'] } });
    expect(merged.env).toMatchObject({
      CLAUDE_CODE_SIMPLE: '0',
      CLAUDE_CODE_SAFE_MODE: '0',
      CLAUDE_CODE_SHELL_PREFIX: '',
      MINE: 'kept',
    });
    expect(merged.hooks.PreToolUse).toHaveLength(2);
    expect(merged.hooks.PreToolUse[0].hooks[0].command).toBe('theirs');
    expect(merged.hooks.PreToolUse[1].hooks[0].command).toBe('/usr/bin/env');
    expect(merged.hooks.Mine).toEqual([]);
  });

  it('runs the native client itself, by its absolute path and without a shell', () => {
    const native = { ...wiring, client: { kind: 'native', path: '/opt/kontext/kontext-hook' } } as const;
    const settings = JSON.parse(claude.encodeSettings(claude.planLaunch([], noFile), native));
    expect(settings.hooks.PreToolUse[0].hooks[0]).toMatchObject({
      command: '/opt/kontext/kontext-hook',
      args: ['claude', 'PreToolUse', wiring.socketPath, '2', '42', '10000'],
    });
  });

  it('keep a key named __proto__ a key', () => {
    const merged = settingsFor(['--settings', '{"__proto__":{"disableAllHooks":true}}']);
    expect(merged.disableAllHooks).toBe(false);
    expect(({} as Record<string, unknown>).disableAllHooks).toBeUndefined();
  });
});

const base = { session_id: 's1', transcript_path: '/t', cwd: '/work' };
const tool = (event: string, more: object = {}) => ({
  ...base,
  hook_event_name: event,
  permission_mode: 'bypassPermissions',
  tool_name: 'Bash',
  tool_input: { command: 'ls -l' },
  tool_use_id: 'toolu_1',
  ...more,
});

describe('claude events', () => {
  it('decode a proposed call', () => {
    expect(
      claude.decodeEvent('PreToolUse', tool('PreToolUse', { agent_id: 'a1', agent_type: 'Explore' })),
    ).toEqual({
      event: 'PreToolUse',
      step: 'proposed',
      tool: 'Bash',
      toolUse: 'toolu_1',
      input: { command: 'ls -l' },
      mcpServer: null,
      agentSession: 's1',
      subagent: 'Explore',
      subagentId: 'a1',
      cwd: '/work',
      result: null,
      permissionMode: 'bypassPermissions',
      details: { agentId: 'a1', agentType: 'Explore' },
    });
  });

  it('decode a tool that is no shell, with any input', () => {
    const event = claude.decodeEvent(
      'PreToolUse',
      tool('PreToolUse', { tool_name: 'mcp__x__y', tool_input: [1, null] }),
    );
    expect(event).toMatchObject({ tool: 'mcp__x__y', input: [1, null] });
  });

  it.each([
    ['object', { stdout: 'a' }, 'object', 14],
    ['array', [{ type: 'text', text: 'x' }], 'array', 28],
    ['string', 'done', 'string', 6],
    ['null', null, 'null', 4],
    ['missing', undefined, 'undefined', 0],
  ])(
    'take a tool_response that is %s, and keep nothing of it',
    (_name, response, responseType, responseBytes) => {
      const event = claude.decodeEvent(
        'PostToolUse',
        tool('PostToolUse', { tool_response: response, duration_ms: 12 }),
      );
      expect(event.step).toBe('completed');
      expect(event.details).toEqual({ outcome: 'completed', durationMs: 12, responseType, responseBytes });
    },
  );

  it('decode a failed call with its error, to be cut once it is redacted', () => {
    const event = claude.decodeEvent(
      'PostToolUseFailure',
      tool('PostToolUseFailure', { error: 'x'.repeat(5000), is_interrupt: false }),
    );
    expect(event).toMatchObject({
      step: 'failed',
      details: { outcome: 'failed', errorLength: 5000, isInterrupt: false },
    });
    expect(String(event.details.error)).toHaveLength(5000);
  });

  it('keep only the length of a prompt', () => {
    const event = claude.decodeEvent('UserPromptSubmit', {
      ...base,
      hook_event_name: 'UserPromptSubmit',
      prompt: 'geheim é',
    });
    expect(event.details).toEqual({ agentSession: 's1', promptBytes: 9 });
  });

  it('keep no conversation at the stop', () => {
    const event = claude.decodeEvent('Stop', {
      ...base,
      hook_event_name: 'Stop',
      last_assistant_message: 'secret plan',
    });
    expect(JSON.stringify(event)).not.toContain('secret plan');
  });

  it.each([
    ['no object', 'PreToolUse', ['x']],
    ['null', 'PreToolUse', null],
    ['another event', 'PreToolUse', tool('PostToolUse')],
    ['no tool name', 'PreToolUse', tool('PreToolUse', { tool_name: undefined })],
    ['an empty tool name', 'PreToolUse', tool('PreToolUse', { tool_name: '' })],
    ['a tool name that is no text', 'PreToolUse', tool('PreToolUse', { tool_name: 5 })],
    [
      'a shell command that is no text',
      'PreToolUse',
      tool('PreToolUse', { tool_input: { command: ['rm'] } }),
    ],
    ['a shell input that is no object', 'PermissionRequest', tool('PermissionRequest', { tool_input: 'rm' })],
    ['no event name', 'Stop', base],
  ])('refuse %s', (_name, event, value) => {
    expect(codeOf(() => claude.decodeEvent(event, value))).toBe('KX_HOOK_INPUT');
  });

  it.each(['Bash', 'PowerShell'])('refuse a %s call without a command', (name) => {
    const value = tool('PreToolUse', { tool_name: name, tool_input: {} });
    expect(codeOf(() => claude.decodeEvent('PreToolUse', value))).toBe('KX_HOOK_INPUT');
  });

  it('decode a question of an MCP server as a call of the server, with what is there and nothing else', () => {
    const value = {
      ...base,
      hook_event_name: 'Elicitation',
      mcp_server_name: 'desk',
      message: 'hi',
      mode: 'form',
    };
    const event = claude.decodeEvent('Elicitation', value);
    expect(event).toMatchObject({ step: 'elicitation', tool: 'Elicitation', mcpServer: 'desk' });
    expect(Object.keys(event.input as object)).toEqual(['message', 'mode']);
  });

  it('name the MCP server as the user configured it, also in the spelling of older versions', () => {
    const serverOf = (mcp_server: unknown) =>
      claude.decodeEvent('PreToolUse', tool('PreToolUse', { mcp_server })).mcpServer;
    expect([{ name: 'my desk', source: 'user' }, 'desk', { name: 5 }, undefined].map(serverOf)).toEqual([
      ...['my desk', 'desk', null, null],
    ]);
  });

  it('refuse a question that names no server', () => {
    const value = { ...base, hook_event_name: 'Elicitation', message: 'hi' };
    expect(codeOf(() => claude.decodeEvent('Elicitation', value))).toBe('KX_HOOK_INPUT');
  });

  it('refuse a call without input', () => {
    const { tool_input: _, ...value } = tool('PreToolUse');
    expect(codeOf(() => claude.decodeEvent('PreToolUse', value))).toBe('KX_HOOK_INPUT');
  });

  it('count what they do not know as other, inherited names too', () => {
    expect(
      ['MessageDisplay', 'toString', '__proto__', 'PreToolUse'].map((name) => claude.stepOf(name)),
    ).toEqual(['other', 'other', 'other', 'proposed']);
  });
});

describe('claude in a terminal', () => {
  const both = { stdin: true, stdout: true };
  const isInteractive = (args: readonly string[], terminal = both) =>
    claude.isInteractive(claude.planLaunch(args, noFile), terminal);

  it.each([
    [[]],
    [['fix it']],
    [['--model', 'x', '-c']],
    [['--permission-mode', 'acceptEdits']],
    [['--permission-mode=auto']],
    [['--permission-mode=plan']],
    [['--', '-p']],
  ])('can ask its user when started with %j', (args) => {
    expect(isInteractive(args)).toBe(true);
  });

  it.each([
    [['-p', 'go']],
    [['--print']],
    [['-cp', 'go']],
    [['--output-format', 'stream-json']],
    [['--input-format=stream-json']],
    [['--dangerously-skip-permissions']],
    [['--permission-mode', 'bypassPermissions']],
    [['--permission-mode=dontAsk']],
  ])('asks nobody when started with %j', (args) => {
    expect(isInteractive(args)).toBe(false);
  });

  it('asks nobody where a pipe stands for the terminal', () => {
    expect(isInteractive([], { stdin: false, stdout: true })).toBe(false);
    expect(isInteractive([], { stdin: true, stdout: false })).toBe(false);
  });

  it('asks about no call in a mode that asks nobody, or that nobody knows', () => {
    const modes = ['default', 'acceptEdits', 'plan', 'bypassPermissions', 'dontAsk', 'auto', null];
    expect(modes.filter((mode) => claude.asksIn(mode))).toEqual(['default', 'acceptEdits', 'plan', 'auto']);
  });
});

describe('claude answers', () => {
  const encoded = (event: string, answer: Parameters<typeof claude.encodeAnswer>[1]) => {
    const { exitCode, stdout, stderr } = claude.encodeAnswer(event, answer);
    return [exitCode, stdout.toString(), stderr.toString()];
  };

  it('say nothing where there is no objection', () => {
    expect(encoded('PreToolUse', { kind: 'silent' })).toEqual([0, '', '']);
  });

  it.each(['PreToolUse', 'PermissionRequest'])('deny a %s by exit 2 with an empty stdout', (event) => {
    expect(encoded(event, { kind: 'deny', reason: 'no' })).toEqual([2, '', 'no\n']);
  });

  it('decline an elicitation by JSON with exit 0, and let it be where nothing objects', () => {
    const [exitCode, stdout, stderr] = encoded('Elicitation', { kind: 'deny', reason: 'no' });
    expect([exitCode, stderr]).toEqual([0, '']);
    expect(JSON.parse(String(stdout))).toEqual({
      hookSpecificOutput: { hookEventName: 'Elicitation', action: 'decline' },
    });
    expect(encoded('Elicitation', { kind: 'silent' })).toEqual([0, '', '']);
  });

  it('allow in so many words only what a person approved', () => {
    const approved = { kind: 'allow', approvalId: 'apr_1' } as const;
    expect(JSON.parse(String(encoded('PreToolUse', approved)[1])).hookSpecificOutput).toEqual({
      hookEventName: 'PreToolUse',
      permissionDecision: 'allow',
      permissionDecisionReason: 'kontext: approved by apr_1',
    });
    expect(JSON.parse(String(encoded('PermissionRequest', approved)[1])).hookSpecificOutput).toEqual({
      hookEventName: 'PermissionRequest',
      decision: { behavior: 'allow' },
    });
    expect(encoded('Elicitation', approved)).toEqual([0, '', '']);
  });

  it.each(['Stop', 'UserPromptSubmit', 'PostToolUse', 'SessionStart', 'Unknown'])(
    'never exit 2 on %s',
    (event) => {
      expect(encoded(event, { kind: 'deny', reason: 'no' })).toEqual([0, '', '']);
    },
  );

  it('ask by JSON before the call, and stay silent where the agent is asking already', () => {
    const [exitCode, stdout, stderr] = encoded('PreToolUse', { kind: 'ask', reason: 'why' });
    expect([exitCode, stderr]).toEqual([0, '']);
    expect(JSON.parse(String(stdout))).toEqual({
      hookSpecificOutput: {
        hookEventName: 'PreToolUse',
        permissionDecision: 'ask',
        permissionDecisionReason: 'why',
      },
    });
    expect(encoded('PermissionRequest', { kind: 'ask', reason: 'why' })).toEqual([0, '', '']);
  });
});
