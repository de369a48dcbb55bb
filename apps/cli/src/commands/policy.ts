import type { Command } from 'commander';
import type { RunCommand } from '../context.ts';
import type { TestOptions } from '../policy/test-examples.ts';

/**
 * `kontext policy validate|test|…`: from files on disk to a policy that holds.
 *
 * The words `push`, `publish`, `withdraw` and `restore` are what the starter rules forbid to an agent.
 */
export function define(command: Command, run: RunCommand): void {
  defineOffline(command, run);
}

/** What needs neither backend nor login, and is fit for CI. */
function defineOffline(command: Command, run: RunCommand): void {
  command
    .command('validate [paths...]')
    .description('check policy files, without a backend; directory `policies` when none is named')
    .option('--json', 'as JSON')
    .action((paths: readonly string[], options: { json?: boolean }) =>
      run({}, async (context) =>
        (await import('../policy/validate.ts')).validate(context, paths, options.json ?? false),
      ),
    );
  command
    .command('test <examples...>')
    .description('decide examples (*.examples.json, or directories of them), without a backend')
    .option('--policies <paths...>', 'policy files or directories; left out: the starter rules')
    .option('--json', 'as JSON')
    .action((examples: readonly string[], options: TestOptions) =>
      run({}, async (context) =>
        (await import('../policy/test-examples.ts')).testExamples(context, examples, options),
      ),
    );
}
