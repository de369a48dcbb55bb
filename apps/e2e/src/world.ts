/**
 * A whole kontext on loopback for stories, the demo and the bench: the built backend on a database of its own, the
 * stand-in upstream, and the built command in a private home. Nothing of the user's own is read or written.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import {
  approveDevice,
  type CommandResult,
  findFreePort,
  runCommand,
  type ScratchHome,
  scratchHome,
  startUpstream,
  type Upstream,
} from '@kontext/testkit';
import { type Recorder, startRecorder } from './recorder.ts';

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

/** Options of {@link startWorld}. */
export interface WorldOptions {
  readonly programs?: Programs;
  /** Postgres to use; the embedded database when left out. */
  readonly databaseUrl?: string;
  /** More environment for the backend. */
  readonly backendEnv?: Readonly<Record<string, string>>;
  /** More environment for the command, for example a keyring's bus. */
  readonly cliEnv?: Readonly<Record<string, string>>;
  /** Start the stand-in upstream too; default true. */
  readonly upstream?: boolean;
  /** Put a wire tap between command and backend; default false. */
  readonly recorded?: boolean;
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

/** See {@link startWorld}. */
export interface World {
  readonly apiUrl: string;
  readonly home: ScratchHome;
  readonly programs: Programs;
  /** Environment of the command. */
  readonly env: Readonly<Record<string, string>>;
  readonly upstream: Upstream | null;
  /** What went between command and backend; null unless `recorded`. */
  readonly recorder: Recorder | null;
  backend: BackendProcess;
  readonly account: string;
  readonly passcode: string;
  /** Runs `kontext` to its end. */
  cli(args: readonly string[], options?: CliOptions): Promise<CommandResult>;
  /** Starts the backend again on the same database after it was stopped. */
  restartBackend(): Promise<void>;
  close(): Promise<void>;
}

/** How one run of the command differs from the world's own. */
export interface CliOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly stdin?: string;
  readonly cwd?: string;
  readonly timeoutMs?: number;
}

/** Starts everything and waits until the backend listens. */
export async function startWorld(options: WorldOptions = {}): Promise<World> {
  const home = scratchHome();
  const programs = options.programs ?? builtPrograms();
  const port = await findFreePort();
  const recorder = options.recorded === true ? await startRecorder() : null;
  if (recorder !== null) recorder.target = new URL(`http://127.0.0.1:${port}`);
  const apiUrl = recorder?.url ?? `http://127.0.0.1:${port}`;
  const env = { ...home.env, KONTEXT_API_URL: apiUrl, NO_COLOR: '1', ...options.cliEnv };
  const backendEnv = {
    ...home.env,
    KONTEXT_LISTEN: `127.0.0.1:${port}`,
    KONTEXT_PUBLIC_URL: apiUrl,
    KONTEXT_DATA_DIR: join(home.root, 'backend'),
    ...(options.databaseUrl === undefined ? {} : { DATABASE_URL: options.databaseUrl, KONTEXT_LOCAL: '1' }),
    ...options.backendEnv,
  };
  mkdirSync(backendEnv.KONTEXT_DATA_DIR, { recursive: true, mode: 0o700 });
  const upstream = options.upstream === false ? null : await startUpstream();
  const backend = await startBackend(programs.backend, backendEnv);
  const world: World = {
    apiUrl,
    home,
    programs,
    env,
    upstream,
    recorder,
    backend,
    account: 'owner',
    passcode: backend.passcode,
    cli: (args, run = {}) => runKontext(programs.kontext, args, home.workDir, { ...env, ...run.env }, run),
    async restartBackend() {
      world.backend = await startBackend(programs.backend, backendEnv);
    },
    async close() {
      await world.backend.stop();
      await recorder?.close();
      await upstream?.stop();
      home.remove();
    },
  };
  return world;
}

function runKontext(
  program: readonly string[],
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string | undefined>>,
  run: CliOptions,
): Promise<CommandResult> {
  const [file = '', ...leading] = program;
  return runCommand(file, [...leading, ...args], {
    cwd: run.cwd ?? cwd,
    env,
    stdin: run.stdin ?? '',
    timeoutMs: run.timeoutMs ?? 60_000,
  });
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

/** What the device flow shows while it waits. */
export interface ShownCode {
  readonly uri: string;
  readonly code: string;
}

const approveOverHttp = ({ account, passcode }: World, { uri }: ShownCode) =>
  approveDevice({ verificationUriComplete: uri, account, passcode });

/**
 * Logs in by the real device flow: runs `kontext login`, reads URL and code off its terminal output, and walks the
 * approval pages as a person would.
 *
 * @param onShown Called with what the person would see, before the page is approved.
 * @param approve Does the person's part; default: walks the pages over HTTP.
 */
export async function logIn(
  world: World,
  args: readonly string[] = [],
  onShown: (shown: ShownCode) => void = () => undefined,
  approve: (shown: ShownCode) => Promise<unknown> = (shown) => approveOverHttp(world, shown),
): Promise<CommandResult> {
  const [file = '', ...leading] = world.programs.kontext;
  const child = spawn(file, [...leading, 'login', '--no-browser', ...args], {
    cwd: world.home.workDir,
    env: world.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  let approval: Promise<unknown> | null = null;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    const uri = /https?:\/\/\S+user_code=\S+/.exec(stderr)?.[0];
    if (approval !== null || uri === undefined) return;
    const shown = { uri, code: new URL(uri).searchParams.get('user_code') ?? '' };
    onShown(shown);
    approval = approve(shown).catch((error: Error) => {
      stderr += `\napproval failed: ${error.message}`;
      child.kill();
    });
  });
  const [exitCode, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
    child.once('close', (...end) => resolve(end));
  });
  await approval;
  return { exitCode, signal, stdout, stderr };
}
