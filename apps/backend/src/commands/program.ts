import { Command } from 'commander';
import { loadConfig } from '../config.ts';
import type { NewLocalAccount } from '../login/local-accounts.ts';
import { version } from '../version.ts';
import { addUserCommand, createOrganisationCommand, migrate } from './administer.ts';
import { createKeys, formatKeys, keysStatus, rotateKeys } from './keys.ts';

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
  addKeysCommands(program, print);
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

function addKeysCommands(program: Command, print: (line: string) => void): void {
  const say = (line: string): void => print(`kontext-backend: ${line}`);
  const keys = program.command('keys').description('key-encryption keys of the vault');
  keys
    .command('create')
    .description('make the key file (KONTEXT_KEK_FILE); an existing one is never replaced')
    .action(() => {
      say(`made the key file ${createKeys(loadConfig())}`);
      say('back it up, and apart from the database: without it nothing sealed can be opened');
    });
  keys
    .command('rotate')
    .description('seal under another key from now on and re-wrap what is stored, while backends run')
    .option('--prepare', 'only add a key to the key file, to copy the file to every replica first', false)
    .option('--to <key>', 'a key of the configuration; default: a new one')
    .action(async ({ to, prepare }: { to?: string; prepare: boolean }) => {
      for (const line of await rotateKeys(loadConfig(), { to: to ?? null, prepare })) say(line);
    });
  keys
    .command('status')
    .description('show every key, its state, how often it was used, how many secrets lie under it')
    .option('--json', 'print JSON', false)
    .action(async ({ json }: { json: boolean }) => {
      const report = await keysStatus(loadConfig());
      if (json) print(JSON.stringify(report, null, 2));
      else for (const line of formatKeys(report, new Date())) print(line);
    });
}

const collect = (value: string, earlier: readonly string[]): string[] => [...earlier, value];

function describeAccount({ orgId, userId, account, passcode }: NewLocalAccount): string[] {
  const who = `kontext-backend: ${account} is ${userId} of ${orgId}`;
  return passcode === '' ? [who] : [who, `kontext-backend: local account: ${account}  passcode: ${passcode}`];
}
