import type { Command } from 'commander';
import type { RunCommand } from '../context.ts';

interface Options {
  readonly browser: boolean;
  readonly insecureStorage?: boolean;
  readonly loopback?: boolean;
  readonly org?: string;
}

/** `kontext login` */
export function define(command: Command, run: RunCommand): void {
  command
    .option('--no-browser', 'do not open a browser')
    .option('--loopback', 'let a browser on this machine lead back here, instead of comparing a code')
    .option('--org <name>', 'organisation to log in to')
    .option('--insecure-storage', 'keep the login in a plain file instead of the OS keyring')
    .action(async ({ insecureStorage, ...options }: Options) =>
      run({ insecureStorage }, async (context) => {
        const { logIn } = await import('../login/log-in.ts');
        (await logIn(context, options)).close();
        return 0;
      }),
    );
}
