import { Command } from 'commander';
import { loadConfig } from '../config.ts';
import type { NewLocalAccount } from '../login/local-accounts.ts';
import { version } from '../version.ts';
import { addUserCommand, createKeys, createOrganisationCommand, migrate } from './administer.ts';

/** What the command line does beside administering. */
export interface ProgramParts {
  /** Writes one line of results. */
  readonly print: (line: string) => void;
  /** Runs until it is stopped. */
  readonly serve: () => Promise<void>;
}

/** Creates the command line of `kontext-backend`; it throws `CommanderError` instead of ending the process. */
export function createProgram({ print, serve }: ProgramParts): Command {
  const printAccount = (account: NewLocalAccount): void => describeAccount(account).forEach(print);
  const program = new Command('kontext-backend');
  program
    .description('Credential broker for AI coding agents: the backend. It is configured by its environment.')
    .version(version, '--version')
    .exitOverride()
    .showHelpAfterError('(see kontext-backend --help)');
  program.command('serve').description('run the backend').action(serve);
  program
    .command('migrate')
    .description('bring the database schema up to date')
    .action(async () => print(`kontext-backend: ${await migrate(loadConfig())} migrations ran`));
  program
    .command('keys')
    .description('key-encryption keys of the vault')
    .command('create')
    .description('make the key file (KONTEXT_KEK_FILE); an existing one is never replaced')
    .action(() => {
      print(`kontext-backend: made the key file ${createKeys(loadConfig())}`);
      print(
        'kontext-backend: back it up, and apart from the database: without it nothing sealed can be opened',
      );
    });
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

function describeAccount({ orgId, userId, account, passcode }: NewLocalAccount): string[] {
  const who = `kontext-backend: ${account} is ${userId} of ${orgId}`;
  return passcode === '' ? [who] : [who, `kontext-backend: local account: ${account}  passcode: ${passcode}`];
}
