import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import { openBackend } from '../rpc/open-backend.ts';
import { readSecret } from '../session/read-secret.ts';
import { refuseInSession } from '../session/refuse-in-session.ts';

interface PutOptions {
  readonly name?: string;
  readonly shared?: boolean;
}

/** `kontext secrets put <provider>` */
export function define(command: Command, run: RunCommand): void {
  command
    .command('put <provider>')
    .description('store a static key; the value comes from standard input or a prompt that shows nothing')
    .option('--name <name>', 'name of the connection, to have several of one provider')
    .option('--shared', 'for the whole organisation (administrators)')
    .action((provider: string, options: PutOptions) => run({}, (context) => put(context, provider, options)));
}

async function put(context: Context, provider: string, options: PutOptions): Promise<number> {
  const { terminal, signal } = context;
  refuseInSession(context);
  const backend = await openBackend(context);
  try {
    const secret = await readSecret(terminal, `the value for ${provider}`);
    const clients = await backend.connect();
    const { connection } = await clients.connections.putSecret(
      { provider, name: options.name ?? '', value: secret.reveal(), shared: options.shared ?? false },
      { signal },
    );
    terminal.note(`stored as ${connection?.provider ?? provider}/${connection?.name ?? 'default'}`);
    return 0;
  } finally {
    backend.close();
  }
}
