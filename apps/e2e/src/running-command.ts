/** Commands that are looked at while they run: beside a terminal, and in one. */
import { type ChildProcess, spawn } from 'node:child_process';
import type { CommandResult } from '@kontext/testkit';
import type { CliOptions, World } from './world.ts';

/** A `kontext` that has not ended yet. */
export interface RunningCommand {
  readonly pid: number;
  /** Everything written so far; in a terminal both streams are one. */
  output(): string;
  /** Waits until the output matches. Rejects with the output when the command ends first, or after 30 s. */
  waitFor(pattern: RegExp): Promise<RegExpExecArray>;
  /** Writes to its standard input, in a terminal as keys: `\u0003` is Ctrl-C. */
  type(text: string): void;
  kill(signal: NodeJS.Signals): void;
  /** Settles when the process is gone; what it started may live on. */
  readonly exited: Promise<void>;
  /** Settles when nobody holds its outputs any more. */
  readonly ended: Promise<CommandResult>;
}

/** Starts `kontext` without a terminal. */
export function startCommand(
  world: World,
  args: readonly string[],
  options: CliOptions = {},
): RunningCommand {
  const [file = '', ...leading] = world.programs.kontext;
  return follow(spawn(file, [...leading, ...args], spawnOptions(world, options)));
}

/**
 * Starts `kontext` in a pseudo-terminal, by `script` of util-linux. Its exit code is that of the command; the pid is
 * that of `script`, so a signal meant for `kontext` has to find its own way.
 */
export function startInTerminal(
  world: World,
  args: readonly string[],
  options: CliOptions = {},
): RunningCommand {
  const words = [...world.programs.kontext, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  const shellLine = `exec ${words.join(' ')}`;
  return follow(
    spawn('script', ['-qefc', shellLine, '/dev/null'], spawnOptions(world, options, { SHELL: '/bin/sh' })),
  );
}

const spawnOptions = (world: World, options: CliOptions, more: Record<string, string> = {}) => ({
  cwd: options.cwd ?? world.home.workDir,
  env: { ...world.env, ...more, ...options.env },
  stdio: ['pipe', 'pipe', 'pipe'] as ['pipe', 'pipe', 'pipe'],
});

function follow(child: ChildProcess): RunningCommand {
  let stdout = '';
  let stderr = '';
  const waiting = new Set<() => void>();
  const tell = () => {
    for (const look of waiting) look();
  };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    tell();
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    tell();
  });
  child.stdin?.on('error', () => undefined);
  const output = () => stdout + stderr;
  let result: CommandResult | null = null;
  const ended = new Promise<CommandResult>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exitCode, signal) => {
      result = { exitCode, signal, stdout, stderr };
      resolve(result);
      tell();
    });
  });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const waitFor = (pattern: RegExp): Promise<RegExpExecArray> =>
    new Promise((resolve, reject) => {
      const settle = (then: () => void) => {
        clearTimeout(timer);
        waiting.delete(look);
        then();
      };
      const fail = (why: string) => settle(() => reject(new Error(`${pattern}: ${why}:\n${output()}`)));
      const look = () => {
        const found = pattern.exec(output());
        if (found !== null) settle(() => resolve(found));
        else if (result !== null) fail(`ended with ${result.exitCode ?? result.signal} before`);
      };
      const timer = setTimeout(() => fail('not seen within 30 s'), 30_000);
      waiting.add(look);
      look();
    });
  return {
    pid: child.pid ?? 0,
    output,
    waitFor,
    type: (text) => void child.stdin?.write(text),
    kill: (signal) => void child.kill(signal),
    exited,
    ended,
  };
}
