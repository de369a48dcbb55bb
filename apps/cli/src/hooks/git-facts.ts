/**
 * Repository and branch of a directory, read by a git the project did not choose.
 *
 * - The program is named by an absolute path, its environment is ours alone, no hook, monitor, pager or prompt of a
 *   repository runs, and nothing of the user's or the system's configuration is read.
 * - A repository is hostile: what comes back is bounded, cleared of control characters and of credentials.
 * - Answers are kept until HEAD or the configuration changes, so a checkout of the call before is seen by the next one.
 */
import { execFile } from 'node:child_process';
import { statSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Repository } from '@kontext/policy';
import { findGitDirectory, type GitDirectory } from './git-directory.ts';
import { repositoryName } from './repository-name.ts';

/** How long things may take. */
export interface GitFactsOptions {
  /** Absolute path of git; null: no repository is ever told. */
  readonly git: string | null;
  /** Time git gets; default 2,000 ms. */
  readonly timeoutMs?: number;
  /** Time a call waits for it; default 1,000 ms. What comes later is there for the next call. */
  readonly waitMs?: number;
  /** An answer is taken anew after so long in any case: included files are not watched. Default 60 s. */
  readonly maxAgeMs?: number;
  readonly nowMs?: () => number;
}

/** Tells repositories. */
export interface GitFacts {
  /** Never rejects. @param directory Absolute. @returns Null outside of any, or when it is not known in time. */
  repositoryOf(directory: string): Promise<Repository | null>;
}

interface Known {
  readonly stamp: string;
  readonly takenAtMs: number;
  readonly answer: Promise<Repository | null>;
}

/** Repositories kept at a time. */
const maxKnown = 64;

/** Makes the teller of a session. */
export function createGitFacts(options: GitFactsOptions): GitFacts {
  const { git, waitMs = 1000, maxAgeMs = 60_000, nowMs = () => performance.now() } = options;
  const known = new Map<string, Known>();
  return {
    async repositoryOf(directory) {
      try {
        const place = git === null ? null : findGitDirectory(directory);
        if (git === null || place === null) return null;
        const stamp = stampOf(place);
        let kept = known.get(place.gitDir);
        if (kept?.stamp !== stamp || nowMs() - kept.takenAtMs > maxAgeMs) {
          kept = { stamp, takenAtMs: nowMs(), answer: askGit({ ...options, git }, place) };
          known.delete(place.gitDir);
          known.set(place.gitDir, kept);
          for (const oldest of known.keys()) {
            if (known.size <= maxKnown) break;
            known.delete(oldest);
          }
        }
        return await within(kept.answer, waitMs);
      } catch {
        return null;
      }
    },
  };
}

/** Changes whenever one of the files does that say where HEAD stands and which remotes there are. */
function stampOf({ gitDir, commonDir }: GitDirectory): string {
  const files = [join(gitDir, 'HEAD'), join(commonDir, 'config'), join(gitDir, 'config.worktree')];
  // The other format of references keeps HEAD there.
  files.push(join(gitDir, 'reftable', 'tables.list'));
  return files
    .map((file) => {
      const stat = statSync(file, { bigint: true, throwIfNoEntry: false });
      return stat === undefined ? '-' : `${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
    })
    .join('|');
}

async function askGit(
  options: GitFactsOptions & { readonly git: string },
  place: GitDirectory,
): Promise<Repository | null> {
  const run = (...args: string[]) => runGit(options, place.gitDir, args);
  const [head, remotes] = await Promise.all([
    run('symbolic-ref', '--quiet', '--short', 'HEAD'),
    run('config', '--local', '--null', '--get-regexp', '^remote\\..*\\.url$'),
  ]);
  // What is not there ends with 1; a configuration git cannot read ends with 128, or not at all.
  if (remotes === null) return null;
  return {
    name: repositoryName(remotes) ?? cleanText(basename(place.top)),
    branch: cleanText((head ?? '').replace(/\n$/, '')),
  };
}

const environment = {
  PATH: '/usr/bin:/bin',
  LC_ALL: 'C',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: process.platform === 'win32' ? 'NUL' : '/dev/null',
  GIT_OPTIONAL_LOCKS: '0',
  GIT_TERMINAL_PROMPT: '0',
  GIT_NO_LAZY_FETCH: '1',
};
const quiet = ['--no-pager', '-c', 'core.fsmonitor=false', '-c', 'core.hooksPath=/dev/null'];
/** Longest output; a repository with more is not told. */
const maxOutputBytes = 1_048_576;

/** @returns Standard output, empty when git found nothing; null when it failed. */
function runGit(
  { git, timeoutMs = 2000 }: GitFactsOptions & { readonly git: string },
  gitDir: string,
  args: readonly string[],
): Promise<string | null> {
  return new Promise((resolve) => {
    const limits = { timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: maxOutputBytes } as const;
    const child = execFile(
      git,
      [...quiet, `--git-dir=${gitDir}`, ...args],
      { ...limits, cwd: '/', env: environment, encoding: 'utf8', windowsHide: true },
      (error, stdout) => resolve(error === null ? stdout : error.code === 1 ? '' : null),
    );
    child.stdin?.end();
    child.unref();
  });
}

function within(answer: Promise<Repository | null>, ms: number): Promise<Repository | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), ms);
  });
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}

/** Longest branch or directory name that is told. */
const maxNameLength = 256;

const cleanText = (text: string): string =>
  text.slice(0, maxNameLength).replaceAll(/[\p{Cc}\p{Cf}\p{Surrogate}\u2028\u2029]/gu, '\ufffd');
