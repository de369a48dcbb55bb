import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { KontextError } from '@kontext/errors';
import { type Command, Option } from 'commander';
import { findAdapter } from '../agents/agents.ts';
import type { Context, RunCommand } from '../context.ts';
import { openBackendOrLogIn } from '../login/ensure-login.ts';
import { type Backend, openBackend } from '../rpc/open-backend.ts';
import { findExecutable } from '../session/find-executable.ts';
import { loadTemplate, reportProblems } from '../session/load-template.ts';
import { readUserFile } from '../session/read-user-file.ts';
import { refuseNested } from '../session/refuse-nested.ts';
import type { Preparation } from '../session/session-run.ts';
import { requireTrust } from '../session/trust-store.ts';

interface StartOptions {
  readonly agent?: string;
  readonly envFile?: string;
  readonly mode?: string;
  readonly strict?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
  readonly trust?: boolean;
  readonly allowMissing?: boolean;
  readonly offline?: boolean;
  readonly local?: boolean;
}

/** `kontext start [options] -- agent arguments` */
export function define(command: Command, run: RunCommand): void {
  command
    .argument('[args...]', 'arguments of the agent, after --')
    .option('--agent <name>', 'coding agent to run')
    .option('--env-file <file>', 'env template')
    .option('--mode <mode>', 'observe or enforce; may only raise what the organisation set')
    .option('--strict', 'any problem of the template is an error')
    .option('--dry-run', 'show what would be set, never a value, and run nothing')
    .option('--json', 'with --dry-run: as JSON')
    .option('--trust', 'trust the template without being asked')
    .option('--allow-missing', 'go on without credentials that are not available')
    .addOption(new Option('--offline', 'start without the backend').hideHelp())
    .option(
      '--local',
      'no login, no credentials, no network: starter rules, rules of this machine, and a record in a file',
    )
    .action((args: readonly string[], options: StartOptions) => {
      const { agent, envFile, mode } = options;
      return run({ agent, envFile, mode }, (context) => start(context, args, options));
    });
}

async function start(context: Context, args: readonly string[], options: StartOptions): Promise<number> {
  if (options.offline) throw new KontextError('KX_OFFLINE_UNSUPPORTED', '--offline is not built yet');
  if (options.json && !options.dryRun) throw new KontextError('KX_USAGE', '--json goes with --dry-run');
  if (options.local && options.dryRun) throw new KontextError('KX_USAGE', '--local has no --dry-run');
  const { config } = context;
  const adapter = findAdapter(config.agent);
  const plan = adapter.planLaunch(args, (path) => readUserFile(path, config.cwd));
  if (options.dryRun) {
    const { showDryRun } = await import('../session/dry-run.ts');
    return showDryRun(context, await takeTemplate(context, options), options.json ?? false);
  }
  const command = findExecutable(adapter.executable, config.environment.PATH);
  if (Object.keys(plan.userSettings).length > 0) {
    const { checkSettings } = await import('../session/check-settings.ts');
    await checkSettings({ ...config, adapter, command, plan, signal: context.signal });
  }
  if (options.local) return startLocal(context, { adapter, command, plan }, options);
  // The keyring answers while the template is read; what it says is heard afterwards.
  const opening = openBackend(context);
  opening.catch(() => undefined);
  const template = await takeTemplate(context, options);
  return startSession(context, { adapter, command, plan, template }, options, opening);
}

/** A template at its usual place may be missing: there are no credentials to put into it. One that was named may not. */
async function startLocal(
  context: Context,
  preparation: Omit<Preparation, 'template'>,
  options: StartOptions,
): Promise<number> {
  refuseNested(context.config, 'start --local');
  const { emptyTemplate, runLocalSession } = await import('../session/local-session.ts');
  const { envFile, cwd } = context.config;
  const isMissing = envFile === join(cwd, '.env.kontext') && !existsSync(envFile);
  const template = isMissing ? emptyTemplate() : await takeTemplate(context, options);
  return runLocalSession(context, { ...preparation, template }, options.strict ?? false);
}

/** Reads the template and has it trusted. */
async function takeTemplate({ config, terminal, signal }: Context, options: StartOptions) {
  const path = config.envFile;
  const template = loadTemplate(path);
  reportProblems(template, path, terminal, options.strict ?? false);
  const accept = options.trust ?? false;
  if (!options.dryRun) await requireTrust({ config, terminal, path, template, accept, signal });
  return template;
}

async function startSession(
  context: Context,
  preparation: Preparation,
  options: StartOptions,
  opening: Promise<Backend>,
): Promise<number> {
  const backend = await openBackendOrLogIn(context, opening);
  try {
    // Most of the program is loaded while the backend makes an access token, once the request is on its way.
    const [{ runSession }] = await Promise.all([
      nextTurn()
        .then(() => nextTurn())
        .then(() => import('../session/run-session.ts')),
      backend.authenticate(),
    ]);
    return await runSession({ context, backend, preparation, allowMissing: options.allowMissing ?? false });
  } finally {
    backend.close();
  }
}
