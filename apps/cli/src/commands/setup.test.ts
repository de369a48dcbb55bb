import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CommandResult } from '@kontext/testkit';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runProcess } from '../hooks/test-hook-client.ts';
import { startTestBackend, type TestBackend } from '../rpc/test-backend.ts';
import { createTestAuditBackend, type TestAuditBackend } from '../session/test-audit-backend.ts';
import { readDaemonFacts } from '../setup/daemon-facts.ts';
import { stopDaemon } from '../setup/stop-daemon.ts';
import { createTestContext, type TestContext } from '../test-context.ts';
import { buildTestProgram, createLoggedInContext, type TestProgram } from '../test-program.ts';

interface Entry {
  readonly command: string;
  readonly args: readonly string[];
  readonly timeout: number;
  readonly onFailure?: string;
}
type Hooks = Readonly<Record<string, readonly { readonly hooks: readonly Entry[] }[]>>;

let program: TestProgram;
let audit: TestAuditBackend;
let backend: TestBackend;
let context: TestContext;
let settingsPath: string;
const theirs =
  '{\n    "model": "opus",\n    "hooks": {"Stop": [{"hooks": [{"type": "command", "command": "say done"}]}]}\n}\n';

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
  settingsPath = join(context.home, '.claude', 'settings.json');
  mkdirSync(dirname(settingsPath));
  writeFileSync(settingsPath, theirs);
});
afterEach(async () => {
  await stopDaemon(context.config.runtimeDir);
  context.close();
  await backend.close();
});

const kontext = (
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<CommandResult> => program.run(context, args, { env });
const settings = (): string => readFileSync(settingsPath, 'utf8');
const hooks = (): Hooks => (JSON.parse(settings()) as { hooks: Hooks }).hooks;
const entryOf = (event: string): Entry => hooks()[event]!.at(-1)!.hooks[0]!;
const input = (event: string, command = 'ls', session = 'conversation-1') =>
  JSON.stringify({
    ...{ hook_event_name: event, session_id: session, cwd: context.home, source: 'startup' },
    ...{
      tool_name: 'Bash',
      tool_input: { command },
      tool_use_id: `t-${command}`,
      permission_mode: 'default',
    },
  });
/** Runs a hook as the agent does: by the settings, with an environment that a project may have chosen. */
const runHook = (event: string, command?: string, session?: string, env = {}) => {
  const { command: file, args } = entryOf(event);
  return runProcess(file, args, input(event, command, session), { PATH: process.env.PATH ?? '', ...env });
};

describe('kontext setup', () => {
  it('adds its hooks behind those of others, and uninstall gives the same bytes back', async () => {
    expect((await kontext(['setup'])).exitCode).toBe(0);

    expect(settings()).toContain('{"hooks": [{"type": "command", "command": "say done"}]}');
    expect(hooks().Stop).toHaveLength(2);
    expect(Object.keys(hooks()).sort()).toEqual(
      [
        ...[
          'ConfigChange',
          'Elicitation',
          'PermissionRequest',
          'PostToolUse',
          'PostToolUseFailure',
          'PreToolUse',
        ],
        ...['SessionEnd', 'SessionStart', 'Stop', 'SubagentStart', 'SubagentStop', 'UserPromptSubmit'],
      ].sort(),
    );
    const [backup] = readdirSync(dirname(settingsPath)).filter((name) => name.includes('backup'));
    expect(readFileSync(join(dirname(settingsPath), backup!), 'utf8')).toBe(theirs);

    expect((await kontext(['uninstall'])).stdout).toContain('the hooks are gone');
    expect(settings()).toBe(theirs);
    expect((await kontext(['uninstall'])).stdout).toContain('holds no hooks of ours');
  });

  it('changes nothing the second time, also when several run at once', async () => {
    const [first] = await Promise.all([kontext(['setup']), kontext(['setup']), kontext(['setup'])]);
    expect(first.exitCode).toBe(0);
    const once = settings();
    const { mtimeMs } = statSync(settingsPath);

    const again = await kontext(['setup']);

    expect(again.stdout).toContain('holds the hooks already');
    expect(settings()).toBe(once);
    expect(statSync(settingsPath).mtimeMs).toBe(mtimeMs);
    expect(readdirSync(dirname(settingsPath)).filter((name) => name.includes('backup'))).toHaveLength(1);
  });

  it('goes to the folder CLAUDE_CONFIG_DIR names', async () => {
    const CLAUDE_CONFIG_DIR = join(context.home, 'elsewhere');

    await kontext(['setup'], { CLAUDE_CONFIG_DIR });

    expect(existsSync(join(CLAUDE_CONFIG_DIR, 'settings.json'))).toBe(true);
    expect(settings()).toBe(theirs);
  });

  it('fails closed only with --mode enforce, and only where a call can be blocked', async () => {
    await kontext(['setup']);
    expect(settings()).not.toContain('onFailure');
    expect(entryOf('PreToolUse').args.slice(-3)).toEqual(['0', '0', expect.any(String)]);

    await kontext(['setup', '--mode', 'enforce']);
    const failures = Object.keys(hooks()).filter((event) => entryOf(event).onFailure === 'block');
    expect(failures.sort()).toEqual(['PermissionRequest', 'PreToolUse']);
    expect(entryOf('PreToolUse').args.at(-3)).toBe('2');
    expect(entryOf('Stop').args.at(-3)).toBe('0');
  });

  it('leaves settings alone that it cannot read', async () => {
    writeFileSync(settingsPath, '{ "model": "opus", // mine\n}');

    const run = await kontext(['setup']);

    expect(run).toMatchObject({ exitCode: 64, stderr: expect.stringContaining('KX_AGENT_SETTINGS_INVALID') });
    expect(settings()).toBe('{ "model": "opus", // mine\n}');
    expect(readdirSync(dirname(settingsPath))).toEqual(['settings.json']);
  });

  it('says so when the file cannot be written', async () => {
    rmSync(dirname(settingsPath), { recursive: true });
    writeFileSync(dirname(settingsPath), 'in the way');

    expect(await kontext(['setup'])).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('KX_SETUP_FAILED'),
    });
  });

  it('is refused inside a session, as uninstall is', async () => {
    for (const command of ['setup', 'uninstall']) {
      expect(await kontext([command], { KONTEXT_SESSION_ID: 'ses_1' })).toMatchObject({ exitCode: 77 });
    }
    expect(settings()).toBe(theirs);
  });

  it('does not know other agents', async () => {
    expect(await kontext(['setup', '--agent', 'nemo'])).toMatchObject({
      exitCode: 64,
      stderr: expect.stringContaining('KX_AGENT_UNKNOWN'),
    });
  });
});

