import { type SpawnOptions, spawn } from 'node:child_process';

/** What a finished child process left behind; output is decoded as UTF-8. */
export interface CommandResult {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** How {@link runCommand} starts the child. `timeoutMs` (default 60,000) ends it with SIGKILL. */
export interface RunCommandOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly uid?: number;
  readonly gid?: number;
  readonly stdin?: string | Uint8Array;
  readonly timeoutMs?: number;
}

/**
 * Runs a program to its end and collects what it wrote; never throws on a failing exit code.
 *
 * @returns Exit code, signal and both outputs; settles only after both pipes are closed.
 * @throws the spawn error (`ENOENT`, `EACCES`) when the program cannot be started.
 */
export function runCommand(
  file: string,
  args: readonly string[],
  options: RunCommandOptions = {},
): Promise<CommandResult> {
  const { stdin, timeoutMs = 60_000, ...rest } = options;
  const spawnOptions: SpawnOptions = { ...rest, stdio: ['pipe', 'pipe', 'pipe'] };
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, spawnOptions);
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
    // A child may exit without reading its input; that is its own business.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(stdin);
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on('close', (exitCode, signal) => {
      clearTimeout(timer);
      const text = (chunks: Buffer[]) => Buffer.concat(chunks).toString('utf8');
      resolve({ exitCode, signal, stdout: text(stdout), stderr: text(stderr) });
    });
  });
}

/**
 * Like {@link runCommand}, for steps that must succeed.
 *
 * @throws Error naming the program, its exit code and the last lines of its output.
 */
export async function runCommandOrThrow(
  file: string,
  args: readonly string[],
  options: RunCommandOptions = {},
): Promise<CommandResult> {
  const result = await runCommand(file, args, options);
  if (result.exitCode !== 0) {
    const tail = `${result.stdout}\n${result.stderr}`.trim().split('\n').slice(-15).join('\n');
    throw new Error(`${file} ended with ${result.exitCode ?? result.signal}: ${tail}`);
  }
  return result;
}
