#!/usr/bin/env -S node --
/**
 * The process edge: finds the command, runs it, turns its end into an exit code.
 *
 * The `--` above matters: Node 20 takes `--env-file` out of a script's own arguments and loads that file, its
 * NODE_OPTIONS included, before the first line here runs. Behind `--` it leaves the arguments alone.
 *
 * Nothing is imported before it is needed. `kontext hook` runs on every tool call and loads node built-ins only; any
 * other command loads commander and its own module.
 */
import type { Command } from 'commander';
import type { Flags } from './config.ts';
import type { Context, RunCommand } from './context.ts';

interface CommandModule {
  define(command: Command, run: RunCommand): void;
}

interface CommandEntry {
  readonly summary: string;
  readonly load: () => Promise<CommandModule>;
  /** Left out of the list of commands: nobody types it. */
  readonly hidden?: boolean;
}

const entry = (summary: string, load: CommandEntry['load']): CommandEntry => ({ summary, load });

/** Every command, in the order help lists them. */
const commands: Readonly<Record<string, CommandEntry>> = {
  start: entry('run a coding agent with credentials, policy and audit', () => import('./commands/start.ts')),
  run: entry('run any command with the same credentials, without hooks', () => import('./commands/run.ts')),
  login: entry('log in', () => import('./commands/login.ts')),
  logout: entry('log out, here and at the backend', () => import('./commands/logout.ts')),
  status: entry('show account, backend and what waits to be sent', () => import('./commands/status.ts')),
  whoami: entry('show who is logged in', () => import('./commands/whoami.ts')),
  attenuate: entry(
    'run a command with narrower credentials of the session around it',
    () => import('./commands/attenuate.ts'),
  ),
  credential: entry(
    'inside a session: show its newest credential of a provider',
    () => import('./commands/credential.ts'),
  ),
  'git-credential': entry('inside a session: answer git', () => import('./commands/git-credential.ts')),
  connect: entry('connect a provider', () => import('./commands/connect.ts')),
  connections: entry('list and revoke connections', () => import('./commands/connections.ts')),
  secrets: entry('store a static key', () => import('./commands/secrets.ts')),
  providers: entry('manage providers (administrators)', () => import('./commands/providers.ts')),
  agents: entry(
    'list agents, change what they may have (administrators)',
    () => import('./commands/agents.ts'),
  ),
  members: entry('list, change, suspend and restore members', () => import('./commands/members.ts')),
  invitations: entry('invite people', () => import('./commands/invitations.ts')),
  idp: entry('manage identity providers (owners)', () => import('./commands/idp.ts')),
  trust: entry('trust an env template', () => import('./commands/trust.ts')),
  policy: entry('check, test, publish and explain policy', () => import('./commands/policy.ts')),
  sessions: entry('list, show and end sessions', () => import('./commands/sessions.ts')),
  leases: entry('list and revoke credentials that were handed out', () => import('./commands/leases.ts')),
  requests: entry('list tool calls that wait for a person', () => import('./commands/requests.ts')),
  approve: entry('open the page where a request is allowed', () => import('./commands/approve.ts')),
  deny: entry('open the page where a request is denied', () => import('./commands/deny.ts')),
  webhooks: entry('tell a chat or a program of approvals', () => import('./commands/webhooks.ts')),
  sinks: entry('send audit events on to another system', () => import('./commands/sinks.ts')),
  audit: entry('follow and verify the audit log', () => import('./commands/audit.ts')),
  setup: entry('decide and record for agents started without kontext', () => import('./commands/setup.ts')),
  uninstall: entry('take out what `kontext setup` put in', () => import('./commands/uninstall.ts')),
  doctor: entry('check that everything works', () => import('./commands/doctor.ts')),
  daemon: {
    ...entry('answer the hooks of `kontext setup`', () => import('./commands/daemon.ts')),
    hidden: true,
  },
  serve: entry('run the backend on this machine', () => import('./commands/serve.ts')),
  version: entry('show versions', () => import('./commands/version.ts')),
};