describe('an agent after kontext setup', () => {
  const calls = () => audit.headers().filter(({ kind }) => kind === 'tool_call.decided');

  it('has each conversation decided and recorded in a session of its own', async () => {
    await kontext(['setup', '--mode', 'enforce']);
    expect(await runHook('SessionStart')).toEqual({ code: 0, stdout: '', stderr: '' });

    await runHook('PreToolUse', 'one');
    await runHook('PreToolUse', 'two', 'conversation-2');
    await runHook('SessionEnd');
    await runHook('SessionEnd', '', 'conversation-2');

    await expect.poll(() => audit.ended, { timeout: 15_000 }).toEqual([0, 0]);
    const decided = calls();
    expect(decided.map(({ toolUse }) => toolUse).sort()).toEqual(['t-one', 't-two']);
    expect(new Set(decided.map(({ session }) => session)).size).toBe(2);
    expect(audit.headers().filter(({ kind }) => kind.startsWith('tamper.'))).toEqual([]);
  });

  it('is not led elsewhere by variables of a project', async () => {
    await kontext(['setup', '--mode', 'enforce']);
    const hostile = {
      ...{ KONTEXT_API_URL: 'http://127.0.0.1:9', KONTEXT_MODE: 'observe', HOME: '/nonexistent' },
      ...{ XDG_RUNTIME_DIR: '/nonexistent', NODE_OPTIONS: '--require /nonexistent.js' },
    };

    expect(await runHook('SessionStart', '', 'conversation-1', hostile)).toMatchObject({
      code: 0,
      stderr: '',
    });
    await runHook('PreToolUse', 'one', 'conversation-1', hostile);

    await expect.poll(() => calls().map(({ toolUse }) => toolUse), { timeout: 15_000 }).toEqual(['t-one']);
  });

  it('goes on after the daemon was killed: calls are denied until the next prompt brings another', async () => {
    await kontext(['setup', '--mode', 'enforce']);
    await runHook('SessionStart');
    // Killed while it refreshes the login, it would leave a lock that holds others up.
    await expect.poll(() => audit.opened.length, { timeout: 15_000 }).toBe(1);
    const before = await readDaemonFacts(context.config.runtimeDir);
    process.kill(before!.pid, 'SIGKILL');

    const denied = await runHook('PreToolUse', 'one');
    await runHook('UserPromptSubmit');
    await runHook('PreToolUse', 'two');

    expect(denied).toMatchObject({ code: 2, stderr: expect.stringMatching(/ECONNREFUSED|ECONNRESET/) });
    await expect.poll(() => calls().map(({ toolUse }) => toolUse), { timeout: 15_000 }).toEqual(['t-two']);
  });
});

