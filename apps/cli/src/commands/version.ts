import type { Command } from 'commander';
import type { RunCommand } from '../context.ts';
import { cliVersion } from '../version.ts';

/** `kontext version [--json]` */
export function define(command: Command, run: RunCommand): void {
  command.option('--json', 'as JSON').action((options: { json?: boolean }) =>
    run({}, async ({ terminal }) => {
      const { version: node, platform, arch } = process;
      if (options.json) terminal.json({ version: cliVersion, protocol: 'kontext.v1', node, platform, arch });
      else terminal.out(`kontext ${cliVersion} (node ${node}, ${platform}-${arch})`);
      return 0;
    }),
  );
}
