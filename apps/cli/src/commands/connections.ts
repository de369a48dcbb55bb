import { KontextError } from '@kontext/errors';
import { type Connection, ConnectionState } from '@kontext/protocol';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { withClients } from '../rpc/open-backend.ts';
import { connectAndWait, type WaitOptions } from '../session/connect-provider.ts';
import { refuseNested } from '../session/refuse-nested.ts';

interface ReconnectOptions extends WaitOptions {
  readonly scope?: readonly string[];
}

/** `kontext connections ls|reconnect|test|revoke` */
export function define(command: Command, run: RunCommand): void {
  command
    .command('ls')
    .description('list connections')
    .option('--json', 'as JSON')
    .action((options: { json?: boolean }) =>
      run({}, (context) => withClients(context, (clients) => list(context, clients, options.json ?? false))),
    );
  command
    .command('reconnect <connection>')
    .description('log in to its provider again; with --scope also for more access')
    .option('--scope <scope...>', 'scopes to ask for, besides those it has')
    .option('--wait', 'without a terminal: print the link and wait until it was used')
    .option('--no-browser', 'do not open a browser')
    .action((id: string, options: ReconnectOptions) =>
      run({}, (context) => withClients(context, (clients) => reconnect(context, clients, id, options))),
    );
  command
    .command('test <connection>')
    .description('ask the provider whether the connection works')
    .option('--json', 'as JSON')
    .action((id: string, options: { json?: boolean }) =>
      run({}, (context) =>
        withClients(context, (clients) => check(context, clients, id, options.json ?? false)),
      ),
    );
  command
    .command('revoke <connection>')
    .description('end a connection and the credentials made from it')
    .action((id: string) =>
      run({}, (context) => {
        refuseNested(context.config, 'connections revoke');
        return withClients(context, (clients) => revoke(context, clients, id));
      }),
    );
}

async function list({ terminal, signal }: Context, clients: Clients, json: boolean): Promise<number> {
  const { connections } = await clients.connections.listConnections({}, { signal });
  if (json) {
    terminal.json(connections.map(describeConnection));
    return 0;
  }
  const rows = connections.map(describeConnection).map((c) => {
    const scopes = c.scopes.length === 0 ? '-' : c.scopes.join(' ');
    return [c.provider, c.name, c.state, c.shared ? 'organisation' : 'you', scopes, c.id];
  });
  terminal.table(['PROVIDER', 'NAME', 'STATE', 'OWNER', 'SCOPES', 'ID'], rows);
  if (rows.length === 0) terminal.note('there are no connections; run `kontext connect <provider>`');
  return 0;
}

/** Begins the same connection anew; what it can do already is asked for again. */
async function reconnect(
  context: Context,
  clients: Clients,
  id: string,
  options: ReconnectOptions,
): Promise<number> {
  const { signal } = context;
  const { connection } = await clients.connections.getConnection({ connectionId: id }, { signal });
  if (connection === undefined)
    throw new KontextError('KX_CONNECTION_NOT_FOUND', `there is no connection ${id}`);
  const { provider, name, shared, scopes } = connection;
  const wanted = [...new Set([...scopes, ...(options.scope ?? [])])];
  return connectAndWait(context, clients, { provider, name, shared, scopes: wanted }, options);
}

async function check(
  { terminal, signal }: Context,
  clients: Clients,
  id: string,
  json: boolean,
): Promise<number> {
  const answer = await clients.connections.testConnection({ connectionId: id }, { signal });
  const { works, message, scopes, account } = answer;
  if (json) terminal.json({ id, works, message, scopes, account });
  else {
    const facts = [account && `account ${account}`, scopes.length > 0 && `scopes ${scopes.join(' ')}`];
    terminal.out([works ? 'works' : 'does not work', message, ...facts].filter(Boolean).join('; '));
  }
  return works ? 0 : 1;
}

async function revoke({ terminal, signal }: Context, clients: Clients, id: string): Promise<number> {
  const answer = await clients.connections.revokeConnection({ connectionId: id }, { signal });
  terminal.note(`${id} is revoked`);
  if (!answer.revokedAtProvider) {
    terminal.warn(`the provider was not told: ${answer.message || 'it has no way to revoke'}`);
  }
  return 0;
}

const describeConnection = (connection: Connection) => ({
  id: connection.id,
  provider: connection.provider,
  name: connection.name,
  state: stateNames[connection.state] ?? 'unknown',
  shared: connection.shared,
  scopes: connection.scopes,
  connectedAt: instant(connection.connectedAt),
  lastUsedAt: instant(connection.lastUsedAt),
  account: connection.account,
  failure: connection.failure,
  liveLeases: connection.liveLeases,
});

const stateNames: Readonly<Partial<Record<ConnectionState, string>>> = {
  [ConnectionState.PENDING]: 'pending',
  [ConnectionState.CONNECTED]: 'connected',
  [ConnectionState.REAUTH_REQUIRED]: 'reauth_required',
  [ConnectionState.REVOKED]: 'revoked',
};

const instant = (at: Connection['connectedAt']): string | null =>
  at === undefined ? null : new Date(Number(at.seconds) * 1000).toISOString();
