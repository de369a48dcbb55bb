import { accessSync, constants, realpathSync, statSync } from 'node:fs';
import { delimiter, isAbsolute, join, sep } from 'node:path';

/** Where systems put git. On macOS `/usr/bin/git` may open a window to install it, so what it stands for is named. */
const usualPlaces: readonly string[] =
  process.platform === 'darwin'
    ? [
        '/opt/homebrew/bin/git',
        '/usr/local/bin/git',
        '/Library/Developer/CommandLineTools/usr/bin/git',
        '/Applications/Xcode.app/Contents/Developer/usr/bin/git',
      ]
    : ['/usr/bin/git', '/usr/local/bin/git', '/run/current-system/sw/bin/git'];

/**
 * Finds a git that the project cannot have put there: one of the system, else the first of the user's search path that lies
 * outside the project, links followed, and that nobody but its owner may write.
 *
 * @param project Directory the agent works in. @param path Search path of the user. @param places Where to look first.
 * @returns Absolute path; null when there is none.
 */
export function findGit(
  project: string,
  path: string | undefined,
  places: readonly string[] = usualPlaces,
): string | null {
  const searched = (path ?? '').split(delimiter).filter((directory) => isAbsolute(directory));
  const candidates = [...places, ...searched.map((directory) => join(directory, 'git'))];
  return candidates.find((candidate) => isTrusted(candidate, project)) ?? null;
}

function isTrusted(candidate: string, project: string): boolean {
  try {
    const real = realpathSync(candidate);
    const stat = statSync(real);
    accessSync(real, constants.X_OK);
    const outside = !isInside(candidate, project) && !isInside(real, realOf(project));
    return stat.isFile() && (stat.mode & 0o022) === 0 && outside;
  } catch {
    return false;
  }
}

/** A directory that is not there has nothing in it. */
function realOf(directory: string): string {
  try {
    return realpathSync(directory);
  } catch {
    return directory;
  }
}

const isInside = (path: string, directory: string): boolean =>
  `${path}${sep}`.startsWith(directory.endsWith(sep) ? directory : `${directory}${sep}`);
