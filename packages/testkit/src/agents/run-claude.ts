import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandResult, runCommand } from '../run-command.ts';
import type { ScratchHome } from '../scratch-home.ts';
import { claudeEnv } from './claude-env.ts';
import { findClaude } from './find-claude.ts';

/** One run of the real client. */
export interface RunClaudeOptions {
  readonly home: ScratchHome;
  readonly modelUrl: string;
  /** For example `['-p', 'go', '--permission-mode', 'bypassPermissions', '--settings', file]`. */
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

/**
 * Runs the pinned Claude Code in a scratch home (work folder as its directory, configuration in `<root>/claude`).
 *
 * @throws Error when it is not installed; ask `partState('claude')` first.
 */
export function runClaude(options: RunClaudeOptions): Promise<CommandResult> {
  const program = findClaude();
  if (program === null)
    return Promise.reject(new Error('Claude Code is not installed: npm run agents:install'));
  const { home, modelUrl, args, timeoutMs = 60_000 } = options;
  const configDir = join(home.root, 'claude');
  mkdirSync(configDir, { recursive: true });
  const env = { ...home.env, ...claudeEnv({ configDir, modelUrl }), ...options.env };
  return runCommand(program, args, { env, cwd: home.workDir, timeoutMs });
}
