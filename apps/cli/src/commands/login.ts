import type { Command } from 'commander';
import type { RunCommand } from '../context.ts';

/** `kontext login` */
export function define(command: Command, run: RunCommand): void {
  command
    .option('--no-browser', 'do not open a browser')
    .option('--insecure-storage', 'keep the login in a plain file instead of the OS keyring')
    .action(async (options: { browser: boolean; insecureStorage?: boolean }) =>
      run({ insecureStorage: options.insecureStorage }, async (context) => {
        const { logIn } = await import('../login/log-in.ts');
        (await logIn(context, { browser: options.browser })).close();
        return 0;
      }),
    );
}
