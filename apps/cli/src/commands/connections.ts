import { type Connection, ConnectionState } from '@kontext/protocol';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { withClients } from '../rpc/open-backend.ts';
import { refuseNested } from '../session/refuse-nested.ts';

/** `kontext connections ls|revoke` */
export function define(command: Command, run: RunCommand): void {
  command
    .command('ls')
    .description('list connections')
    .option('--json', 'as JSON')
    .action((options: { json?: boolean }) =>
      run({}, (context) => withClients(context, (clients) => list(context, clients, options.json ?? false))),
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
});

const stateNames: Readonly<Partial<Record<ConnectionState, string>>> = {
  [ConnectionState.PENDING]: 'pending',
  [ConnectionState.CONNECTED]: 'connected',
  [ConnectionState.REAUTH_REQUIRED]: 'reauth_required',
  [ConnectionState.REVOKED]: 'revoked',
};

const instant = (at: Connection['connectedAt']): string | null =>
  at === undefined ? null : new Date(Number(at.seconds) * 1000).toISOString();
