import { homedir } from 'node:os';
import { isAbsolute } from 'node:path';
import type { AgentAdapter } from '../agents/agent.ts';
import type { CallFacts } from '../hooks/call-facts.ts';
import { findGit } from '../hooks/find-git.ts';
import { findGitDirectory } from '../hooks/git-directory.ts';
import { createGitFacts } from '../hooks/git-facts.ts';
import { createRealPath } from '../hooks/real-path.ts';
import { type AgentVersion, createAgentVersion } from './agent-version.ts';

/** What the facts of a session are made from. */
export interface SessionFactsOptions {
  readonly adapter: Pick<AgentAdapter, 'packageName'>;
  /** Absolute path of the agent. */
  readonly command: string;
  /** Directory the session is started in. */
  readonly cwd: string;
  readonly stateDir: string;
  /** The user's own. */
  readonly environment: Readonly<Record<string, string>>;
}

/** The facts of one session. */
export interface SessionFacts extends CallFacts {
  readonly version: AgentVersion;
  /** Says which providers' credentials the session holds from now on. */
  holds(providers: readonly string[]): void;
}

/** Gathers what is known at the start; nothing is run. */
export function createSessionFacts(options: SessionFactsOptions): SessionFacts {
  const { adapter, cwd, environment } = options;
  const version = createAgentVersion({ ...options, packageName: adapter.packageName });
  let credentials: readonly string[] = [];
  // Settled now: what a project makes a repository while it is worked on does not widen the project.
  const top = findGitDirectory(cwd)?.top ?? cwd;
  const projectRoot = createRealPath()(top) ?? top;
  const git = createGitFacts({ git: findGit(projectRoot, environment.PATH) });
  const home = environment.HOME || homedir();
  return {
    version,
    agentVersion: version.known,
    repositoryOf: git.repositoryOf,
    credentials: () => credentials,
    home: isAbsolute(home) ? home : null,
    projectRoot,
    nowMs: Date.now,
    holds(providers) {
      credentials = [...new Set(providers)].sort();
    },
  };
}