/** Whoever is interrupted gets this long to end what it began, such as a session. */
const graceMs = 3_000;

/** What is known when the command has ended, well or not. */
interface Outcome {
  code: number;
  logFile: string | null;
}

async function main(argv: readonly string[], outcome: Outcome): Promise<number> {
  const { globals, name } = readGlobals(argv);
  const run = createRunner(globals, outcome);
  if (argv.length === 0 && process.stdin.isTTY && process.stdout.isTTY) {
    const { showOverview } = await import('./commands/overview.ts');
    await run({}, showOverview);
    return outcome.code;
  }
  const program = await createProgram(name);
  for (const [known, { summary, load, hidden = false }] of Object.entries(commands)) {
    const command = program.command(known, { hidden }).description(summary);
    if (known === name) (await load()).define(command, run);
  }
  await parse(program, argv);
  return outcome.code;
}

async function createProgram(name: string | undefined): Promise<Command> {
  const [{ Command }, { cliVersion }] = await Promise.all([import('commander'), import('./version.ts')]);
  const program = new Command('kontext');
  // Options of the program are found anywhere, and `kontext policy pull --version 7` means another one.
  if (name !== 'policy') program.version(cliVersion, '-V, --version');
  return program
    .description('credentials, policy and audit for AI coding agents')
    .option('--api-url <url>', 'URL of the backend')
    .option('--no-input', 'never ask')
    .option('--color', 'colours also without a terminal')
    .option('--no-color', 'no colours')
    .option('-q, --quiet', 'say less')
    .option('--no-browser', 'open no browser, only show links')
    .option('--wait-confirmation', 'without a terminal: wait until the link was confirmed')
    .configureOutput({ outputError: () => undefined })
    .showHelpAfterError(false)
    .exitOverride();
}

