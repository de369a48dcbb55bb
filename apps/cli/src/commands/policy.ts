import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import type { PublishOptions, RestoreOptions, WithdrawOptions } from '../policy/publish.ts';
import type { PullOptions } from '../policy/pull.ts';
import type { PushOptions } from '../policy/push.ts';
import type { ReplayOptions } from '../policy/replay.ts';
import type { TestOptions } from '../policy/test-examples.ts';
import type { Clients } from '../rpc/clients.ts';

interface JsonOption {
  readonly json?: boolean;
}

/**
 * `kontext policy validate|test|…`: from files on disk to a policy that holds.
 *
 * The words `push`, `publish`, `withdraw` and `restore` are what the starter rules forbid to an agent.
 */
export function define(command: Command, run: RunCommand): void {
  defineOffline(command, run);
  defineVersions(command, run);
  definePublications(command, run);
  defineQuestions(command, run);
}

/** What needs neither backend nor login, and is fit for CI. */
function defineOffline(command: Command, run: RunCommand): void {
  command
    .command('validate [paths...]')
    .description('check policy files, without a backend; directory `policies` when none is named')
    .option('--json', 'as JSON')
    .action((paths: readonly string[], { json = false }: JsonOption) =>
      run({}, async (context) => (await import('../policy/validate.ts')).validate(context, paths, json)),
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

/** Files here and versions there. */
function defineVersions(command: Command, run: RunCommand): void {
  command
    .command('pull [directory]')
    .description('write the files of a version; directory `policies` when none is named')
    .option('--version <n>', 'left out: the version that holds for everybody')
    .option('--force', 'replace files that differ')
    .action((directory: string | undefined, options: PullOptions) =>
      run({}, (context) =>
        read(context, async (clients) =>
          (await import('../policy/pull.ts')).pull(context, clients, directory, options),
        ),
      ),
    );
  command
    .command('push <paths...>')
    .description('store files as a draft that nobody decides with yet; prints its version')
    .requiredOption('--reason <text>', 'why, for the history')
    .option('--json', 'as JSON')
    .action((paths: readonly string[], options: PushOptions) =>
      run({}, (context) =>
        change(context, async (clients) =>
          (await import('../policy/push.ts')).push(context, clients, paths, options),
        ),
      ),
    );
  command
    .command('diff [from] [to]')
    .description(
      'compare versions or directories, rule by rule; what holds for everybody when `from` is left out',
    )
    .option('--json', 'as JSON')
    .action((from: string | undefined, to: string | undefined, { json = false }: JsonOption) =>
      run({}, (context) =>
        read(context, async (clients) => {
          const places = [from, to].filter((place) => place !== undefined);
          return (await import('../policy/diff.ts')).diff(context, clients, places, json);
        }),
      ),
    );
  command
    .command('history')
    .description('list versions, newest first, with author, reason and where they hold')
    .option('--json', 'as JSON')
    .action(({ json = false }: JsonOption) =>
      run({}, (context) =>
        read(context, async (clients) =>
          (await import('../policy/history.ts')).history(context, clients, json),
        ),
      ),
    );
}

/** What holds for whom. Each is confirmed in the browser. */
function definePublications(command: Command, run: RunCommand): void {
  command
    .command('publish <version>')
    .description('let a version hold for everybody or one group; confirmed in the browser')
    .requiredOption('--mode <mode>', 'observe: decide and record; enforce: also deny')
    .option('--group <name>', 'of one group only')
    .option(
      '--stale <rule>',
      'what is denied while it cannot be refreshed: deny-sensitive or deny-all',
      'deny-sensitive',
    )
    .requiredOption('--reason <text>', 'why, for the history')
    .option('--json', 'as JSON')
    .action((version: string, options: PublishOptions) =>
      run({}, (context) =>
        change(context, async (clients) =>
          (await import('../policy/publish.ts')).publish(context, clients, version, options),
        ),
      ),
    );
  command
    .command('withdraw')
    .description('end what was published for one group; confirmed in the browser')
    .requiredOption('--group <name>', 'whose')
    .requiredOption('--reason <text>', 'why, for the history')
    .option('--json', 'as JSON')
    .action((options: WithdrawOptions) =>
      run({}, (context) =>
        change(context, async (clients) =>
          (await import('../policy/publish.ts')).withdraw(context, clients, options),
        ),
      ),
    );
  command
    .command('restore <version>')
    .description('publish an earlier version again, in the mode that holds now; confirmed in the browser')
    .option('--group <name>', 'for one group only')
    .option('--reason <text>', 'why, for the history')
    .option('--json', 'as JSON')
    .action((version: string, options: RestoreOptions) =>
      run({}, (context) =>
        change(context, async (clients) =>
          (await import('../policy/publish.ts')).restore(context, clients, version, options),
        ),
      ),
    );
}

/** What was decided, and what would be. */
function defineQuestions(command: Command, run: RunCommand): void {
  command
    .command('replay [paths...]')
    .description('decide recorded calls again with files or a version, and show what would change')
    .option('--since <duration>', 'calls of the last so long, such as 12h or 7d; at most 90d', '7d')
    .option('--version <n>', 'a stored version, instead of files')
    .option('--group <name>', 'calls of members of one group only')
    .option('--json', 'as JSON')
    .action((paths: readonly string[], options: ReplayOptions) =>
      run({}, (context) =>
        read(context, async (clients) =>
          (await import('../policy/replay.ts')).replay(context, clients, paths, options),
        ),
      ),
    );
  command
    .command('explain <event>')
    .description('why a recorded call was decided as it was')
    .option('--json', 'as JSON')
    .action((event: string, { json = false }: JsonOption) =>
      run({}, (context) =>
        read(context, async (clients) =>
          (await import('../policy/explain.ts')).explain(context, clients, event, json),
        ),
      ),
    );
}

type Work = (clients: Clients) => Promise<number>;

async function read(context: Context, work: Work): Promise<number> {
  const { withClients } = await import('../rpc/open-backend.ts');
  return withClients(context, work);
}

/** What changes authority is no command for an agent. */
async function change(context: Context, work: Work): Promise<number> {
  const { refuseInSession } = await import('../session/refuse-in-session.ts');
  refuseInSession(context);
  return read(context, work);
}
