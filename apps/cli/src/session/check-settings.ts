import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KontextError } from '@kontext/errors';
import type { AgentAdapter, LaunchPlan } from '../agents/agent.ts';
import { makePrivateDirectory } from '../hooks/private-directory.ts';
import { Interrupted } from '../interrupted.ts';

/** What is checked, and where. */
export interface SettingsCheckOptions {
  readonly adapter: AgentAdapter;
  readonly plan: LaunchPlan;
  /** Absolute path of the agent. */
  readonly command: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly runtimeDir: string;
  readonly signal?: AbortSignal;
  /** Default 15,000; the agent needs well under a second. */
  readonly timeoutMs?: number;
}

/**
 * Asks the agent itself whether it takes the settings the user gave, before they are laid under ours.
 *
 * An agent that refuses one entry may drop the whole file without a word, and our hooks with it. Whether it would is
 * shown by a hook that runs, not by words it prints.
 *
 * @throws KontextError `KX_AGENT_SETTINGS_INVALID` when hooks do not work with them.
 * @throws Interrupted when the signal was aborted.
 */
export async function checkSettings(options: SettingsCheckOptions): Promise<void> {
  const { adapter, plan, runtimeDir } = options;
  makePrivateDirectory(runtimeDir);
  const directory = mkdtempSync(join(runtimeDir, 'c'));
  try {
    const settingsPath = join(directory, 'settings.json');
    const markerPath = join(directory, 'hooks-work');
    const check = adapter.planSettingsCheck(plan, { directory, settingsPath, markerPath });
    writeFileSync(settingsPath, check.settings, { mode: 0o400, flag: 'wx' });
    const kept = Object.entries(options.environment).filter(
      ([name]) => !check.withoutVariables.some((prefix) => name.startsWith(prefix)),
    );
    await runSilently(options, directory, check.args, { ...Object.fromEntries(kept), ...check.env });
    if (options.signal?.aborted) throw new Interrupted();
    if (existsSync(markerPath)) return;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  throw new KontextError(
    'KX_AGENT_SETTINGS_INVALID',
    `the settings given to ${adapter.name} cannot be used`,
    {
      why: `${adapter.name} refuses an entry of them, and then loads no hooks either`,
      hint: 'fix the entry, or leave --settings out',
    },
  );
}

/** Ends in every case; how it ends does not matter. */
function runSilently(
  { command, signal, timeoutMs = 15_000 }: SettingsCheckOptions,
  cwd: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<void> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env, stdio: 'ignore' });
    const kill = (): boolean => child.kill('SIGKILL');
    const timer = setTimeout(kill, timeoutMs);
    signal?.addEventListener('abort', kill, { once: true });
    const finish = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', kill);
      resolve();
    };
    child.once('error', finish);
    child.once('exit', finish);
  });
}
