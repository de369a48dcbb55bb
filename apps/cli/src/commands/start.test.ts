import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CommandResult } from '@kontext/testkit';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startTestBackend, type TestBackend } from '../rpc/test-backend.ts';
import { type AgentStep, createTestAgent, type TestAgent } from '../session/test-agent.ts';
import { createTestAuditBackend, type TestAuditBackend, testSecret } from '../session/test-audit-backend.ts';
import type { TestContext } from '../test-context.ts';
import { buildTestProgram, createLoggedInContext, type TestProgram } from '../test-program.ts';

let program: TestProgram;
let backend: TestBackend;
let audit: TestAuditBackend;
let context: TestContext;
let agent: TestAgent;

beforeAll(async () => {
  program = await buildTestProgram();
  await build({
    entryPoints: [fileURLToPath(new URL('../hooks/client-main.ts', import.meta.url))],
    outfile: join(dirname(program.path), 'hook.cjs'),
    ...{ bundle: true, platform: 'node', format: 'cjs', logLevel: 'silent' },
  });
});
afterAll(() => program.close());
beforeEach(async () => {
  audit = await createTestAuditBackend();
  backend = await startTestBackend(audit.routes);
  context = await createLoggedInContext(backend.url);
  agent = createTestAgent(context.home);
  writeFileSync(join(context.home, '.env.kontext'), 'STRIPE_KEY={{kontext:stripe}}\nLOG_LEVEL=debug\n');
});
afterEach(async () => {
  context.close();
  await backend.close();
});

const path = (): Readonly<Record<string, string>> => ({
  PATH: `${agent.bin}:${context.config.environment.PATH}`,
});
const start = (args: readonly string[] = [], env = {}): Promise<CommandResult> =>
  program.run(context, ['start', '--trust', ...args], { env: { ...path(), ...env } });

/** Plays a script whose agent stays until the backend has so many events: what the end flushes is another test's. */
async function startUntil(
  count: number,
  steps: readonly AgentStep[],
  args: readonly string[] = [],
): Promise<CommandResult> {
  const marker = join(context.home, 'enough');
  rmSync(marker, { force: true });
  const last = steps.at(-1);
  const isExit = last !== undefined && 'exit' in last;
  const wait: AgentStep = { shell: `while [ ! -e '${marker}' ]; do sleep 0.05; done` };
  agent.play(isExit ? [...steps.slice(0, -1), wait, last] : [...steps, wait]);
  const running = start(args);
  await until(() => audit.events().length >= count);
  writeFileSync(marker, '');
  return running;
}

const bash = (event: string, command: string, id: string, more = {}): AgentStep => ({
  event,
  fields: {
    tool_name: 'Bash',
    tool_input: { command },
    tool_use_id: id,
    permission_mode: 'bypassPermissions',
    ...more,
  },
});
const session: AgentStep = { event: 'SessionStart', fields: { source: 'startup' } };
const kinds = (): string[] => audit.headers().map(({ kind }) => kind);
const spoolRoot = (): string => join(context.home, '.local', 'state', 'kontext', 'spool');
const left = (): string[] =>
  existsSync(spoolRoot()) ? readdirSync(spoolRoot()).filter((name) => name !== 'key') : [];

