/**
 * Keeps what the process holds in memory (opened secrets, local keys) from being written out or looked at.
 *
 * What is done: a core dump holds no memory of the process (Linux), the signal that opens a debugger does nothing, diagnostic
 * reports are off, and outside local mode Node options that dump the heap or open a debugger are refused. What is not: the
 * same user and root can still read /proc/<pid>/mem; swap is the machine's business.
 */
import { writeFileSync } from 'node:fs';
import { KontextError } from '@kontext/errors';

/** What is known of how the process was started. */
export interface ProcessOptions {
  /** One person's machine: the person may debug their own backend. */
  readonly local: boolean;
  /** Value of `NODE_OPTIONS`. */
  readonly nodeOptions: string;
  /** Default `process.execArgv`. */
  readonly execArgv?: readonly string[];
}

const dumping =
  /^--(?:inspect|heapsnapshot|heap-prof|report-on|report-uncaught|abort-on-uncaught|debug-port)(?:[-=]|$)/;

/**
 * Hardens the running process; once, before any key is read.
 *
 * @throws KontextError `KX_CONFIG_INVALID` naming the option, outside local mode, when Node was told to dump its heap, to write
 *   reports or to open a debugger.
 */
export function hardenProcess({ local, nodeOptions, execArgv = process.execArgv }: ProcessOptions): void {
  // Node takes `_` for `-` in its options.
  const options = [...execArgv, ...nodeOptions.split(/\s+/)].map((option) => option.replaceAll('_', '-'));
  const found = options.find((option) => dumping.test(option));
  if (found !== undefined && !local) {
    const name = found.split('=', 1)[0];
    throw new KontextError('KX_CONFIG_INVALID', `the backend does not run with ${name}`, {
      why: 'it lets secrets be read from the memory of the process',
      hint: 'leave the option out, also in NODE_OPTIONS',
    });
  }
  // Node's own handler would open the inspector for whoever may signal the process.
  if (!local) process.on('SIGUSR1', () => undefined);
  if (process.report) {
    process.report.reportOnSignal = false;
    process.report.reportOnFatalError = false;
    process.report.reportOnUncaughtException = false;
  }
  emptyCoreDumps();
}

/** A core dump without mappings shows where the process failed and nothing of what it held (core(5)). */
function emptyCoreDumps(): void {
  try {
    writeFileSync('/proc/self/coredump_filter', '0');
  } catch {
    // Not Linux, or a container without /proc: docs/keys.md says how to switch core dumps off there.
  }
}
