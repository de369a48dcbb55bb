import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** How to start the two programs: file and leading arguments. */
export interface Programs {
  readonly kontext: readonly string[];
  readonly backend: readonly string[];
}

/** The programs as `npm run build` leaves them in this repository. */
export function builtPrograms(): Programs {
  // `--`: otherwise Node 20 takes `--env-file` out of the arguments and loads that file itself.
  const built = (path: string) => [process.execPath, '--', fileURLToPath(new URL(path, repositoryRoot()))];
  return { kontext: built('apps/cli/dist/main.js'), backend: built('apps/backend/dist/main.js') };
}

/** The programs as a global install leaves them. */
export function installedPrograms(prefix: string): Programs {
  return { kontext: [join(prefix, 'bin/kontext')], backend: [join(prefix, 'bin/kontext-backend')] };
}

/** Both from source under vitest (`src/`) and from the bundle (`dist/`) the root is three folders up. */
export function repositoryRoot(): URL {
  return new URL('../../../', import.meta.url);
}

/** A running backend process. */
export interface BackendProcess {
  readonly child: ChildProcess;
  /** Passcode of the local account; empty when this start did not make one. */
  readonly passcode: string;
  /** Everything it wrote so far. */
  output(): string;
  /** Ends it and waits; SIGTERM unless told. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Starts `kontext-backend serve` and waits for its "listening" line; the passcode is read off its output. */
export function startBackend(
  program: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<BackendProcess> {
  const [file = '', ...leading] = program;
  const child = spawn(file, [...leading, 'serve'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const lines: string[] = [];
  let passcode = '';
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await exited;
  };
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the backend ended with ${code}:\n${lines.join('\n')}`)));
    createInterface({ input: child.stderr }).on('line', (line) => lines.push(line));
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line);
      passcode = /passcode: (\S+)/.exec(line)?.[1] ?? passcode;
      if (/listening on http/.test(line)) resolve({ child, passcode, output: () => lines.join('\n'), stop });
    });
  });
}
