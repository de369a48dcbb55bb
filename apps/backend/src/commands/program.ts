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
  addSigningKeysCommand(program, print);
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
  addIdentityProviderCommands(program, print);
  return program;
}

interface IdpOptions {
  readonly org: string;
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecretFile?: string;
  readonly clientAuth: string;
  readonly scope: string[];
  readonly groupsClaim: string;
  readonly groupRole: string[];
  readonly emailDomain: string[];
  readonly admitNewMembers?: boolean;
  readonly revalidateSeconds: string;
}

/** They load the relying party only when they run. */
function addIdentityProviderCommands(program: Command, print: (line: string) => void): void {
  const say = (line: string): void => print(`kontext-backend: ${line}`);
  const load = () => import('./identity-providers.ts');
  const idp = program.command('idp').description('identity providers that organisations log in through');
  const org = ['--org <name>', 'organisation', 'default'] as const;
  idp
    .command('add <name>')
    .description('let an organisation log in through an OpenID provider; prints what to register there')
    .option(...org)
    .requiredOption('--issuer <url>', 'exactly as in its metadata')
    .requiredOption('--client-id <id>', 'our client there')
    .option('--client-secret-file <path>', 'file with the client secret; - is standard input')
    .option(
      '--client-auth <method>',
      'client_secret_basic, client_secret_post, private_key_jwt or none',
      'client_secret_basic',
    )
    .option(
      '--scope <scope>',
      'scope to ask for, instead of what it offers; may be given several times',
      collect,
      [],
    )
    .option('--groups-claim <name>', 'claim with the groups; with dots a path', 'groups')
    .option('--group-role <group=role>', 'role for a group; may be given several times', collect, [])
    .option(
      '--email-domain <domain>',
      'people with such addresses find the organisation; may be given several times',
      collect,
      [],
    )
    .option(
      '--admit-new-members',
      'whoever it vouches for becomes a member, within the e-mail domains if there are any',
    )
    .option('--revalidate-seconds <n>', 'how long its word counts, 10 to 43200', '43200')
    .action(async (name: string, options: IdpOptions) => {
      const { addIdentityProviderCommand, describeIdentityProvider } = await load();
      const config = loadConfig();
      const { issuer, clientId, clientAuth, groupsClaim } = options;
      const row = await addIdentityProviderCommand(config, {
        ...{ name, issuer, clientId, clientAuth, groupsClaim, orgSlug: options.org, scopes: options.scope },
        clientSecretFile: options.clientSecretFile ?? null,
        groupRoles: Object.fromEntries(options.groupRole.map(splitAtLastEquals)),
        emailDomains: options.emailDomain,
        admitsNewMembers: options.admitNewMembers === true,
        revalidateSeconds: Number(options.revalidateSeconds),
      });
      describeIdentityProvider(config, row).forEach(say);
    });
  idp
    .command('ls')
    .description('list the identity providers of an organisation')
    .option(...org)
    .action(async (options: { org: string }) => {
      const { describeIdentityProvider, listIdentityProvidersCommand } = await load();
      const config = loadConfig();
      const rows = await listIdentityProvidersCommand(config, options.org);
      for (const row of rows) describeIdentityProvider(config, row).forEach(say);
    });
  idp
    .command('rm <name>')
    .description('remove an identity provider; everybody it vouched for is logged out')
    .option(...org)
    .action(async (name: string, options: { org: string }) => {
      const { removeIdentityProviderCommand } = await load();
      const ended = await removeIdentityProviderCommand(loadConfig(), options.org, name);
      say(`removed the identity provider ${name}; ${ended} logins ended`);
    });
}

/** A group may have a `=` in its name, a role has none. */
function splitAtLastEquals(text: string): [string, string] {
  const at = text.lastIndexOf('=');
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
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

function addSigningKeysCommand(program: Command, print: (line: string) => void): void {
  program
    .command('signing-keys')
    .description('keys that sign access tokens')
    .command('rotate')
    .description('let the next key sign; a backend does it by itself every 90 days')
    .action(async () => {
      const { rotateSigningKeysCommand } = await import('./signing-keys.ts');
      for (const line of await rotateSigningKeysCommand(loadConfig())) print(`kontext-backend: ${line}`);
    });
}

const collect = (value: string, earlier: readonly string[]): string[] => [...earlier, value];

function describeAccount({ orgId, userId, account, passcode }: NewLocalAccount): string[] {
  const who = `kontext-backend: ${account} is ${userId} of ${orgId}`;
  return passcode === '' ? [who] : [who, `kontext-backend: local account: ${account}  passcode: ${passcode}`];
}
