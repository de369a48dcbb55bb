import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createHookServer } from '../hooks/hook-server.ts';
import { bundleHookClient, type TestHookClient } from '../hooks/test-hook-client.ts';
import { textReply } from '../hooks/text-reply.ts';
import { buildTestProgram, type TestProgram } from '../test-program.ts';
import { readDaemonFacts } from './daemon-facts.ts';
import { daemonDirectory, daemonSocketPath, takePlace } from './daemon-place.ts';
import { ensureDaemon } from './ensure-daemon.ts';
import { isHeardByStart } from './session-owner.ts';
import { stopDaemon } from './stop-daemon.ts';

let older: TestProgram;
let newer: TestProgram;
let client: TestHookClient;
let root: string;
let runtimeDir: string;
const children: ChildProcess[] = [];

beforeAll(async () => {
  older = await buildTestProgram('0.0.1');
  newer = await buildTestProgram('9.0.0');
  client = await bundleHookClient();
});
afterAll(() => {
  older.close();
  newer.close();
  client.close();
});
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'kx-'));
  runtimeDir = join(root, 'kontext');
});
afterEach(async () => {
  await stopDaemon(runtimeDir);
  for (const child of children.splice(0)) child.kill('SIGKILL');
  rmSync(root, { recursive: true, force: true });
});

const environment = () => ({
  HOME: root,
  PATH: process.env.PATH ?? '',
  XDG_RUNTIME_DIR: root,
  KONTEXT_LOGIN_STORE: 'file',
  KONTEXT_API_URL: 'http://127.0.0.1:1',
});
const ensure = (program: TestProgram | string, mode: 'observe' | 'enforce' = 'enforce') =>
  ensureDaemon({
    ...{ runtimeDir, mode, environment: environment(), timeoutMs: 20_000 },
    program: typeof program === 'string' ? program : program.path,
  });
/** Runs a program as the daemon, whatever version a running one has. */
const startDaemon = async (path: string, mode: string): Promise<ChildProcess> => {
  const child = spawn(process.execPath, [path, 'daemon', '--runtime-dir', runtimeDir], {
    env: { ...environment(), KONTEXT_MODE: mode },
    stdio: 'ignore',
  });
  children.push(child);
  await expect
    .poll(async () => (await readDaemonFacts(runtimeDir))?.pid, { timeout: 20_000 })
    .toBe(child.pid);
  return child;
};
const call = (event = 'PreToolUse', failure = '2') =>
  client.run(
    ['claude', event, daemonSocketPath(runtimeDir), failure, '0', '10000'],
    JSON.stringify({
      ...{ hook_event_name: event, session_id: 's1', cwd: root, tool_use_id: 't1' },
      ...{ tool_name: 'Bash', tool_input: { command: 'ls' } },
    }),
  );

