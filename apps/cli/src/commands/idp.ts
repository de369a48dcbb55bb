import { KontextError } from '@kontext/errors';
import type { IdentityProvider } from '@kontext/protocol';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import { withClients } from '../rpc/open-backend.ts';
import { readSecret } from '../session/read-secret.ts';
import { refuseInSession } from '../session/refuse-in-session.ts';

interface AddOptions {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientAuth: string;
  readonly scope: string[];
  readonly groupsClaim: string;
  readonly groupRole: string[];
  readonly emailDomain: string[];
  readonly admitNewMembers?: boolean;
  readonly revalidateSeconds: string;
}

/** `kontext idp add|ls|rm` */
export function define(command: Command, run: RunCommand): void {
  command
    .command('add <name>')
    .description(
      'let the organisation log in through an OpenID provider (owners); the client secret comes from standard input or a prompt',
    )
    .requiredOption('--issuer <url>', 'exactly as in its metadata')
    .requiredOption('--client-id <id>', 'our client there')
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
    .action((name: string, options: AddOptions) => run({}, (context) => add(context, name, options)));
  command
    .command('ls')
    .description('list the identity providers of the organisation, and what to register at them')
    .option('--json', 'as JSON')
    .action((options: { json?: boolean }) => run({}, (context) => list(context, options.json ?? false)));
  command
    .command('rm <name>')
    .description('remove an identity provider (owners); everybody it vouched for is logged out')
    .action((name: string) => run({}, (context) => remove(context, name)));
}

const collect = (value: string, earlier: readonly string[]): string[] => [...earlier, value];

async function add(context: Context, name: string, options: AddOptions): Promise<number> {
  const { terminal, signal } = context;
  refuseInSession(context);
  const identityProvider = describeWanted(name, options);
  const needsSecret = /^client_secret_/.test(options.clientAuth);
  const secret = needsSecret ? await readSecret(terminal, `the client secret at ${options.issuer}`) : null;
  const request = { identityProvider, clientSecret: secret?.reveal() ?? '' };
  const added = await withClients(context, (clients) =>
    clients.identityProviders.addIdentityProvider(request, { signal }),
  );
  terminal.note(`added the identity provider ${name}; register there:`);
  terminal.out(`callback URL: ${added.identityProvider?.callbackUrl ?? ''}`);
  terminal.out(`back-channel logout URL: ${added.identityProvider?.backchannelLogoutUrl ?? ''}`);
  return 0;
}

/** @throws KontextError `KX_USAGE` for what is no number, or no group with a role. */
function describeWanted(name: string, options: AddOptions) {
  const revalidateSeconds = Number(options.revalidateSeconds);
  if (!Number.isInteger(revalidateSeconds) || revalidateSeconds < 0 || revalidateSeconds > 1_000_000)
    throw new KontextError('KX_USAGE', '--revalidate-seconds is not a number of seconds');
  const roles = options.groupRole.map((text) => {
    // A group may have a `=` in its name, a role has none.
    const at = text.lastIndexOf('=');
    if (at < 1) throw new KontextError('KX_USAGE', `--group-role ${text} is not group=role`);
    return [text.slice(0, at), text.slice(at + 1)] as const;
  });
  const { issuer, clientId, clientAuth, groupsClaim } = options;
  return {
    ...{ name, issuer, clientId, clientAuth, groupsClaim, revalidateSeconds },
    scopes: options.scope,
    groupRoles: Object.fromEntries(roles),
    emailDomains: options.emailDomain,
    admitsNewMembers: options.admitNewMembers === true,
  };
}

async function list(context: Context, json: boolean): Promise<number> {
  const { terminal, signal } = context;
  const { identityProviders } = await withClients(context, (clients) =>
    clients.identityProviders.listIdentityProviders({}, { signal }),
  );
  if (json) terminal.json(identityProviders.map(describe));
  else {
    const rows = identityProviders.map((one) => [
      ...[one.name, one.issuer, one.emailDomains.join(' ') || '-'],
      ...[one.admitsNewMembers ? 'admitted' : 'invited', one.callbackUrl],
    ]);
    terminal.table(['NAME', 'ISSUER', 'DOMAINS', 'NEW MEMBERS', 'CALLBACK URL'], rows);
  }
  return 0;
}

async function remove(context: Context, name: string): Promise<number> {
  const { terminal, signal } = context;
  refuseInSession(context);
  const { loginsEnded } = await withClients(context, (clients) =>
    clients.identityProviders.removeIdentityProvider({ name }, { signal }),
  );
  terminal.note(`removed the identity provider ${name}; ${loginsEnded} logins ended`);
  return 0;
}

/** Without the parts of the message that are only the library's. */
const describe = (one: IdentityProvider) => ({
  ...{ id: one.id, name: one.name, issuer: one.issuer, clientId: one.clientId, clientAuth: one.clientAuth },
  ...{ scopes: one.scopes, groupsClaim: one.groupsClaim, groupRoles: one.groupRoles },
  ...{ emailDomains: one.emailDomains, admitsNewMembers: one.admitsNewMembers },
  ...{ revalidateSeconds: one.revalidateSeconds, callbackUrl: one.callbackUrl },
  backchannelLogoutUrl: one.backchannelLogoutUrl,
});
