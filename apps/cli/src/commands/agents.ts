import { timestampDate } from '@bufbuild/protobuf/wkt';
import type { Agent } from '@kontext/protocol';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { withClients } from '../rpc/open-backend.ts';
import { parseDuration } from '../session/parse-duration.ts';
import { refuseInSession } from '../session/refuse-in-session.ts';

interface PutOptions {
  readonly description?: string;
  readonly scope?: readonly string[];
  readonly maxTtl?: string;
}

/** `kontext agents ls|put|disable|enable` */
export function define(command: Command, run: RunCommand): void {
  command
    .command('ls')
    .description('list agents with their ceilings')
    .option('--json', 'as JSON')
    .action((options: { json?: boolean }) =>
      run({}, (context) => withClients(context, (clients) => list(context, clients, options.json ?? false))),
    );
  command
    .command('put <name>')
    .description('register an agent, or replace its description and ceilings')
    .option('--description <text>', 'what it is for')
    .option('--scope <scope...>', 'the only scopes it may have, whatever the provider; without it no ceiling')
    .option('--max-ttl <duration>', 'longest life of a credential, such as 45m or 8h; 1m to 12h, default 1h')
    .action((name: string, options: PutOptions) =>
      run({}, (context) => change(context, (clients) => put(context, clients, name, options))),
    );
  command
    .command('disable <name>')
    .description('end its sessions and credentials, and open no more')
    .action((name: string) =>
      run({}, (context) => change(context, (clients) => disable(context, clients, name))),
    );
  command
    .command('enable <name>')
    .description('let it act again')
    .action((name: string) =>
      run({}, (context) =>
        change(context, async (clients) => {
          await clients.agents.disableAgent({ name, enable: true }, { signal: context.signal });
          context.terminal.note(`enabled ${name}`);
          return 0;
        }),
      ),
    );
}

/** What changes authority is no command for an agent. */
function change(context: Context, work: (clients: Clients) => Promise<number>): Promise<number> {
  refuseInSession(context);
  return withClients(context, work);
}

async function list({ terminal, signal }: Context, clients: Clients, json: boolean): Promise<number> {
  const { agents } = await clients.agents.listAgents({}, { signal });
  const described = agents.map(describeAgent);
  if (json) {
    terminal.json(described);
    return 0;
  }
  const rows = described.map((agent) => [
    ...[agent.name, agent.disabledAt === null ? 'enabled' : 'disabled', `${agent.maxTtlSeconds} s`],
    ...[agent.ceilingScopes.join(' ') || 'any', agent.providers.join(' ') || '-', agent.description || '-'],
  ]);
  terminal.table(['NAME', 'STATE', 'MAX TTL', 'SCOPES', 'PROVIDERS', 'DESCRIPTION'], rows);
  return 0;
}

const describeAgent = (agent: Agent) => ({
  ...{ id: agent.id, name: agent.name, description: agent.description, builtIn: agent.builtIn },
  ...{ ceilingScopes: agent.ceilingScopes, maxTtlSeconds: agent.maxTtlSeconds, providers: agent.providers },
  disabledAt: agent.disabledAt ? timestampDate(agent.disabledAt).toISOString() : null,
});

async function put(
  { terminal, signal }: Context,
  clients: Clients,
  name: string,
  { description = '', scope = [], maxTtl }: PutOptions,
): Promise<number> {
  const maxTtlSeconds = maxTtl === undefined ? 0 : parseDuration(maxTtl, '--max-ttl');
  const request = { name, description, ceilingScopes: [...scope], maxTtlSeconds };
  await clients.agents.putAgent(request, { signal });
  terminal.note(`registered ${name}`);
  return 0;
}

async function disable({ terminal, signal }: Context, clients: Clients, name: string): Promise<number> {
  const { sessionsEnded, leasesEnded } = await clients.agents.disableAgent({ name }, { signal });
  terminal.note(`disabled ${name}; ended ${sessionsEnded} sessions and ${leasesEnded} credentials`);
  return 0;
}
