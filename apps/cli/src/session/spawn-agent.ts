/**
 * Runs the agent (or the command of `kontext run`) in the user's real terminal.
 *
 * Rules:
 * - Standard input, output and error are inherited and the process group is shared, so that job control, window
 *   size and Ctrl-C reach the child without us.
 * - Handlers stand before the child does. With a terminal SIGINT and SIGQUIT are only survived, because the
 *   terminal has sent them to the child already; SIGTERM, SIGHUP and SIGUSR2 are handed on. Without a terminal all are.
 * - SIGTSTP, SIGCONT and SIGWINCH are left alone: the terminal sends them to the whole group.
 * - The child's end is the result: its exit code, or 128 + n when signal n killed it.
 * - Agents that die leave the terminal in their private modes; those are reset once the child has ended. The line
 *   discipline (raw mode) is restored by Node itself when we exit.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { isatty } from 'node:tty';
import { KontextError } from '@kontext/errors';
import { resetTerminalModes } from '../terminal.ts';

/** What to run, and the walls a test may replace. */
export interface SpawnChildOptions {
  /** Absolute path of the program, as {@link import('./find-executable.ts').findExecutable} gives it. */
  readonly command: string;
  readonly args: readonly string[];
  /** The whole environment of the child; nothing is added. */
  readonly env: Readonly<Record<string, string>>;
  /** Working directory; ours when left out. */
  readonly cwd?: string;
  /** Called once the child runs, before it can have ended. */
  readonly onSpawn?: (pid: number) => void;
  /** Whether a terminal sends SIGINT to the whole group; asked of descriptors 0, 1 and 2 when left out. */
  readonly hasTerminal?: boolean;
}

const handedOnAlways = ['SIGTERM', 'SIGHUP', 'SIGUSR2'] as const;
const sentByTerminal = ['SIGINT', 'SIGQUIT'] as const;

/**
 * Runs a child to its end.
 *
 * @returns Exit code 0 to 255; 128 + n when signal n ended the child.
 * @throws KontextError `KX_AGENT_NOT_FOUND` or `KX_AGENT_NOT_EXECUTABLE` when the system refuses to start it.
 */
export async function spawnChild(options: SpawnChildOptions): Promise<number> {
  const hasTerminal = options.hasTerminal ?? [0, 1, 2].some((descriptor) => isatty(descriptor));
  const signals = forwardSignals(hasTerminal);
  try {
    return await runChild(options, signals.attach);
  } finally {
    signals.close();
    resetTerminalModes();
  }
}

/** The conventional exit code of a process that a signal ended. */
export const exitCodeOfSignal = (signal: NodeJS.Signals): number => 128 + (constants.signals[signal] ?? 0);

type Kill = (signal: NodeJS.Signals) => void;

function forwardSignals(hasTerminal: boolean): { attach(kill: Kill): void; close(): void } {
  let kill: Kill = () => undefined;
  const handOn = (signal: NodeJS.Signals): void => kill(signal);
  const survive = (): void => undefined;
  for (const signal of handedOnAlways) process.on(signal, handOn);
  for (const signal of sentByTerminal) process.on(signal, hasTerminal ? survive : handOn);
  return {
    attach(next) {
      kill = next;
    },
    close() {
      for (const signal of [...handedOnAlways, ...sentByTerminal]) {
        process.off(signal, handOn);
        process.off(signal, survive);
      }
    },
  };
}

function runChild(options: SpawnChildOptions, attach: (kill: Kill) => void): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(options.command, options.args, {
      stdio: 'inherit',
      env: options.env,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    attach((signal) => child.kill(signal));
    child.once('spawn', () => options.onSpawn?.(child.pid ?? 0));
    // Also raised when a signal cannot be handed on; after the start that is no failure of the run.
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (child.pid === undefined) reject(startFailure(options.command, error));
    });
    child.once('exit', (code, signal) => resolve(signal === null ? (code ?? 1) : exitCodeOfSignal(signal)));
  });
}

function startFailure(command: string, cause: NodeJS.ErrnoException): KontextError {
  const code = cause.code === 'ENOENT' ? 'KX_AGENT_NOT_FOUND' : 'KX_AGENT_NOT_EXECUTABLE';
  return new KontextError(code, `${command} could not be started`, {
    why: `the system answered ${cause.code ?? 'an unknown error'}`,
    cause,
  });
}