/** Runs commander; its complaints become `KX_USAGE` (64), help and version become 0. */
async function parse(program: Command, argv: readonly string[]): Promise<void> {
  const { CommanderError } = await import('commander');
  try {
    await program.parseAsync([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return;
    const { KontextError } = await import('@kontext/errors');
    const why = error.message.replace(/^error: /, '').replace(/\.$/, '');
    const message = error.code === 'commander.help' ? 'a command is missing' : 'the command line is wrong';
    throw new KontextError('KX_USAGE', message, error.code === 'commander.help' ? {} : { why });
  }
}

/** Global flags may stand before or after the command's name; the first other word is the name. */
function readGlobals(argv: readonly string[]): {
  readonly globals: Flags;
  readonly name: string | undefined;
} {
  const end = argv.indexOf('--');
  const words = end === -1 ? argv : argv.slice(0, end);
  const has = (...spellings: string[]) => words.some((word) => spellings.includes(word));
  const urlAt = words.findIndex((word) => word === '--api-url' || word.startsWith('--api-url='));
  const url = words[urlAt];
  const globals: Flags = {
    apiUrl: url?.includes('=') ? url.slice('--api-url='.length) : urlAt === -1 ? undefined : words[urlAt + 1],
    input: has('--no-input') ? false : undefined,
    color: has('--no-color') ? false : has('--color') ? true : undefined,
    quiet: has('-q', '--quiet') ? true : undefined,
    browser: has('--no-browser') ? false : undefined,
    waitConfirmation: has('--wait-confirmation') ? true : undefined,
    args: argv,
  };
  const name = words.find((word, at) => !word.startsWith('-') && words[at - 1] !== '--api-url');
  return { globals, name };
}

function createRunner(globals: Flags, outcome: Outcome): RunCommand {
  return async (flags, work) => {
    const [{ loadConfig }, { createTerminal }] = await Promise.all([
      import('./config.ts'),
      import('./terminal.ts'),
    ]);
    const config = loadConfig({ ...globals, ...flags });
    outcome.logFile = config.logFile;
    const signals = catchSignals();
    const context: Context = {
      config,
      terminal: createTerminal(config),
      signal: signals.signal,
      releaseSignals: signals.release,
    };
    try {
      outcome.code = await Promise.race([work(context), signals.overdue]);
    } catch (error) {
      // Whoever was interrupted does not know by which signal.
      if (signals.exitCode() === null || !(error instanceof Error && error.name === 'Interrupted'))
        throw error;
    }
    outcome.code = signals.exitCode() ?? outcome.code;
  };
}

/** Turns the first signal into an abort; a second one, or a work that does not end in time, ends the process. */
function catchSignals() {
  const controller = new AbortController();
  const codes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
  let caught: number | null = null;
  let giveUp: (code: number) => void = () => undefined;
  const overdue = new Promise<number>((resolve) => {
    giveUp = resolve;
  });
  const onSignal = (signal: NodeJS.Signals) => {
    const code = codes[signal as keyof typeof codes];
    if (caught !== null) process.exit(code);
    caught = code;
    controller.abort();
    setTimeout(() => giveUp(code), graceMs).unref();
  };
  for (const signal of Object.keys(codes)) process.on(signal, onSignal);
  return {
    signal: controller.signal,
    overdue,
    exitCode: () => caught,
    release: () => {
      for (const signal of Object.keys(codes)) process.off(signal, onSignal);
    },
  };
}

/** Shows an error and returns its exit code. */
async function fail(error: unknown, { logFile }: Outcome): Promise<number> {
  const [{ readColor }, { Interrupted }, { KontextError }, { createTerminal }] = await Promise.all([
    import('./config.ts'),
    import('./interrupted.ts'),
    import('@kontext/errors'),
    import('./terminal.ts'),
  ]);
  if (error instanceof Interrupted) return error.exitCode;
  if (logFile !== null) {
    const { createLog, errorLines } = await import('./log.ts');
    errorLines(error).forEach(createLog(logFile));
  }
  createTerminal({ mayAsk: false, color: readColor(), quiet: false }).error(error);
  return error instanceof KontextError ? error.spec.exitCode : 1;
}

async function runProcess(): Promise<void> {
  const outcome: Outcome = { code: 0, logFile: null };
  const isTerminalGone = guardProcess(outcome);
  const code = await main(process.argv.slice(2), outcome).catch((error) => fail(error, outcome));
  process.stdout.write('', () => {
    if (isTerminalGone()) dieOfHangup();
    process.exit(code);
  });
}

/** Node's own exit wants to set the terminal back, and aborts where it is gone: that could dump what we hold. */
function dieOfHangup(): void {
  process.removeAllListeners('SIGHUP');
  process.kill(process.pid, 'SIGHUP');
}

/**
 * What Node would do by itself, and a process that holds credentials and a session must not.
 *
 * @returns Whether the terminal turned out to be gone.
 */
function guardProcess(outcome: Outcome): () => boolean {
  let isTerminalGone = false;
  const noteTerminal = ({ code }: NodeJS.ErrnoException): boolean => {
    isTerminalGone ||= code === 'EIO';
    return code === 'EIO';
  };
  // A reader that went away, as in `kontext audit tail | head`, is no error; a terminal that is gone sends SIGHUP.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (!noteTerminal(error)) process.exit(error.code === 'EPIPE' ? 0 : 1);
  });
  // Where nobody reads what is said, the session still has to be ended.
  process.stderr.on('error', noteTerminal);
  // Node would open a debugger, through which any program of this machine can read what this process holds.
  process.on('SIGUSR1', () => undefined);
  // Node would print the error, and with it whatever value it speaks of.
  process.on('uncaughtException', (error) => {
    void fail(error, outcome).then((code) => process.exit(code));
  });
  return () => isTerminalGone;
}

if (process.argv[2] === 'hook') {
  import('./commands/hook.ts').then(({ runHook }) => runHook(process.argv.slice(3)));
} else {
  void runProcess();
}
