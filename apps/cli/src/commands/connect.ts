import { KontextError } from '@kontext/errors';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import { openBackendOrLogIn } from '../login/ensure-login.ts';
import { beginConnection } from '../session/connect-provider.ts';

interface ConnectOptions {
  readonly name?: string;
  readonly scope?: readonly string[];
  readonly wait?: boolean;
  readonly browser: boolean;
}

/** `kontext connect <provider>` */
export function define(command: Command, run: RunCommand): void {
  command
    .argument('<provider>', 'provider, as in {{kontext:provider}}')
    .option('--name <name>', 'name of the connection, to have several of one provider')
    .option('--scope <scope...>', 'scopes to ask for')
    .option('--wait', 'without a terminal: print the link and wait until it was used')
    .option('--no-browser', 'do not open a browser')
    .action((provider: string, options: ConnectOptions) =>
      run({}, (context) => connect(context, provider, options)),
    );
}

/**
 * Shows the link that connects a provider and waits until a person has used it.
 *
 * @throws KontextError `KX_INPUT_NEEDED` (77) without a terminal, unless `--wait`; `KX_CONNECT_LINK_EXPIRED`.
 */
async function connect(context: Context, provider: string, options: ConnectOptions): Promise<number> {
  const { config, terminal, signal } = context;
  const backend = await openBackendOrLogIn(context);
  try {
    const connection = await beginConnection({
      clients: await backend.connect(),
      config,
      terminal,
      provider,
      name: options.name ?? '',
      scopes: options.scope ?? [],
      browser: options.browser,
      signal,
    });
    if (!terminal.interactive && !options.wait) {
      throw new KontextError('KX_INPUT_NEEDED', `a person has to open the link to connect ${provider}`, {
        hint: 'open the link above, or pass --wait',
      });
    }
    await connection.wait();
    terminal.note(`${provider} is connected`);
    return 0;
  } finally {
    backend.close();
  }
}