describe('the daemon', () => {
  it('is started once however many ask for it at the same time, and stays', async () => {
    const found = await Promise.all(Array.from({ length: 6 }, () => ensure(newer)));

    expect(new Set(found.map(({ pid }) => pid)).size).toBe(1);
    expect((await ensure(newer)).pid).toBe(found[0]?.pid);
  });

  it('that is busy for a while is not taken for one that is gone', async () => {
    const { pid } = await ensure(newer);
    process.kill(pid, 'SIGSTOP');
    setTimeout(() => process.kill(pid, 'SIGCONT'), 1_500);

    expect((await ensure(newer)).pid).toBe(pid);
  });

  it('without a login denies in enforce with the next step, and keeps no secret but its key', async () => {
    await ensure(newer, 'enforce');

    const run = await call();

    expect(run).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('run `kontext login`'),
    });
    expect(await call('Stop')).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await readDaemonFacts(runtimeDir)).toMatchObject({
      unrecorded: 2,
      version: '9.0.0',
      mode: 'enforce',
    });
    expect(readdirSync(daemonDirectory(runtimeDir)!).sort()).toEqual(['s', 's.key', 'writer.json']);
  });

  it('without a login is silent in observe', async () => {
    await ensure(newer, 'observe');

    expect(await call('PreToolUse', '0')).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await readDaemonFacts(runtimeDir)).toMatchObject({ unrecorded: 1, mode: 'observe' });
  });

  it('of an older version ends when a newer one takes its place; never the other way round', async () => {
    const old = await startDaemon(older.path, 'observe');
    const gone = new Promise((resolve) => old.once('exit', resolve));
    // This process is of no version at all, which is older than any: it asks for nothing newer.
    expect((await ensure(newer, 'observe')).version).toBe('0.0.1');

    await startDaemon(newer.path, 'observe');
    await gone;

    expect((await readDaemonFacts(runtimeDir))?.version).toBe('9.0.0');
    expect(readdirSync(runtimeDir).filter((name) => name.startsWith('h'))).toHaveLength(1);
  });

  it('that enforces less than is asked for now is replaced', async () => {
    const first = await ensure(newer, 'observe');

    const second = await ensure(newer, 'enforce');

    expect(second).toMatchObject({ mode: 'enforce' });
    expect(second.pid).not.toBe(first.pid);
    expect((await ensure(newer, 'observe')).pid).toBe(second.pid);
  });

  it('whose program was replaced on disk never answers: the new one does, to the same request', async () => {
    // Beside the real one, from where its imports resolve.
    const installed = join(dirname(older.path), '..', `installed-${process.pid}`);
    mkdirSync(installed);
    symlinkSync(dirname(older.path), join(installed, 'current'));
    try {
      const program = join(installed, 'current', 'main.js');
      const first = await ensure(program, 'enforce');
      expect(first.version).toBe('0.0.1');
      rmSync(join(installed, 'current'));
      symlinkSync(dirname(newer.path), join(installed, 'current'));

      const run = await call();

      expect(run).toMatchObject({ code: 2, stderr: expect.stringContaining('kontext login') });
      const facts = await readDaemonFacts(runtimeDir);
      expect(facts).toMatchObject({ version: '9.0.0', unrecorded: 1 });
      await expect.poll(() => isAlive(first.pid), { timeout: 10_000 }).toBe(false);
    } finally {
      await stopDaemon(runtimeDir);
      rmSync(installed, { recursive: true, force: true });
    }
  });

  it('that is killed leaves the failure answer to the client, and the next one takes its place', async () => {
    const { pid } = await ensure(newer);
    process.kill(pid, 'SIGKILL');
    await expect.poll(() => isAlive(pid)).toBe(false);

    expect(await call('PreToolUse', '2')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('ECONNREFUSED'),
    });
    expect(await call('PreToolUse', '0')).toMatchObject({ code: 0, stdout: '' });

    expect((await ensure(newer)).pid).not.toBe(pid);
    expect((await call()).stderr).toContain('kontext login');
  });

  it('says so when it cannot be started', async () => {
    const broken = join(root, 'broken.js');
    writeFileSync(broken, 'process.exit(1)');

    const ensuring = ensureDaemon({
      runtimeDir,
      mode: 'observe',
      program: broken,
      environment: environment(),
      timeoutMs: 300,
    });

    await expect(ensuring).rejects.toMatchObject({ code: 'KX_DAEMON_FAILED' });
  });

  it('is not put in the place of something that is no link', () => {
    mkdirSync(join(runtimeDir, 'd'), { recursive: true });

    expect(() => takePlace(runtimeDir, join(runtimeDir, 'h'))).toThrow(
      expect.objectContaining({ code: 'KX_SOCKET_FAILED' }),
    );
  });
});

describe('stopping the daemon', () => {
  it('ends it and nothing else', async () => {
    const { pid } = await ensure(newer);

    expect(await stopDaemon(runtimeDir)).toBe(true);

    // It has ended; that its parent, this process, takes note may take a moment.
    await expect.poll(() => isAlive(pid)).toBe(false);
    expect(existsSync(join(runtimeDir, 'd'))).toBe(false);
    expect(await stopDaemon(runtimeDir)).toBe(false);
  });

  it('leaves a process alone that only has the id of a daemon that is gone', async () => {
    const stranger = spawn('sleep', ['60'], { stdio: 'ignore' });
    children.push(stranger);
    const directory = join(runtimeDir, 'habcdef');
    mkdirSync(directory, { recursive: true });
    takePlace(runtimeDir, directory);
    writeFileSync(
      join(directory, 'writer.json'),
      JSON.stringify({ v: 1, pid: stranger.pid, startedAt: '1' }),
    );

    expect(await stopDaemon(runtimeDir)).toBe(false);

    expect(isAlive(stranger.pid ?? 0)).toBe(true);
  });
});

describe('whose a conversation is', () => {
  it('is told by the live sessions of kontext start, each over its own socket', async () => {
    const heard: string[] = [];
    const server = await createHookServer({
      runtimeDir,
      handleHook: async () => textReply(0, '', ''),
      onFailure: () => textReply(0, '', ''),
      describeSelf: () => ({ agentSessions: heard }),
    });
    const isHeard = (except = '') => isHeardByStart([runtimeDir, runtimeDir], except, 'c1', 2_000);

    const asking = isHeard();
    // It hears the conversation a moment later than we do.
    setTimeout(() => heard.push('c1'), 100);
    expect(await asking).toBe(true);
    expect(await isHeardByStart([runtimeDir], '', 'c2', 50)).toBe(false);
    expect(await isHeard(server.directory)).toBe(false);
    await server.close();
    expect(await isHeard()).toBe(false);
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
