import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { canonicalJson } from './canonical-json.ts';

/** Watches the settings files that reach the agent beside ours. */
export interface SettingsGuard {
  /** Files whose guarded members changed since they were last looked at. */
  changed(): readonly string[];
}

/** Longest settings file that is read. */
const maxBytes = 1_048_576;

/**
 * Takes down what the guarded members of the files are now.
 *
 * @param guarded Picks the members that matter from a parsed file.
 */
export function createSettingsGuard(
  files: readonly string[],
  guarded: (settings: unknown) => unknown,
): SettingsGuard {
  // A file that cannot be parsed says nothing to the agent either: it stays what it was until it can be.
  const stateOf = (file: string): string | null => {
    const text = readText(file);
    if (text === null) return canonicalJson(guarded({}));
    try {
      return canonicalJson(guarded(JSON.parse(text)));
    } catch {
      return null;
    }
  };
  const before = new Map(files.map((file) => [file, stateOf(file)]));
  return {
    changed() {
      return files.filter((file) => {
        const state = stateOf(file);
        if (state === null || state === before.get(file)) return false;
        before.set(file, state);
        return true;
      });
    },
  };
}

/** @returns Null when there is no plain file. */
function readText(path: string): string | null {
  let descriptor: number | undefined;
  try {
    // A pipe in the file's place must not be waited for.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    if (!fstatSync(descriptor).isFile()) return null;
    const bytes = Buffer.alloc(Math.min(fstatSync(descriptor).size, maxBytes));
    return bytes.toString('utf8', 0, readSync(descriptor, bytes, 0, bytes.length, 0));
  } catch {
    return null;
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}
