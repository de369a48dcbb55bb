import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseHeader } from '@kontext/audit';
import type { CommandResult } from '@kontext/testkit';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type AgentStep, createTestAgent, type TestAgent } from '../session/test-agent.ts';
import { createTestContext, type TestContext } from '../test-context.ts';
import { buildTestProgram, type TestProgram } from '../test-program.ts';

let program: TestProgram;
let context: TestContext;
let agent: TestAgent;
/** Where a backend would be: counts who knocks. */
let knocks: number;
let backend: Server;

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
  knocks = 0;
  backend = createServer().on('connection', (socket) => {
    knocks += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve));
  const { port } = backend.address() as AddressInfo;
  context = createTestContext({ apiUrl: `http://127.0.0.1:${port}` });
  agent = createTestAgent(context.home);
});
afterEach(async () => {
  context.close();
  await new Promise((resolve) => backend.close(resolve));
});

const start = (args: readonly string[] = [], env = {}): Promise<CommandResult> =>
  program.run(context, ['start', '--local', '--trust', ...args], {
    env: { PATH: `${agent.bin}:${context.config.environment.PATH}`, ...env },
  });
const verify = (file: string): Promise<CommandResult> => program.run(context, ['audit', 'verify', file]);

const session: AgentStep = { event: 'SessionStart', fields: { source: 'startup' } };
const bash = (command: string, id: string): AgentStep => ({
  event: 'PreToolUse',
  fields: { tool_name: 'Bash', tool_input: { command }, tool_use_id: id, permission_mode: 'default' },
});

const auditDirectory = (): string => join(context.config.stateDir, 'local-audit');
const auditFile = (): string => join(auditDirectory(), readdirSync(auditDirectory())[0] ?? '');
const lines = (): Record<string, { header: string; payload: string }>[] =>
  readFileSync(auditFile(), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line));
const headers = () => lines().flatMap(({ event }) => (event ? [parseHeader(event.header)] : []));

const writePolicy = (text: string): void => {
  const directory = join(context.config.configDir, 'policy');
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'mine.cedar'), text);
};
const noPush = `@id("no-deploy")
@reason("deploys are made by hand")
forbid (principal, action == Action::"tool_call", resource)
when { context.command like "*deploy*" };`;

describe('kontext start --local', () => {
  it('enforces nothing with an agent whose hooks let calls through when they fail', async () => {
    agent.play([session]);
    agent.isVersion('1.9.400');
    const refused = await start(['--mode', 'enforce']);
    expect(refused).toMatchObject({ exitCode: 78, stdout: '' });
    expect(refused.stderr).toContain('KX_AGENT_TOO_OLD');
    expect(existsSync(auditDirectory())).toBe(false);
    expect((await start()).exitCode).toBe(0);
  });

  it('runs the agent without login, backend or network, and leaves a record that verifies', async () => {
    agent.play([session, bash('rm -rf /etc/victim', 't1'), bash('ls', 't2'), { exit: 7 }]);

    const result = await start(['--', '-p', 'hi']);

    expect(result).toMatchObject({ exitCode: 7, stdout: '' });
    expect(knocks).toBe(0);
    expect(result.stderr).toMatch(/local session ses_[\w-]+, policy observe, recorded in .*\.jsonl/);
    expect(result.stderr).toContain('2 tool calls, 0 denied, 1 would be denied');
    expect(agent.hookRuns().map(({ code, stdout }) => [code, stdout])).toEqual(Array(3).fill([0, '']));
    expect(headers().map(({ kind, decision }) => [kind, decision])).toEqual([
      ['agent.event', null],
      ['agent.event', null],
      ['tool_call.decided', 'deny'],
      ['tool_call.decided', 'allow'],
    ]);
    expect(statSync(auditFile()).mode & 0o777).toBe(0o600);
    const checked = await verify(auditFile());
    expect(checked.exitCode).toBe(0);
    expect(checked.stdout).toMatch(/^ok {3}client {2}str_[\w-]+ {2}4 events\n$/);
    expect(checked.stderr).toContain('nobody has signed it');
    expect(knocks).toBe(0);
  });

  it('denies in enforce what a rule of this machine forbids, and records its name', async () => {
    writePolicy(noPush);
    agent.play([session, bash('make deploy', 't1'), bash('make test', 't2')]);

    const result = await start(['--mode', 'enforce']);

    expect(result.stderr).toContain('2 tool calls, 1 denied');
    const [, denied, allowed] = agent.hookRuns();
    expect(denied).toMatchObject({ code: 2 });
    expect(denied?.stderr).toContain('rule local.no-deploy: deploys are made by hand');
    expect(allowed).toMatchObject({ code: 0 });
    expect(headers().find(({ decision }) => decision === 'deny')).toMatchObject({
      ...{ rule: 'local.no-deploy', mode: 'enforce', policyVersion: 0 },
    });
  });

  it('refuses to start with a rule of this machine that cannot hold, naming the place', async () => {
    agent.play([session]);
    writePolicy(`${noPush}\n\nforbid (principal;`);
    const broken = await start();
    expect(broken.exitCode).toBe(65);
    expect(broken.stderr).toMatch(/mine\.cedar:6:\d+: /);
    writePolicy(noPush.replace('forbid', 'permit'));
    const permits = await start();
    expect(permits.exitCode).toBe(65);
    expect(permits.stderr).toContain('the rule no-deploy in');
    expect(existsSync(join(agent.bin, 'started.json'))).toBe(false);
  });

  it('leaves placeholders out, or refuses them with --strict, and sets literals', async () => {
    writeFileSync(join(context.home, '.env.kontext'), 'STRIPE_KEY={{kontext:stripe}}\nLEVEL=debug\n');
    agent.play([session]);
    const result = await start([], { STRIPE_KEY: 'sk_live_of_the_shell' });
    expect(result.exitCode).toBe(0);
    expect(result.stderr).toContain('a local session has no credentials; not set: STRIPE_KEY');
    expect(agent.started().env).toMatchObject({ LEVEL: 'debug' });
    expect(agent.started().env).not.toHaveProperty('STRIPE_KEY');
    const strict = await start(['--strict']);
    expect(strict.exitCode).toBe(77);
    expect(strict.stderr).toContain('KX_LOCAL_PLACEHOLDER');
  });

  it('leaves a record that verifies up to the last whole line when it is killed', async () => {
    // The agent's parent is killed: what it answered is on disk by then.
    agent.play([session, bash('ls', 't1'), { shell: 'sleep 0.3; kill -9 $(ps -o ppid= -p $PPID)' }]);

    const result = await start();

    expect(result.exitCode).not.toBe(0);
    expect(headers().length).toBe(3);
    const checked = await verify(auditFile());
    expect(checked.exitCode).toBe(13);
    expect(checked.stdout).toContain('3 events');
    expect(checked.stdout).toContain('the file does not end in order');
  });

  it.each([
    ['--dry-run', {}, 64, 'KX_USAGE'],
    ['--strict', { KONTEXT_ENV_FILE: 'missing' }, 65, 'KX_TEMPLATE_MISSING'],
    ['--strict', { KONTEXT_SESSION_ID: 'ses_1' }, 64, 'KX_SESSION_NESTED'],
  ])('refuses %s %j', async (flag, env, exitCode, code) => {
    const result = await start([flag], env);
    expect(result.exitCode).toBe(exitCode);
    expect(result.stderr).toContain(code);
  });
});
