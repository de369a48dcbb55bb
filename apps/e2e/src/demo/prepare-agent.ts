import { chmodSync, existsSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { claudeEnv, findClaude, type ModelTurn, startModelServer } from '@kontext/testkit';
import type { World } from '../world.ts';
import { demoSteps, type ToolStep } from './script.ts';

/** An agent that `kontext start --agent claude` will find on PATH. */
export interface PreparedAgent {
  /** True for the real Claude Code. */
  readonly real: boolean;
  readonly description: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

/**
 * Takes the real Claude Code if it is already on this machine, driven by a scripted model on loopback and a private
 * configuration, never the user's account; else the bundled demo agent. Downloads nothing.
 */
export async function prepareAgent(world: World): Promise<PreparedAgent> {
  const main = realpathSync(world.programs.kontext.at(-1) ?? '');
  const steps = demoSteps({
    apiUrl: world.upstream?.apiUrl ?? '',
    hookClient: hookClientOf(dirname(main)),
    hookTiming: fileURLToPath(new URL('./hook-timing.js', import.meta.url)),
  });
  const claude = findClaude({ orOnPath: true });
  return claude === null ? bundledAgent(world, steps) : realClaude(world, claude, steps);
}

/** The native hook client where it was built, else its twin: what the command itself takes. */
function hookClientOf(dist: string): string {
  const native = join(dist, '../../hook/dist/kontext-hook');
  return existsSync(native) ? native : join(dist, 'hook.cjs');
}

/** A folder with one program called `claude`, first on PATH. */
function shim(world: World, script: string): Record<string, string> {
  const bin = join(world.home.root, 'bin');
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, 'claude'), script);
  chmodSync(join(bin, 'claude'), 0o755);
  return { PATH: `${bin}:${world.env.PATH ?? ''}` };
}

function bundledAgent(world: World, steps: readonly ToolStep[]): PreparedAgent {
  const agent = fileURLToPath(new URL('./demo-agent.js', import.meta.url));
  const script = join(world.home.root, 'script.json');
  writeFileSync(script, JSON.stringify(steps));
  return {
    real: false,
    description: 'Claude Code is not on this machine: the bundled demo agent calls hooks as it would',
    args: ['-p', 'run the demo'],
    env: {
      ...shim(world, `#!/bin/sh\nexec '${process.execPath}' '${agent}' "$@"\n`),
      DEMO_SCRIPT: script,
    },
    close: async () => undefined,
  };
}

async function realClaude(world: World, claude: string, steps: readonly ToolStep[]): Promise<PreparedAgent> {
  const turns: ModelTurn[] = steps.map((step) => ({
    toolUses: [{ name: 'Bash', input: { command: step.command, description: step.description } }],
  }));
  const model = await startModelServer([
    ...turns,
    { text: 'done: both credentials work, the folder is still there' },
  ]);
  const configDir = join(world.home.root, 'claude');
  mkdirSync(configDir);
  return {
    real: true,
    description: 'the real Claude Code, its model scripted on loopback, its configuration private',
    args: ['-p', '--permission-mode', 'bypassPermissions', 'run the demo'],
    env: {
      ...shim(world, `#!/bin/sh\nexec '${claude}' "$@"\n`),
      ...claudeEnv({ configDir, modelUrl: model.url }),
    },
    close: () => model.stop(),
  };
}
