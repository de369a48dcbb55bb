import { KontextError } from '@kontext/errors';
import { ClientAuth, type Provider, ProviderKind } from '@kontext/protocol';
import { type Command, Option } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { withClients } from '../rpc/open-backend.ts';
import { readSecret } from '../session/read-secret.ts';
import { refuseNested } from '../session/refuse-nested.ts';

interface AddOptions {
  readonly static?: boolean;
  readonly clientId?: string;
  readonly authorizationEndpoint?: string;
  readonly tokenEndpoint?: string;
  readonly revocationEndpoint?: string;
  readonly scope?: readonly string[];
  readonly clientAuth: 'basic' | 'post' | 'none';
}

/** `kontext providers add|ls|rm` */
export function define(command: Command, run: RunCommand): void {
  command
    .command('add <name>')
    .description('add a provider; its client secret comes from standard input or a prompt that shows nothing')
    .option('--static', 'a static key, put with `kontext secrets put`; needs no other option')
    .option('--client-id <id>', 'client id the provider gave')
    .option('--authorization-endpoint <url>', 'where users grant access (RFC 6749 §3.1)')
    .option('--token-endpoint <url>', 'where codes become tokens (RFC 6749 §3.2)')
    .option('--revocation-endpoint <url>', 'where tokens are revoked (RFC 7009)')
    .option('--scope <scope...>', 'scopes a connection asks for')
    .addOption(
      new Option('--client-auth <method>', 'how the backend proves itself at the token endpoint')
        .choices(['basic', 'post', 'none'])
        .default('basic'),
    )
    .action((name: string, options: AddOptions) =>
      run({}, (context) => withBackend(context, 'providers add', (b) => add(context, b, name, options))),
    );
  command
    .command('ls')
    .description('list providers')
    .option('--json', 'as JSON')
    .action((options: { json?: boolean }) =>
      run({}, (context) => withBackend(context, null, (b) => list(context, b, options.json ?? false))),
    );
  command
    .command('rm <name>')
    .description('remove a provider')
    .option('--force', 'with its connections')
    .action((name: string, options: { force?: boolean }) =>
      run({}, (context) =>
        withBackend(context, 'providers rm', async (clients) => {
          const request = { name, force: options.force ?? false };
          await clients.providers.removeProvider(request, { signal: context.signal });
          context.terminal.note(`removed ${name}`);
          return 0;
        }),
      ),
    );
}

async function add(context: Context, clients: Clients, name: string, options: AddOptions): Promise<number> {
  const { terminal, signal } = context;
  const wanted = options.static ? { name, kind: ProviderKind.STATIC } : oauthProvider(name, options);
  const hasSecret = !options.static && options.clientAuth !== 'none';
  const clientSecret = hasSecret ? (await readSecret(terminal, `the client secret of ${name}`)).reveal() : '';
  const { provider } = await clients.providers.addProvider({ provider: wanted, clientSecret }, { signal });
  terminal.note(`added ${name}`);
  if (options.static) {
    terminal.note(`next: run \`kontext secrets put ${name}\``);
  } else {
    terminal.note(`register this callback URL at ${name}:`);
    terminal.out(provider?.callbackUrl ?? '');
    terminal.note(`next: run \`kontext connect ${name}\``);
  }
  return 0;
}

function oauthProvider(name: string, options: AddOptions) {
  const need = (value: string | undefined, flag: string): string => {
    if (value) return value;
    throw new KontextError('KX_USAGE', `${flag} is missing`, {
      why: 'an OAuth provider needs a client id and two endpoints',
      hint: 'give it, or pass --static for a provider with a static key',
    });
  };
  return {
    name,
    kind: ProviderKind.OAUTH2,
    clientId: need(options.clientId, '--client-id'),
    authorizationEndpoint: need(options.authorizationEndpoint, '--authorization-endpoint'),
    tokenEndpoint: need(options.tokenEndpoint, '--token-endpoint'),
    revocationEndpoint: options.revocationEndpoint ?? '',
    scopes: [...(options.scope ?? [])],
    clientAuth: clientAuths[options.clientAuth],
  };
}

const clientAuths = {
  basic: ClientAuth.SECRET_BASIC,
  post: ClientAuth.SECRET_POST,
  none: ClientAuth.NONE,
} as const;

async function list({ terminal, signal }: Context, clients: Clients, json: boolean): Promise<number> {
  const { providers } = await clients.providers.listProviders({}, { signal });
  if (json) {
    terminal.json(providers.map(describeProvider));
    return 0;
  }
  const rows = providers
    .map(describeProvider)
    .map((p) => [p.name, p.kind, p.clientId || '-', p.scopes.join(' ') || '-', p.callbackUrl || '-']);
  terminal.table(['NAME', 'KIND', 'CLIENT ID', 'SCOPES', 'CALLBACK URL'], rows);
  if (rows.length === 0) terminal.note('there are no providers; run `kontext providers add --help`');
  return 0;
}

const describeProvider = (provider: Provider) => ({
  name: provider.name,
  kind:
    provider.kind === ProviderKind.STATIC
      ? 'static'
      : provider.kind === ProviderKind.OAUTH2
        ? 'oauth2'
        : 'unknown',
  clientId: provider.clientId,
  authorizationEndpoint: provider.authorizationEndpoint,
  tokenEndpoint: provider.tokenEndpoint,
  revocationEndpoint: provider.revocationEndpoint,
  scopes: provider.scopes,
  callbackUrl: provider.callbackUrl,
});

/** @param guarded Name of a command that may not run inside a session, null when it may. */
async function withBackend(
  context: Context,
  guarded: string | null,
  work: (clients: Clients) => Promise<number>,
): Promise<number> {
  if (guarded !== null) refuseNested(context.config, guarded);
  return withClients(context, work);
}
