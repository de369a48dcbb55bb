/**
 * A whole kontext on loopback for stories, the demo and the bench: the built backend on a database of its own, the
 * stand-in upstream, and the built command in a private home. Nothing of the user's own is read or written.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
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
import { addPeople, type Login, type Person } from './people.ts';
import { copyPreparedData } from './prepared-data.ts';
import { type BackendProcess, builtPrograms, type Programs, startBackend } from './programs.ts';
import { type Recorder, startRecorder } from './recorder.ts';

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
  /** Begin with nothing, as a new user does; default false: an embedded database that had its first start is copied. */
  readonly fresh?: boolean;
  /** Put a wire tap between command and backend; default false. */
  readonly recorded?: boolean;
  /** People beside the owner; not for a `fresh` world on the embedded database. */
  readonly people?: readonly Person[];
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
  /** Logins of the people beside the owner, by name. */
  readonly people: ReadonlyMap<string, Login>;
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
  const upstream = options.upstream === false ? null : await startUpstream();
  const isFresh = options.fresh ?? (options.databaseUrl !== undefined || options.programs !== undefined);
  const preparedPasscode = isFresh ? '' : await copyPreparedData(home.root);
  const add = () => addPeople(programs.backend, backendEnv, options.people ?? []);
  // The embedded database is for one process; one of its own has nobody's organisation before its first start.
  const before = options.databaseUrl === undefined ? await add() : null;
  const backend = await startBackend(programs.backend, backendEnv);
  const people = before ?? (await add());
  const world: World = {
    apiUrl,
    home,
    programs,
    env,
    upstream,
    recorder,
    backend,
    account: 'owner',
    passcode: backend.passcode || preparedPasscode,
    people,
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
