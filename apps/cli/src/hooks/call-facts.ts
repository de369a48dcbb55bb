import type { Repository } from '@kontext/policy';

/** What is known of the machine and the session when a call is made. Nothing here throws or waits for long. */
export interface CallFacts {
  /** Empty while it is not known. */
  agentVersion(): string;
  /**
   * Repository of a directory; null outside of any, and when it could not be told in time. Never rejects.
   *
   * @param directory Absolute.
   */
  repositoryOf(directory: string): Promise<Repository | null>;
  /** Names of the providers whose credentials the session holds, sorted. */
  credentials(): readonly string[];
  /** The user's home; null when unknown. */
  readonly home: string | null;
  /** Top of the project, links followed; null when there is none. */
  readonly projectRoot: string | null;
  readonly nowMs: () => number;
}

/** Facts where nothing is known: a wrapper without repository, credentials or version. */
export const noFacts: CallFacts = {
  agentVersion: () => '',
  repositoryOf: async () => null,
  credentials: () => [],
  home: null,
  projectRoot: null,
  nowMs: Date.now,
};
