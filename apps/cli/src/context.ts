import type { Config, Flags } from './config.ts';
import type { Terminal } from './terminal.ts';

/** What every command works with; made once by `main.ts`, or by a test. */
export interface Context {
  readonly config: Config;
  readonly terminal: Terminal;
  /** Aborted by Ctrl-C, SIGTERM and SIGHUP until {@link Context.releaseSignals}. */
  readonly signal: AbortSignal;
  /** Gives signals to whoever comes next: a child is about to run and outlives Ctrl-C. */
  readonly releaseSignals: () => void;
}

/**
 * Runs what a command does, with configuration and terminal made from its flags.
 *
 * A command module exports `define(command, run)`: it describes its options on commander's `command` and calls `run`
 * in its action. The number is the exit code; errors are thrown.
 */
export type RunCommand = (flags: Flags, work: (context: Context) => Promise<number>) => Promise<void>;
