import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import { openBackendOrLogIn } from '../login/ensure-login.ts';
import { connectAndWait, type WaitOptions } from '../session/connect-provider.ts';

interface ConnectOptions extends WaitOptions {
  readonly name?: string;
  readonly scope?: readonly string[];
  readonly shared?: boolean;
}

/** `kontext connect <provider>` */
export function define(command: Command, run: RunCommand): void {
  command
    .argument('<provider>', 'provider, as in {{kontext:provider}}')
    .option('--name <name>', 'name of the connection, to have several of one provider')
    .option('--scope <scope...>', 'scopes to ask for, besides those it has')
    .option('--shared', 'for the whole organisation (administrators)')
    .option('--wait', 'without a terminal: print the link and wait until it was used')
    .option('--no-browser', 'do not open a browser')
    .action((provider: string, options: ConnectOptions) =>
      run({}, (context) => connect(context, provider, options)),
    );
}

async function connect(context: Context, provider: string, options: ConnectOptions): Promise<number> {
  const backend = await openBackendOrLogIn(context);
  try {
    const { name = '', scope: scopes = [], shared = false } = options;
    return await connectAndWait(
      context,
      await backend.connect(),
      { provider, name, scopes, shared },
      options,
    );
  } finally {
    backend.close();
  }
}
