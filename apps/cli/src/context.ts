import type { Config } from './config.ts';
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
