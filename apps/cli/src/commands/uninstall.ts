import { homedir } from 'node:os';
import type { Command } from 'commander';
import { findStandingHooks } from '../agents/agents.ts';
import type { Context, RunCommand } from '../context.ts';
import { refuseInSession } from '../session/refuse-in-session.ts';
import { changeFile } from '../setup/change-file.ts';
import { removeHooks } from '../setup/hook-entries.ts';
import { stopDaemon } from '../setup/stop-daemon.ts';

/** `kontext uninstall [--agent claude]` */
export function define(command: Command, run: RunCommand): void {
  command
    .option('--agent <name>', 'coding agent whose hooks are taken out')
    .action(({ agent }: { readonly agent?: string }) => run({ agent }, uninstall));
}

/** @throws KontextError `KX_AGENT_UNKNOWN`, `KX_AGENT_SETTINGS_INVALID`, `KX_SETUP_FAILED`, `KX_SESSION_REFUSED`. */
async function uninstall(context: Context): Promise<number> {
  const { config, terminal } = context;
  refuseInSession(context);
  const hooks = findStandingHooks(config.agent);
  const path = hooks.settingsPath(config.environment, config.environment.HOME || homedir());
  const change = await changeFile(path, (text) => removeHooks(text, hooks.isOurs));
  terminal.out(
    change.changed ? `${change.path}: the hooks are gone` : `${change.path} holds no hooks of ours`,
  );
  if (change.backup !== null) terminal.out(`${change.backup}: what it was before`);
  if (await stopDaemon(config.runtimeDir)) terminal.out('the daemon has ended');
  return 0;
}
