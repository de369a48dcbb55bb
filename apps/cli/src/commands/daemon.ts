import type { Command } from 'commander';
import type { RunCommand } from '../context.ts';

/** `kontext daemon [--runtime-dir dir]`: hidden; the hooks of `kontext setup` start it. */
export function define(command: Command, run: RunCommand): void {
  command
    .option('--runtime-dir <dir>', 'directory of its socket')
    .action(({ runtimeDir }: { readonly runtimeDir?: string }) =>
      run({}, async (context) => {
        const { runDaemon } = await import('../setup/daemon.ts');
        const program = process.argv[1] ?? '';
        return runDaemon(context, { runtimeDir: runtimeDir ?? context.config.runtimeDir, program });
      }),
    );
}
