import { KontextError } from '@kontext/errors';
import { type Provider, ProviderKind } from '@kontext/protocol';
import { type Command, Option } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { withClients } from '../rpc/open-backend.ts';
import {
  type AddOptions,
  clientAuths,
  describesItself,
  wantedProvider,
} from '../session/provider-options.ts';
import { readSecret } from '../session/read-secret.ts';
import { refuseInSession } from '../session/refuse-in-session.ts';

/** `kontext providers catalogue|add|ls|attach|detach|rm` */
export function define(command: Command, run: RunCommand): void {
  defineAdd(command, run);
  command
    .command('catalogue')
    .description('list the services kontext knows by name')
    .option('--json', 'as JSON')
    .action(({ json = false }: { json?: boolean }) =>
      run({}, (context) => withClients(context, (clients) => listCatalogue(context, clients, json))),
    );
  command
    .command('ls')
    .description('list providers with the agents that may use them')
    .option('--json', 'as JSON')
    .action(({ json = false }: { json?: boolean }) =>
      run({}, (context) => withClients(context, (clients) => list(context, clients, json))),
    );
  command
    .command('attach <name> <agent>')
    .description('let an agent have credentials of a provider, or change up to which scopes')
    .option('--scope <scope...>', 'the only scopes it may have; without it no bound of its own')
    .action((name: string, agent: string, { scope = [] }: { scope?: readonly string[] }) =>
      run({}, (context) =>
        change(context, async ({ providers }) => {
          const request = { provider: name, agent, scopes: [...scope] };
          await providers.attachProvider(request, { signal: context.signal });
          context.terminal.note(`attached ${name} to ${agent}`);
        }),
      ),
    );
  command
    .command('detach <name> <agent>')
    .description('take credentials of a provider away from an agent, also those it holds')
    .action((name: string, agent: string) =>
      run({}, (context) =>
        change(context, async ({ providers }) => {
          const request = { provider: name, agent };
          const { leasesEnded } = await providers.detachProvider(request, { signal: context.signal });
          context.terminal.note(`detached ${name} from ${agent}; ended ${leasesEnded} credentials`);
        }),
      ),
    );
  command
    .command('rm <name>')
    .description('remove a provider')
    .option('--force', 'with its connections, revoked at the provider where it can be told')
    .action((name: string, { force = false }: { force?: boolean }) =>
      run({}, (context) => change(context, (clients) => remove(context, clients, name, force))),
    );
}

function defineAdd(command: Command, run: RunCommand): void {
  command
    .command('add <name>')
    .description('add a provider; its secret comes from standard input or a prompt that shows nothing')
    .option('--from <entry>', 'entry of `kontext providers catalogue`; default: the one of that name')
    .option('--static', 'a static key, put with `kontext secrets put`; needs no other option')
    .option('--client-id <id>', 'client id the provider gave')
    .option('--issuer <url>', 'issuer that names its endpoints itself (OpenID Connect Discovery, RFC 8414)')
    .option('--authorization-endpoint <url>', 'where users grant access (RFC 6749 §3.1)')
    .option('--token-endpoint <url>', 'where codes become tokens (RFC 6749 §3.2)')
    .option('--revocation-endpoint <url>', 'where tokens are revoked (RFC 7009)')
    .option('--scope <scope...>', 'scopes a connection asks for')
    .addOption(
      new Option('--client-auth <method>', 'how the backend proves itself at the token endpoint').choices(
        Object.keys(clientAuths),
      ),
    )
    .option('--settings <json>', 'what only this kind of provider has, see docs/providers.md')
    .option('--setting <name=value...>', 'one of those, for example base=https://git.example.com')
    .option('--attach <agents>', 'agents that may use it, for example claude,run')
    .option('--max-login-age <duration>', 'how old a login may be for a credential to leave, such as 8h')
    .option('--approval', 'a person confirms the first credential of every session')
    .option('--lease-ttl <duration>', 'longest life of a credential, such as 15m')
    .option('--no-secret', 'it has none')
    .option('--json', 'print the provider as JSON')
    .action((name: string, options: AddOptions) =>
      run({}, (context) => change(context, (clients) => add(context, clients, name, options))),
    );
}

/** What changes authority is no command for an agent. */
function change(context: Context, work: (clients: Clients) => Promise<void>): Promise<number> {
  refuseInSession(context);
  return withClients(context, async (clients) => {
    await work(clients);
    return 0;
  });
}

async function add(context: Context, clients: Clients, name: string, options: AddOptions): Promise<void> {
  const { terminal, signal } = context;
  const entry = await findEntry(context, clients, name, options);
  const { provider: wanted, needsSecret } = wantedProvider(name, options, entry);
  const clientSecret = needsSecret ? (await readSecret(terminal, `the secret of ${name}`)).reveal() : '';
  const { provider } = await clients.providers.addProvider({ provider: wanted, clientSecret }, { signal });
  terminal.note(`added ${name}`);
  const isOAuth = wanted.kind === ProviderKind.OAUTH2;
  if (isOAuth) terminal.note(`register this callback URL at ${entry?.title || name}:`);
  if (options.json && provider) terminal.json(describeProvider(provider));
  else if (isOAuth) terminal.out(provider?.callbackUrl ?? '');
  if (provider?.agents.length === 0) {
    terminal.note(`no agent may use it yet: run \`kontext providers attach ${name} claude\``);
  }
  const [variable] = provider?.variables ?? [];
  if (variable !== undefined) terminal.note(`in .env.kontext: ${variable}={{kontext:${name}}}`);
  if (isOAuth) terminal.note(`next: run \`kontext connect ${name}\``);
  else if (wanted.kind === ProviderKind.STATIC) terminal.note(`next: run \`kontext secrets put ${name}\``);
}

