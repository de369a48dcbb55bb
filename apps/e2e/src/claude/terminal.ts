/** The real Claude Code with its screen up, in a pseudo-terminal, as a developer sits in front of it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { claudeEnv, type ModelScript, startModelServer } from '@kontext/testkit';
import { type RunningCommand, startInTerminal } from '../running-command.ts';
import type { ClaudeStage, FinishedAgent, Project } from './stage.ts';

/** A session at a terminal. */
export interface TerminalAgent {
  readonly screen: RunningCommand;
  /** Leaves the agent by its own command; settles when `kontext start` has ended. */
  leave(): Promise<FinishedAgent>;
}

/** Starts the agent in enforce with a prompt already typed. Its first questions (theme, key, trust in the folder) are answered. */
export async function startAtTerminal(
  { world }: ClaudeStage,
  project: Project,
  script: ModelScript,
  args: readonly string[] = [],
): Promise<TerminalAgent> {
  const model = await startModelServer(script);
  const scripted = claudeEnv({ configDir: project.configDir, modelUrl: model.url });
  const answered = {
    ...{ hasCompletedOnboarding: true, theme: 'dark', numStartups: 3 },
    customApiKeyResponses: { approved: [scripted.ANTHROPIC_API_KEY?.slice(-20)], rejected: [] },
    projects: { [project.dir]: { hasTrustDialogAccepted: true, hasCompletedProjectOnboarding: true } },
  };
  writeFileSync(join(project.configDir, '.claude.json'), JSON.stringify(answered));
  const PATH = `${join(world.home.root, 'bin')}:${world.env.PATH}`;
  const command = ['start', '--agent', 'claude', '--trust', '--mode', 'enforce', '--', ...args, 'go'];
  const env = { ...scripted, TERM: 'xterm-256color', PATH };
  const screen = startInTerminal(world, command, { cwd: project.dir, env });
  return {
    screen,
    async leave() {
      screen.type('/exit\r');
      const result = await screen.ended;
      await model.stop();
      return { ...result, model, sessionId: /\bses_[0-9a-f-]+/.exec(result.stdout)?.[0] ?? '' };
    },
  };
}
