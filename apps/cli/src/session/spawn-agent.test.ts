import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { terminalResetSequence } from '../terminal.ts';
import { findExecutable } from './find-executable.ts';
import { exitCodeOfSignal, spawnChild } from './spawn-agent.ts';

let directory: string;
let wrapper: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'kontext-spawn-'));
  wrapper = join(directory, 'wrapper.mjs');
  const source = fileURLToPath(new URL('./spawn-agent.ts', import.meta.url));
  await build({
    stdin: {
      contents: `import { spawnChild } from ${JSON.stringify(source)};
        const [command, ...args] = process.argv.slice(2);
        const hasTerminal = process.env.TERMINAL === '1' ? true : process.env.TERMINAL === '0' ? false : undefined;
        const onSpawn = () => process.stderr.write('spawned\\n');
        spawnChild({ command, args, env: process.env, onSpawn, hasTerminal }).then((code) => process.exit(code));`,
      resolveDir: directory,
    },
    outfile: wrapper,
    bundle: true,
    platform: 'node',
    format: 'esm',
  });
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Wrapped {
  readonly process: ChildProcess;
  readonly output: () => string;
  readonly saw: (text: string) => Promise<void>;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>;
}

/** Runs a shell script under the wrapper, in a real process of its own. */
function wrap(script: string, terminal: '0' | '1' = '0'): Wrapped {
  const child = spawn(process.execPath, [wrapper, '/bin/sh', '-c', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TERMINAL: terminal },
  });
  let output = '';
  const watchers = new Set<() => void>();
  const note = (bytes: Buffer): void => {
    output += bytes.toString();
    for (const watcher of watchers) watcher();
  };
  child.stdout?.on('data', note);
  child.stderr?.on('data', note);
  return {
    process: child,
    output: () => output,
    saw: (text) =>
      new Promise((resolve) => {
        const watcher = (): void => {
          if (output.includes(text)) resolve();
        };
        watchers.add(watcher);
        watcher();
      }),
    ended: new Promise((resolve) => child.once('close', (code, signal) => resolve({ code, signal }))),
  };
}

describe('spawned agent', () => {
  it.each([0, 1, 2, 77, 255])('passes exit code %s through', async (code) => {
    expect(await wrap(`exit ${code}`).ended).toEqual({ code, signal: null });
  });

  it.each([
    ['SIGTERM', 143],
    ['SIGKILL', 137],
    ['SIGINT', 130],
  ])('ends with 128 + n when %s killed it', async (signal, code) => {
    expect(await wrap(`kill -${signal.slice(3)} $$`).ended).toEqual({ code, signal: null });
  });

  it.each(['SIGTERM', 'SIGHUP', 'SIGUSR2'] as const)(
    'gets %s from the wrapper, terminal or not',
    async (signal) => {
      for (const terminal of ['0', '1'] as const) {
        const run = wrap(
          `trap 'echo got it; exit 9' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`,
          terminal,
        );
        await run.saw('ready');
        run.process.kill(signal);
        expect(await run.ended).toEqual({ code: 9, signal: null });
        expect(run.output()).toContain('got it');
      }
    },
  );

  it('gets Ctrl-C from the wrapper where no terminal sends it', async () => {
    const run = wrap(`trap 'echo cleaned; exit 5' INT; echo ready; while :; do sleep 0.05; done`, '0');
    await run.saw('ready');
    run.process.kill('SIGINT');
    expect((await run.ended).code).toBe(5);
    expect(run.output()).toContain('cleaned');
  });

  it('does not get Ctrl-C twice: with a terminal the wrapper only survives it', async () => {
    const run = wrap(`trap 'echo twice; exit 5' INT; echo ready; sleep 0.4; exit 3`, '1');
    await run.saw('ready');
    run.process.kill('SIGINT');
    expect((await run.ended).code).toBe(3);
    expect(run.output()).not.toContain('twice');
  });

  it('is told of once it runs', async () => {
    const run = wrap('true');
    await run.ended;
    expect(run.output()).toContain('spawned');
  });

  it('leaves a stdout that is no terminal alone', async () => {
    const run = wrap('printf done');
    await run.ended;
    expect(run.output().replace('spawned\n', '')).toBe('done');
  });

  it('reports what the system refuses to run', async () => {
    const text = join(directory, 'text');
    writeFileSync(text, '#!/bin/sh', { mode: 0o644 });
    const env = { PATH: '/usr/bin' };
    await expect(spawnChild({ command: text, args: [], env })).rejects.toMatchObject({
      code: 'KX_AGENT_NOT_EXECUTABLE',
    });
    const missing = join(directory, 'missing');
    await expect(spawnChild({ command: missing, args: [], env })).rejects.toMatchObject({
      code: 'KX_AGENT_NOT_FOUND',
    });
  });

  it('leaves no signal handler behind', async () => {
    const count = (): number => process.listenerCount('SIGTERM') + process.listenerCount('SIGINT');
    const before = count();
    expect(await spawnChild({ command: '/bin/true', args: [], env: {} })).toBe(0);
    expect(count()).toBe(before);
  });

  it('resets what agents leave a terminal in', () => {
    for (const mode of ['[?2004l', '[?1000l', '[?25h', '[<u', '7\u001b[?1049l']) {
      expect(terminalResetSequence).toContain(`\u001b${mode}`);
    }
    expect(exitCodeOfSignal('SIGQUIT')).toBe(131);
  });
});

describe('finding an executable', () => {
  const make = (place: string, mode: number): string => {
    const file = join(directory, place, 'tool');
    mkdirSync(join(directory, place), { recursive: true });
    writeFileSync(file, '#!/bin/sh\n');
    chmodSync(file, mode);
    return file;
  };

  it('takes the first on the path that may be executed', () => {
    make('blocked', 0o644);
    const good = make('good', 0o755);
    const path = ['blocked', 'good'].map((place) => join(directory, place)).join(':');
    expect(findExecutable('tool', path)).toBe(good);
    expect(findExecutable(good, undefined)).toBe(good);
  });

  it('tells absent (127) from not executable (126)', () => {
    const blocked = make('blocked', 0o644);
    const exitCode = (name: string, path?: string): number => {
      try {
        findExecutable(name, path);
      } catch (error) {
        return (error as { spec: { exitCode: number } }).spec.exitCode;
      }
      return 0;
    };
    expect(exitCode('tool', join(directory, 'blocked'))).toBe(126);
    expect(exitCode(blocked)).toBe(126);
    expect(exitCode(directory)).toBe(126);
    expect(exitCode('tool', join(directory, 'nowhere'))).toBe(127);
    expect(exitCode('tool', undefined)).toBe(127);
    expect(exitCode('', '/usr/bin')).toBe(127);
    expect(exitCode(join(directory, 'nowhere', 'tool'))).toBe(127);
  });

  it('never looks into the current directory', () => {
    make('.', 0o755);
    expect(existsSync(join(directory, 'tool'))).toBe(true);
    expect(() => findExecutable('tool', `:${'.'}:relative`)).toThrow();
  });
});