/** @throws KontextError `KX_USAGE` when `--from` names no entry. */
async function findEntry(
  { signal }: Context,
  { providers }: Clients,
  name: string,
  options: AddOptions,
): Promise<Provider | null> {
  if (describesItself(options)) return null;
  const { entries } = await providers.listCatalogue({}, { signal });
  const id = options.from ?? name;
  const found = entries.find(({ catalogueId }) => catalogueId === id) ?? null;
  if (found !== null || options.from === undefined) return found;
  throw new KontextError('KX_USAGE', 'the catalogue has no entry of that name', {
    why: `--from ${id}`,
    hint: 'run `kontext providers catalogue`',
  });
}

async function listCatalogue(
  { terminal, signal }: Context,
  { providers }: Clients,
  json: boolean,
): Promise<number> {
  const { entries } = await providers.listCatalogue({}, { signal });
  if (json) {
    terminal.json(entries.map(describeEntry));
    return 0;
  }
  const rows = entries
    .map(describeEntry)
    .map((entry) => [entry.id, entry.title, entry.kind, entry.variables.join(' ') || '-']);
  terminal.table(['ENTRY', 'SERVICE', 'KIND', 'VARIABLES'], rows);
  return 0;
}

async function list({ terminal, signal }: Context, clients: Clients, json: boolean): Promise<number> {
  const { providers } = await clients.providers.listProviders({}, { signal });
  if (json) {
    terminal.json(providers.map(describeProvider));
    return 0;
  }
  const rows = providers
    .map(describeProvider)
    .map((p) => [
      ...[
        p.name,
        p.catalogueId || p.kind,
        p.agents.map(shownAgent).join(' ') || '-',
        p.scopes.join(' ') || '-',
      ],
      ...[shownBounds(p) || '-', p.callbackUrl || '-'],
    ]);
  terminal.table(['NAME', 'KIND', 'AGENTS', 'SCOPES', 'BOUNDS', 'CALLBACK URL'], rows);
  if (rows.length === 0) terminal.note('there are no providers; run `kontext providers add --help`');
  return 0;
}

async function remove(
  { terminal, signal }: Context,
  { providers }: Clients,
  name: string,
  force: boolean,
): Promise<void> {
  const { revokedAtProvider, message } = await providers.removeProvider({ name, force }, { signal });
  terminal.note(`removed ${name}`);
  if (revokedAtProvider > 0) terminal.note(`revoked ${revokedAtProvider} connections there`);
  if (message !== '') terminal.warn(message);
}

const kinds: Readonly<Record<number, string>> = {
  [ProviderKind.OAUTH2]: 'oauth2',
  [ProviderKind.STATIC]: 'static',
  [ProviderKind.GITHUB_APP]: 'github_app',
  [ProviderKind.AWS_STS]: 'aws_sts',
  [ProviderKind.POSTGRES]: 'postgres',
  [ProviderKind.TOKEN_EXCHANGE]: 'token_exchange',
};
const kindOf = (kind: ProviderKind): string => kinds[kind] ?? 'unknown';

const describeProvider = (provider: Provider) => ({
  ...{ name: provider.name, kind: kindOf(provider.kind), catalogueId: provider.catalogueId },
  ...{ title: provider.title, clientId: provider.clientId, issuer: provider.issuer },
  authorizationEndpoint: provider.authorizationEndpoint,
  tokenEndpoint: provider.tokenEndpoint,
  revocationEndpoint: provider.revocationEndpoint,
  ...{ scopes: provider.scopes, callbackUrl: provider.callbackUrl, variables: provider.variables },
  agents: provider.agents.map(({ agent, scopes }) => ({ agent, scopes })),
  settings: provider.settingsJson,
  ...{ maxLoginAgeSeconds: provider.maxLoginAgeSeconds, needsApproval: provider.needsApproval },
  leaseTtlSeconds: provider.leaseTtlSeconds,
});

const describeEntry = (entry: Provider) => ({
  ...{ id: entry.catalogueId, title: entry.title, kind: kindOf(entry.kind), scopes: entry.scopes },
  ...{ variables: entry.variables, settings: entry.settingsJson },
  authorizationEndpoint: entry.authorizationEndpoint,
  tokenEndpoint: entry.tokenEndpoint,
  revocationEndpoint: entry.revocationEndpoint,
});

const shownAgent = ({
  agent,
  scopes,
}: {
  readonly agent: string;
  readonly scopes: readonly string[];
}): string => (scopes.length === 0 ? agent : `${agent}(${scopes.join(',')})`);

const shownBounds = (p: ReturnType<typeof describeProvider>): string =>
  [
    p.maxLoginAgeSeconds > 0 ? `login ≤ ${p.maxLoginAgeSeconds} s` : '',
    p.needsApproval ? 'approval' : '',
    p.leaseTtlSeconds > 0 ? `lease ≤ ${p.leaseTtlSeconds} s` : '',
  ]
    .filter((part) => part !== '')
    .join(', ');