describe('kontext setup --managed', () => {
  const print = async (...args: string[]) => {
    const run = await kontext(['setup', '--managed', ...args]);
    return { ...run, printed: JSON.parse(run.stdout || '{}') as Record<string, unknown> & { hooks: Hooks } };
  };

  it('prints settings that allow no other hooks, for every user of a machine', async () => {
    const { printed, stderr } = await print('--platform', 'linux', '--mode', 'enforce');

    expect(printed).toMatchObject({
      allowManagedHooksOnly: true,
      disableAllHooks: false,
      disableSkillShellExecution: true,
      env: { CLAUDE_CODE_SIMPLE: '0', CLAUDE_CODE_SHELL_PREFIX: '', LD_PRELOAD: '' },
    });
    const entry = printed.hooks.PreToolUse![0]!.hooks[0]!;
    expect(entry).toMatchObject({ onFailure: 'block', timeout: expect.any(Number) });
    expect(entry.args.slice(-5, -1)).toEqual(['PreToolUse', '/run/user/%u/kontext/d/s', '2', '0']);
    const start = printed.hooks.SessionStart![0]!.hooks[0]!;
    expect(start.args.slice(0, 3)).toEqual(['-i', `KONTEXT_API_URL=${backend.url}`, 'KONTEXT_MODE=enforce']);
    expect(JSON.stringify(printed)).not.toContain(context.home);
    expect(stderr).toContain('/etc/claude-code/managed-settings.json');
    expect(settings()).toBe(theirs);
  });

  it('has another place on macOS, and none on platforms it does not know', async () => {
    const { printed } = await print('--platform', 'darwin');
    expect(printed.hooks.Stop![0]!.hooks[0]!.args.at(-4)).toBe('/var/tmp/kontext-%u/d/s');
    expect(printed).not.toHaveProperty('disableSkillShellExecution');
    expect(await print('--platform', 'plan9')).toMatchObject({ exitCode: 64 });
  });

  it('denies outside any session, with the next step, where it says enforce', async () => {
    const { printed } = await print('--platform', 'linux', '--mode', 'enforce');
    const { command, args } = printed.hooks.PreToolUse![0]!.hooks[0]!;
    const nowhere = args.map((arg) => arg.replace('/run/user/%u', join(context.home, 'nobody-%u')));

    const run = await runProcess(command, nowhere, input('PreToolUse'));

    expect(run).toMatchObject({ code: 2, stderr: expect.stringContaining('kontext doctor --hook') });
  });
});

