import { listPlaceholders } from '@kontext/env-template';
import { KontextError } from '@kontext/errors';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import { openBackendOrLogIn } from '../login/ensure-login.ts';
import { buildChildEnv } from '../session/child-env.ts';
import { describeCredentials } from '../session/describe-credentials.ts';
import { showDryRun } from '../session/dry-run.ts';
import { findExecutable } from '../session/find-executable.ts';
import { loadTemplate, reportProblems } from '../session/load-template.ts';
import { openSession } from '../session/open-session.ts';
import { readRepository } from '../session/read-repository.ts';
import { resolveOrAsk } from '../session/resolve-or-ask.ts';
import { spawnChild } from '../session/spawn-agent.ts';
import { requireTrust } from '../session/trust-store.ts';

interface RunOptions {
  readonly envFile?: string;
  readonly strict?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
  readonly trust?: boolean;
  readonly allowMissing?: boolean;
}

/** `kontext run [options] -- command` */
export function define(command: Command, run: RunCommand): void {
  command
    .argument('[command...]', 'command and its arguments, after --')
    .option('--env-file <file>', 'env template')
    .option('--strict', 'any problem of the template is an error')
    .option('--dry-run', 'show what would be set, never a value, and run nothing')
    .option('--json', 'with --dry-run: as JSON')
    .option('--trust', 'trust the template without being asked')
    .option('--allow-missing', 'go on without credentials that are not available')
    .action((words: readonly string[], options: RunOptions) =>
      run({ envFile: options.envFile }, (context) => runCommand(context, words, options)),
    );
}

async function runCommand(context: Context, words: readonly string[], options: RunOptions): Promise<number> {
  const { config, terminal, signal } = context;
  if (options.json && !options.dryRun) throw new KontextError('KX_USAGE', '--json goes with --dry-run');
  const [name, ...args] = words;
  if (name === undefined && !options.dryRun) {
    throw new KontextError('KX_USAGE', 'there is no command to run', {
      hint: 'run `kontext run -- command`',
    });
  }
  // Before any login: a command that is not there needs no credentials.
  const command = options.dryRun ? '' : findExecutable(name ?? '', config.environment.PATH);
  const template = loadTemplate(config.envFile);
  reportProblems(template, config.envFile, terminal, options.strict ?? false);
  if (options.dryRun) return showDryRun(context, template, options.json ?? false);
  const accept = options.trust ?? false;
  await requireTrust({ config, terminal, path: config.envFile, template, accept, signal });
  const backend = await openBackendOrLogIn(context);
  let exitCode = 1;
  try {
    const session = await openSession(backend.calls, {
      ...{ agent: 'run', mode: config.mode, signal },
      repository: readRepository(config.cwd),
    });
    try {
      const allowMissing = options.allowMissing ?? false;
      const { credentials } = await resolveOrAsk({
        context,
        backend,
        sessionId: session.id,
        template,
        allowMissing,
      });
      if (listPlaceholders(template.entries).length > 0) {
        terminal.note(`${describeCredentials(credentials)}, session ${session.id}`);
      }
      const { env } = buildChildEnv({
        inherited: config.environment,
        template,
        credentials,
        sessionId: session.id,
      });
      session.startHeartbeats();
      context.releaseSignals();
      exitCode = await spawnChild({ command, args, env });
    } finally {
      await session.end(exitCode);
    }
  } finally {
    backend.close();
  }
  return exitCode;
}
