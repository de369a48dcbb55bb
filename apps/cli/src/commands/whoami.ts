import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import { withClients } from '../rpc/open-backend.ts';

/** `kontext whoami [--json]` */
export function define(command: Command, run: RunCommand): void {
  command
    .option('--json', 'as JSON')
    .action((options: { json?: boolean }) =>
      run({}, (context) => showCaller(context, options.json ?? false)),
    );
}

/**
 * Asks the backend who the login is: one line, or a document with pinned keys.
 *
 * @throws KontextError `KX_NOT_LOGGED_IN` and its kin: who nobody knows is nobody.
 */
async function showCaller(context: Context, json: boolean): Promise<number> {
  const { terminal, signal } = context;
  const caller = await withClients(context, (clients) =>
    clients.organisation.getCaller({}, { signal, timeoutMs: 10_000 }),
  );
  const { userId, userName, orgId, orgName, orgSlug, role, groups } = caller;
  if (json) terminal.json({ userId, userName, orgId, orgName, orgSlug, role, groups });
  else terminal.out(`${userName} (${role}) of ${orgName}`);
  return 0;
}