describe('kontext start', () => {
  it('runs the agent with credentials and hooks, records its calls, and ends the session', async () => {
    const steps = [
      session,
      bash('PreToolUse', 'ls', 't1'),
      bash('PostToolUse', 'ls', 't1', { tool_response: { stdout: 'x' } }),
      bash('PreToolUse', 'false', 't2'),
      bash('PostToolUseFailure', 'false', 't2', { error: 'Exit code 1' }),
      { event: 'Stop' },
      { exit: 7 },
    ];

    const result = await startUntil(7, steps, ['--', '-p', 'hi']);

    expect(result).toMatchObject({ exitCode: 7, stdout: '' });
    expect(agent.hookRuns().map(({ code, stdout, stderr }) => [code, stdout, stderr])).toEqual(
      Array(6).fill([0, '', '']),
    );
    expect(kinds()).toEqual([
      'agent.event',
      'agent.event',
      'tool_call.decided',
      'tool_call.completed',
      'tool_call.decided',
      'tool_call.failed',
      'agent.event',
    ]);
    expect(audit.ended).toEqual([7]);
    expect(left()).toEqual([]);
    expect(result.stderr).toMatch(/1 credential \(1 static\), policy observe, session ses_/);
    expect(result.stderr).toMatch(/2 tool calls, 0 denied, \d+ s/);
    expect(agent.started().args.slice(-2)).toEqual(['-p', 'hi']);
  });

  it('puts secrets into the agent’s environment and nowhere else', async () => {
    const result = await startUntil(3, [session, bash('PreToolUse', `curl -H "key: ${testSecret}" x`, 't1')]);
    const { env } = agent.started();
    const hash = (text = ''): string => createHash('sha256').update(text).digest('hex');
    expect(hash(env.STRIPE_KEY)).toBe(hash(testSecret));
    expect(env.LOG_LEVEL).toBe('debug');
    expect(env.KONTEXT_SESSION_ID).toMatch(/^ses_/);
    const stored = JSON.stringify(audit.events());
    expect(stored).not.toContain(testSecret);
    expect(stored).toContain('[redacted]');
    expect(result.stderr).not.toContain(testSecret);
    for (const file of readdirSync(join(context.home, '.local'), { recursive: true, withFileTypes: true })) {
      if (file.isFile())
        expect(readFileSync(join(file.parentPath, file.name), 'latin1')).not.toContain(testSecret);
    }
  });

  it('denies in enforce what a rule forbids, and lets it run in observe as would-deny', async () => {
    const steps = [session, bash('PreToolUse', 'rm -rf victim .git', 't1')];
    expect((await startUntil(3, steps)).stderr).toContain('1 tool call, 0 denied, 1 would be denied');
    expect(agent.hookRuns()[1]).toMatchObject({ code: 0, stdout: '', stderr: '' });

    audit.mode = 'enforce';
    expect((await startUntil(6, steps)).stderr).toContain('1 tool call, 1 denied');
    expect(agent.hookRuns()[1]).toMatchObject({ code: 2, stdout: '' });
    expect(agent.hookRuns()[1]?.stderr).toContain('starter.destructive-delete');
    const decided = audit.headers().filter(({ kind }) => kind === 'tool_call.decided');
    expect(decided.map(({ decision, mode }) => [decision, mode])).toEqual([
      ['deny', 'observe'],
      ['deny', 'enforce'],
    ]);
  });

  it('raises the mode by --mode and KONTEXT_MODE, never lowers it', async () => {
    const steps = [bash('PreToolUse', 'rm -rf victim .git', 't1')];
    agent.play(steps);
    await start(['--mode', 'enforce']);
    expect(agent.hookRuns()[0]?.code).toBe(2);
    await start([], { KONTEXT_MODE: 'enforce' });
    expect(agent.hookRuns()[0]?.code).toBe(2);
    audit.mode = 'enforce';
    await start(['--mode', 'observe']);
    expect(agent.hookRuns()[0]?.code).toBe(2);
  });

  it('shows an attempt to a watcher while the call still runs', async () => {
    const marker = join(context.home, 'go');
    agent.play([
      bash('PreToolUse', 'slow', 't1'),
      { shell: `while [ ! -e '${marker}' ]; do sleep 0.05; done` },
    ]);
    const running = start();
    await until(() => kinds().includes('tool_call.decided'));
    expect(audit.ended).toEqual([]);
    writeFileSync(marker, '');
    expect((await running).exitCode).toBe(0);
  });

  it('takes a new policy while the agent runs', async () => {
    const marker = join(context.home, 'go');
    agent.play([
      bash('PreToolUse', 'rm -rf victim .git', 't1'),
      { shell: `while [ ! -e '${marker}' ]; do sleep 0.05; done` },
      bash('PreToolUse', 'rm -rf victim .git', 't2'),
      { shell: `while [ ! -e '${marker}2' ]; do sleep 0.05; done` },
    ]);
    const running = start();
    await until(() => kinds().includes('tool_call.decided'));
    audit.mode = 'enforce';
    audit.version = 2;
    await until(() => kinds().includes('policy.changed'));
    writeFileSync(marker, '');
    await until(() => kinds().filter((kind) => kind === 'tool_call.decided').length === 2);
    writeFileSync(`${marker}2`, '');
    const { stderr } = await running;
    expect(agent.hookRuns().map(({ code }) => code)).toEqual([0, 2]);
    expect(audit.headers().at(-1)).toMatchObject({ policyVersion: 2, mode: 'enforce' });
    const changed = audit.events().find(({ header }) => header.includes('policy.changed'));
    expect(JSON.parse(changed?.payload ?? '')).toEqual({ schema: 1, seq: 2, failureMode: 'observe' });
    expect(stderr).toContain('the policy rose to enforce while the session ran');
  });

  it('hears of a new policy over the stream alone, also after the stream was cut', async () => {
    const marker = join(context.home, 'go');
    agent.play([session, { shell: `while [ ! -e '${marker}' ]; do sleep 0.05; done` }]);
    audit.quietHeartbeats = true;
    const running = start();
    const changes = () => audit.headers().filter(({ kind }) => kind === 'policy.changed');
    await until(() => audit.watches.open === 1);
    audit.version = 2;
    audit.policies = audit.policies.slice(1);
    await until(() => changes().length === 1);
    audit.watches.cut();
    await until(() => audit.watches.open === 1);
    audit.version = 3;
    await until(() => changes().length === 2);
    writeFileSync(marker, '');
    expect((await running).exitCode).toBe(0);
    expect(changes().map(({ policyVersion }) => policyVersion)).toEqual([2, 3]);
    expect(audit.watches.open).toBe(0);
  });

  it('does not take the end of a session for tampering with its settings', async () => {
    const marker = join(context.home, 'go');
    agent.play([session, { shell: `while [ ! -e '${marker}' ]; do sleep 0.05; done` }]);
    const running = start();
    // Heartbeats come every second, and one of them is likely to meet the end.
    await until(() => backend.calls.filter((call) => call.endsWith('/HeartbeatSession')).length >= 2);
    writeFileSync(marker, '');
    await running;
    expect(kinds()).toEqual(['agent.event', 'agent.event']);
  });

  it('records that the settings file was changed, once', async () => {
    const changed = `cd "$(dirname "$KONTEXT_SOCKET")" && chmod 600 settings.json && echo >> settings.json`;
    await startUntil(3, [session, { shell: changed }]);
    expect(kinds()).toEqual(['agent.event', 'agent.event', 'tamper.settings_changed']);
  });

  it('names the server stream’s newest event in its first event', async () => {
    await startUntil(1, [session]);
    expect(audit.headers()[0]?.lineage.serverEvent).toBe('02'.repeat(32));
  });

  it('removes socket and settings, and hooks of the dead session fail as the settings say', async () => {
    agent.play([session]);
    await start(['--mode', 'enforce']);
    const run = join(context.home, '.local', 'state', 'kontext', 'run');
    expect(readdirSync(run)).toEqual([]);
  });

  it('uploads what a killed session left, with orphan intents', async () => {
    audit.appendDown = true;
    agent.play([
      bash('PreToolUse', 'ls', 't1'),
      { shell: 'kill -9 $(ps -o ppid= -p $PPID)' },
      { shell: 'sleep 0.2' },
    ]);
    await start();
    expect(left()).toHaveLength(1);
    expect(audit.ended).toEqual([]);

    audit.appendDown = false;
    const marker = join(context.home, 'go');
    agent.play([session, { shell: `while [ ! -e '${marker}' ]; do sleep 0.05; done` }]);
    const running = start();
    await until(() => audit.events().length >= 4);
    writeFileSync(marker, '');
    await running;
    expect(kinds()).toContain('tool_call.decided');
    expect(left()).toEqual([]);
  });

  it('blocks calls in enforce when the hook server is gone, but never a prompt or a stop', async () => {
    audit.mode = 'enforce';
    agent.play([
      session,
      { shell: 'kill -9 $(ps -o ppid= -p $PPID)' },
      bash('PreToolUse', 'ls', 't1'),
      bash('PermissionRequest', 'ls', 't1'),
      { event: 'UserPromptSubmit', fields: { prompt: 'x' } },
      { event: 'Stop' },
    ]);
    await start();
    await until(() => existsSync(join(agent.bin, 'runs.json')) && agent.hookRuns().length === 5);
    expect(agent.hookRuns().map(({ event, code }) => [event, code])).toEqual([
      ['SessionStart', 0],
      ['PreToolUse', 2],
      ['PermissionRequest', 2],
      ['UserPromptSubmit', 0],
      ['Stop', 0],
    ]);
  });

  it('keeps events when the backend is away, says so, and ends in time', async () => {
    audit.appendDown = true;
    agent.play([session, bash('PreToolUse', 'ls', 't1')]);
    const result = await start();
    expect(result.exitCode).toBe(0);
    expect(result.stderr).toContain('some events could not be sent; the next session sends them');
    expect(left()).toHaveLength(1);
    expect(audit.ended).toEqual([0]);
  });

  it('ends the session although nobody reads what it says any more', async () => {
    agent.play([session, { exit: 3 }]);
    const child = spawn(process.execPath, [program.path, 'start', '--trust'], {
      cwd: context.home,
      env: { ...context.config.environment, ...path() },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child.stderr?.destroy();
    const ended = await new Promise((resolve) => child.once('close', (exit) => resolve(exit)));
    expect(ended).toBe(3);
    expect(audit.ended).toEqual([3]);
    expect(left()).toEqual([]);
  });

  it('ends the session when the terminal is closed, and leaves no core dump', async () => {
    const [up, status] = [join(context.home, 'up'), join(context.home, 'status')];
    agent.play([session, { shell: `touch '${up}'; exec sleep 20` }]);
    // Only the leader of a terminal's session is told that it was closed.
    const line = `trap 'kill -HUP $pid' HUP; '${process.execPath}' '${program.path}' start --trust & pid=$!
      wait $pid; wait $pid; echo $? > '${status}'`;
    const terminal = spawn('script', ['-qefc', line, '/dev/null'], {
      cwd: context.home,
      env: { ...context.config.environment, ...path(), SHELL: '/bin/sh' },
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    await until(() => existsSync(up));
    terminal.kill('SIGKILL');
    await until(() => existsSync(status) && readFileSync(status, 'utf8') !== '');
    expect(readFileSync(status, 'utf8')).toBe('129\n');
    expect(audit.ended).toEqual([129]);
  });

  it('prints no text of an error that nobody expected', async () => {
    const bad = join(context.home, 'bad.cjs');
    const when = join(context.home, 'up');
    const check = `const { existsSync } = require('node:fs'); setInterval(() => {
      if (process.argv[2] === 'start' && existsSync('${when}')) Promise.reject(new Error('sk_live_in_a_message'));
    }, 20).unref();`;
    writeFileSync(bad, check);
    agent.play([session, { shell: `touch '${when}'; sleep 1` }]);
    const result = await start([], { NODE_OPTIONS: `--require=${bad}` });
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain('KX_INTERNAL');
    expect(result.stderr).not.toContain('sk_live_in_a_message');
  });

  it('opens no debugger for whoever sends SIGUSR1, its agent included', async () => {
    agent.play([session, { shell: 'kill -USR1 $(ps -o ppid= -p $PPID); sleep 0.3' }, { exit: 3 }]);
    const result = await start();
    expect(result.exitCode).toBe(3);
    expect(result.stderr).not.toContain('Debugger');
  });

  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)('ends the session when %s ends the agent', async (signal, code) => {
    agent.play([session, { shell: `touch '${join(context.home, 'up')}'; sleep 20` }]);
    const child = spawn(process.execPath, [program.path, 'start', '--trust'], {
      cwd: context.home,
      env: { ...context.config.environment, ...path() },
      stdio: 'ignore',
    });
    await until(() => existsSync(join(context.home, 'up')));
    child.kill(signal);
    const ended = await new Promise((resolve) => child.once('close', (exit) => resolve(exit)));
    expect(ended).toBe(code);
    expect(audit.ended).toEqual([code]);
  });
});

describe('kontext start refuses', () => {
  beforeEach(() => agent.play([]));

  it('a missing agent with 127 and one that is not executable with 126, before any request', async () => {
    backend.calls.length = 0;
    const env = { PATH: '/nonexistent' };
    expect(await start([], env)).toMatchObject({ exitCode: 127 });
    mkdirSync(join(context.home, 'blocked'));
    writeFileSync(join(context.home, 'blocked', 'claude'), '');
    chmodSync(join(context.home, 'blocked', 'claude'), 0o644);
    expect(await start([], { PATH: join(context.home, 'blocked') })).toMatchObject({ exitCode: 126 });
    expect(backend.calls).toEqual([]);
  });

  it('no dry run for want of the agent, which it does not run, but one with flags the agent may not have', async () => {
    const shown = await start(['--dry-run'], { PATH: '/nonexistent' });
    expect(shown.stdout).toContain('STRIPE_KEY\tstripe');
    expect(shown.stderr).not.toContain('KX_AGENT');
    expect(await start(['--dry-run', '--', '--bare'])).toMatchObject({ exitCode: 64, stdout: '' });
    expect(audit.ended).toEqual([]);
  });

  it.each([
    [['--agent', 'vim'], 64, 'KX_AGENT_UNKNOWN'],
    [['--', '--bare'], 64, 'KX_AGENT_FLAG_REFUSED'],
    [['--', '--safe-mode'], 64, 'KX_AGENT_FLAG_REFUSED'],
    [['--', '--settings', 'missing.json'], 64, 'KX_AGENT_SETTINGS_INVALID'],
    [['--', '--settings', '{"model":5}'], 64, 'KX_AGENT_SETTINGS_INVALID'],
    [['--offline'], 64, 'KX_OFFLINE_UNSUPPORTED'],
    [['--mode', 'off'], 78, 'KX_CONFIG_INVALID'],
  ])('%j with %s', async (args, exitCode, code) => {
    backend.calls.length = 0;
    const result = await start(args);
    expect(result).toMatchObject({ exitCode, stdout: '' });
    expect(result.stderr).toContain(code);
    expect(backend.calls).toEqual([]);
  });

  it('only settings the agent does not take, which it is asked without its account and without their commands', async () => {
    agent.play([session]);
    const marker = join(context.home, 'their-hook-ran');
    const hooks = { SessionStart: [{ hooks: [{ type: 'command', command: `touch '${marker}'` }] }] };
    const theirs = JSON.stringify({ model: 'opus', hooks });
    const result = await start(['--', '--settings', theirs], { ANTHROPIC_API_KEY: 'sk-ant-theirs' });
    expect(result.exitCode).toBe(0);
    const { settings, env, cwd } = agent.checked();
    expect(settings).toMatchObject({ model: 'opus' });
    expect(JSON.stringify(settings)).not.toContain(marker);
    expect(env).not.toHaveProperty('ANTHROPIC_API_KEY');
    expect(env.CLAUDE_CONFIG_DIR).toBe(cwd);
    expect([cwd, marker].filter((path) => existsSync(path))).toEqual([]);
  });

  it('a template that is not there', async () => {
    const result = await start([], { KONTEXT_ENV_FILE: 'missing' });
    expect(result).toMatchObject({ exitCode: 65, stdout: '' });
    expect(result.stderr).toContain('KX_TEMPLATE_MISSING');
  });

  it('a snapshot that another key signed, and ends the session it had opened', async () => {
    audit.foreignKey = true;
    const result = await start();
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain('KX_SNAPSHOT_INVALID');
    expect(audit.ended).toEqual([1]);
  });

  it('an agent whose hooks let calls through when they fail, in enforce', async () => {
    const ran = join(context.home, 'ran');
    const runs = (): number => readFileSync(ran, 'utf8').length;
    agent.play([session, { shell: `printf x >> '${ran}'` }]);
    agent.isVersion('2.1.294');
    const observed = await start();
    expect(observed.exitCode).toBe(0);
    expect(observed.stderr).toContain('2.1.295 and newer can be enforced');
    const refused = await start(['--mode', 'enforce']);
    expect(refused.exitCode).toBe(78);
    expect(refused.stderr).toContain('KX_AGENT_TOO_OLD');
    expect(runs()).toBe(1);
    expect(audit.ended).toEqual([0, 1]);
    agent.isVersion('2.1.295');
    const enforced = await start(['--mode', 'enforce']);
    expect(enforced.exitCode).toBe(0);
    expect(enforced.stderr).not.toContain('2.1.295');
    expect(runs()).toBe(2);
  });

  it('a policy older than one seen before', async () => {
    audit.version = 5;
    expect((await start()).exitCode).toBe(0);
    audit.version = 4;
    const result = await start();
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain('KX_SNAPSHOT_ROLLBACK');
  });

  it('an untrusted template without a terminal', async () => {
    const result = await program.run(context, ['start'], { env: path() });
    expect(result).toMatchObject({ exitCode: 77 });
    expect(result.stderr).toContain('KX_TEMPLATE_UNTRUSTED');
  });

  it('to run when the backend is away', async () => {
    rmSync(join(context.home, '.env.kontext'));
    writeFileSync(join(context.home, '.env.kontext'), 'A=1\n');
    await backend.close();
    const result = await start();
    backend = await startTestBackend(audit.routes);
    expect(result.exitCode).toBe(69);
  });
});

/** Waits for a condition; a test that waits in vain fails by its own time limit. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 25));
}
