import { homedir } from 'node:os';
import { KontextError } from '@kontext/errors';
import type { Command } from 'commander';
import { findStandingHooks } from '../agents/agents.ts';
import type { Context, RunCommand } from '../context.ts';
import { refuseInSession } from '../session/refuse-in-session.ts';
import { changeFile } from '../setup/change-file.ts';
import { addHooks } from '../setup/hook-entries.ts';
import { standingWiring } from '../setup/standing-wiring.ts';
import { stopDaemon } from '../setup/stop-daemon.ts';

interface SetupOptions {
  readonly agent?: string;
  readonly mode?: string;
  readonly managed?: boolean;
  readonly platform?: string;
}

/** `kontext setup [--agent claude] [--mode observe|enforce] [--managed [--platform linux]]` */
export function define(command: Command, run: RunCommand): void {
  command
    .option('--agent <name>', 'coding agent to set up')
    .option('--mode <mode>', 'observe or enforce; what a call meets that cannot be decided')
    .option('--managed', 'print settings for an administrator to put on every machine; change nothing')
    .option('--platform <name>', 'with --managed: linux or darwin, where the machines are not like this one')
    .action((options: SetupOptions) => {
      const { agent, mode } = options;
      return run({ agent, mode }, (context) => (options.managed ? print(context, options) : setUp(context)));
    });
}

/** @throws KontextError `KX_AGENT_UNKNOWN`, `KX_AGENT_SETTINGS_INVALID`, `KX_SETUP_FAILED`, `KX_SESSION_REFUSED`. */
async function setUp(context: Context): Promise<number> {
  const { config, terminal } = context;
  refuseInSession(context);
  const hooks = findStandingHooks(config.agent);
  const mode = config.mode ?? 'observe';
  const entries = hooks.encodeHooks(standingWiring(config, { mode }));
  const path = hooks.settingsPath(config.environment, config.environment.HOME || homedir());
  const change = await changeFile(path, (text) => addHooks(text, entries, hooks.isOurs));
  if (!change.changed) {
    terminal.out(`${change.path} holds the hooks already`);
    return 0;
  }
  // What runs was started with what stood there before.
  await stopDaemon(config.runtimeDir);
  terminal.out(`${change.path}: ${Object.keys(entries).length} hooks, mode ${mode}`);
  if (change.backup !== null) terminal.out(`${change.backup}: what it was before`);
  terminal.note(
    `${config.agent} started from now on is decided and recorded; \`kontext doctor --hook\` tries it`,
  );
  return 0;
}

const managedPlatforms = ['linux', 'darwin'] as const;

async function print({ config, terminal }: Context, options: SetupOptions): Promise<number> {
  const hooks = findStandingHooks(config.agent);
  const wanted = options.platform ?? process.platform;
  const platform = managedPlatforms.find((known) => known === wanted);
  if (platform === undefined) {
    throw new KontextError('KX_USAGE', `managed settings for ${wanted} are not known`, {
      hint: `use --platform ${managedPlatforms.join(' or ')}`,
    });
  }
  const wiring = standingWiring(config, { mode: config.mode ?? 'observe', managedFor: platform });
  terminal.value(hooks.encodeManaged(wiring).trimEnd());
  for (const [name, path] of Object.entries(hooks.managedPaths))
    terminal.note(`${name}: put it into ${path}`);
  terminal.note(
    `it names ${wiring.client.path} and ${process.execPath}: install kontext there on every machine`,
  );
  return 0;
}