describe('kontext doctor', () => {
  const doctor = async (args: readonly string[] = [], env = {}) => {
    const run = await kontext(['doctor', '--json', ...args], env);
    const found = JSON.parse(run.stdout) as {
      healthy: boolean;
      hook: object | null;
      checks: { name: string; state: string; detail: string; next: string | null }[];
    };
    return {
      ...found,
      exitCode: run.exitCode,
      check: (name: string) => found.checks.find((c) => c.name === name),
    };
  };
  /** A program called claude that says its version. */
  const withClaude = (version: string) => {
    const bin = join(context.home, 'bin');
    mkdirSync(bin, { recursive: true });
    writeFileSync(join(bin, 'claude'), `#!/bin/sh\necho '${version} (Claude Code)'\n`);
    chmodSync(join(bin, 'claude'), 0o755);
    return { PATH: `${bin}:${process.env.PATH}` };
  };

  it('is healthy where everything is there, and says what it saw', async () => {
    await kontext(['setup']);

    const found = await doctor([], withClaude('2.1.330'));

    expect(found).toMatchObject({ exitCode: 0, healthy: true });
    expect(found.checks.map(({ name }) => name)).toEqual([
      ...['node', 'command', 'configuration', 'backend', 'login', 'keyring', 'agent', 'spool', 'leftovers'],
      ...['hooks', 'hook run', 'socket path', 'daemon'],
    ]);
    expect(Object.keys(found.checks[0]!)).toEqual(['name', 'detail', 'state', 'next']);
    expect(found.hook).toEqual({
      ...{ client: 'twin', runs: 20, p50Ms: expect.any(Number), p95Ms: expect.any(Number) },
      ...{ nodeP50Ms: expect.any(Number), nodeP95Ms: expect.any(Number) },
    });
  });

  it('tells of a login that is missing, an agent that is too old and a keyring that is not there', async () => {
    const stranger = createTestContext({ apiUrl: backend.url });
    try {
      const env = {
        ...withClaude('2.1.100'),
        ...{ KONTEXT_LOGIN_STORE: 'keyring', DBUS_SESSION_BUS_ADDRESS: 'unix:path=/nonexistent/bus' },
      };
      const run = await program.run(stranger, ['doctor'], { env });
      expect(run.exitCode).toBe(1);
      expect(run.stdout).toMatch(/^FAIL {2}keyring +the OS keyring cannot be used/m);
      expect(run.stdout).toMatch(
        /^FAIL {2}agent +claude 2\.1\.100.*\n +next: install claude 2\.1\.295 or newer$/m,
      );
      const loggedOut = await program.run(stranger, ['doctor'], { env: withClaude('2.1.330') });
      expect(loggedOut.stdout).toMatch(/^FAIL {2}login .*KX_NOT_LOGGED_IN.*\n +next: run `kontext login`/m);
    } finally {
      stranger.close();
    }
  });

  it('--hook looks at hooks alone, and works before any setup', async () => {
    const found = await doctor(['--hook']);

    expect(found.healthy).toBe(true);
    expect(found.checks.map(({ name }) => name)).toEqual(['hooks', 'hook run', 'socket path']);
    expect(found.check('hooks')?.detail).toContain('not set up');
  });

  it('runs the very hook that is installed', async () => {
    await kontext(['setup']);
    writeFileSync(settingsPath, settings().replaceAll('hook.cjs', 'gone.cjs'));

    const found = await doctor(['--hook']);

    expect(found).toMatchObject({ healthy: false, exitCode: 0, hook: null });
    expect(found.check('hook run')).toMatchObject({
      state: 'failed',
      next: expect.stringContaining('kontext setup'),
    });
    expect(found.check('hooks')).toMatchObject({ state: 'warning' });
    expect((await kontext(['doctor', '--hook'])).exitCode).toBe(1);
  });

  it('sees hooks that are switched off', async () => {
    await kontext(['setup']);
    mkdirSync(join(context.home, '.claude'), { recursive: true });
    writeFileSync(join(context.home, '.claude', 'settings.local.json'), '{"disableAllHooks": true}');

    expect((await doctor(['--hook'])).check('hooks')).toMatchObject({
      state: 'failed',
      detail: expect.stringContaining('settings.local.json'),
    });
  });

  it('shows what the daemon could not do', async () => {
    await kontext(['setup']);
    await runHook('SessionStart');
    await backend.close();
    await runHook('PreToolUse', 'one', 'conversation-9');

    const found = await doctor(['--hook']);

    expect(found.check('daemon')).toMatchObject({
      state: 'failed',
      detail: expect.stringContaining('KX_BACKEND_UNREACHABLE'),
    });
  });
});
