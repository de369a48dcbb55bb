#!/usr/bin/env node
import { formatError, KontextError } from '@kontext/errors';
import { Command, CommanderError } from 'commander';
import { addUserCommand, createOrganisationCommand, migrate } from './commands/administer.ts';
import { loadConfig } from './config.ts';
import { createLogger, describeError } from './log.ts';
import type { NewLocalAccount } from './login/local-accounts.ts';
import { version } from './version.ts';

/** Longest a stop may take before the process ends anyway. */
const stopDeadlineMs = 10_000;

const print = (line: string): void => void process.stdout.write(`${line}\n`);

function buildProgram(): Command {
  const program = new Command('kontext-backend');
  program
    .description('Credential broker for AI coding agents: the backend. It is configured by its environment.')
    .version(version, '--version')
    .exitOverride()
    .showHelpAfterError('(see kontext-backend --help)');
  program.command('serve').description('run the backend').action(serveUntilStopped);
  program
    .command('migrate')
    .description('bring the database schema up to date')
    .action(async () => print(`kontext-backend: ${await migrate(loadConfig())} migrations ran`));
  const org = program.command('org').description('organisations');
  org
    .command('create <name>')
    .description('make an organisation and its owner')
    .requiredOption('--owner <account>', 'name of the owner: an e-mail address, or a local account name')
    .action(async (name: string, options: { owner: string }) =>
      printAccount(await createOrganisationCommand(loadConfig(), name, options.owner)),
    );
  const user = program.command('user').description('people');
  user
    .command('add <account>')
    .description('add a person to an organisation')
    .option('--org <name>', 'organisation', 'default')
    .option('--role <role>', 'owner, admin, security, approver, auditor or member', 'member')
    .option('--group <name>', 'group that policies see; may be given several times', collect, [])
    .action(async (name: string, options: { org: string; role: string; group: string[] }) => {
      const { org: orgSlug, role, group: groups } = options;
      printAccount(await addUserCommand(loadConfig(), { orgSlug, name, role, groups }));
    });
  return program;
}

const collect = (value: string, earlier: readonly string[]): string[] => [...earlier, value];

function printAccount({ orgId, userId, account, passcode }: NewLocalAccount): void {
  print(`kontext-backend: ${account} is ${userId} of ${orgId}`);
  if (passcode !== '') print(`kontext-backend: local account: ${account}  passcode: ${passcode}`);
}

async function serveUntilStopped(): Promise<void> {
  const config = loadConfig();
  const logger = createLogger(config.logLevel);
  const stopped = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => resolve(signal));
  });
  // Loaded here: the other commands need no authorization server.
  const { serve } = await import('./commands/serve.ts');
  const backend = await serve(config, logger, print);
  const signal = await stopped;
  logger.info({ signal }, 'stopping');
  // A second signal, or a request that never ends, must not keep the process.
  for (const again of ['SIGTERM', 'SIGINT'] as const) process.on(again, () => process.exit(1));
  setTimeout(() => process.exit(1), stopDeadlineMs).unref();
  await backend.close();
}

async function main(): Promise<number> {
  try {
    await buildProgram().parseAsync();
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 64;
    process.stderr.write(`${formatError(error)}\n`);
    if (error instanceof KontextError) return error.spec.exitCode;
    process.stderr.write(`${JSON.stringify(describeError(error))}\n`);
    return 1;
  }
}

process.exitCode = await main();
